"""DatasetData: content, hash, counts, validation."""

from __future__ import annotations

import io

import numpy as np
import pytest
from aiida.common import exceptions
from ase import Atoms
from ase.build import bulk, molecule

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.science import keys

pytestmark = pytest.mark.usefixtures("aiida_profile")


def labelled(scale: float = 1.0, *, energy: float = -1.5, source: str = "", **info: str) -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.6 * scale) * (2, 1, 1)
    atoms.rattle(0.05, seed=7)
    atoms.info[keys.ENERGY] = energy
    atoms.arrays[keys.FORCES] = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])
    atoms.info[keys.STRESS] = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6]) * 1e-3
    atoms.info |= info
    if source:
        atoms.info[keys.SOURCE] = source
    return atoms


def single(element: str, cell: float | None, *, energy: bool = True) -> Atoms:
    atoms = Atoms(element) if cell is None else Atoms(element, cell=[cell] * 3, pbc=True)
    if energy:
        atoms.info[keys.ENERGY] = -0.5
    return atoms


def node_hash(frames: list[Atoms], **kwargs: str) -> str:
    return str(DatasetData(frames, **kwargs).store().base.caching.get_hash())


def test_numbers_survive_storing_to_the_last_bit() -> None:
    atoms = labelled(energy=-1 / 3, group="path 1")
    back = next(DatasetData([atoms]).store().frames())
    assert back.info[keys.ENERGY] == -1 / 3
    assert back.info[keys.GROUP] == "path 1"
    np.testing.assert_array_equal(back.positions, atoms.positions)
    np.testing.assert_array_equal(back.arrays[keys.FORCES], atoms.arrays[keys.FORCES])
    np.testing.assert_array_equal(back.info[keys.STRESS], atoms.info[keys.STRESS])


def test_counts_describe_the_content() -> None:
    unlabelled = molecule("H2O")
    unlabelled.info[keys.CONFIG_TYPE] = "water"
    data = DatasetData([labelled(), unlabelled], level_of_theory="EMT")
    assert len(data) == 2
    assert data.elements == ("Cu", "H", "O")
    assert data.config_types == {"default": 1, "water": 1}
    assert data.labels == {keys.ENERGY: 1, keys.FORCES: 1, keys.STRESS: 1}
    assert data.max_force == 0.3
    assert data.base.attributes.get("num_atoms") == 5
    assert data.level_of_theory == "EMT"


def test_the_caller_keeps_its_frames() -> None:
    atoms = labelled()
    atoms.info["comment"] = "mine"
    before = atoms.copy()
    DatasetData([atoms]).store()
    assert atoms == before
    assert atoms.info["comment"] == "mine"


def test_hash_is_of_physical_content() -> None:
    reference = node_hash([labelled()])
    assert node_hash([labelled()]) == reference
    assert node_hash([labelled(source="0b9e3c9e")]) == reference
    assert node_hash([labelled(origin='{"kind":"md","step":7}')]) == reference
    assert node_hash([labelled()], level_of_theory="EMT") == reference
    assert node_hash([labelled(energy=-1.5000001)]) != reference
    assert node_hash([labelled(1.0000001)]) != reference
    assert node_hash([labelled(config_type="strained")]) != reference
    assert node_hash([labelled(group="a")]) != reference
    assert node_hash([labelled(), labelled()]) != reference
    turned = labelled()
    turned.info[keys.STRESS] = turned.info[keys.STRESS][[0, 1, 2, 3, 5, 4]]
    assert node_hash([turned]) != reference


def test_order_of_frames_is_content() -> None:
    first, second = labelled(1.0), labelled(1.01)
    assert node_hash([first, second]) != node_hash([second, first])


def test_isolated_atoms_are_those_without_neighbours() -> None:
    frames = [
        single("Cu", 12.0),
        single("Ni", None, energy=False),
        single("Al", 4.5),
        labelled(),
    ]
    data = DatasetData(frames)
    assert data.isolated_atoms(6.0) == [("Cu", True), ("Ni", False)]
    assert data.isolated_atoms(4.0) == [("Cu", True), ("Ni", False), ("Al", True)]
    assert data.isolated_atoms(13.0) == [("Ni", False)]


def test_image_distance_is_that_of_the_reduced_cell() -> None:
    skewed = Atoms("Cu", cell=[[8.0, 0, 0], [16.0, 5.0, 0], [0, 0, 9.0]], pbc=True)
    assert DatasetData([skewed]).isolated_atoms(4.9) == [("Cu", False)]
    assert DatasetData([skewed]).isolated_atoms(5.1) == []


def test_fingerprints_tell_geometries_apart() -> None:
    other_label, moved = labelled(energy=3.0), labelled()
    moved.positions[1, 2] += 1e-4
    first, second, third = (DatasetData([atoms]).fingerprints() for atoms in (labelled(), other_label, moved))
    assert set(first) == set(second)
    assert not set(first) & set(third)
    twice = DatasetData([labelled(1.1), labelled(), labelled()]).fingerprints()
    assert sorted(twice.values()) == [0, 1]
    assert DatasetData([single("Cu", 15.0), labelled()]).fingerprints() == dict.fromkeys(first, 1)


def test_not_finite_configurations_are_named() -> None:
    broken = labelled()
    broken.arrays[keys.FORCES][1, 1] = np.nan
    data = DatasetData([labelled(), broken, labelled(energy=np.inf)]).store()
    assert data.not_finite == [1, 2]
    assert data.max_force == 0.3


def test_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="frames is empty"):
        DatasetData([])


def test_other_things_than_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames\[0\] = 'data.xyz' is not an ase.Atoms: read the file"):
        DatasetData(["data.xyz"])


def test_wrong_shape_names_the_label() -> None:
    atoms = labelled()
    atoms.info[keys.STRESS] = np.zeros(5)
    with pytest.raises(ValueError, match=keys.STRESS):
        DatasetData([atoms])


def test_edited_file_is_not_stored() -> None:
    data = DatasetData([labelled()])
    data.base.repository.put_object_from_filelike(io.BytesIO(b"1\n\nCu 0 0 0\n"), DatasetData.FILENAME)
    with pytest.raises(exceptions.ValidationError, match="do not edit it"):
        data.store()
