"""Properties of materials, one file each, found by a registry."""
