"""Machine-learned interatomic potentials with AiiDA provenance.

Importing this package is cheap: it imports neither AiiDA nor torch.
"""

__version__ = "0.1.0"
