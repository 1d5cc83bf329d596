"""Isolated atoms, whose energies are the E0s of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments

from aiida_mlip.science.isolated_atoms import is_isolated
from aiida_mlip.science.keys import CONFIG_TYPE, GROUP
from aiida_mlip.science.origin import Origin, set_origin

CONFIG = "isolated_atom"
"""``config_type`` of an isolated atom."""

PERIODIC_ONLY = frozenset({"nspin", "starting_magnetization", "tot_magnetization", "nbnd", "noncolin", "lspinorb"})
"""Variables of ``&SYSTEM`` that are of the crystal, and not of its atoms."""


def isolated_atom(element: str, box: float | None) -> Atoms:
    """Return an atom in a cubic box, or without a cell where ``box`` [Å] is None."""
    atoms = Atoms([element], positions=[[0.0, 0.0, 0.0]])
    if box is not None:
        atoms.set_cell([box] * 3)
        atoms.pbc = True
    atoms.info |= {CONFIG_TYPE: CONFIG, GROUP: f"{CONFIG}_{element}"}
    return set_origin(atoms, Origin(kind="isolated_atom", reason="its energy is the E0 of the element"))


def missing_atoms(elements: Sequence[str], frames: Iterable[Atoms], box: float | None) -> list[Atoms]:
    """Return the isolated atoms of elements that are not among the frames."""
    there = {atoms.symbols[0] for atoms in frames if is_isolated(atoms)}
    return [isolated_atom(element, box) for element in dict.fromkeys(elements) if element not in there]


def atom_parameters(
    parameters: Mapping[str, Mapping[str, Any]], element: str, valence: float, degauss: float
) -> dict[str, dict[str, Any]]:
    """Return the namelists of pw.x for a free atom, from those of the other configurations.

    The spin is that of the ground state by Hund's rules, as ASE tabulates it. Symmetry is off, so that open shells
    need not be spherical, and the smearing is narrow.

    :param valence: electrons of the pseudopotential.
    :param degauss: width of the smearing [Ry].
    """
    full = {name: deepcopy(dict(values)) for name, values in parameters.items()}
    system = {key: value for key, value in full.get("SYSTEM", {}).items() if key not in PERIODIC_ONLY}
    moment = float(ground_state_magnetic_moments[atomic_numbers[element]])
    if moment > 0.0:
        system |= {"nspin": 2, "starting_magnetization": {element: min(1.0, moment / valence)}}
    system |= {"occupations": "smearing", "smearing": "gaussian", "degauss": degauss, "nosym": True}
    return {**full, "SYSTEM": system}
