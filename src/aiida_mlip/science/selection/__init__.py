"""Which frames of trajectories are worth a label: trust levels, geometry filters, farthest-point sampling.

Pure functions on lists of frames; where the descriptors come from is the caller's business.
"""

from aiida_mlip.science.selection.choice import Budget, Candidate, Choice, Chosen, choose
from aiida_mlip.science.selection.filters import refused_by
from aiida_mlip.science.selection.geometry import geometric_descriptors
from aiida_mlip.science.selection.levels import Level, classify
from aiida_mlip.science.selection.novelty import SAME, Described, Novelty, scaling, typical_novelty

__all__ = [
    "SAME",
    "Budget",
    "Candidate",
    "Choice",
    "Chosen",
    "Described",
    "Level",
    "Novelty",
    "choose",
    "classify",
    "geometric_descriptors",
    "refused_by",
    "scaling",
    "typical_novelty",
]
