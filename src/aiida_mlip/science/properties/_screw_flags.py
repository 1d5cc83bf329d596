"""What a reader of the energies of a screw dislocation has to know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mlip.science.properties._base import Flag
from aiida_mlip.science.properties._images import HUMP, count_humps
from aiida_mlip.science.properties._screw_result import CoreInCylinder, GlidePath
from aiida_mlip.science.properties._stiffness import CubicStiffness

UNEQUAL_ENDS = 0.001
"""Difference of the energies of the two ends of the path [eV per b] that is flagged."""

RADII_DISAGREE = 0.005
"""Change of an energy between the two largest radii [eV per b] that is flagged."""

SURFACE_DRIFT = 0.01
"""Difference between energies of atoms and total energies [eV per b] that is flagged."""

LAG = 0.5
"""Distance of a core from the centre of the field at its boundary [Å] that is flagged."""

MAX_ANISOTROPY = 6.0
"""Zener ratio C44 / C', or its inverse, from which a crystal counts as close to an elastic instability."""

MAX_PERPENDICULAR = 0.05
"""Force perpendicular to the path [eV/Å] that is flagged."""


def core_flags(cores: Sequence[CoreInCylinder]) -> list[Flag]:
    """Return the flags of the relaxed cores."""
    flags = []
    for core in cores:
        where = f"{core.requested} core, radius {core.radius:g} Å"
        if not core.converged:
            message = f"{where}: the largest force is {core.fmax:.3f} eV/Å after {core.steps} steps"
            flags.append(Flag(name="not_converged", message=message, unusable=True))
        if core.after.kind in ("none", "several"):
            message = f"{where}: Burgers circuits find {core.after.burgers} b in {core.after.open_triangles} triangles"
            flags.append(Flag(name="core_left", message=f"{message}: the core left the cylinder", unusable=True))
        elif core.requested == "easy":
            flags += _easy_flags(core, where)
        elif core.requested in ("hard", "split") and core.after.kind != core.requested:
            message = f"{where}: although held it is {core.after.kind} after the relaxation"
            flags.append(Flag(name=f"{core.requested}_core_lost", message=message))
        if core.lag > LAG and core.requested != "easy":
            message = f"{where}: it settled {core.lag:.2f} Å from the centre of the field at the boundary"
            flags.append(Flag(name="boundary_lags", message=f"{message}, which pulls it back: use a larger radius"))
        if abs(core.energy - core.by_total_energy) > SURFACE_DRIFT:
            message = (
                f"{where}: {core.energy:.4f} eV per b around the core, {core.by_total_energy:.4f} with the surface"
            )
            flags.append(Flag(name="surface_drift", message=message))
    return flags


def _easy_flags(core: CoreInCylinder, where: str) -> list[Flag]:
    if core.after.kind == "degenerate":
        message = f"{where}: polarity {core.after.polarity:+.2f}: the core is spread on three planes in one of two ways"
        return [Flag(name="degenerate_core", message=f"{message}; density-functional theory finds a symmetric one")]
    if core.after.kind != "easy":
        message = f"{where}: it is {core.after.kind} after the relaxation: the easy core is not stable"
        return [Flag(name="easy_core_unstable", message=message, unusable=True)]
    return []


def method_flags(stiffness: CubicStiffness, *, atomic_energies: bool) -> list[Flag]:
    """Return the flags of what the potential gives: energies of atoms, and a crystal far from an instability."""
    flags = []
    if not atomic_energies:
        message = "the potential has no energies of atoms: total energies are used, with the drift of the free surface"
        flags.append(Flag(name="no_atomic_energies", message=message))
    c_prime = (stiffness.c11 - stiffness.c12) / 2
    anisotropy = stiffness.c44 / c_prime
    if not 1 / MAX_ANISOTROPY < anisotropy < MAX_ANISOTROPY:
        message = (
            f"C44 = {stiffness.c44:.1f} GPa and C' = {c_prime:.1f} GPa: a Zener ratio of {anisotropy:.2f} is close to "
            "an elastic instability, so the elastic field at the boundary is hardly that of a metal"
        )
        flags.append(Flag(name="nearly_unstable", message=message))
    return flags


def order_flags(cores: Sequence[CoreInCylinder], hard_collapses: bool | None) -> list[Flag]:
    """Return the flags of the energies of other cores against the easy one, and of a hard core that is let go."""
    flags = []
    if hard_collapses:
        message = "the hard core leaves for another one when it is let go: its energy is that of the held core"
        flags.append(Flag(name="hard_core_collapsed", message=message))
    for core in cores:
        if core.requested in ("hard", "split") and core.energy < 0:
            message = (
                f"radius {core.radius:g} Å: the {core.requested} core is {-core.energy:.4f} eV per b below the easy"
            )
            flags.append(Flag(name=f"{core.requested}_below_easy", message=f"{message} core, against DFT"))
    return flags


def radius_flags(cores: Sequence[CoreInCylinder]) -> list[Flag]:
    """Return a flag for each core whose energy changes between the two largest radii."""
    flags = []
    for kind in dict.fromkeys(core.requested for core in cores):
        same = sorted((core for core in cores if core.requested == kind), key=lambda core: core.radius)
        if len(same) > 1 and abs(same[-1].energy - same[-2].energy) > RADII_DISAGREE:
            small, large = same[-2:]
            message = (
                f"{kind} core: {small.energy:.4f} eV per b at radius {small.radius:g} Å, {large.energy:.4f} at "
                f"{large.radius:g} Å: use larger radii"
            )
            flags.append(Flag(name="radii_disagree", message=message))
    return flags


def glide_flags(path: GlidePath) -> list[Flag]:
    """Return the flags of the path between two easy cores."""
    flags = []
    if not path.converged or path.perpendicular > MAX_PERPENDICULAR:
        message = (
            f"the force perpendicular to the path is {path.perpendicular:.3f} eV/Å after {path.iterations} iterations"
        )
        flags.append(Flag(name="path_not_converged", message=message, unusable=True))
    if abs(path.end_mismatch) > UNEQUAL_ENDS:
        message = f"the two ends differ by {1e3 * path.end_mismatch:+.2f} meV per b, although symmetry makes them equal"
        flags.append(Flag(name="unequal_ends", message=message))
    if not path.symmetric and abs(path.energy[-1] - path.energy[0]) > UNEQUAL_ENDS:
        message = f"the energy of the last image is {1e3 * path.energy[-1]:+.2f} meV per b instead of 0"
        flags.append(Flag(name="unequal_ends", message=message))
    energy = np.array(path.energy)
    middle = len(energy) // 2
    if path.barrier > energy[middle] + HUMP:
        message = f"{energy[middle]:.4f} eV per b half way, up to {path.barrier:.4f} before: a camel hump"
        flags.append(
            Flag(name="midpoint_no_maximum", message=f"{message}; the path has a minimum or another core there")
        )
    count = count_humps(path.energy)
    if count > 2:
        flags.append(Flag(name="several_humps", message=f"the path has {count} maxima: use more images"))
    if energy.min() < -HUMP:
        message = f"an image is {-1e3 * energy.min():.1f} meV per b below the easy core: that is not the ground state"
        flags.append(Flag(name="below_easy", message=message))
    return flags
