"""Molecular liquids: boxes, molecules and what they do in a trajectory, forces within and between them."""
