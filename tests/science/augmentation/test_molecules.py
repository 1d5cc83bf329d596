"""Molecules: found whatever the cell and the order of atoms, kept rigid, and cut out with their neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from scipy.spatial.distance import pdist

from aiida_mlip.science.augmentation import augment, deformed
from aiida_mlip.science.augmentation.vacuum import dimer, neutral_pair, pairs, placed
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.liquids.molecules import find_molecules

NAMES = ("CH3CH2OH", "CH3OCH3", "H2O", "CH3OH")


def liquid(names: Sequence[str] = NAMES, seed: int = 0) -> Atoms:
    """A triclinic cell of molecules on a lattice, turned at random, cut by the boundary, atoms in random order."""
    rng = np.random.default_rng(seed)
    cell = np.array([[11.0, 0.3, -0.7], [0.8, 10.5, 0.5], [-0.4, 0.9, 12.0]])
    atoms = Atoms(cell=cell, pbc=True)
    sites = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    for name, site in zip(names, sites, strict=False):
        one = molecule(name)
        one.rotate(float(rng.uniform(0, 180)), rng.normal(size=3))
        one.positions += 0.5 * np.array(site) @ cell - one.get_center_of_mass() + rng.uniform(0, 0.4, size=3)
        atoms += one
    atoms.wrap()
    return atoms[rng.permutation(len(atoms)).tolist()]


def shape(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Distances of a molecule, sorted by the elements of the pair and then by length."""
    order = np.argsort(numbers, kind="stable")
    first, second = np.triu_indices(len(numbers), 1)
    sorted_numbers = numbers[order]
    return np.array(sorted(zip(sorted_numbers[first], sorted_numbers[second], pdist(positions[order]), strict=True)))


def test_molecules_cut_by_the_cell_are_whole_again() -> None:
    atoms = liquid()
    assert (atoms.get_scaled_positions() >= 0).all()
    found = find_molecules(atoms)
    assert found is not None
    assert any(part.offsets.any() for part in found)
    assert sorted(np.concatenate([part.indices for part in found]).tolist()) == list(range(len(atoms)))
    for name in NAMES:
        gas = molecule(name)
        expected = shape(gas.numbers, gas.positions)
        shapes = [shape(atoms.numbers[part.indices], part.positions(atoms)) for part in found]
        assert any(s.shape == expected.shape and np.allclose(s, expected, atol=1e-10) for s in shapes)


def test_isomers_differ_and_order_of_atoms_does_not_matter() -> None:
    kinds = Counter(part.kind for part in find_molecules(liquid(("CH3CH2OH", "CH3OCH3", "CH3CH2OH"), 3)) or ())
    assert sorted(kinds.values()) == [1, 2]
    assert len({kind.split("_")[0] for kind in kinds}) == 1
    again = Counter(part.kind for part in find_molecules(liquid(("CH3OCH3", "CH3CH2OH", "CH3CH2OH"), 4)) or ())
    assert again == kinds


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
def test_a_volume_scan_keeps_molecules_rigid_and_scales_centres(factor: float) -> None:
    atoms = liquid()
    found = find_molecules(atoms)
    assert found is not None
    changed = deformed(atoms, factor ** (1 / 3) * np.eye(3), found)
    assert changed.get_volume() / atoms.get_volume() == pytest.approx(factor, rel=1e-12)
    for part in found:
        before, after = part.positions(atoms), changed.positions[part.indices]
        np.testing.assert_allclose(after - after[0], before - before[0], atol=1e-10)
        masses = atoms.get_masses()[part.indices]
        centre = masses @ after / masses.sum()
        np.testing.assert_allclose(
            changed.cell.scaled_positions(centre), atoms.cell.scaled_positions(part.centre(atoms))
        )
    again = find_molecules(changed)
    assert again is not None
    assert sorted(part.kind for part in again) == sorted(part.kind for part in found)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("W", "bcc", a=3.17, cubic=True),
        bulk("Li", "bcc", a=3.5, cubic=True),
        bulk("NaCl", "rocksalt", a=5.64, cubic=True),
        bulk("C", "diamond", a=3.57),
        graphene(vacuum=8.0),
        Atoms("Ar4", positions=np.diag([4.0, 8.0, 12.0, 0.0])[:, :3], cell=[16, 16, 16], pbc=True),
    ],
    ids=lambda atoms: atoms.get_chemical_formula(),
)
def test_crystals_sheets_and_single_atoms_are_no_molecules(atoms: Atoms) -> None:
    assert find_molecules(atoms) is None


def salt() -> Atoms:
    """LiPF6 beside an ethylene glycol stand-in (methanol); Li is nearer to F than the sum of their radii."""
    d = 1.6
    octahedron = Atoms(
        "PF6", positions=[[0, 0, 0], [d, 0, 0], [-d, 0, 0], [0, d, 0], [0, -d, 0], [0, 0, d], [0, 0, -d]]
    )
    solvent = molecule("CH3OH")
    solvent.positions += [6.0, 5.0, 5.0]
    atoms = octahedron + Atoms("Li", positions=[[2.4, 1.3, 0.4]]) + solvent
    atoms.set_cell([13.0, 12.0, 11.0])
    atoms.pbc = True
    atoms.wrap()
    return atoms


