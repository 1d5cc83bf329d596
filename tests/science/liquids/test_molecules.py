"""The key of a molecule: the same for all conformations, and whatever atoms two bonds apart do."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.liquids.components import KNOWN, kind
from aiida_mlip.science.liquids.embedding import conformers
from aiida_mlip.science.liquids.molecules import find_molecules


@pytest.mark.parametrize("name", ["EMC", "DME", "TFSI-", "PC"])
def test_all_conformations_have_one_key(name: str) -> None:
    shapes = conformers(name, 8, seed=1)
    if name != "TFSI-":
        assert len(shapes) > 2
    rng = np.random.default_rng(0)
    for atoms in shapes:
        shuffled = atoms[rng.permutation(len(atoms)).tolist()]
        (molecule,) = find_molecules(shuffled) or []
        assert molecule.kind == kind(KNOWN[name])


def imide(apart: float) -> Atoms:
    """FSI- as two SO2F at an N, with S-N-S bent so that the S are so far apart [Å]; S-N is 1.58 Å."""
    half = apart / 2
    height = np.sqrt(1.58**2 - half**2)
    positions = [[0.0, 0.0, 0.0]]
    symbols = "N"
    for side in (-1, 1):
        sulfur = np.array([side * half, -height, 0.0])
        outward = sulfur / np.linalg.norm(sulfur)
        across = np.array([outward[1], -outward[0], 0.0])
        for symbol, vector, length in (
            ("S", 0 * outward, 0.0),
            ("O", 0.4 * outward + 0.9 * across * side, 1.45),
            ("O", 0.4 * outward + np.array([0, 0, 0.9]), 1.45),
            ("F", 0.4 * outward - np.array([0, 0, 0.9]), 1.60),
        ):
            positions.append(sulfur + length * vector / max(float(np.linalg.norm(vector)), 1.0))
            symbols += symbol
    return Atoms(symbols, positions=positions)


def test_sulfur_atoms_of_an_imide_are_not_bonded_however_the_angle_bends() -> None:
    """1.25 times the sum of covalent radii of S and S is 2.63 Å: a vibration of the angle comes nearer."""
    kinds = set()
    for apart in (2.45, 2.6, 2.8):
        (molecule,) = find_molecules(imide(apart)) or []
        kinds.add(molecule.kind)
    assert kinds == {kind(KNOWN["FSI-"])}


def test_a_stretched_bond_of_a_chain_is_a_bond() -> None:
    """S-S of a disulfide, stretched to 1.22 times the sum of radii, has no atom in common: it stays."""
    chain = Atoms("HSSH", positions=[[-1.3, 0.3, 0], [0, 0, 0], [2.56, 0, 0], [3.8, 0.2, 0.4]])
    (molecule,) = find_molecules(chain) or []
    assert len(molecule.indices) == 4
