"""What runs on the compute node: one task per job, with a potential of one backend. It never imports AiiDA."""
