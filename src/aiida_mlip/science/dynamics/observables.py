"""What a step of the dynamics is measured by. The centre of mass is at rest: there are 3n - 3 degrees of freedom."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from numpy.random import Generator

from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.predictions import FloatArray

_GRAMS_PER_CM3 = 1e24 / float(units.mol)
"""1 u/Å^3 in g/cm^3."""


def degrees_of_freedom(atoms: Atoms) -> int:
    """Return 3n - 3."""
    return 3 * len(atoms) - 3


def draw_momenta(atoms: Atoms, temperature: float, rng: Generator) -> FloatArray:
    """Return momenta of the Maxwell-Boltzmann distribution, centre of mass at rest, temperature exactly as asked.

    :param temperature: [K].
    :return: shape (n, 3), in ASE's units.
    """
    masses = atoms.get_masses()[:, None]
    momenta = rng.standard_normal((len(atoms), 3)) * np.sqrt(masses * units.kB * temperature)
    momenta -= masses * momenta.sum(axis=0) / masses.sum()
    kinetic = 0.5 * float((momenta**2 / masses).sum())
    found: FloatArray = momenta * np.sqrt(0.5 * degrees_of_freedom(atoms) * units.kB * temperature / kinetic)
    return found


def temperature_of(atoms: Atoms, kinetic_energy: float) -> float:
    """Return the temperature [K] that belongs to a kinetic energy [eV]."""
    return 2 * kinetic_energy / (degrees_of_freedom(atoms) * float(units.kB))


def is_bulk(atoms: Atoms) -> bool:
    """Return whether the cell is periodic in three directions, so that it has a volume, a density and a pressure."""
    return bool(atoms.pbc.all()) and atoms.cell.rank == 3


def density_of(atoms: Atoms) -> float:
    """Return the density of a periodic cell [g/cm^3]."""
    return float(atoms.get_masses().sum() / atoms.get_volume()) * _GRAMS_PER_CM3


def pressure_of(stress: FloatArray, kinetic_energy: float, volume: float) -> float:
    """Return the pressure [GPa] of potential and momenta; positive is compression.

    :param stress: of the potential [eV/Å^3], ASE's sign and Voigt order, shape (6,).
    :param kinetic_energy: [eV].
    :param volume: [Å^3].
    """
    virial = -float(np.sum(stress[:3])) / 3
    return (virial + 2 * kinetic_energy / (3 * volume)) * EV_PER_ANGSTROM3_IN_GPA
