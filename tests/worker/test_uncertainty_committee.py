"""Committees over calculators: means, spreads, bias forces, and what belongs to what."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip.schema.errors import TaskError
from aiida_mlip.schema.job import Job
from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel
from aiida_mlip.worker.backends import load_potential, sha256_of
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.progress import Reporter
from aiida_mlip.worker.uncertainty.load import load_estimator

MEMBERS = ({"sigma": 2.20, "epsilon": 0.40}, {"sigma": 2.25, "epsilon": 0.45}, {"sigma": 2.17, "epsilon": 0.36})
STRAINS = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def write_members(folder, parameters=MEMBERS):
    """Lennard-Jones potentials with changed parameters; role -> file."""
    files = {}
    for index, values in enumerate(parameters):
        name = f"potential_member_{index:02d}"
        document = {
            "architecture": "lj",
            "elements": ["Ni", "Cu"],
            "parameters": {**values, "rc": 5.0, "smooth": True},
        }
        (folder / f"{name}.json").write_text(json.dumps(document))
        files[name] = f"{name}.json"
    return files


def context_of(folder, files):
    job = Job(task="md", settings={}, files=files)
    return Context(job, folder, Reporter(folder / "progress.jsonl", interval=5.0))


def load(folder, files):
    return load_estimator(context_of(folder, files), device="cpu", dtype="float64", head=None)


def write_model(folder, files, *, shifts, **changes):
    sums = tuple(sha256_of(folder / name) for name in sorted(files.values()))
    facts = {"kind": "deep", "sha256": sums, "head": "Default", "elements": ("Ni", "Cu")}
    header = UncertaintyHeader(**{**facts, "energy_scale": 1.7, "forces_scale": 2.3, **changes})
    UncertaintyModel(header, {"shifts": np.asarray(shifts, dtype=float)}).write(folder / "uncertainty.npz")
    return {**files, "uncertainty": "uncertainty.npz"}


@pytest.fixture
def atoms():
    """A sheared, rattled cell of two elements without symmetry."""
    cell = bulk("Cu", "fcc", a=3.6, cubic=True)
    cell.symbols[1] = "Ni"
    cell.set_cell(cell.cell @ (np.eye(3) + np.random.default_rng(2).normal(scale=0.03, size=(3, 3))), scale_atoms=True)
    cell.rattle(0.1, seed=4)
    return cell


def finite_difference(value, atoms, step=1e-4):
    """Minus the gradient of ``value`` by the positions, shape (n, 3)."""
    found = np.zeros((len(atoms), 3))
    for index in np.ndindex(found.shape):
        values = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * step
            values.append(value(moved))
        found[index] = -(values[0] - values[1]) / (2 * step)
    return found


def strain_derivative(value, atoms, step=1e-4):
    """The derivative of ``value`` by a symmetric strain over the volume, Voigt order, shape (6,)."""
    found = np.zeros(6)
    for index, (i, j) in enumerate(STRAINS):
        values = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
            values.append(value(moved))
        found[index] = (values[0] - values[1]) / (2 * step * atoms.get_volume())
    return found


def test_one_potential_alone_is_itself(tmp_path, atoms):
    files = write_members(tmp_path, MEMBERS[:1])
    estimator = load(tmp_path, files)
    assert not estimator.has_uncertainty
    found = estimator.estimate(atoms, stress=True)
    reference = load_potential(tmp_path / files["potential_member_00"], None).evaluate([atoms])
    assert found.energy == pytest.approx(reference.energies[0], abs=1e-12)
    assert found.forces == pytest.approx(reference.forces[0], abs=1e-12)
    assert found.stress == pytest.approx(reference.stresses[0], abs=1e-12)
    assert found.energy_sigma is None
    with pytest.raises(TaskError, match="one potential alone has none"):
        estimator.estimate(atoms, forces_sigma=True)


def test_mean_and_spread_are_those_of_the_members(tmp_path, atoms):
    files = write_members(tmp_path)
    found = load(tmp_path, files).estimate(atoms, stress=True, forces_sigma=True)
    members = [load_potential(tmp_path / name, None).evaluate([atoms]) for name in files.values()]
    energies = np.array([one.energies[0] for one in members])
    forces = np.array([one.forces[0] for one in members])
    assert found.energy == pytest.approx(energies.mean(), abs=1e-12)
    assert found.energy_sigma == pytest.approx(energies.std(), abs=1e-12)
    assert found.forces == pytest.approx(forces.mean(axis=0), abs=1e-12)
    assert found.stress == pytest.approx(np.mean([one.stresses[0] for one in members], axis=0), abs=1e-12)
    variances = [np.mean([np.sum((f[i] - forces[:, i].mean(axis=0)) ** 2) for f in forces]) for i in range(len(atoms))]
    assert found.forces_sigma == pytest.approx(np.sqrt(variances), abs=1e-12)
    assert load(tmp_path, files).has_uncertainty


@pytest.mark.parametrize("calibrated", [False, True])
def test_bias_is_the_derivative_of_sigma(tmp_path, atoms, calibrated):
    files = write_members(tmp_path)
    if calibrated:
        files = write_model(tmp_path, files, shifts=[[0.3, -0.2], [0.1, 0.4], [-0.4, -0.2]])
    estimator = load(tmp_path, files)
    found = estimator.estimate(atoms, stress=True, bias=True)

    def sigma(moved):
        return estimator.estimate(moved).energy_sigma

    assert np.abs(found.sigma_forces).max() > 1e-3
    assert found.sigma_forces == pytest.approx(finite_difference(sigma, atoms), abs=2e-7)
    assert found.sigma_stress == pytest.approx(strain_derivative(sigma, atoms), abs=2e-7)


def test_offsets_and_scales_are_applied(tmp_path, atoms):
    files = write_members(tmp_path)
    shifts = np.array([[0.3, -0.2], [0.1, 0.4], [-0.4, -0.2]])
    raw = load(tmp_path, files).estimate(atoms, forces_sigma=True)
    found = load(tmp_path, write_model(tmp_path, files, shifts=shifts)).estimate(atoms, forces_sigma=True)
    energies = [load_potential(tmp_path / name, None).evaluate([atoms]).energies[0] for name in files.values()]
    offsets = shifts @ np.array([1, 3])  # one Ni and three Cu
    assert found.energy_sigma == pytest.approx(1.7 * np.std(np.array(energies) - offsets), rel=1e-10)
    assert found.forces_sigma == pytest.approx(2.3 * raw.forces_sigma, rel=1e-10)
    assert found.energy == raw.energy


def test_members_that_agree_have_no_bias(tmp_path, atoms):
    found = load(tmp_path, write_members(tmp_path, [MEMBERS[0]] * 2)).estimate(atoms, bias=True, forces_sigma=True)
    assert found.energy_sigma == 0.0
    assert not found.sigma_forces.any()
    assert not found.forces_sigma.any()


def test_uncertainties_turn_and_reorder_with_the_atoms(tmp_path, atoms):
    estimator = load(tmp_path, write_members(tmp_path))
    before = estimator.estimate(atoms, forces_sigma=True, bias=True)
    turned = atoms.copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    rotation = np.linalg.lstsq(atoms.cell.array, turned.cell.array, rcond=None)[0]
    order = [2, 0, 3, 1]
    after = estimator.estimate(turned[order], forces_sigma=True, bias=True)
    assert after.energy_sigma == pytest.approx(before.energy_sigma, abs=1e-10)
    assert after.forces_sigma == pytest.approx(before.forces_sigma[order], abs=1e-10)
    assert after.sigma_forces == pytest.approx((before.sigma_forces @ rotation)[order], abs=1e-10)


def test_there_is_no_stress_without_three_periodic_directions(tmp_path):
    cluster = Atoms("CuNiCu", positions=[[0, 0, 0], [2.4, 0.1, 0], [0.3, 2.5, 0.2]])
    found = load(tmp_path, write_members(tmp_path)).estimate(cluster, stress=True, bias=True)
    assert found.stress is None
    assert found.sigma_stress is None
    assert found.sigma_forces.shape == (3, 3)


def test_the_file_of_other_potentials_is_refused(tmp_path):
    files = write_model(tmp_path, write_members(tmp_path), shifts=np.zeros((3, 2)))
    (tmp_path / files["potential_member_01"]).write_text(
        (tmp_path / files["potential_member_01"]).read_text().replace("0.45", "0.46")
    )
    with pytest.raises(TaskError, match="belongs to potentials with sha256"):
        load(tmp_path, files)


def test_the_file_of_another_head_is_refused(tmp_path):
    files = write_model(tmp_path, write_members(tmp_path), shifts=np.zeros((3, 2)), head="pbe")
    with pytest.raises(TaskError, match="belongs to head 'pbe'"):
        load(tmp_path, files)


def test_a_damaged_file_is_refused(tmp_path):
    files = write_model(tmp_path, write_members(tmp_path), shifts=np.zeros((3, 2)))
    whole = (tmp_path / "uncertainty.npz").read_bytes()
    (tmp_path / "uncertainty.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskError, match=r"uncertainty.npz is not a file of uncertainties, or damaged"):
        load(tmp_path, files)


def test_an_unknown_element_is_named(tmp_path):
    with pytest.raises(TaskError, match="has Al, which a member of the committee lacks"):
        load(tmp_path, write_members(tmp_path)).estimate(bulk("Al"))
