"""A calculator of a liquid for tests and for the worker: pairs of atoms, whatever the molecule they are in."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

SIGMA, CAP, REACH = 2.6, 2.0, 5.5


class PairLiquid(Calculator):
    """Lennard-Jones, continued by a straight line below 2 Å so that bonds are no catastrophe.

    ``epsilon``: [eV]; ``hole``: depth of a Gaussian well at 1.6 Å [eV]; ``push``: a force on each atom along x [eV/Å]
    that no energy belongs to; ``lithium``: whether it can do that element.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]
    default_parameters: ClassVar[dict[str, Any]] = {"epsilon": 0.012, "hole": 0.0, "push": 0.0, "lithium": True}

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Sum over pairs."""
        super().calculate(atoms, properties, system_changes)
        if 3 in self.atoms.numbers and not self.parameters.lithium:
            raise ValueError("lithium is too much for this calculator")
        atoms, epsilon, hole = self.atoms, self.parameters.epsilon, self.parameters.hole
        i, d, vector = neighbor_list("idD", atoms, REACH)
        r = np.maximum(d, CAP)
        ratio6 = (SIGMA / r) ** 6
        slope = 4 * epsilon * (-12 * ratio6**2 + 6 * ratio6) / r
        bump = -hole * np.exp(-(((d - 1.6) / 0.2) ** 2))
        edge = (SIGMA / REACH) ** 6
        energy = 4 * epsilon * (ratio6**2 - ratio6 - edge**2 + edge) + slope * (d - r) + bump
        slope = slope - 2 * (d - 1.6) / 0.2**2 * bump
        pull = (slope / d)[:, None] * vector
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pull)
        forces[:, 0] += self.parameters.push
        self.results = {"energy": 0.5 * float(energy.sum()), "forces": forces}
        if atoms.pbc.all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(0.5 * vector.T @ pull / atoms.get_volume())
