"""Labels that are not numbers, not there, or not labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity
from aiida_mlip.science.datasets.environments import atomic_environments, environments
from aiida_mlip.science.datasets.statistics import has_volume

_MIN_REPEATS = 3


@check("nan")
def not_finite(context: Context) -> Iterator[Finding]:
    """NaN or infinity in positions, cell or a label."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, atoms in enumerate(context.frames):
        values = {
            "positions": atoms.positions,
            "cell": atoms.cell.array,
            keys.ENERGY: atoms.info.get(keys.ENERGY, 0.0),
            keys.FORCES: atoms.arrays.get(keys.FORCES, 0.0),
            keys.STRESS: atoms.info.get(keys.STRESS, 0.0),
        }
        for name, value in values.items():
            if not np.isfinite(value).all():
                found[name].append(index)
    for name, frames in found.items():
        yield Finding(
            check="nan",
            severity=Severity.ERROR,
            frames=tuple(frames),
            message=f"{name} has NaN or infinite numbers in {len(frames)} frames; one of them makes the loss NaN.",
            remedy="Remove the label or the frame; look for a failed calculation or an overflow in its output.",
        )


@check("missing_labels")
def missing(context: Context) -> Iterator[Finding]:
    """Frames without energy, forces or stress."""
    lacking: dict[str, list[int]] = {keys.ENERGY: [], keys.FORCES: [], keys.STRESS: []}
    n_periodic = 0
    for index, atoms in enumerate(context.frames):
        periodic = has_volume(atoms) and index not in context.isolated
        n_periodic += periodic
        if keys.ENERGY not in atoms.info:
            lacking[keys.ENERGY].append(index)
        if keys.FORCES not in atoms.arrays and len(atoms) > 1 and context.settings.require_forces:
            lacking[keys.FORCES].append(index)
        if keys.STRESS not in atoms.info and periodic:
            lacking[keys.STRESS].append(index)
    for name in (keys.ENERGY, keys.FORCES):
        if frames := lacking[name]:
            yield Finding(
                check="missing_labels",
                severity=Severity.ERROR,
                frames=tuple(frames),
                message=f"{name} is missing in {len(frames)} of {len(context.frames)} frames.",
                remedy="Label them, leave them out, or, if they are labelled, give the key that has the values.",
            )
    if frames := lacking[keys.STRESS]:
        some = len(frames) < n_periodic
        severity = Severity.WARNING if some else Severity.INFO
        yield Finding(
            check="missing_labels",
            severity=Severity.ERROR if context.settings.require_stress else severity,
            frames=tuple(frames),
            message=f"{keys.STRESS} is missing in {len(frames)} of {n_periodic} periodic frames.",
            remedy="Compute the stress for all periodic frames, or train without stress: a potential without it has "
            "unreliable pressures and elastic constants.",
        )


@check("placeholder_labels")
def placeholders(context: Context) -> Iterator[Finding]:
    """Values that stand where a label was not computed: zeros, and one value for different configurations."""
    yield from _zero_forces(context)
    yield from _repeated(context, keys.ENERGY, "total energy")
    yield from _repeated(context, keys.STRESS, "stress")


def _zero_forces(context: Context) -> Iterator[Finding]:
    zero, partly = [], []
    for index in context.environments:
        forces = context.forces(index)
        if forces is None or len(forces) < 2:
            continue
        still = ~forces.any(axis=1)
        if not still.any():
            continue
        unbalanced = _unbalanced(context, index)
        if still.all() and unbalanced.any():
            zero.append(index)
        elif (still & unbalanced).sum() >= max(1, 0.05 * len(forces)) and not still.all():
            partly.append(index)
    if zero:
        yield Finding(
            check="placeholder_labels",
            severity=Severity.ERROR,
            frames=tuple(zero),
            message=f"All forces are exactly 0 in {len(zero)} frames, on atoms whose neighbours are not arranged "
            "symmetrically around them: forces were not computed.",
            remedy="Compute the forces, or remove the forces of these frames so that only the energy is fitted.",
        )
    if partly:
        yield Finding(
            check="placeholder_labels",
            severity=Severity.WARNING,
            frames=tuple(partly),
            message=f"Forces are exactly 0 on some atoms without a symmetric surrounding in {len(partly)} frames: "
            "atoms that were held fixed often get zeros instead of their forces.",
            remedy="Read the forces again without the constraints, or compute these frames without them.",
        )


def _unbalanced(context: Context, index: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return for each atom whether its neighbours are arranged without inversion or similar symmetry."""
    atoms = context.frames[index]
    shape = environments(atoms).features.shape[1:]
    features = atomic_environments(atoms).reshape(len(atoms), *shape)
    dipole, density = features[:, :, 2].sum(axis=(1, 2)), features[:, :, 1].sum(axis=(1, 2))
    return np.asarray(dipole > 1e-4 * np.maximum(density, 1e-12))


def _repeated(context: Context, key: str, what: str) -> Iterator[Finding]:
    """Yield a finding for each value that different configurations share to the last digit."""
    same: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for index, atoms in enumerate(context.frames):
        value = atoms.info.get(key)
        if value is not None and np.isfinite(value).all() and index not in context.isolated:
            same[tuple(np.atleast_1d(value).tolist())].append(index)
    first = {member: items[0] for items in context.duplicates.near for member in items}
    for values, frames in same.items():
        is_zero = not any(values)
        different = len({first.get(index, index) for index in frames})
        if not (is_zero or different >= _MIN_REPEATS):
            continue
        shown = ", ".join(f"{value:g}" for value in values)
        yield Finding(
            check="placeholder_labels",
            severity=Severity.ERROR,
            frames=tuple(frames),
            message=f"The {what} of {len(frames)} frames ({different} different configurations) is exactly {shown}: "
            "a placeholder, or the value of another frame.",
            remedy=f"Remove this {what} from the frames, or read it again from the calculations.",
        )
