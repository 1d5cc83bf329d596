"""What is refused before anything is submitted: pure functions that return messages, for calculations and work chains.

Each message names the field, its value and what to do. An empty list means that nothing is wrong. A function that is
given None for something that is not known yet leaves out what depends on it, so that a work chain can check early.
"""

from aiida_mlip.calculations.checks.potential import check_head, check_potential
from aiida_mlip.calculations.checks.runtime import check_code, check_device, check_restart
from aiida_mlip.calculations.checks.sets import check_alignment, check_overlap, check_test_sets
from aiida_mlip.calculations.checks.settings import check_properties, complete, problems_of
from aiida_mlip.calculations.checks.training import check_extra, check_training
from aiida_mlip.calculations.checks.wording import LabelledSet, refusal

__all__ = [
    "LabelledSet",
    "check_alignment",
    "check_code",
    "check_device",
    "check_extra",
    "check_head",
    "check_overlap",
    "check_potential",
    "check_properties",
    "check_restart",
    "check_test_sets",
    "check_training",
    "complete",
    "problems_of",
    "refusal",
]
