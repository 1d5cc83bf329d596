"""Descriptors of atoms from the geometry alone, for potentials that have none of their own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from aiida_mlip.science.datasets.environments import KINDS, N_RADIAL, atomic_environments

_USED = [KINDS.index(kind) for kind in ("M0", "|M1|^2", "|M2|^2")]


def geometric_descriptors(atoms: Atoms, elements: Iterable[str]) -> NDArray[np.float64]:
    """Return invariant descriptors of each atom, shape (n, 24 e) for e elements.

    They are the moments M0, ``|M1|`` and ``|M2|`` of the neighbours of each element within 5 Å
    (:mod:`aiida_mlip.science.datasets.environments`); roots are taken of the squares, so that all are of one order.
    They do not change with rotation, reflection, translation, order of atoms or choice of the periodic cell.

    :param elements: chemical symbols that frames to compare may have; their order is that of atomic numbers.
    :raises ValueError: where the frame has another element.
    """
    known = sorted(atomic_numbers[symbol] for symbol in set(elements))
    present = np.unique(atoms.numbers)
    if missing := set(present.tolist()) - set(known):
        raise ValueError(f"elements: atomic numbers {sorted(missing)} of the frame are not among them")
    features = atomic_environments(atoms).reshape(len(atoms), len(present), len(KINDS), N_RADIAL)[:, :, _USED]
    features[:, :, 1:] = np.sqrt(features[:, :, 1:])
    full = np.zeros((len(atoms), len(known), len(_USED), N_RADIAL))
    full[:, np.searchsorted(known, present)] = features
    return full.reshape(len(atoms), -1)
