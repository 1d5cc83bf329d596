"""A calculator for the worker: ASE's EMT, which says nonsense about some configurations."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase.calculators.emt import EMT


class SometimesWrong(EMT):
    """EMT with 50 eV/Å too much on the first atom of about a fifth of all configurations, always of the same."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def calculate(self, *arguments: Any, **options: Any) -> None:
        """Compute, and spoil the result where the configuration is one of those."""
        super().calculate(*arguments, **options)
        if round(float(np.abs(self.atoms.positions).sum()) * 1e4) % 5 == 0:
            forces = self.results["forces"].copy()
            forces[0, 1] += 50.0
            self.results["forces"] = forces
