"""Pairs of atoms that are near each other, compared with ASE's neighbour list."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from aiida_mlip.science.contacts import closest_contact, neighbours, pairs_within

CELLS = {
    "cluster": ([0, 0, 0], False),
    "wire": ([[0, 0, 0], [0, 0, 0], [1, 1, 4]], (False, False, True)),
    "slab": ([[5, 1, 0], [0, 6, 0.5], [0, 0, 0]], (True, True, False)),
    "mixed": ([[5, 0.2, 0], [0, 6, 0.5], [0.3, 0, 7]], (True, False, True)),
    "box": ([5, 6, 7], False),
}


@pytest.mark.parametrize("kind", CELLS)
def test_pairs_are_those_of_ase_whatever_is_periodic(kind: str) -> None:
    """Atoms lie outside the cell too, and a pair may be bonded across several cells."""
    cell, pbc = CELLS[kind]
    rng = np.random.default_rng(len(kind))
    atoms = Atoms("C8H9LiOF", positions=rng.uniform(-4, 9, (20, 3)), cell=cell, pbc=pbc)
    found = sorted(zip(*(values.tolist() for values in neighbours("ijS", atoms, 1.6)), strict=True))
    expected = neighbor_list("ijS", atoms, 1.6 * covalent_radii[atoms.numbers])
    assert found == sorted(zip(*(values.tolist() for values in expected), strict=True))
    assert found
    assert len(pairs_within("d", atoms, 3.0)) == len(neighbor_list("d", atoms, 3.0))


def test_the_closest_contact_is_relative_to_covalent_radii() -> None:
    """O-H at 0.97 Å is 1; F-Li at 1.5 Å is nearer than that, though longer."""
    atoms = Atoms("OHFLi", positions=[[0, 0, 0], [0, 0, 0.97], [9, 0, 0], [9, 0, 1.5]])
    assert closest_contact(atoms, 1.2) == pytest.approx(1.5 / (covalent_radii[9] + covalent_radii[3]))
    assert closest_contact(atoms[:1]) == np.inf
