"""The canonical form and its text."""

from __future__ import annotations

import io

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.canonical import canonical, read_extxyz, write_extxyz
from aiida_mlip.science.datasets.errors import DatasetError


def awkward() -> Atoms:
    """Return a frame with an asymmetric cell, numbers without short decimals, and text that needs quoting."""
    rng = np.random.default_rng(1)
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.set_cell(atoms.cell.array + rng.normal(scale=0.1, size=(3, 3)))
    atoms.positions += rng.normal(size=(2, 3)) / 3.0
    atoms.pbc = (True, False, True)
    atoms.info |= {
        keys.ENERGY: -1.0 / 3.0,
        keys.STRESS: rng.normal(size=6) * 1e-7,
        keys.CONFIG_TYPE: 'a "quoted" \\ type = 1, [x]',
        keys.GROUP: "T",
        keys.SOURCE: "1e5",
        "note": "dropped",
    }
    atoms.arrays[keys.FORCES] = rng.normal(size=(2, 3)) * 1e5
    atoms.set_initial_magnetic_moments([1.0, -1.0])
    atoms.set_constraint(FixAtoms([0]))
    return atoms


def text_of(frames: list[Atoms]) -> str:
    handle = io.StringIO()
    write_extxyz(frames, handle)
    return handle.getvalue()


def test_only_canonical_content_is_kept_and_the_input_is_not_changed():
    atoms = awkward()
    clean = canonical(atoms)
    assert set(clean.info) == {keys.ENERGY, keys.STRESS, keys.CONFIG_TYPE, keys.GROUP, keys.SOURCE}
    assert set(clean.arrays) == {"numbers", "positions", keys.FORCES}
    assert not clean.constraints
    assert clean.calc is None
    assert "note" in atoms.info
    clean.positions += 1.0
    assert not np.allclose(clean.positions, atoms.positions)


def test_round_trip_is_exact_to_the_last_bit():
    frames = [canonical(awkward()), canonical(Atoms("H"))]
    text = text_of(frames)
    again = list(read_extxyz(io.StringIO(text)))
    assert text_of(again) == text
    for before, after in zip(frames, again, strict=True):
        assert np.array_equal(before.positions, after.positions)
        assert np.array_equal(before.cell.array, after.cell.array)
        assert np.array_equal(before.pbc, after.pbc)
        assert before.info.keys() == after.info.keys()
        assert np.array_equal(before.info.get(keys.STRESS, 0.0), after.info.get(keys.STRESS, 0.0))
        assert before.info[keys.CONFIG_TYPE] == after.info[keys.CONFIG_TYPE]
    assert np.array_equal(again[0].arrays[keys.FORCES], frames[0].arrays[keys.FORCES])
    assert again[0].info[keys.ENERGY] == -1.0 / 3.0


def test_negative_zero_is_written_as_zero():
    one, other = Atoms("He", positions=[[0.0, 0.0, 0.0]]), Atoms("He", positions=[[-0.0, 0.0, -0.0]])
    assert text_of([one]) == text_of([other])


def test_ase_reads_the_text_with_the_same_numbers():
    atoms = canonical(awkward())
    by_ase = ase.io.read(io.StringIO(text_of([atoms])), format="extxyz")
    assert np.array_equal(by_ase.positions, atoms.positions)
    assert np.array_equal(by_ase.arrays[keys.FORCES], atoms.arrays[keys.FORCES])
    assert by_ase.info[keys.ENERGY] == atoms.info[keys.ENERGY]
    assert np.array_equal(by_ase.info[keys.STRESS], atoms.info[keys.STRESS])
    assert by_ase.info[keys.CONFIG_TYPE] == atoms.info[keys.CONFIG_TYPE]


def test_reading_is_streaming():
    frames = read_extxyz(io.StringIO(text_of([Atoms("H"), Atoms("He")]) + "broken"))
    assert next(frames).get_chemical_formula() == "H"
    assert next(frames).get_chemical_formula() == "He"
    with pytest.raises(DatasetError, match="line 7"):
        next(frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forces": np.zeros((2, 2))}, "shape"),
        ({"energy": [1.0, 2.0]}, "one number"),
        ({"stress": np.zeros(5)}, "shape"),
        ({"stress": [[0, 1, 0], [2, 0, 0], [0, 0, 0]]}, "not symmetric"),
    ],
)
def test_labels_of_a_wrong_shape_are_refused(change, message):
    atoms = awkward()
    if "forces" in change:
        atoms.arrays[keys.FORCES] = change["forces"]
    if "energy" in change:
        atoms.info[keys.ENERGY] = change["energy"]
    if "stress" in change:
        atoms.info[keys.STRESS] = change["stress"]
    with pytest.raises(DatasetError, match=message):
        canonical(atoms)


def test_dummy_atoms_are_refused():
    with pytest.raises(DatasetError, match="dummy"):
        canonical(Atoms("XH"))
