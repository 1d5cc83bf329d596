"""Potentials by architecture: one file each, found by a registry."""
