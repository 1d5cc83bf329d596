"""What runs on the compute node; it never imports AiiDA."""
