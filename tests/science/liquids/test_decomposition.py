"""Forces within and between molecules, and those that move, turn and deform them, against pair sums and work."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from aiida_mlip.science.keys import ENERGY, FORCES, STRESS
from aiida_mlip.science.liquids.decomposition import alone, has_charge, rigid_virial, split, virial_of
from aiida_mlip.science.liquids.molecules import Molecule, find_molecules
from aiida_mlip.science.liquids.rigid_motion import inertia, net_force_and_torque, rigid_parts, split_forces

SIGMA, EPSILON, REACH = 1.1, 0.3, 6.0
CELL = np.array([[9.5, 0.0, 0.0], [1.4, 10.0, 0.0], [-1.1, 0.7, 9.0]])
HOCL = Atoms("OHCl", [[0, 0, 0], [0.2, 0.93, 0.1], [1.6, -0.35, 0.25]])
CO = Atoms("CO", [[0, 0, 0], [0.5, 0.6, 0.85]])


def liquid(seed: int = 3, *, ion: bool = False) -> Atoms:
    """Bent and linear molecules in a triclinic cell: across its borders, and their atoms in any order."""
    rng = np.random.default_rng(seed)
    box = Atoms(cell=CELL, pbc=True)
    spots = [(0.02, 0.97, 0.5), (0.3, 0.35, 0.99), (0.62, 0.1, 0.3), (0.98, 0.55, 0.05), (0.55, 0.6, 0.6)]
    for number, spot in enumerate(spots):
        part = (HOCL if number % 2 == 0 else CO).copy()
        part.positions += rng.normal(scale=0.04, size=part.positions.shape)
        part.positions = part.positions @ Rotation.random(random_state=rng).as_matrix().T + np.array(spot) @ CELL
        box += part
    if ion:
        box += Atoms("Li", [np.array([0.8, 0.85, 0.8]) @ CELL])
    box = box[rng.permutation(len(box))]
    box.wrap()
    return box


def labelled(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=REACH)
    found = atoms.copy()
    found.info[ENERGY], found.arrays[FORCES] = copy.get_potential_energy(), copy.get_forces()
    if atoms.pbc.all():
        found.info[STRESS] = copy.get_stress()
    return found


def molecules_of(atoms: Atoms) -> list[Molecule]:
    found = find_molecules(atoms)
    assert found is not None
    return found


def pair_sums(atoms: Atoms, molecules: list[Molecule]) -> dict[str, tuple[float, np.ndarray, np.ndarray]]:
    """Energy, forces and virial of pairs within one molecule and of all others, summed pair by pair."""
    owner, offsets = np.zeros(len(atoms), int), np.zeros((len(atoms), 3), int)
    for number, molecule in enumerate(molecules):
        owner[molecule.indices], offsets[molecule.indices] = number, molecule.offsets
    i, j, shift, vector, distance = neighbor_list("ijSDd", atoms, REACH)
    inside = (owner[i] == owner[j]) & (shift == offsets[j] - offsets[i]).all(axis=1)
    ratio6 = (SIGMA / distance) ** 6
    energy = 4 * EPSILON * (ratio6**2 - ratio6 - (SIGMA / REACH) ** 12 + (SIGMA / REACH) ** 6)
    pull = (4 * EPSILON * (-12 * ratio6**2 + 6 * ratio6) / distance**2)[:, None] * vector
    found = {}
    for name, chosen in (("intra", inside), ("inter", ~inside)):
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i[chosen], pull[chosen])
        virial = 0.5 * vector[chosen].T @ pull[chosen]
        found[name] = 0.5 * energy[chosen].sum(), forces, virial
    return found


@pytest.mark.parametrize("periodic", [True, False])
def test_a_pair_potential_is_split_into_its_pairs(periodic: bool) -> None:
    box = liquid()
    molecules = molecules_of(box)
    assert any((molecule.offsets != 0).any() for molecule in molecules)
    assert any(np.ptp(molecule.indices) >= len(molecule.indices) for molecule in molecules)
    if not periodic:
        for molecule in molecules:
            box.positions[molecule.indices] = molecule.positions(box)
        box = Atoms(box.numbers, box.positions)
        molecules = molecules_of(box)
    found = split(labelled(box), molecules, [labelled(alone(box, molecule)) for molecule in molecules])
    expected = pair_sums(box, molecules)
    for name in ("intra", "inter"):
        energy, forces, virial = expected[name]
        assert np.sum(getattr(found, f"energy_{name}")) == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(getattr(found, f"forces_{name}"), forces, atol=1e-9)
        np.testing.assert_allclose(getattr(found, f"virial_{name}"), virial, atol=1e-9)
    assert abs(found.energy_inter) > 1e-3
    np.testing.assert_allclose(found.forces_intra + found.forces_inter, found.forces, atol=1e-12)


def test_a_molecule_without_a_label_leaves_the_others_known() -> None:
    box = liquid()
    molecules = molecules_of(box)
    parts: list[Atoms | None] = [labelled(alone(box, molecule)) for molecule in molecules]
    parts[1] = None
    found = split(labelled(box), molecules, parts)
    assert np.isnan(found.energy_inter)
    assert np.isnan(found.virial_inter).all()
    assert set(np.flatnonzero(np.isnan(found.forces_inter).any(axis=1))) == set(molecules[1].indices)
    with pytest.raises(ValueError, match="parts: 1 for 5 molecules"):
        split(labelled(box), molecules, parts[:1])
    wrong = [box, *parts[1:]]
    with pytest.raises(ValueError, match=r"parts\[0\] has 13 atoms"):
        split(labelled(box), molecules, wrong)


def test_ions_feel_only_what_is_between_molecules() -> None:
    box = liquid(ion=True)
    molecules = molecules_of(box)
    found = split(labelled(box), molecules, [labelled(alone(box, molecule)) for molecule in molecules])
    (ion,) = np.flatnonzero(box.numbers == 3)
    np.testing.assert_allclose(found.forces_intra[ion], 0.0, atol=1e-15)
    assert [has_charge(box, molecule) for molecule in molecules] == [ion in molecule.indices for molecule in molecules]


def test_the_molecular_virial_is_the_slope_of_the_scan() -> None:
    """dE/dlnV of a box whose molecules are moved as wholes, by central differences."""
    from aiida_mlip.science.liquids.volume_scan import scan_frames

    box = liquid()
    molecules = molecules_of(box)
    density = box.get_masses().sum() / box.get_volume() * 1.66053907
    step = 1e-4
    low, high = scan_frames(box, molecules, [density * np.exp(-step), density * np.exp(step)])
    slope = (labelled(low).info[ENERGY] - labelled(high).info[ENERGY]) / (2 * step)
    (same,) = scan_frames(box, molecules, [density])
    whole = labelled(same)
    parts = [molecule.indices.tolist() for molecule in molecules]
    assert np.trace(rigid_virial(whole, parts)) / 3 == pytest.approx(slope, rel=1e-5)
    assert np.trace(virial_of(whole)) / 3 != pytest.approx(slope, rel=1e-2)


def test_parts_of_the_forces_add_up_and_do_the_work_of_rigid_motions() -> None:
    """Each molecule moved and turned a little: the energy changes by the work of its two rigid parts alone."""
    box = liquid(5)
    molecules = molecules_of(box)
    whole = labelled(box)
    parts = split_forces(box, molecules, whole.arrays[FORCES])
    np.testing.assert_allclose(parts.trans + parts.rot + parts.vib, whole.arrays[FORCES], atol=1e-12)
    rng = np.random.default_rng(0)
    masses = box.get_masses()
    for molecule in molecules:
        chosen = molecule.indices
        arms = molecule.positions(box) - molecule.centre(box)
        push, turn = rng.normal(size=3), rng.normal(size=3)
        step = 1e-4
        for work, displaced in (
            (np.sum(parts.trans[chosen] @ push), lambda s: arms + s * push),  # noqa: B023
            (
                np.sum(parts.rot[chosen] * np.cross(turn, arms)),
                lambda s: arms @ Rotation.from_rotvec(s * turn).as_matrix().T,  # noqa: B023
            ),
        ):
            energies = []
            for sign in (-1, 1):
                moved = box.copy()
                moved.positions[chosen] += displaced(sign * step) - arms
                energies.append(labelled(moved).info[ENERGY])
            assert work == pytest.approx(-(energies[1] - energies[0]) / (2 * step), abs=2e-6)
        net, torque = net_force_and_torque(masses[chosen], arms, parts.vib[chosen])
        np.testing.assert_allclose([net, torque], 0.0, atol=1e-12)
        net, _ = net_force_and_torque(masses[chosen], arms, parts.rot[chosen])
        np.testing.assert_allclose(net, 0.0, atol=1e-12)


def test_molecules_in_vacuum_only_vibrate() -> None:
    part = labelled(HOCL)
    found = rigid_parts(part.get_masses(), part.positions, part.arrays[FORCES])
    np.testing.assert_allclose(found.trans, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.rot, 0.0, atol=1e-12)
    assert np.abs(found.vib).max() > 0.1


def test_linear_molecules_and_single_atoms_have_no_inertia_about_an_axis() -> None:
    rng = np.random.default_rng(2)
    axis = np.array([0.3, -0.5, 0.8])
    line = np.outer([0.0, 1.2, 2.5], axis)  # three atoms in a row, not along a coordinate axis
    masses, forces = np.array([16.0, 12.0, 32.0]), rng.normal(size=(3, 3))
    found = rigid_parts(masses, line, forces)
    assert np.abs(found.rot).max() < 10
    np.testing.assert_allclose(found.rot @ axis, 0.0, atol=1e-12)
    np.testing.assert_allclose(
        net_force_and_torque(masses, line, found.rot)[1], net_force_and_torque(masses, line, forces)[1], atol=1e-10
    )
    atom = rigid_parts(np.array([6.94]), np.ones((1, 3)), forces[:1])
    np.testing.assert_allclose(atom.trans, forces[:1])
    np.testing.assert_allclose([atom.rot, atom.vib], 0.0)


def test_the_inertia_is_that_of_an_independent_code() -> None:
    atoms = HOCL.copy()
    centred = atoms.positions - atoms.get_center_of_mass()
    principal = np.linalg.eigvalsh(inertia(atoms.get_masses(), centred))
    np.testing.assert_allclose(principal, np.sort(atoms.get_moments_of_inertia()), rtol=1e-12)
