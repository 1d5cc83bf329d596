"""What the worker can do, one file each."""
