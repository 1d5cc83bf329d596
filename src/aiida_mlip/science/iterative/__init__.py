"""What iterative training decides: the ladder of conditions, the sets, the trust levels, and when to end."""
