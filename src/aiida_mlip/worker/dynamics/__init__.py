"""Molecular dynamics of walkers, one after the other: integrators, calculator, checkpoints, the step loop."""
