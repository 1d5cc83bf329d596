"""Labelling without AiiDA: the address of a label, what is refused, the cells of plane waves, isolated atoms."""