def test_ions_are_coordinated_and_not_bonded() -> None:
    found = find_molecules(salt())
    assert found is not None
    assert sorted(len(part.indices) for part in found) == [1, 6, 7]


def test_what_would_be_a_radical_when_neutral_is_not_cut_out() -> None:
    made = augment([salt()], rattles=0, strains=0, volumes=())
    by_type = Counter((atoms.info[CONFIG_TYPE], atoms.get_chemical_formula()) for atoms in made)
    assert by_type[("molecule", "CH4O")] == 2
    assert {formula for kind, formula in by_type if kind == "molecule"} == {"CH4O"}
    assert ("dimer", "F6LiP") in by_type  # an ion pair is neutral
    assert not {formula for kind, formula in by_type if kind == "dimer"} & {"CH4F6OP", "CH4LiO"}


def test_pairs_are_the_nearest_images_and_stay_rigid() -> None:
    """Two waters on two sides of the boundary: the pair is the one that touches across it."""
    water = molecule("H2O")
    one, other = water.copy(), water.copy()
    one.positions += [0.3, 4.0, 5.0]
    other.rotate(90, (1, 1, 0))
    other.positions += [8.0, 4.2, 5.3]
    atoms = one + other
    atoms.set_cell([10.5, 9.0, 10.0])
    atoms.pbc = True
    atoms.wrap()
    found = find_molecules(atoms)
    assert found is not None
    nearest = next(pairs(atoms, found))
    straight = float(np.linalg.norm(found[1].centre(atoms) - found[0].centre(atoms)))
    distances = {}
    for apart in (0.0, 1.5):
        pair = dimer(atoms, nearest, apart, None)
        assert not pair.pbc.any()
        np.testing.assert_allclose(pdist(pair.positions[:3]), pdist(one.positions), atol=1e-10)
        np.testing.assert_allclose(pdist(pair.positions[3:]), pdist(other.positions), atol=1e-10)
        centres = [part.get_center_of_mass() for part in (pair[:3], pair[3:])]
        distances[apart] = float(np.linalg.norm(centres[1] - centres[0]))
    assert distances[0.0] < 4.0 < straight
    assert distances[1.5] == pytest.approx(distances[0.0] + 1.5, abs=1e-10)


def test_pairs_come_in_order_of_their_contacts_and_once_each() -> None:
    atoms = liquid(("H2O",) * 8, 5)
    found = find_molecules(atoms) or []
    listed = list(pairs(atoms, found))
    gaps = []
    for one, other, image in listed:
        first, second = one.positions(atoms), other.positions(atoms) + image
        radii = {1: 0.31, 8: 0.66}
        sums = np.add.outer(
            [radii[z] for z in atoms.numbers[one.indices]], [radii[z] for z in atoms.numbers[other.indices]]
        )
        gaps.append(float((np.linalg.norm(first[:, None] - second[None], axis=2) / sums).min()))
    assert gaps == sorted(gaps)
    keys = {(int(a.indices[0]), int(b.indices[0]), tuple(np.round(image, 6))) for a, b, image in listed}
    assert len(keys) == len(listed)


def test_molecules_of_periodic_structures_get_a_box_with_vacuum() -> None:
    water = molecule("H2O")
    boxed = placed(water.numbers, water.positions, 7.0)
    assert boxed.pbc.all()
    np.testing.assert_allclose(pdist(boxed.positions), pdist(water.positions), atol=1e-12)
    doubled = boxed * (2, 2, 2)
    apart = doubled.get_all_distances()[:3, 3:]
    assert apart.min() >= 7.0 - 1e-9
    assert not placed(water.numbers, water.positions, None).pbc.any()


def test_a_cluster_gives_molecules_without_a_box() -> None:
    cluster = liquid(("H2O", "CH3OH"))
    found = find_molecules(cluster) or []
    whole = cluster.copy()
    for part in found:
        whole.positions[part.indices] = part.positions(cluster)
    whole.cell[:] = 0
    whole.pbc = False
    made = augment([whole], rattles=1, strains=2, volumes=(1.2,))
    types = Counter(atoms.info[CONFIG_TYPE] for atoms in made)
    assert types["strained"] == 0
    assert types["volume"] == 1
    assert types["molecule"] == 4
    assert not any(atoms.pbc.any() for atoms in made)
    (spread,) = (atoms for atoms in made if atoms.info[CONFIG_TYPE] == "volume")
    centres = [spread[part.indices.tolist()].get_center_of_mass() for part in found]
    plain = [whole[part.indices.tolist()].get_center_of_mass() for part in found]
    ratio = np.linalg.norm(centres[0] - centres[1]) / np.linalg.norm(plain[0] - plain[1])
    assert ratio == pytest.approx(1.2 ** (1 / 3), rel=1e-10)


def test_neutral_pairs_need_two_closed_shells_or_an_ion_pair() -> None:
    atoms = salt()
    found = {len(part.indices): part for part in find_molecules(atoms) or []}
    lithium, methanol, hexafluorophosphate = found[1], found[6], found[7]
    assert neutral_pair(atoms, methanol, methanol)
    assert neutral_pair(atoms, lithium, hexafluorophosphate)
    assert not neutral_pair(atoms, lithium, methanol)
    assert not neutral_pair(atoms, lithium, lithium)
    assert not neutral_pair(atoms, hexafluorophosphate, hexafluorophosphate)
