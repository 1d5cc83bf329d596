"""Data nodes: potentials and labelled configurations."""
