"""The first set: volumes, strains, seeds, groups, and nothing too close or twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bcc110, bulk

from aiida_mlip.schema.iterative import AugmentationSettings
from aiida_mlip.science.augmentation import augment, random_strain, within_periodic
from aiida_mlip.science.contacts import closest_contact
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.splitting import Split, split
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, GROUP
from aiida_mlip.science.origin import origin_of

NOTHING = {"rattles": 0, "strains": 0, "volumes": (), "molecules": False}


def vacancy() -> Atoms:
    atoms = bulk("W", "bcc", a=3.17, cubic=True) * (2, 2, 2)
    del atoms[3]
    atoms.set_cell(atoms.cell @ (np.eye(3) + np.array([[0, 0.01, 0], [0.02, 0, 0.03], [0, 0, 0.01]])), scale_atoms=True)
    atoms.info[ENERGY] = -1.0
    atoms.arrays[FORCES] = np.ones((len(atoms), 3))
    return atoms


def of(made: list[Atoms], kind: str) -> list[Atoms]:
    return [atoms for atoms in made if atoms.info[CONFIG_TYPE] == kind]


def test_the_defaults_are_those_of_the_settings() -> None:
    one, other = augment([vacancy()]), augment([vacancy()], **AugmentationSettings().model_dump())
    assert len(one) == len(other) == 9
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert a.info == b.info


def test_copies_say_what_they_are_and_have_no_labels() -> None:
    start = vacancy()
    before = start.copy()
    made = augment([start])
    assert Counter(atoms.info[CONFIG_TYPE] for atoms in made) == {"rattled": 4, "strained": 2, "volume": 3}
    for atoms in made:
        assert set(atoms.info) == {CONFIG_TYPE, GROUP, "origin"}
        assert FORCES not in atoms.arrays
        origin = origin_of(atoms)
        assert origin is not None
        assert (origin.kind, origin.generation) == ("augmentation", 0)
        assert origin.reason.startswith("start structure 0: ")
    assert start == before
    assert start.info == before.info


def test_volumes_scale_exactly() -> None:
    start = vacancy()
    made = of(augment([start], **{**NOTHING, "volumes": (0.9, 1.0, 1.17)}), "volume")
    assert [atoms.get_volume() / start.get_volume() for atoms in made] == pytest.approx([0.9, 1.0, 1.17], rel=1e-12)
    for atoms in made:
        np.testing.assert_allclose(atoms.get_scaled_positions(), start.get_scaled_positions(), atol=1e-12)
    np.testing.assert_allclose(made[1].positions, start.positions, atol=1e-12)


def test_rattles_have_the_amplitudes_asked_for_in_turn() -> None:
    start = bulk("W", "bcc", a=3.17, cubic=True) * (5, 5, 5)
    made = augment([start], **{**NOTHING, "rattles": 3, "rattle_amplitudes": (0.02, 0.1)})
    moved = [(atoms.positions - start.positions) for atoms in made]
    assert [m.std() for m in moved] == pytest.approx([0.02, 0.1, 0.02], rel=0.08)
    assert abs(np.corrcoef(moved[0].ravel(), moved[2].ravel())[0, 1]) < 0.15


def test_the_strain_is_symmetric_bounded_and_in_the_cell() -> None:
    start = vacancy()
    made = of(augment([start], **{**NOTHING, "strains": 8, "max_strain": 0.06}), "strained")
    largest = []
    for atoms in made:
        strain = np.linalg.solve(start.cell.array, atoms.cell.array) - np.eye(3)
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)
        largest.append(np.abs(np.linalg.eigvalsh(strain)).max())
        carried = start.positions @ (np.eye(3) + strain)
        assert (atoms.positions - carried).std() == pytest.approx(0.05, rel=0.4)
    assert max(largest) <= 0.06
    assert len({round(value, 12) for value in largest}) == 8


def test_random_strains_prefer_no_direction() -> None:
    rng = np.random.default_rng(1)
    strains = np.array([random_strain(rng, 1.0) for _ in range(4000)])
    np.testing.assert_allclose(strains.mean(axis=0), 0.0, atol=0.03)
    squares = (strains**2).mean(axis=0)
    expected = np.full((3, 3), 1 / 3 * 1 / 5)  # off the diagonal, of principal strains with variance 1/3
    np.fill_diagonal(expected, 1 / 3 * 3 / 5)
    np.testing.assert_allclose(squares, expected, atol=0.015)


def test_a_slab_is_strained_in_its_plane_only() -> None:
    slab = bcc110("W", size=(2, 2, 3), a=3.17, vacuum=6.0)
    slab.rotate(20, (1, 2, 3), rotate_cell=True)
    strain = within_periodic(random_strain(np.random.default_rng(2), 0.05), slab)
    normal = np.cross(slab.cell[0], slab.cell[1])
    np.testing.assert_allclose(strain @ normal, 0.0, atol=1e-12)
    assert np.abs(np.linalg.eigvalsh(strain)).max() > 1e-3
    made = augment([slab], **{**NOTHING, "strains": 2, "volumes": (0.9,)})
    assert [atoms.info[CONFIG_TYPE] for atoms in made] == ["strained", "strained"]


def test_one_more_structure_or_copy_leaves_the_others_as_they_are() -> None:
    first, second = vacancy(), bulk("W", "bcc", a=3.3, cubic=True)
    few = augment([first], rattles=2, strains=1)
    many = augment([first, second], rattles=5, strains=3)
    groups = {(atoms.info[GROUP], tuple(atoms.cell.lengths())): atoms for atoms in many}
    for atoms in few:
        twin = groups[atoms.info[GROUP], tuple(atoms.cell.lengths())]
        np.testing.assert_array_equal(atoms.positions, twin.positions)


def test_seeds_matter_and_repeat() -> None:
    one, same, other = (augment([vacancy()], seed=seed) for seed in (1, 1, 2))
    assert all(a == b for a, b in zip(one, same, strict=True))
    assert not any(np.allclose(a.positions, b.positions) for a, b in zip(one[:4], other[:4], strict=True))


def test_nothing_comes_too_close() -> None:
    wild = {**NOTHING, "rattles": 30, "rattle_amplitudes": (0.3,), "volumes": (0.2, 1.0)}
    made = augment([vacancy()], **wild)
    assert len(of(made, "rattled")) == 30
    assert len(of(made, "volume")) == 1
    assert min(closest_contact(atoms) for atoms in made) >= 0.6
    loose = augment([vacancy()], **wild, min_distance=0.0)
    assert min(closest_contact(atoms) for atoms in loose) < 0.6


def test_the_same_structure_twice_gives_each_volume_once() -> None:
    turned = vacancy()
    turned.rotate(40, (1, 1, 2), rotate_cell=True)
    made = augment([vacancy(), turned])
    assert len(of(made, "volume")) == 3
    assert len(of(made, "rattled")) == 8


def test_a_single_atom_is_not_rattled() -> None:
    assert Counter(a.info[CONFIG_TYPE] for a in augment([bulk("W", "bcc", a=3.17)])) == {"strained": 2, "volume": 3}


def test_one_structure_can_be_parted_without_near_copies_on_two_sides() -> None:
    made = augment([vacancy()])
    sets = split(made, fractions=Split(train=0.75, valid=0.0, test=0.25), seed=1, min_units=2)
    assert sets["test"]
    groups = [{made[index].info[GROUP] for index in sets[name]} for name in ("train", "test")]
    assert not groups[0] & groups[1]


def test_asking_for_nothing_is_refused() -> None:
    with pytest.raises(DatasetError, match="gives nothing"):
        augment([vacancy()], **NOTHING)
