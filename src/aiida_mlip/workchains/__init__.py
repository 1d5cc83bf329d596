"""Workflows that compose the calculations."""
