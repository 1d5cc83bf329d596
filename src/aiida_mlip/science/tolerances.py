"""How far a property may be from its reference: good, fair or poor, by kind of property.

The limits answer one question: could the difference be that between two careful calculations with density functional
theory? *Good* is within what a change of functional, pseudopotential, cell size or k-points does to the quantity;
*fair* is outside of it, while trends and orders of magnitude still hold; *poor* is beyond. No experiment enters.

They are conventions, not laws: the scatter that they rest on is stated with each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Grade = Literal["good", "fair", "poor"]

GRADES: tuple[Grade, ...] = ("good", "fair", "poor")
"""All grades, from the best to the worst."""

CODES = "K. Lejaeghere et al., Science 351, aad3000 (2016)"
"""Equations of state of the elements from 15 codes."""

ELASTIC = "M. de Jong et al., Sci. Data 2, 150009 (2015)"
"""Elastic constants of 1181 crystals, and how far they depend on settings."""

POINT_DEFECTS = "P.-W. Ma, S. L. Dudarev, Phys. Rev. Mater. 3, 013605 (2019)"
"""Vacancies and self-interstitials in all bcc metals, beside earlier calculations."""

SURFACES = "R. Tran et al., Sci. Data 3, 160080 (2016)"
"""Surface energies of elemental crystals, beside earlier calculations."""

SCREWS = "L. Dezerald et al., Phys. Rev. B 89, 024104 (2014)"
"""Energies of screw dislocations along their path in bcc metals, with their dependence on cell and correction."""


@dataclass(frozen=True)
class Tolerance:
    """How far a quantity may be from its reference.

    :param title: the kind of quantity, e.g. 'elastic constants'.
    :param patterns: keys it holds for, in the form of :mod:`fnmatch`.
    :param unit: of ``floor``, and of the quantity, as in the reference data.
    :param relative: largest magnitude of value / reference - 1 that is good, and that is fair; (0, 0) where only
        ``floor`` counts.
    :param floor: differences [``unit``] that are good, and fair, however small the reference is.
    :param why: what the limits rest on.
    :param source: where the scatter can be read; empty where there is no publication.
    :param sign: a value of the other sign than the reference is poor however close: another crystal or core is stable.
    """

    title: str
    patterns: tuple[str, ...]
    unit: str
    relative: tuple[float, float]
    floor: tuple[float, float]
    why: str
    source: str = ""
    sign: bool = False

    def limits(self, reference: float) -> tuple[float, float]:
        """Return the largest differences [``unit``] from ``reference`` that are good and fair."""
        good, fair = (max(part * abs(reference), least) for part, least in zip(self.relative, self.floor, strict=True))
        return good, fair

    def text(self) -> str:
        """Return the limits in words, e.g. ``10 / 20 %, at least 5 / 10 GPa``."""
        relative = f"{100 * self.relative[0]:g} / {100 * self.relative[1]:g} %" if any(self.relative) else ""
        absolute = f"{self.floor[0]:g} / {self.floor[1]:g} {self.unit}" if any(self.floor) else ""
        return f"{relative}, at least {absolute}" if relative and absolute else relative or absolute


TABLE: tuple[Tolerance, ...] = (
    Tolerance(
        title="lattice constants",
        patterns=("lattice_constant", "lattice_constant_*"),
        unit="angstrom",
        relative=(0.005, 0.01),
        floor=(0.0, 0.0),
        why="Codes agree to 0.1 %; generalised-gradient functionals differ by about 0.5 % for these metals, and the "
        "local density approximation by 1 to 2 % from them.",
        source=CODES,
    ),
    Tolerance(
        title="volumes",
        patterns=("volume_*",),
        unit="angstrom^3/atom",
        relative=(0.015, 0.03),
        floor=(0.0, 0.0),
        why="Three times the limits of lattice constants.",
        source=CODES,
    ),
    Tolerance(
        title="elastic constants and moduli",
        patterns=("C[1-6][1-6]", "Cprime", "bulk_modulus", "bulk_modulus_*", "shear_modulus*"),
        unit="GPa",
        relative=(0.10, 0.20),
        floor=(5.0, 10.0),
        why="Settings and functional move constants by 5 to 15 %; soft shear constants, such as C44 of Nb, move by "
        "more of their size, hence a limit in GPa as well. A crystal is stable or not: the sign has to be right.",
        source=ELASTIC,
        sign=True,
    ),
    Tolerance(
        title="elastic anisotropy",
        patterns=("anisotropy",),
        unit="1",
        relative=(0.15, 0.30),
        floor=(0.0, 0.0),
        why="A ratio of two shear constants, so their limits added in squares.",
        source=ELASTIC,
        sign=True,
    ),
    Tolerance(
        title="differences between phases",
        patterns=("E_*_minus_*",),
        unit="eV/atom",
        relative=(0.0, 0.0),
        floor=(0.025, 0.05),
        why="Codes agree to some meV/atom, functionals to 10 to 30 meV/atom; 25 meV/atom is kT at room temperature. "
        "The sign says which phase is stable.",
        source=CODES,
        sign=True,
    ),
    Tolerance(
        title="relaxation volumes",
        patterns=("*_relaxation_volume", "*_relaxation_volume_*"),
        unit="atomic volumes",
        relative=(0.0, 0.0),
        floor=(0.1, 0.2),
        why="Stresses of small cells converge slowly: published volumes differ by 0.05 to 0.2 atomic volumes.",
        source=POINT_DEFECTS,
    ),
    Tolerance(
        title="vacancy migration",
        patterns=("vacancy_migration*",),
        unit="eV",
        relative=(0.0, 0.0),
        floor=(0.1, 0.2),
        why="Published barriers differ by 0.1 eV with cell size and functional; 0.2 eV is a factor of 10 in the rate "
        "at 1000 K.",
    ),
    Tolerance(
        title="vacancies",
        patterns=("vacancy_*",),
        unit="eV",
        relative=(0.0, 0.0),
        floor=(0.1, 0.3),
        why="Cell size and k-points move the energy by up to 0.1 eV, the functional by up to 0.3 eV.",
        source=POINT_DEFECTS,
    ),
    Tolerance(
        title="differences between interstitials",
        patterns=("interstitial_*_minus_*",),
        unit="eV",
        relative=(0.0, 0.0),
        floor=(0.1, 0.2),
        why="Errors of cell and functional cancel in part; the sign says which orientation is stable.",
        source=POINT_DEFECTS,
        sign=True,
    ),
    Tolerance(
        title="interstitials",
        patterns=("interstitial_*",),
        unit="eV",
        relative=(0.05, 0.10),
        floor=(0.1, 0.2),
        why="Cell size, elastic correction, semi-core electrons and functional move published energies by 5 to 8 %.",
        source=POINT_DEFECTS,
    ),
    Tolerance(
        title="gamma lines",
        patterns=("gamma_*",),
        unit="J/m^2",
        relative=(0.10, 0.20),
        floor=(0.03, 0.06),
        why="Follows the scatter of the shear constants, with which the line begins; relaxation normal to the plane "
        "and the thickness of the slab add some percent.",
    ),
    Tolerance(
        title="surfaces",
        patterns=("surface_*",),
        unit="J/m^2",
        relative=(0.10, 0.20),
        floor=(0.05, 0.10),
        why="Functionals differ by 10 to 20 % for the same slab, thickness and relaxation by some percent.",
        source=SURFACES,
    ),
    Tolerance(
        title="differences between dislocation cores",
        patterns=("screw_*_minus_*",),
        unit="eV per b",
        relative=(0.20, 0.50),
        floor=(0.01, 0.02),
        why="Small differences of large energies: cell, correction for image stress and functional move them by 10 "
        "to 20 %. The sign says which core is stable.",
        source=SCREWS,
        sign=True,
    ),
    Tolerance(
        title="dislocation barriers",
        patterns=("screw_*barrier*", "*_peierls_barrier"),
        unit="eV per b",
        relative=(0.20, 0.50),
        floor=(0.005, 0.01),
        why="Barriers of some 10 meV per b move by 10 to 20 % with cell, boundary condition and functional.",
        source=SCREWS,
    ),
    *(
        Tolerance(
            title=f"barriers of junctions on ({plane})",
            patterns=(f"junction_100_{plane}_barrier",),
            unit=unit,
            relative=(0.20, 0.50),
            floor=(0.0, 0.0),
            why="As for the barriers of screws, per period of another line.",
        )
        for plane, unit in (("001", "eV per a"), ("011", "eV per a*sqrt2"))
    ),
)  # fmt: skip
"""The first entry whose pattern fits a key holds for it."""


def tolerance(key: str, unit: str | None = None) -> Tolerance | None:
    """Return the tolerance of the quantity called ``key``, or None where no kind of the table fits.

    :param unit: of the quantity; a tolerance in another unit does not fit.
    """
    found = next((entry for entry in TABLE if any(fnmatchcase(key, pattern) for pattern in entry.patterns)), None)
    return found if found is not None and unit in (None, found.unit) else None


def grade(key: str, value: float, reference: float, unit: str | None = None) -> Grade | None:
    """Return how close a value is to its reference.

    :param key: of the quantity, as in the reference data.
    :param reference: in the same unit as the value.
    :param unit: of both; None: that of the tolerance.
    :return: ``good``, ``fair`` or ``poor``; None where the key has no tolerance in this unit, or a number is not
        finite.
    """
    entry = tolerance(key, unit)
    if entry is None or not (math.isfinite(value) and math.isfinite(reference)):
        return None
    if entry.sign and value * reference < 0:
        return "poor"
    good, fair = entry.limits(reference)
    difference = abs(value - reference)
    return "good" if difference <= good else "fair" if difference <= fair else "poor"
