"""What vacancies and interstitials share: formation energy, elastic correction, cells of growing size, warm starts.

A defect in a periodic cell of fixed volume V is under the stress of its own images. With the pressure P that it adds,
and the bulk modulus B, the elastic energy that this costs is P^2 V / 2B, and the volume by which the crystal would
change is the relaxation volume P V / B; both from linear elasticity, isotropic stress (e.g. C. Varvenne, F. Bruneval,
M.-C. Marinica, E. Clouet, Phys. Rev. B 88, 134102 (2013), where the full tensor is treated).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.geometry import find_mic
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import Flag, PropertyResult, Report
from aiida_mlip.science.properties._bulk import BulkState, CrystalInputs, bulk_state, pressure
from aiida_mlip.science.properties._crystals import nearest_neighbour, primitive_cell
from aiida_mlip.science.properties._relax import Relaxation

Array = NDArray[np.float64]

MAX_SIZE_CHANGE = 0.02
"""Change of a formation energy between the two largest cells [eV] that is flagged."""

COLLAPSE = 0.4
"""Distance of two atoms, as a fraction of the nearest-neighbour distance, below which a potential has collapsed."""


class DefectInCell(StrictModel):
    """A point defect in one size of the cell."""

    size: int = Field(description="cubic cells along each edge")
    atoms: int = Field(description="atoms in the cell with the defect")
    formation_energy: float = Field(description="at constant volume, relaxed [eV]")
    corrected: float = Field(description="at zero pressure in linear elasticity: minus P^2 V / 2B [eV]")
    pressure: float = Field(description="that the relaxed defect adds at constant volume [GPa]")
    relaxation_volume: float = Field(description="P V / B, in atomic volumes")
    fmax: float = Field(description="largest force at the end [eV/Å]")
    steps: int = Field(description="steps of the relaxation")
    converged: bool = Field(description="whether the forces are below the limit")


class DefectResult(PropertyResult):
    """What the results of all point defects say about the crystal."""

    bulk_energy: float = Field(description="per atom of the crystal [eV]")
    bulk_modulus: float = Field(description="used in the correction, from the pressure at +-1 % in a [GPa]")
    bulk_pressure: float = Field(description="of the crystal without defect [GPa]; zero at its own lattice constant")
    lattice_constant: float = Field(description="of the cubic cell [Å]")


@dataclass(frozen=True)
class Host:
    """The crystal that a defect is referred to.

    :param bulk: lattice constant, energy and bulk modulus.
    :param pressure: of the crystal without defect [eV/Å^3].
    :param neighbour: nearest-neighbour distance [Å].
    """

    bulk: BulkState
    pressure: float
    neighbour: float

    def summary(self) -> dict[str, float]:
        """Return the fields of :class:`DefectResult`."""
        return {
            "bulk_energy": self.bulk.energy,
            "bulk_modulus": self.bulk.modulus * EV_PER_ANGSTROM3_IN_GPA,
            "bulk_pressure": self.pressure * EV_PER_ANGSTROM3_IN_GPA,
            "lattice_constant": self.bulk.a,
        }


def host(inputs: CrystalInputs, calculator: BaseCalculator, report: Report) -> Host:
    """Compute the crystal of the inputs, once for all jobs."""

    def make() -> list[float]:
        report("bulk", 0, 1)
        bulk = bulk_state(inputs, calculator)
        atoms = primitive_cell(inputs.element, inputs.structure, bulk.a)
        atoms.calc = calculator
        return [bulk.a, bulk.energy, bulk.modulus, pressure(atoms)]

    a, energy, modulus, p = report.keep("bulk", make)
    return Host(BulkState(a, energy, modulus), p, nearest_neighbour(inputs.element, inputs.structure, a))


def formation_energy(atoms: Atoms, bulk: BulkState) -> float:
    """Return the energy of ``atoms`` minus that of as many atoms of the crystal [eV]."""
    return float(atoms.get_potential_energy(force_consistent=True)) - len(atoms) * bulk.energy


def elastic_correction(p: float, volume: float, modulus: float) -> float:
    """Return what is to be added to an energy at constant volume [eV] to have it at zero pressure: -P^2 V / 2B.

    :param p: pressure that the defect adds [eV/Å^3].
    :param volume: of the cell [Å^3].
    :param modulus: bulk modulus [eV/Å^3].
    """
    return -(p**2) * volume / (2 * modulus)


def in_cell(atoms: Atoms, size: int, sites: int, crystal: Host, relaxation: Relaxation) -> DefectInCell:
    """Return the numbers of a relaxed defect; ``sites`` is the number of lattice sites in the cell."""
    energy, volume = formation_energy(atoms, crystal.bulk), float(atoms.get_volume())
    added, modulus = pressure(atoms) - crystal.pressure, crystal.bulk.modulus
    return DefectInCell(
        size=size,
        atoms=len(atoms),
        formation_energy=energy,
        corrected=energy + elastic_correction(added, volume, modulus),
        pressure=added * EV_PER_ANGSTROM3_IN_GPA,
        relaxation_volume=added / modulus * sites,
        fmax=relaxation.fmax,
        steps=relaxation.steps,
        converged=relaxation.converged,
    )


def extrapolate(small: DefectInCell, large: DefectInCell) -> float:
    """Return the formation energy of an infinite cell [eV]: the elastic energy of the images falls as 1 / volume."""
    ratio = (small.size / large.size) ** 3
    return (large.formation_energy - ratio * small.formation_energy) / (1 - ratio)


def shaken(atoms: Atoms, noise: float, seed: int) -> Array:
    """Return the positions of ``atoms``, shape (n, 3) [Å], with seeded normal displacements whose mean is zero."""
    shift = np.random.default_rng(seed).normal(scale=noise, size=atoms.positions.shape)
    return np.asarray(atoms.positions + shift - shift.mean(axis=0), dtype=float)


def displacements(before: Atoms, after: Atoms) -> Array:
    """Return how far each atom has moved, shape (n, 3) [Å], without a shift of the whole cell."""
    shift, _ = find_mic(after.positions - before.positions, after.cell, after.pbc)
    return np.asarray(shift - shift.mean(axis=0), dtype=float)


def embed(small: Atoms, small_relaxed: Atoms, large: Atoms, centres: tuple[ArrayLike, ArrayLike]) -> Array:
    """Return positions in a large cell to start from: the displacements of a smaller cell around the same defect.

    :param small: the unrelaxed defect in the small cell.
    :param small_relaxed: the same, relaxed.
    :param large: the unrelaxed defect in the large cell.
    :param centres: where the defect is in the small and in the large cell [Å].
    :return: shape (n, 3) [Å]; atoms outside the small cell stay where they are.
    """
    moved = displacements(small, small_relaxed)
    distance, index = cKDTree(_from_centre(small, centres[0])).query(_from_centre(large, centres[1]))
    positions = large.positions.copy()
    same = distance < 1e-3
    positions[same] += moved[index[same]]
    return np.asarray(positions, dtype=float)


def _from_centre(atoms: Atoms, centre: ArrayLike) -> Array:
    vectors, _ = find_mic(atoms.positions - np.asarray(centre, dtype=float), atoms.cell, atoms.pbc)
    return np.asarray(vectors, dtype=float)


def convergence_flags(cells: Sequence[DefectInCell], what: str = "", *, unusable: bool = True) -> list[Flag]:
    """Return flags for cells that are not relaxed, and for an energy that depends on the size of the cell.

    :param what: named at the start of each message.
    :param unusable: whether the result must not be used where a cell is not relaxed.
    """
    prefix = f"{what} " if what else ""
    flags = [
        Flag(
            name="not_converged",
            message=f"{prefix}in {cell.size}x{cell.size}x{cell.size} cells: the largest force is {cell.fmax:.3f} eV/Å "
            f"after {cell.steps} steps",
            unusable=unusable,
        )
        for cell in cells
        if not cell.converged
    ]
    if len(cells) > 1:
        change = cells[-1].formation_energy - cells[-2].formation_energy
        if abs(change) > MAX_SIZE_CHANGE:
            message = f"{prefix}E_f changes by {1e3 * change:+.0f} meV between the two largest cells"
            flags.append(Flag(name="size_dependent", message=message))
    return flags
