"""Packed boxes: what is in them, how dense they are, and how far molecules keep apart."""

from __future__ import annotations

import stat
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.distance import pdist

from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.liquids import packing
from aiida_mlip.science.liquids.boxes import facts_of, problems_of_box
from aiida_mlip.science.liquids.components import KNOWN, kind
from aiida_mlip.science.liquids.embedding import conformers
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.packing import ChangedMoleculesError, PackingError, pack

SALT = {"EC": 3, "EMC": 5, "Li+": 2, "PF6-": 2}
GRAMS_PER_MOLE = {"EC": 88.062, "EMC": 104.105, "Li+": 6.94, "PF6-": 144.964}  # IUPAC
AVOGADRO = 6.02214076e23


@pytest.fixture(scope="module")
def box() -> Atoms:
    return pack(SALT, density=1.15, tolerance=2.1, seed=7)


def owners(atoms: Atoms, sizes: list[int]) -> np.ndarray:
    assert sum(sizes) == len(atoms)
    return np.repeat(np.arange(len(sizes)), sizes)


def test_a_box_holds_what_was_asked_for(box: Atoms) -> None:
    found = Counter(molecule.kind for molecule in find_molecules(box) or ())
    assert found == {kind(KNOWN[name]): number for name, number in SALT.items()}
    assert facts_of(box).molecules == SALT
    assert facts_of(box).charge == 0
    assert not list(problems_of_box(box))


def test_the_density_is_the_one_asked_for(box: Atoms) -> None:
    """Against molar masses of IUPAC, which differ from ASE's in the fourth digit."""
    assert density_of(box) == pytest.approx(1.15, rel=1e-6)
    grams = sum(GRAMS_PER_MOLE[name] * number for name, number in SALT.items()) / AVOGADRO
    assert grams / (box.get_volume() * 1e-24) == pytest.approx(1.15, rel=1e-4)
    np.testing.assert_allclose(box.cell.array, box.cell[0, 0] * np.eye(3), atol=1e-12)
    assert box.pbc.all()


def test_molecules_keep_the_tolerance_across_the_boundary(box: Atoms) -> None:
    owner = owners(box, [10] * 3 + [15] * 5 + [1] * 2 + [7] * 2)
    pairs = owner[:, None] != owner[None, :]
    assert box.get_all_distances(mic=True)[pairs].min() >= 0.99 * 2.1


def test_molecules_are_conformers_to_the_last_digit(box: Atoms) -> None:
    """No molecule is strained by the packing or by the digits that packmol writes."""
    shapes = [np.sort(pdist(atoms.positions)) for atoms in conformers("EMC", 5, seed=7)]
    for first in range(30, 105, 15):
        here = np.sort(pdist(box.positions[first : first + 15]))
        assert min(np.abs(here - shape).max() for shape in shapes) < 1e-9


def test_the_same_seed_gives_the_same_box_and_another_one_another() -> None:
    first, again, other = (pack({"EC": 2, "DMC": 2}, 0.9, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.positions, again.positions)
    assert not np.allclose(first.positions, other.positions, atol=0.1)
    np.testing.assert_array_equal(first.numbers, other.numbers)


def test_without_periodic_boxes_in_packmol_the_tolerance_is_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PERIODIC_SINCE", (1000,))
    atoms = pack({"ACN": 5, "H2O": 3}, density=0.7, seed=2)
    owner = owners(atoms, [6] * 5 + [3] * 3)
    pairs = owner[:, None] != owner[None, :]
    assert atoms.get_all_distances(mic=True)[pairs].min() >= 0.99 * 2.0
    assert facts_of(atoms).molecules == {"ACN": 5, "H2O": 3}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(PackingError, match=r"density = 6 g/cm\^3, tolerance = 2.5 Å.*do not fit.*lower density"):
        pack({"H2O": 1}, density=6.0, tolerance=2.5)
    with pytest.raises(ChangedMoleculesError, match="taken for bonded"):
        pack({"H2O": 1}, density=8.0, tolerance=0.6)


@pytest.mark.parametrize(("density", "tolerance", "field"), [(-1.0, 2.0, "density"), (1.0, float("nan"), "tolerance")])
def test_senseless_numbers_are_refused(density: float, tolerance: float, field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} = "):
        pack({"H2O": 2}, density, tolerance)


def test_a_packmol_that_hangs_fails_or_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="did not end within"):
        pack({"H2O": 2}, 1.0, timeout=1e-4)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackingError, match="pip install packmol"):
        pack({"H2O": 2}, 1.0)
    program = tmp_path / "packmol"
    program.write_text("#!/bin/sh\necho Version 21.2.3\necho ERROR: out of luck\nexit 171\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(PackingError, match=r"exit status 171.*out of luck"):
        pack({"H2O": 2}, 1.0)
