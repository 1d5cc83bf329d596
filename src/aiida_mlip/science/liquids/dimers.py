"""Pairs of neighbouring molecules moved along the line of their centres: do they repel each other at short distance?

A hole is an attraction where molecules must repel each other. Potentials trained on equilibrium liquids have seen
nothing there, and dynamics that finds a hole does not come out of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from aiida_mlip.science.augmentation.vacuum import dimer, neutral_pair, pairs
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.molecules import Molecule

Array = NDArray[np.float64]
Pair = tuple[Molecule, Molecule, Array]
"""Two molecules, and the vector [Å] that moves the second to the image that touches the first."""

Found = tuple[float, Atoms, Pair]
"""Closest contact, configuration, and pair."""

TOUCHING = 3.0
"""Pairs whose closest contact is above this are no neighbours; atoms that touch have 2 to 3."""

CLOSE = 1.7
"""Closest atoms over the sum of their covalent radii below which neutral molecules repel: a hydrogen bond has 1.7."""

WALL = 2.2
"""Closest contact below which an energy that falls again, after molecules repelled each other, is a hole."""

FOOT = 2.6
"""Closest contact below which molecules may begin to repel; what rises further out may be dipoles."""

NOISE = 0.05
"""Energies that differ less [eV] are alike."""

REPULSIVE = 0.1
"""Energies of the reference above this [eV] are repulsion."""


@dataclass(frozen=True)
class DimerFrame:
    """Two molecules in vacuum: the first, then the second, moved by ``shift`` [Å].

    :param distance: of the centres of mass [Å].
    :param contact: closest atoms of the two over the sum of their covalent radii.
    """

    atoms: Atoms
    shift: float
    distance: float
    contact: float


@dataclass(frozen=True)
class Curve:
    """Energies of a dimer less those of its molecules alone [eV], shape (n,), NaN where there is no label.

    :param shifts: ascending [Å]; molecules come nearer from the last to the first.
    """

    shifts: Array
    contacts: Array
    predicted: Array
    true: Array | None = None


def choose_pairs(sources: Sequence[tuple[Atoms, Sequence[Molecule]]], count: int) -> list[tuple[Atoms, Pair]]:
    """Return pairs of molecules that touch: of each two kinds the closest, then of each the second closest, and so on.

    Pairs that make no sense without charges are left out, and so are ion pairs: they attract each other down to
    contacts that are bonds between other atoms.

    :param sources: configurations and their molecules.
    :return: each pair with its configuration.
    """
    by_kinds: dict[tuple[str, ...], list[Found]] = {}
    for atoms, molecules in sources:
        for pair in pairs(atoms, molecules):
            if (contact := contact_of(atoms, pair)) > TOUCHING:
                break
            if neutral_pair(atoms, pair[0], pair[1]) and min(len(one.indices) for one in pair[:2]) > 1:
                kinds = tuple(sorted((pair[0].kind, pair[1].kind)))
                by_kinds.setdefault(kinds, []).append((contact, atoms, pair))
    queues = [sorted(queue, key=lambda found: found[0])[:count] for queue in by_kinds.values()]
    return [(atoms, pair) for _, atoms, pair in islice(_in_turns(queues), count)]


def contact_of(atoms: Atoms, pair: Pair, shift: float = 0.0) -> float:
    """Return the closest contact of two molecules over the sum of the covalent radii."""
    made, size = dimer(atoms, pair, shift, None), len(pair[0].indices)
    radii = covalent_radii[made.numbers]
    distances = cdist(made.positions[:size], made.positions[size:])
    return float((distances / np.add.outer(radii[:size], radii[size:])).min())


def _in_turns(queues: Sequence[Sequence[Found]]) -> Iterator[Found]:
    for rank in range(max(map(len, queues), default=0)):
        yield from (queue[rank] for queue in queues if rank < len(queue))


def dimer_frames(atoms: Atoms, pair: Pair, shifts: Sequence[float], min_contact: float) -> list[DimerFrame]:
    """Return a pair at several distances, not periodic, the shortest first.

    :param shifts: [Å], along the line of the centres of mass; negative is nearer.
    :param min_contact: what is nearer, as a multiple of the sum of covalent radii, is left out.
    """
    frames = []
    line = pair[1].centre(atoms) + pair[2] - pair[0].centre(atoms)
    apart = float(np.linalg.norm(line))
    for shift in sorted(shifts):
        contact = contact_of(atoms, pair, shift)
        if contact >= min_contact and shift > -apart:
            frames.append(DimerFrame(dimer(atoms, pair, shift, None), float(shift), apart + float(shift), contact))
    return frames


def find_hole(curve: Curve) -> str:
    """Return where molecules attract each other that should not, in words, or an empty text.

    A hole is there where the energy falls again as the molecules come nearer, or where it is lowest at a point nearer
    than a hydrogen bond.
    """
    known = np.isfinite(curve.predicted)
    shifts, contacts, energies = curve.shifts[known], curve.contacts[known], curve.predicted[known]
    if len(shifts) < 3:
        return ""
    for index in np.flatnonzero(contacts < WALL)[::-1]:
        energy, outside = energies[index], energies[index + 1 :]
        lowest = len(outside) > 0 and energy < -NOISE and energy <= outside.min()
        if lowest and contacts[index] < 0.9 * CLOSE:
            return _words("the lowest energy of all is", shifts[index], contacts[index], energy)
        top = _wall_top(outside, contacts[index + 1 :])
        if top - energy > NOISE and (top > REPULSIVE or contacts[index] < CLOSE):
            return _words("the energy falls again on coming nearer, to", shifts[index], contacts[index], energy)
    return ""


def find_attraction(curve: Curve) -> str:
    """Return where the reference repels and the potential attracts, in words, or an empty text."""
    if curve.true is None:
        return ""
    wrong = (curve.contacts < CLOSE) & (curve.true > REPULSIVE) & (curve.predicted < 0)  # NaN is neither
    for index in np.flatnonzero(wrong):
        start = f"where the reference has {curve.true[index]:+.2f} eV, the potential has"
        return _words(start, curve.shifts[index], curve.contacts[index], curve.predicted[index])
    return ""


def _wall_top(energies: Array, contacts: Array) -> float:
    """Return the highest energy [eV] within :data:`FOOT` that a curve rises to on coming nearer; -inf: it falls there.

    :param energies: of the points further out than the one looked at, the nearest first [eV], shape (n,).
    """
    near = energies[contacts < FOOT]
    if not len(near):
        return float("-inf")
    top = int(np.argmax(near))
    further = energies[top + 1 :]
    rises = len(further) > 0 and near[top] - further.min() > NOISE
    return float(near[top]) if rises else float("-inf")


def _words(start: str, shift: float, contact: float, energy: float) -> str:
    return f"{start} {energy:+.2f} eV at a shift of {shift:+.2f} Å (closest contact {contact:.2f} covalent distances)"


def is_judged(curve: Curve) -> bool:
    """Return whether a curve reaches close enough to show a hole."""
    return bool((np.isfinite(curve.predicted) & (curve.contacts < CLOSE)).any())


def check_attraction(curves: Sequence[Curve]) -> CheckResult | None:
    """Return whether any pair attracts where the reference repels; None without a reference.

    A comparison, so its aspect is accuracy: another level of theory is no instability.
    """
    compared = [curve for curve in curves if curve.true is not None]
    if not compared:
        return None
    wrong = [words for curve in compared if (words := find_attraction(curve))]
    return CheckResult(
        check="dimer_attraction",
        status="fail" if wrong else "pass",
        aspect="accuracy",
        quantity="pairs that attract each other where the reference repels",
        value=float(len(wrong)),
        limit=0.0,
        reason=wrong[0] if wrong else f"{len(compared)} pairs repel each other where the reference does",
        numbers={"pairs": len(compared)},
    )


def check_holes(curves: Sequence[Curve]) -> CheckResult | None:
    """Return whether any pair of molecules attracts where it must repel; None without pairs."""
    if not curves:
        return None
    holes = [(number, words) for number, curve in enumerate(curves) if (words := find_hole(curve))]
    judged = sum(is_judged(curve) for curve in curves)
    missing = ""
    status: Status = "fail" if holes else "pass"
    if holes:
        reason = f"pair {holes[0][0]}: {holes[0][1]}" + (f"; {len(holes)} pairs in all" if len(holes) > 1 else "")
    elif judged:
        reason = f"{judged} of {len(curves)} pairs repel each other at short distance"
    else:
        status, missing = "inconclusive", f"labels of pairs with contacts below {CLOSE:g} covalent distances"
        reason = "no pair came near enough"
    return CheckResult(
        check="dimer_holes",
        status=status,
        quantity="pairs with an attraction at short distance",
        value=float(len(holes)),
        limit=0.0,
        reason=reason,
        missing=missing,
        numbers={"pairs": len(curves), "judged": judged},
    )
