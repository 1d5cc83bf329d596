"""Computers: described by one YAML file each, registered in AiiDA, tested, and asked for their job options."""
