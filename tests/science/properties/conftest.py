"""A calculator whose elastic constants are known exactly, and one that turns its answers into another frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from matscipy.elasticity import cubic_to_Voigt_6x6

GPA = 1 / 160.21766208


class LinearSolid(Calculator):
    """A homogeneous solid: the energy is quadratic in the Lagrangian strain of the one-atom cell.

    E = V0 / 2 * eta C eta, with eta = (F^T F - 1) / 2, and the Cauchy stress F (C eta) F^T / det F.

    :param reference: the unstrained primitive cell.
    :param c11, c12, c44: [GPa].
    :param stress_factor: the stress is multiplied by it, so that it disagrees with the energy.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self, reference: Atoms, c11: float, c12: float, c44: float, *, quartic: float = 0.0, stress_factor: float = 1.0
    ) -> None:
        super().__init__()
        self.reference = reference
        self.constants = cubic_to_Voigt_6x6(c11, c12, c44) * GPA
        self.quartic = quartic
        self.stress_factor = stress_factor

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        f = np.linalg.solve(self.reference.cell.array, self.atoms.cell.array).T
        eta = (f.T @ f - np.eye(3)) / 2
        voigt = np.array([eta[0, 0], eta[1, 1], eta[2, 2], 2 * eta[1, 2], 2 * eta[0, 2], 2 * eta[0, 1]])
        second = self.constants @ voigt + 4 * self.quartic * voigt**3
        energy = self.reference.get_volume() * (0.5 * voigt @ self.constants @ voigt + self.quartic * np.sum(voigt**4))
        xx, yy, zz, yz, xz, xy = second
        cauchy = f @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ f.T / np.linalg.det(f)
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": np.zeros((len(self.atoms), 3)),
            "stress": self.stress_factor * cauchy[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }


@pytest.fixture
def linear_solid() -> type[LinearSolid]:
    """The class of the homogeneous solid."""
    return LinearSolid
