"""Molecules as rigid bodies: their gradient, that nothing within them changes, and that contacts open."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.distance import pdist

from aiida_mlip.science.liquids.boxes import problems_of_box
from aiida_mlip.science.liquids.molecules import Molecule, find_molecules
from aiida_mlip.science.liquids.settling import RigidBodies, closest_between, same_molecules, settle

CELL = np.array([[8.5, 0.4, -0.3], [0.6, 9.0, 0.2], [-0.5, 0.8, 8.0]])


def crowded(seed: int = 0) -> tuple[Atoms, list[Molecule]]:
    """Eight molecules at random in a triclinic cell, some on top of each other, cut by the boundary, atoms shuffled."""
    rng = np.random.default_rng(seed)
    atoms, sizes = Atoms(cell=CELL, pbc=True), []
    for name in ("CH3OH", "H2O", "CH3CN", "CO2", "CH3OCH3", "H2O", "NH3", "CH3OH"):
        one = molecule(name)
        one.rotate(float(rng.uniform(0, 180)), rng.normal(size=3))
        one.positions += rng.uniform(size=3) @ CELL
        sizes.append(len(one))
        atoms += one
    atoms += Atoms("Li", positions=[rng.uniform(size=3) @ CELL])
    sizes.append(1)
    order = rng.permutation(len(atoms))
    place = np.argsort(order)
    wrapped = atoms[order.tolist()]
    wrapped.wrap()
    molecules, first = [], 0
    for size in sizes:
        indices = np.sort(place[first : first + size])
        shifts = (atoms.positions[order[indices]] - wrapped.positions[indices]) @ np.linalg.inv(CELL)
        kinds = find_molecules(Atoms(numbers=wrapped.numbers[indices], positions=atoms.positions[order[indices]]))
        molecules.append(Molecule(indices, np.rint(shifts).astype(np.int64), kinds[0].kind if kinds else "Li_"))
        first += size
    return wrapped, molecules


def test_the_gradient_agrees_with_finite_differences() -> None:
    atoms, molecules = crowded()
    bodies = RigidBodies(atoms, molecules, smallest=2.2, share=0.9)
    rng = np.random.default_rng(1)
    for scale in (0.0, 1e-6, 0.5, 2.0):
        x = scale * rng.normal(size=6 * len(molecules))
        energy, gradient = bodies.repulsion(x)
        steps = 1e-5 * np.eye(len(x))
        numeric = np.array([(bodies.repulsion(x + h)[0] - bodies.repulsion(x - h)[0]) / 2e-5 for h in steps])
        assert energy > 1.0
        np.testing.assert_allclose(gradient, numeric, atol=2e-7 * np.abs(numeric).max())


def test_the_repulsion_is_that_of_a_plain_sum_over_images() -> None:
    """Two water molecules, summed by hand over 27 cells."""
    atoms, molecules = crowded(3)
    bodies = RigidBodies(atoms, molecules, smallest=2.2, share=0.0)
    whole = bodies.positions(np.zeros(6 * len(molecules)))
    owner = bodies.owner
    total = 0.0
    for shift in np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T:
        distances = np.linalg.norm(whole[:, None] - whole[None] - shift @ CELL, axis=2)
        pairs = (owner[:, None] != owner[None]) | bool(shift.any())
        total += 0.25 * float(np.sum(np.clip(2.2 - distances[pairs], 0, None) ** 2))
    assert bodies.repulsion(np.zeros(6 * len(molecules)))[0] == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_settling_opens_contacts_and_keeps_molecules_rigid(seed: int) -> None:
    atoms, molecules = crowded(seed)
    before = atoms.copy()
    settled = settle(atoms, molecules, smallest=1.9, share=0.6)
    assert atoms == before
    assert settled.before < 1.0
    assert settled.after > 1.85
    for one in molecules:
        inside, outside = one.positions(atoms), settled.atoms.positions[one.indices]
        np.testing.assert_allclose(pdist(outside), pdist(inside), atol=1e-8)
        arms, turned = inside - inside.mean(axis=0), outside - outside.mean(axis=0)
        if len(arms) > 3:  # no molecule comes out as its mirror image
            np.testing.assert_allclose(
                np.linalg.det(arms[:3] - arms[3]), np.linalg.det(turned[:3] - turned[3]), atol=1e-8
            )
        centre = settled.atoms.cell.scaled_positions(Molecule(one.indices, 0 * one.offsets, "").centre(settled.atoms))
        assert (centre > -1e-9).all()
        assert (centre < 1 + 1e-9).all()
    assert not [text for text, _ in problems_of_box(settled.atoms) if "Å apart" in text or "overlap" in text]


def test_what_is_far_apart_stays_where_it_is() -> None:
    atoms, molecules = crowded(1)
    apart = settle(atoms, molecules, smallest=1.9, share=0.6).atoms
    again = settle(apart, smallest=1.5, share=0.0)
    assert again.moved == 0.0
    assert again.kept
    np.testing.assert_allclose(again.atoms.get_all_distances(mic=True), apart.get_all_distances(mic=True), atol=1e-9)


def test_bonds_that_changed_are_noticed() -> None:
    """Two molecules pushed together are one to the finder: the box says that it is not what was asked for."""
    atoms = molecule("H2O") + molecule("H2O")
    atoms.positions[3:] += [0.0, 0.0, 6.0]
    atoms.set_cell([12, 12, 12])
    atoms.pbc = True
    found = find_molecules(atoms) or []
    assert same_molecules(atoms, found)
    closer = atoms.copy()
    closer.positions[3:] -= [0.0, 0.0, 4.6]
    assert not same_molecules(closer, found)
    assert not settle(closer, found, smallest=0.6, share=0.0).kept
    assert settle(closer, found, smallest=2.0, share=0.0).kept


def test_images_of_one_molecule_count() -> None:
    water = molecule("H2O")
    water.set_cell([4.0, 9.0, 9.0])
    water.pbc = True
    found = find_molecules(water) or []
    periodic = min(
        float(np.linalg.norm(water.positions[i] - water.positions[j] - np.array([shift, 0, 0])))
        for i in range(3)
        for j in range(3)
        for shift in (-4.0, 4.0)
    )
    assert closest_between(water, found) == pytest.approx(periodic, abs=1e-12)


def test_a_crystal_is_not_settled() -> None:
    with pytest.raises(ValueError, match="no molecules"):
        settle(bulk("W", cubic=True))
    atoms, molecules = crowded()
    with pytest.raises(ValueError, match="in none of them"):
        closest_between(atoms, molecules[1:])
