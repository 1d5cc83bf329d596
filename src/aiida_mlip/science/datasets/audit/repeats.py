"""Configurations that occur more than once, here or in the other set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity, describe_frames
from aiida_mlip.science.datasets.canonical import canonical
from aiida_mlip.science.datasets.fingerprints import find_duplicates
from aiida_mlip.science.isolated_atoms import is_isolated

_SHOWN = 5


@check("exact_duplicates")
def exact(context: Context) -> Iterator[Finding]:
    """The same configuration more than once; an error where the energies contradict each other."""
    agreeing, contradicting, spread = [], [], 0.0
    for members in context.duplicates.exact:
        if context.isolated.issuperset(members):
            continue
        energies = context.energies[list(members)] / context.sizes[list(members)]
        finite = energies[np.isfinite(energies)]
        difference = float(np.ptp(finite)) if len(finite) else 0.0
        if difference > context.settings.duplicate_energy:
            contradicting.append(members)
            spread = max(spread, difference)
        else:
            agreeing.append(members)
    if contradicting:
        yield Finding(
            check="exact_duplicates",
            severity=Severity.ERROR,
            frames=_flat(contradicting),
            message=f"{len(contradicting)} configurations occur more than once with energies that differ by up to "
            f"{1e3 * spread:.3g} meV/atom: {_listed(contradicting)}. They were computed differently, or one is wrong.",
            remedy="Keep the one of the level of theory of the rest; compute it again if that is not clear.",
        )
    if agreeing:
        yield Finding(
            check="exact_duplicates",
            severity=Severity.WARNING,
            frames=_flat(agreeing),
            message=f"{len(agreeing)} configurations occur more than once: {_listed(agreeing)}. Atoms agree within "
            f"{context.settings.tolerances.exact:g} Å after rotation, translation and renumbering.",
            remedy="Keep one of each: repeats weigh a configuration more than intended and leak between sets.",
        )


@check("near_duplicates")
def near(context: Context) -> Iterator[Finding]:
    """Configurations that are nearly the same, such as successive steps of a trajectory."""
    exact_of = {member: items[0] for items in context.duplicates.exact for member in items}
    sets = [
        members
        for members in context.duplicates.near
        if len({exact_of.get(member, member) for member in members}) > 1 and not context.isolated.issuperset(members)
    ]
    if context.duplicates.skipped:
        context.skip(
            "near_duplicates",
            f"{context.duplicates.skipped} pairs that may be equal in another order or orientation were not compared; "
            "raise tolerances.comparisons to compare them",
        )
    if sets:
        n_frames = sum(len(members) for members in sets)
        yield Finding(
            check="near_duplicates",
            severity=Severity.WARNING,
            frames=_flat(sets),
            message=f"{n_frames} frames are in {len(sets)} sets of nearly equal configurations: {_listed(sets)}. Atoms "
            f"agree within {context.settings.tolerances.near:g} Å (root mean square), or are those of a supercell.",
            remedy="Thin out the trajectories they come from, or keep them in one set: the split never parts them.",
        )


@check("leakage")
def leakage(context: Context) -> Iterator[Finding]:
    """Configurations or groups that are also in the set this one is compared with."""
    if context.against is None:
        context.skip("leakage", "no other set was given to compare with")
        return
    others = [canonical(atoms) for atoms in context.against]
    n = len(context.frames)
    found = find_duplicates([*context.frames, *others], context.settings.tolerances)
    same = _shared(found.exact, context, n)
    alike = _shared(found.near, context, n) - same
    for frames, severity, how in ((same, Severity.ERROR, "the same as"), (alike, Severity.WARNING, "nearly equal to")):
        if frames:
            yield Finding(
                check="leakage",
                severity=severity,
                frames=tuple(sorted(frames)),
                message=f"{len(frames)} frames are {how} frames of the other set: errors on that set are too small.",
                remedy="Split again with `aiida-mlip dataset split`, which keeps them together, or remove them here.",
            )
    names = {str(atoms.info.get(keys.GROUP, "")) for atoms in others} - {""}
    shared = {name: members for name, members in context.groups.items() if name in names}
    if shared:
        yield Finding(
            check="leakage",
            severity=Severity.WARNING,
            frames=tuple(sorted(index for members in shared.values() for index in members)),
            message=f"{len(shared)} groups are in both sets, e.g. {', '.join(sorted(shared)[:_SHOWN])}.",
            remedy="Split again by group.",
        )


def _shared(sets: tuple[tuple[int, ...], ...], context: Context, n: int) -> set[int]:
    """Return the frames of this set that share a set of duplicates with a frame of the other."""
    found: set[int] = set()
    for members in sets:
        here = [index for index in members if index < n and not is_isolated(context.frames[index])]
        if len(here) < len(members) and members[-1] >= n:
            found.update(here)
    return found


def _flat(sets: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted(index for members in sets for index in members))


def _listed(sets: list[tuple[int, ...]]) -> str:
    shown = "; ".join(describe_frames(members, 4) for members in sets[:_SHOWN])
    return shown + (f"; and {len(sets) - _SHOWN} more" if len(sets) > _SHOWN else "")
