"""Isolated atoms: what decides the atomic energies of a potential."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity

Array = NDArray[np.float64]

_FORCE = 1e-3


@check("isolated_atoms")
def isolated_atoms(context: Context) -> Iterator[Finding]:
    """Which frames are isolated atoms; whether they agree and are plausible; which elements have none."""
    by_element: dict[int, list[int]] = defaultdict(list)
    for index in sorted(context.isolated):
        by_element[int(context.frames[index].numbers[0])].append(index)
    elements = {int(z) for atoms in context.frames for z in atoms.numbers}
    if by_element:
        yield _listed(context, by_element, elements)
    yield from _contradicting(context, by_element)
    yield from _above_bulk(context, by_element)
    labelled = [
        index
        for index in range(len(context.frames))
        if "isolated" in context.config_type(index).lower() and index not in context.isolated
    ]
    if labelled:
        yield Finding(
            check="isolated_atoms",
            severity=Severity.ERROR,
            frames=tuple(labelled),
            message=f"{len(labelled)} frames are called isolated atoms but have several atoms, or periodic images "
            "within 6 Å: mace takes their energies for E0s.",
            remedy="Compute the atom in a box of at least 10 Å, or change the config_type of these frames.",
        )


def _listed(context: Context, by_element: dict[int, list[int]], elements: set[int]) -> Finding:
    named = {chemical_symbols[z]: _energies(context, frames) for z, frames in sorted(by_element.items())}
    shown = ", ".join(f"{symbol} {values[0]:.6g} eV" for symbol, values in named.items() if len(values))
    without = sorted(chemical_symbols[z] for z in elements - set(by_element))
    return Finding(
        check="isolated_atoms",
        severity=Severity.INFO,
        frames=tuple(sorted(context.isolated)),
        message=f"Isolated atoms: {shown}. They are the E0s of a training with e0_policy = 'isolated_atoms', and are "
        "left out of any other." + (f" There is none for {', '.join(without)}." if without else ""),
        remedy="Use that policy if they were computed as the rest (same pseudopotentials, spin polarised) and for "
        "every element; else 'estimated'. The split keeps them in the training set.",
    )


def _contradicting(context: Context, by_element: dict[int, list[int]]) -> Iterator[Finding]:
    for z, frames in sorted(by_element.items()):
        energies = _energies(context, frames)
        if len(energies) > 1 and np.ptp(energies) > context.settings.isolated_energy:
            yield Finding(
                check="isolated_atoms",
                severity=Severity.ERROR,
                frames=tuple(frames),
                message=f"{len(frames)} isolated {chemical_symbols[z]} atoms have energies between "
                f"{energies.min():.6g} and {energies.max():.6g} eV: mixed levels of theory, spin states or boxes.",
                remedy="Keep the lowest of one level of theory, that of the rest of the set.",
            )
        elif len(frames) > 1:
            yield Finding(
                check="isolated_atoms",
                severity=Severity.WARNING,
                frames=tuple(frames),
                message=f"The isolated {chemical_symbols[z]} atom is there {len(frames)} times, with equal energies.",
                remedy="Keep one.",
            )
    moved = [i for i in sorted(context.isolated) if (f := context.forces(i)) is not None and np.abs(f).max() > _FORCE]
    if moved:
        yield Finding(
            check="isolated_atoms",
            severity=Severity.ERROR,
            frames=tuple(moved),
            message=f"{len(moved)} isolated atoms have a force above {_FORCE} eV/Å: nothing is there to push them.",
            remedy="Check that forces belong to these frames; set them to zero or remove them.",
        )


def _above_bulk(context: Context, by_element: dict[int, list[int]]) -> Iterator[Finding]:
    """Yield a finding where bound atoms of an elementary configuration lie far above the isolated atom."""
    for z, frames in sorted(by_element.items()):
        energies = _energies(context, frames)
        bound = [
            index
            for index, environment in context.environments.items()
            if environment.numbers == (z,) and index not in context.isolated and np.isfinite(context.energies[index])
        ]
        if not len(energies) or len(bound) < context.settings.min_group:
            continue
        cohesive = float(np.median(context.energies[bound] / context.sizes[bound])) - float(energies.min())
        if not -15.0 < cohesive < 3.0:
            yield Finding(
                check="isolated_atoms",
                severity=Severity.ERROR,
                frames=tuple(frames),
                message=f"Configurations of {chemical_symbols[z]} alone have a median energy {cohesive:+.3g} eV/atom "
                "from the isolated atom; cohesive energies lie between 0 and -10 eV/atom. The atom is of another level "
                "of theory, pseudopotential or unit.",
                remedy="Compute the isolated atom with the settings of the rest, or remove it and choose an E0 policy.",
            )


def _energies(context: Context, frames: list[int]) -> Array:
    values: Array = np.array([float(context.frames[index].info.get(keys.ENERGY, np.nan)) for index in frames])
    return values[np.isfinite(values)]
