"""What ends a run: rules by name, each a pure function of what one step left.

A rule returns what is wrong in words, or None. Rules whose limit is None are off. A new rule is a function in
:data:`RULES` and a field of ``StopRules``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.stats import chi2

from aiida_mlip.science.contacts import pairs_within
from aiida_mlip.science.dynamics.observables import degrees_of_freedom, density_of, is_bulk
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.science.uncertainty.committee import relative_forces_sigma

BOND_FACTOR = 1.15
"""Two atoms are bonded at the start where they are nearer than this multiple of the sum of their covalent radii.

The value is that of the bond graph of ``mlip.electrolyte``: a bond is formed below 1.15 and broken above 1.6.
"""

CHANCE = 1e-9
"""Probability per step that the temperature rule would break by the fluctuations of the canonical ensemble alone."""

_SEARCH = 2.0
"""Cut-off [Å] of the search for close pairs where the limit is smaller: small cut-offs make many empty search cells."""


class Limits(Protocol):
    """The limits of the rules; :class:`aiida_mlip.schema.dynamics.StopRules` has them, and describes each."""

    @property
    def uncertainty(self) -> float | None:
        """[eV/Å]."""

    @property
    def relative_uncertainty(self) -> float | None:
        """No unit."""

    @property
    def relative_floor(self) -> float:
        """[eV/Å]."""

    @property
    def temperature(self) -> float | None:
        """Multiple of the target."""

    @property
    def distance(self) -> float | None:
        """[Å]."""

    @property
    def bonds(self) -> float | None:
        """Multiple of the sum of covalent radii."""

    @property
    def density(self) -> tuple[float, float] | None:
        """Multiples of the first density."""

    @property
    def force(self) -> float | None:
        """[eV/Å]."""


@dataclass(frozen=True)
class Bonds:
    """Bonds of the first configuration: pairs, cells between the two, and sums of covalent radii [Å]."""

    first: FloatArray
    second: FloatArray
    shifts: FloatArray
    radii: FloatArray


@dataclass(frozen=True)
class Reference:
    """What the rules compare with: bonds and density [g/cm^3] of the first configuration; None where it has none."""

    bonds: Bonds
    density: float | None


@dataclass(frozen=True)
class Observation:
    """What one step left.

    :param atoms: positions and cell after the step.
    :param energy: [eV].
    :param forces: [eV/Å], shape (n, 3).
    :param temperature: of the momenta [K].
    :param target: hottest target temperature so far [K].
    :param forces_sigma: uncertainty of each force [eV/Å], shape (n,); None where it was not evaluated at this step.
    """

    atoms: Atoms
    energy: float
    forces: FloatArray
    temperature: float
    target: float
    forces_sigma: FloatArray | None = None


Rule = Callable[[Observation, Reference, Limits], str | None]


def reference_of(atoms: Atoms, without: Collection[str] = ()) -> Reference:
    """Return what the rules compare a run with that starts at ``atoms``.

    Bonds reach across periodic images, and an atom may be bonded to its own image.

    :param without: chemical symbols of ions, which have contacts and no bonds.
    """
    radii = BOND_FACTOR * covalent_radii[atoms.numbers]
    first, second, shifts = pairs_within("ijS", atoms, radii)
    symbols = np.array(atoms.get_chemical_symbols())
    ions = np.isin(symbols, list(without))
    kept = ~(ions[first] | ions[second])
    first, second, shifts = first[kept], second[kept], shifts[kept]
    bonds = Bonds(first, second, shifts, covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]])
    return Reference(bonds, density_of(atoms) if is_bulk(atoms) else None)


def needs_uncertainty(limits: Limits) -> list[str]:
    """Return the rules with a limit that need an uncertainty."""
    return [name for name in ("uncertainty", "relative_uncertainty") if getattr(limits, name) is not None]


def broken_rule(seen: Observation, reference: Reference, limits: Limits) -> tuple[str, str] | None:
    """Return the name of the first rule that is broken, and the value and limit in words; None where all hold."""
    for name, rule in RULES.items():
        if message := rule(seen, reference, limits):
            return name, message
    return None


def temperature_factor(limit: float, freedom: int) -> float:
    """Return the multiple of the target temperature that ends a run.

    In the canonical ensemble T/T0 of one instant is chi-square distributed over its degrees of freedom. A cell of few
    atoms passes any fixed multiple sooner or later (two atoms pass 3 at every 34th independent instant), so the limit
    is raised to the value that chance passes with probability :data:`CHANCE`. From 16 atoms on that is below 3.
    """
    return max(limit, _chance_factor(freedom))


@lru_cache
def _chance_factor(freedom: int) -> float:
    return float(chi2.isf(CHANCE, freedom) / freedom)


def _not_finite(seen: Observation, _reference: Reference, _limits: Limits) -> str | None:
    parts = {
        "energy": seen.energy,
        "forces": seen.forces,
        "positions": seen.atoms.positions,
        "cell": seen.atoms.cell,
        "temperature": seen.temperature,
    }
    if seen.forces_sigma is not None:
        parts["uncertainty"] = seen.forces_sigma
    bad = [name for name, values in parts.items() if not np.isfinite(values).all()]
    return f"NaN or infinite: {', '.join(bad)}" if bad else None


def _distance(seen: Observation, _reference: Reference, limits: Limits) -> str | None:
    if limits.distance is None:
        return None
    first, second, lengths = pairs_within("ijd", seen.atoms, max(limits.distance, _SEARCH))
    if not len(lengths) or lengths.min() >= limits.distance:
        return None
    nearest = int(lengths.argmin())
    pair = _pair(seen.atoms, first[nearest], second[nearest])
    return f"{pair} are {lengths[nearest]:.3f} Å apart (limit {limits.distance:g} Å)"


def _force(seen: Observation, _reference: Reference, limits: Limits) -> str | None:
    if limits.force is None:
        return None
    sizes = np.linalg.norm(seen.forces, axis=1)
    worst = int(sizes.argmax())
    if sizes[worst] <= limits.force:
        return None
    return f"the force on {_atom(seen.atoms, worst)} is {sizes[worst]:.3g} eV/Å (limit {limits.force:g} eV/Å)"


def _temperature(seen: Observation, _reference: Reference, limits: Limits) -> str | None:
    if limits.temperature is None:
        return None
    limit = temperature_factor(limits.temperature, degrees_of_freedom(seen.atoms)) * seen.target
    if seen.temperature <= limit:
        return None
    return f"the temperature is {seen.temperature:.0f} K (limit {limit:.0f} K, hottest target {seen.target:.0f} K)"


def _density(seen: Observation, reference: Reference, limits: Limits) -> str | None:
    if limits.density is None or reference.density is None:
        return None
    low, high = (factor * reference.density for factor in limits.density)
    found = density_of(seen.atoms)
    if low <= found <= high:
        return None
    return f"the density is {found:.3f} g/cm3 (limits {low:.3f} and {high:.3f} g/cm3)"


def _bonds(seen: Observation, reference: Reference, limits: Limits) -> str | None:
    bonds = reference.bonds
    if limits.bonds is None or not len(bonds.radii):
        return None
    positions = seen.atoms.positions
    vectors = positions[bonds.second] - positions[bonds.first] + bonds.shifts @ seen.atoms.cell.array
    lengths = np.linalg.norm(vectors, axis=1)
    ratios = lengths / bonds.radii
    worst = int(ratios.argmax())
    if ratios[worst] <= limits.bonds:
        return None
    pair = _pair(seen.atoms, bonds.first[worst], bonds.second[worst])
    return f"the bond between {pair} is {lengths[worst]:.3f} Å long (limit {limits.bonds * bonds.radii[worst]:.3f} Å)"


def _uncertainty(seen: Observation, _reference: Reference, limits: Limits) -> str | None:
    if limits.uncertainty is None or seen.forces_sigma is None:
        return None
    worst = int(seen.forces_sigma.argmax())
    found = seen.forces_sigma[worst]
    if found <= limits.uncertainty:
        return None
    where = _atom(seen.atoms, worst)
    return f"the force uncertainty of {where} is {found:.3g} eV/Å (limit {limits.uncertainty:g} eV/Å)"


def _relative_uncertainty(seen: Observation, _reference: Reference, limits: Limits) -> str | None:
    if limits.relative_uncertainty is None or seen.forces_sigma is None:
        return None
    ratios = relative_forces_sigma(seen.forces_sigma, seen.forces, limits.relative_floor)
    worst = int(ratios.argmax())
    if ratios[worst] <= limits.relative_uncertainty:
        return None
    where = _atom(seen.atoms, worst)
    return f"the relative force uncertainty of {where} is {ratios[worst]:.3g} (limit {limits.relative_uncertainty:g})"


RULES: Mapping[str, Rule] = {
    "not_finite": _not_finite,
    "distance": _distance,
    "force": _force,
    "temperature": _temperature,
    "density": _density,
    "bonds": _bonds,
    "uncertainty": _uncertainty,
    "relative_uncertainty": _relative_uncertainty,
}
"""Name -> rule, in the order in which they are asked: what makes a frame useless comes first."""


def _atom(atoms: Atoms, index: int) -> str:
    return f"{atoms.symbols[index]}{index}"


def _pair(atoms: Atoms, first: int, second: int) -> str:
    return f"{_atom(atoms, first)} and {_atom(atoms, second)}"
