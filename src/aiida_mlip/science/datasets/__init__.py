"""Labelled configurations: reading, one canonical form, auditing, splitting."""
