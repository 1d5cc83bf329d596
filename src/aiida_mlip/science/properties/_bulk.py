"""The relaxed bulk crystal of a potential and its equation of state: the start of every other property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.eos import EquationOfState
from numpy.typing import NDArray
from pydantic import Field, field_validator
from scipy.optimize import brentq

from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import PropertyError
from aiida_mlip.science.properties._crystals import (
    ATOMS_PER_CUBIC_CELL,
    Structure,
    check_element,
    guess_volume,
    lattice_constant_from_volume,
    primitive_cell,
)


class CrystalInputs(StrictModel):
    """Inputs of every property of a cubic crystal of one element."""

    element: str = Field(description="chemical symbol")
    structure: Structure = Field(default="bcc", description="crystal structure")
    lattice_constant: float | None = Field(
        default=None, gt=0, description="[Å] of the cubic cell; None: the potential's own, from zero pressure"
    )

    @field_validator("element")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_element(value)


@dataclass(frozen=True)
class EosFit:
    """A third-order Birch-Murnaghan equation of state, per atom.

    :param volume: at the minimum of the energy [Å^3/atom].
    :param energy: at the minimum [eV/atom].
    :param bulk_modulus: at the minimum [GPa].
    :param derivative: pressure derivative of the bulk modulus.
    :param residual: root mean square deviation of the fit [eV/atom].
    :param volumes: where the energy was computed [Å^3/atom].
    :param energies: the energies there [eV/atom].
    """

    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    residual: float
    volumes: tuple[float, ...]
    energies: tuple[float, ...]


@dataclass(frozen=True)
class BulkState:
    """What a point defect is referred to.

    :param a: lattice constant of the cubic cell [Å].
    :param energy: of the crystal at this lattice constant [eV/atom].
    :param modulus: bulk modulus there [eV/Å^3].
    """

    a: float
    energy: float
    modulus: float


def pressure(atoms: Atoms) -> float:
    """Return the pressure [eV/Å^3] of ``atoms``: minus a third of the trace of the stress, positive when compressed."""
    return float(-np.mean(atoms.get_stress(voigt=True)[:3]))


def relaxed_lattice_constant(
    element: str,
    structure: Structure,
    calculator: BaseCalculator,
    *,
    guess: float | None = None,
    tolerance: float = 1e-5,
) -> float:
    """Return the lattice constant at zero pressure [Å].

    The root of the pressure needs fewer calls, and is sharper, than the minimum of the energy. It is bracketed from the
    guess in steps of 2 %, in the direction in which the pressure falls, so it belongs to a minimum of the energy.

    :param guess: lattice constant to start from [Å]; None: from the volume per atom in ASE's table.
    :param tolerance: of the lattice constant [Å].
    :raises PropertyError: where there is no zero between 0.7 and 1.5 times the guess.
    """
    start = guess or lattice_constant_from_volume(structure, guess_volume(element))

    def pressure_at(a: float) -> float:
        atoms = primitive_cell(element, structure, a)
        atoms.calc = calculator
        return pressure(atoms)

    here, value = start, pressure_at(start)
    factor = 1.02 if value > 0 else 1 / 1.02
    while 0.7 * start < here < 1.5 * start:
        there = here * factor
        value_there = pressure_at(there)
        if value_there == 0 or (value_there > 0) != (value > 0):
            return float(brentq(pressure_at, here, there, xtol=tolerance))
        here, value = there, value_there
    raise PropertyError(
        f"{structure} {element} has no zero of the pressure for lattice constants between {min(start, here):.3f} and "
        f"{max(start, here):.3f} Å: the potential does not hold this crystal together; give lattice_constant by hand"
    )


def lattice_constant_of(inputs: CrystalInputs, calculator: BaseCalculator) -> float:
    """Return the lattice constant [Å] that the inputs give, or the potential's own."""
    if inputs.lattice_constant is not None:
        return inputs.lattice_constant
    return relaxed_lattice_constant(inputs.element, inputs.structure, calculator)


