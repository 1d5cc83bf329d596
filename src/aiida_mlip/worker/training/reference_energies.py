"""Reference energies of the elements (E0s): always computed here and given to mace one by one.

mace has its own policies, with defects: it drops what was asked for when shapes happen to agree, sets elements
without data to zero, and cannot estimate in float32. Explicit numbers for every element and head avoid all of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.training import E0Policy, Explicit
from aiida_mlip.science.composition import element_counts, element_energies
from aiida_mlip.science.keys import ENERGY
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.worker.training.data import TrainingData, elements_of

SAME_ATOM = 1e-3
"""Two isolated atoms of an element that differ by more [eV] contradict each other."""


@dataclass(frozen=True)
class Foundation:
    """What the E0s need to know of the foundation model.

    :param e0s: symbol -> E0 [eV] of the head that is fine-tuned.
    :param energies: gives total energies [eV] of frames.
    """

    e0s: Mapping[str, float]
    energies: Callable[[Sequence[Atoms]], FloatArray]


def reference_energies(
    policy: E0Policy, data: TrainingData, kept: Sequence[str], foundation: Foundation | None
) -> tuple[dict[str, float], list[str]]:
    """Return symbol -> E0 [eV] for each kept element, and warnings.

    Elements that the policy says nothing about keep the foundation model's E0.

    :param kept: symbols of the model that will be trained.
    :raises TaskError: of kind ``input`` where an element of the data gets no E0.
    """
    base = dict(foundation.e0s) if foundation else {}
    found, warnings = _policies(policy, data, foundation)
    values = {**base, **found}
    if missing := [symbol for symbol in kept if symbol not in values]:
        raise TaskError(
            ErrorKind.INPUT,
            f"e0_policy = {policy.kind!r} gives no E0 for {', '.join(missing)}.",
            "Give them with 'explicit', or add what the policy needs to the training set.",
        )
    if unused := sorted(set(found) - set(kept)):
        warnings.append(f"e0_policy: the E0s of {', '.join(unused)} are not used, the model has no such elements")
    return {symbol: float(values[symbol]) for symbol in kept}, warnings


def _policies(
    policy: E0Policy, data: TrainingData, foundation: Foundation | None
) -> tuple[dict[str, float], list[str]]:
    if policy.kind == "explicit":
        return _explicit(policy, data), []
    if policy.kind == "isolated_atoms":
        return _isolated_atoms(data), []
    labelled = [atoms for atoms in data.train if ENERGY in atoms.info]
    if policy.kind in ("average", "estimated") and not labelled:
        raise TaskError(
            ErrorKind.INPUT,
            f"e0_policy = {policy.kind!r}: no training configuration has an energy.",
            "Use 'explicit' or 'foundation'.",
        )
    if policy.kind == "average":
        return element_energies(labelled, _energies(labelled)), _rank_warning(labelled, policy.kind)
    if foundation is None:
        raise TaskError(ErrorKind.INPUT, f"e0_policy = {policy.kind!r} needs a foundation model.", "Use 'explicit'.")
    if policy.kind == "foundation":
        return {}, []
    corrections = element_energies(labelled, _energies(labelled) - foundation.energies(labelled))
    estimated = {symbol: foundation.e0s[symbol] + value for symbol, value in corrections.items()}
    return estimated, _rank_warning(labelled, policy.kind)


def _energies(frames: Sequence[Atoms]) -> FloatArray:
    return np.array([float(atoms.info[ENERGY]) for atoms in frames])


def _explicit(policy: Explicit, data: TrainingData) -> dict[str, float]:
    needed = elements_of([*data.train, *data.valid])
    if missing := [symbol for symbol in needed if symbol not in policy.values]:
        raise TaskError(
            ErrorKind.INPUT,
            f"e0_policy.values has no entry for {', '.join(missing)}, which the data contain.",
            "Add their E0s [eV].",
        )
    return dict(policy.values)


def _isolated_atoms(data: TrainingData) -> dict[str, float]:
    found: dict[str, float] = {}
    for atoms in data.isolated:
        symbol = atoms.get_chemical_symbols()[0]
        if ENERGY not in atoms.info:
            raise TaskError(ErrorKind.INPUT, f"train: the isolated {symbol} atom has no {ENERGY}.", "Label it.")
        value = float(atoms.info[ENERGY])
        if abs(found.setdefault(symbol, value) - value) > SAME_ATOM:
            raise TaskError(
                ErrorKind.INPUT,
                f"train: isolated {symbol} atoms have different energies ({found[symbol]} and {value} eV).",
                "Keep one.",
            )
    needed = elements_of([*data.train, *data.valid])
    if missing := [symbol for symbol in needed if symbol not in found]:
        raise TaskError(
            ErrorKind.INPUT,
            f"e0_policy = 'isolated_atoms': train has no isolated atom of {', '.join(missing)}.",
            "Add one configuration with a single atom, without neighbours within the cut-off, for each element "
            "(a split must not put it into another set), or use another policy.",
        )
    return found


def _rank_warning(frames: Sequence[Atoms], kind: str) -> list[str]:
    symbols, counts = element_counts(frames)
    rank = int(np.linalg.matrix_rank(counts / counts.sum(axis=1, keepdims=True)))
    if rank == len(symbols):
        return []
    return [
        f"e0_policy = {kind!r}: the compositions in train do not tell the E0s of {', '.join(symbols)} apart "
        f"(rank {rank}); the solution of smallest norm is used"
    ]
