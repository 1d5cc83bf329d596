"""The potentials of Finnis and Sinclair for W, Mo, Nb and Ta: analytic, fast, and bcc like the metals they describe.

M. W. Finnis, J. E. Sinclair, Phil. Mag. A 50, 45 (1984), with the parameters of the erratum, Phil. Mag. A 53, 161
(1986). They serve as a classical baseline, and for tests of the logic of properties that need a bcc metal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from aiida_mlip.worker.backends.ase_calculators import CalculatorBackend

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """The parameters of one element.

    :param density_range: d, range of the density [Å].
    :param depth: A, of the embedding term [eV/Å].
    :param pair_range: c, range of the pair potential [Å].
    :param coefficients: c0, c1, c2 of the pair potential [eV/Å^2, eV/Å^3, eV/Å^4].
    """

    density_range: float
    depth: float
    pair_range: float
    coefficients: tuple[float, float, float]


PARAMETERS = {
    "W": Parameters(4.400224, 1.896373, 3.25, (47.1346499, -33.7665655, 6.2541999)),
    "Mo": Parameters(4.114825, 1.887117, 3.25, (43.4475218, -31.9332978, 6.0804249)),
    "Nb": Parameters(3.915354, 3.013789, 4.20, (-1.5640104, 2.0055779, -0.4663764)),
    "Ta": Parameters(4.076980, 2.591061, 4.20, (1.2157373, 0.0271471, -0.1217350)),
}


class FinnisSinclair(Calculator):
    """ASE calculator for one element at a time.

    The energy of an atom is half the sum of (r - c)^2 (c0 + c1 r + c2 r^2) over its neighbours, minus A times the
    square root of the sum of (r - d)^2.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute energy [eV], energies of the atoms [eV], forces [eV/Å] and stress [eV/Å^3].

        :raises ValueError: where there are several elements, or one without parameters.
        """
        super().calculate(atoms, properties, system_changes)
        symbols = set(self.atoms.get_chemical_symbols())
        if len(symbols) != 1 or not symbols <= set(PARAMETERS):
            raise ValueError(f"elements = {sorted(symbols)}: Finnis-Sinclair needs one of {', '.join(PARAMETERS)}")
        known = PARAMETERS[symbols.pop()]
        cutoff = max(known.density_range, known.pair_range)
        i, j, r, vector = neighbour_list("ijdD", self.atoms, cutoff)
        pair, pair_slope = _pair(known, r)
        density, density_slope = _density(known, r)
        count = len(self.atoms)
        root = np.sqrt(np.bincount(i, density, count))
        energies = np.bincount(i, pair, count) / 2 - known.depth * root
        embedding_slope = -known.depth / (2 * np.maximum(root, 1e-12))
        slope = pair_slope / 2 + embedding_slope[i] * density_slope
        along = (slope / r)[:, None] * vector
        forces = np.stack([np.bincount(i, along[:, k], count) - np.bincount(j, along[:, k], count) for k in range(3)])
        self.results = {
            "energy": float(energies.sum()),
            "free_energy": float(energies.sum()),
            "energies": energies,
            "forces": forces.T,
        }
        if self.atoms.cell.rank == 3:
            virial = vector.T @ along / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(virial)


def _pair(known: Parameters, r: Array) -> tuple[Array, Array]:
    """Return the pair potential [eV] and its slope [eV/Å] at distances ``r`` [Å]."""
    c0, c1, c2 = known.coefficients
    x = np.minimum(r - known.pair_range, 0.0)
    polynomial = c0 + c1 * r + c2 * r**2
    return x**2 * polynomial, 2 * x * polynomial + x**2 * (c1 + 2 * c2 * r)


def _density(known: Parameters, r: Array) -> tuple[Array, Array]:
    """Return the density [Å^2] and its slope [Å] at distances ``r`` [Å]."""
    x = np.minimum(r - known.density_range, 0.0)
    return x**2, 2 * x


class FinnisSinclairBackend(CalculatorBackend):
    """Finnis-Sinclair for W, Mo, Nb and Ta."""

    architecture = "finnis_sinclair"
    calculator = "aiida_mlip.worker.backends.finnis_sinclair:FinnisSinclair"
    r_max = 4.400224


__all__ = ["PARAMETERS", "FinnisSinclair", "FinnisSinclairBackend", "Parameters"]
