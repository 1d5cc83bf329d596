"""How unsure a potential is: statistics of committees, Bayesian regression, calibration and trust levels."""