def crystal_energy(inputs: CrystalInputs, a: float, calculator: BaseCalculator) -> float:
    """Return the energy [eV/atom] of the crystal of the inputs at lattice constant ``a`` [Å]."""
    return float(energies_per_atom([primitive_cell(inputs.element, inputs.structure, a)], calculator)[0])


def bulk_state(inputs: CrystalInputs, calculator: BaseCalculator, *, step: float = 0.01) -> BulkState:
    """Return the crystal of the inputs; the bulk modulus is -V dP/dV by a central difference.

    :param step: relative change of the lattice constant in the difference.
    """
    a = lattice_constant_of(inputs, calculator)
    pressures = []
    for factor in (1 - step, 1 + step):
        atoms = primitive_cell(inputs.element, inputs.structure, a * factor)
        atoms.calc = calculator
        pressures.append(pressure(atoms))
    return BulkState(a, crystal_energy(inputs, a, calculator), (pressures[0] - pressures[1]) / (6 * step))


def volume_series(element: str, structure: Structure, a: float, span: float, points: int) -> list[Atoms]:
    """Return primitive cells at equally spaced volumes between 1 - span and 1 + span times the one of ``a``."""
    factors = np.linspace(1 - span, 1 + span, points)
    return [primitive_cell(element, structure, a * float(factor) ** (1 / 3)) for factor in factors]


def energies_per_atom(cells: Sequence[Atoms], calculator: BaseCalculator) -> NDArray[np.float64]:
    """Return the energy per atom [eV] of each cell; the cells are left without calculator."""
    energies = []
    for cell in cells:
        atoms = cell.copy()
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy(force_consistent=True) / len(atoms))
    return np.array(energies, dtype=float)


def fit_eos(volumes: NDArray[np.float64], energies: NDArray[np.float64]) -> EosFit:
    """Fit the third-order Birch-Murnaghan equation of state (Phys. Rev. 71, 809 (1947)).

    :param volumes: [Å^3/atom], shape (m,) with m >= 5.
    :param energies: [eV/atom], shape (m,).
    :raises PropertyError: where the energies have no minimum among the volumes.
    """
    lowest = int(np.argmin(energies))
    if lowest in (0, len(energies) - 1):
        raise PropertyError(
            f"the energy has no minimum between {volumes.min():.3f} and {volumes.max():.3f} Å^3/atom: "
            "no equation of state can be fitted"
        )
    shift = float(energies[lowest])
    fit = EquationOfState(volumes, energies - shift, eos="birchmurnaghan")
    try:
        volume, energy, modulus = fit.fit(warn=False)
    except RuntimeError as error:
        raise PropertyError(f"the Birch-Murnaghan fit does not converge: {error}") from error
    deviation = fit.func(volumes, *fit.eos_parameters) - (energies - shift)
    return EosFit(
        volume=float(volume),
        energy=float(energy) + shift,
        bulk_modulus=float(modulus) * EV_PER_ANGSTROM3_IN_GPA,
        derivative=float(fit.eos_parameters[2]),
        residual=float(np.sqrt(np.mean(deviation**2))),
        volumes=tuple(float(v) for v in volumes),
        energies=tuple(float(e) for e in energies),
    )


def equation_of_state(
    element: str, structure: Structure, a: float, calculator: BaseCalculator, *, span: float = 0.06, points: int = 7
) -> EosFit:
    """Compute energies around the lattice constant ``a`` [Å] and fit them; see :func:`fit_eos`."""
    cells = volume_series(element, structure, a, span, points)
    volumes = np.array([cell.get_volume() / len(cell) for cell in cells])
    return fit_eos(volumes, energies_per_atom(cells, calculator))


def volume_of(structure: Structure, a: float) -> float:
    """Return the volume per atom [Å^3] at lattice constant ``a`` [Å]."""
    return a**3 / ATOMS_PER_CUBIC_CELL[structure]
