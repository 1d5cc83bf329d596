"""Uncertainties from the last layer of MACE: linear in features, against finite differences and dense formulas."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from aiida_mlip.schema.errors import TaskError
from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel
from aiida_mlip.worker.backends import load_potential
from aiida_mlip.worker.backends._torch import default_dtype
from aiida_mlip.worker.backends.mace import MacePotential, bind
from aiida_mlip.worker.uncertainty.body import MaceBody
from aiida_mlip.worker.uncertainty.load import estimator_of
from aiida_mlip.worker.uncertainty.observe import observe


@pytest.fixture(scope="module")
def potential(tiny_mace):
    return load_potential(tiny_mace[0], None)


@pytest.fixture(scope="module")
def body(potential):
    return MaceBody(potential)


@pytest.fixture
def frames(emt_frames):
    """Distorted cells, and a cluster with an atom out of reach of the others."""
    cluster = Atoms("CuNiAlCu", positions=[[0, 0, 0], [2.2, 0.3, 0], [0.1, 2.4, 0.4], [30, 0, 0]])
    return [*emt_frames(2, 5), cluster]


@pytest.fixture
def atoms(emt_frames):
    return emt_frames(1, 8)[0]


def made(body, kind="last_layer_bayes", probes=3, seed=1):
    """A model with random numbers: what is tested here holds for any."""
    rng = np.random.default_rng(seed)
    size = len(body.weights)
    facts = {"sha256": ("a",), "head": "Default", "elements": body.potential.info.elements}
    header = UncertaintyHeader(kind=kind, **facts, energy_scale=1.4, forces_scale=0.6)
    arrays = {
        "centres": rng.normal(size=(len(facts["elements"]), size)),
        "factor": rng.normal(size=(5, size)),
        "directions": rng.normal(size=(probes, size)),
    }
    return UncertaintyModel(header, arrays)


def with_weights(path, changes):
    """The potential with other weights of its last layer: w + changes, through mace's own readouts."""
    model = torch.load(path, weights_only=False)
    start = 0
    for readout in model.readouts:
        linear = getattr(readout, "linear_2", None) or readout.linear
        size = linear.irreps_in.dim
        with torch.no_grad():
            effect = linear(torch.eye(size, dtype=torch.float64))[:, 0]
            ratio = effect / linear.weight.reshape(-1)  # e3nn divides by sqrt(inputs)
            linear.weight += torch.as_tensor(changes[start : start + size]) / ratio
        start += size
    return bind(model, head=None)


class TestBody:
    def test_energy_is_linear_in_the_features(self, body, frames):
        """What is left is a sum of E0s here: the model has no pair repulsion and no shift."""
        with default_dtype("float64"):
            done = body.run(frames)
        e0s = body.potential.info.e0s["Default"]
        rest = [sum(e0s[symbol] for symbol in atoms.symbols) for atoms in frames]
        assert done.features.detach().numpy() @ body.weights + rest == pytest.approx(done.energies, abs=1e-12)
        assert done.energies == pytest.approx(body.potential.evaluate(frames).energies, abs=1e-12)

    def test_forces_and_stress_are_those_of_the_model(self, body, frames):
        with default_dtype("float64"):
            done = body.run(frames[:2], stress=True)
            forces, stress = done.gradients(done.interaction, torch.ones(2), last=True)
        found = body.potential.evaluate(frames[:2])
        assert np.abs(forces).max() > 1e-3
        assert forces == pytest.approx(np.concatenate(found.forces), abs=1e-12)
        assert stress == pytest.approx(found.stresses, abs=1e-12)

    def test_other_weights_are_another_model(self, tiny_mace, potential, body, atoms):
        """A step of the weights changes energy and forces as the features say."""
        changes = np.random.default_rng(1).normal(size=len(body.weights))
        other = with_weights(tiny_mace[0], changes).evaluate([atoms])
        before = potential.evaluate([atoms])
        with default_dtype("float64"):
            done = body.run([atoms])
            forces = done.forces_along(torch.as_tensor(changes)[None], last=False)
            features = done.features.detach().numpy()[0]
        assert other.energies[0] - before.energies[0] == pytest.approx(features @ changes, abs=1e-10)
        assert other.forces[0] - before.forces[0] == pytest.approx(forces, abs=1e-10)

    def test_only_the_chosen_head_counts(self, atoms, multihead):
        for head in multihead.info.heads:
            chosen = bind(multihead.model, head=head)
            body = MaceBody(chosen)
            with default_dtype("float64"):
                done = body.run([atoms])
            rest = sum(chosen.info.e0s[head][symbol] for symbol in atoms.symbols) + len(atoms) * SHIFTS[head]
            assert done.features.detach().numpy()[0] @ body.weights + rest == pytest.approx(done.energies[0], abs=1e-10)
            assert done.energies == pytest.approx(chosen.evaluate([atoms]).energies, abs=1e-12)

    def test_other_potentials_are_refused(self, tmp_path):
        (tmp_path / "emt.json").write_text(json.dumps({"architecture": "emt", "elements": ["Cu"]}))
        with pytest.raises(TaskError, match="architecture 'emt' has no last layer"):
            MaceBody(load_potential(tmp_path / "emt.json", None))


SHIFTS = {"pbe": 0.1, "scan": -0.3}


@pytest.fixture(scope="module")
def multihead() -> MacePotential:
    """A model of two heads with random weights and different scales."""
    from e3nn import o3
    from mace import modules

    torch.manual_seed(3)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    with default_dtype("float64"):
        model = modules.ScaleShiftMACE(
            r_max=3.5,
            num_bessel=4,
            num_polynomial_cutoff=5,
            max_ell=1,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            num_elements=2,
            hidden_irreps=o3.Irreps("4x0e+4x1o"),
            MLP_irreps=o3.Irreps("3x0e"),
            gate=torch.nn.functional.silu,
            atomic_energies=np.array([[-5.1, -3.7], [-4.0, -3.0]]),
            avg_num_neighbors=12.0,
            atomic_numbers=[28, 29],
            correlation=2,
            radial_type="bessel",
            radial_MLP=[8],
            atomic_inter_scale=[0.5, 2.0],
            atomic_inter_shift=list(SHIFTS.values()),
            heads=list(SHIFTS),
        )
    return bind(model, head="pbe")


class TestObservations:
    def test_projections_are_derivatives_of_the_features(self, body, frames):
        """Central differences along the directions; rows are forces, so that the sign is the opposite."""
        found = observe(body, frames[:1], projections=2, seed=3, batch_size=1, on_progress=lambda done: None)
        rng = np.random.default_rng([3, 0])
        directions = np.linalg.qr(rng.standard_normal((12, 2)))[0].T.reshape(2, 4, 3) * np.sqrt(12 / 2)
        step = 1e-4
        for row, direction in zip(found.projected, directions, strict=True):
            sides = []
            for sign in (1, -1):
                moved = frames[0].copy()
                moved.positions += sign * step * direction
                with default_dtype("float64"):
                    sides.append(body.run([moved]).features.detach().numpy()[0])
            assert row == pytest.approx(-(sides[0] - sides[1]) / (2 * step), abs=1e-6)

    def test_all_directions_are_all_forces(self, body, frames):
        """The sum over a complete set of directions is the sum over all components."""
        found = observe(body, frames[:1], projections=99, seed=3, batch_size=1, on_progress=lambda done: None)
        assert found.projected.shape == (12, len(body.weights))
        with default_dtype("float64"):
            done = body.run(frames[:1])
            rows = [done.forces_along(torch.as_tensor(unit)[None], last=False) for unit in np.eye(len(body.weights))]
        jacobian = np.array(rows).reshape(len(rows), -1)
        assert found.projected.T @ found.projected == pytest.approx(jacobian @ jacobian.T, abs=1e-10)
        errors = frames[0].arrays["REF_forces"] - body.potential.evaluate(frames[:1]).forces[0]
        assert np.sum(found.forces**2) == pytest.approx(np.sum(errors**2))

    def test_batches_change_nothing(self, body, frames):
        one, all_ = (
            observe(body, frames, projections=20, seed=1, batch_size=size, on_progress=lambda done: None)
            for size in (1, 3)
        )
        assert one.frame.tolist() == all_.frame.tolist() == [0] * 12 + [1] * 12 + [2] * 12
        for name in ("counts", "features", "energies", "projected", "forces"):
            assert getattr(one, name) == pytest.approx(getattr(all_, name), abs=1e-10, nan_ok=True)
        assert np.isnan(one.energies[2])  # the cluster has no label
        assert np.isnan(one.forces[24:]).all()


class TestEstimator:
    def test_energy_and_forces_are_those_of_the_potential(self, potential, body, atoms):
        found = estimator_of([potential], made(body)).estimate(atoms, stress=True)
        expected = potential.evaluate([atoms])
        assert found.energy == pytest.approx(expected.energies[0], abs=1e-12)
        assert found.forces == pytest.approx(expected.forces[0], abs=1e-12)
        assert found.stress == pytest.approx(expected.stresses[0], abs=1e-12)
        assert found.forces_sigma is None

    def test_sigma_is_that_of_the_formula(self, tiny_mace, potential, body, atoms):
        """Against the covariance as a matrix, and forces of models with other weights."""
        model = made(body)
        found = estimator_of([potential], model).estimate(atoms, forces_sigma=True)
        with default_dtype("float64"):
            features = body.run([atoms]).features.detach().numpy()[0]
        counts = [atoms.get_chemical_symbols().count(element) for element in potential.info.elements]
        centred = features - np.array(counts) @ model.arrays["centres"]
        covariance = model.arrays["factor"].T @ model.arrays["factor"]
        assert found.energy_sigma == pytest.approx(1.4 * np.sqrt(centred @ covariance @ centred), rel=1e-10)
        before = potential.evaluate([atoms]).forces[0]
        squares = 0.0
        for direction in model.arrays["directions"]:
            squares += ((with_weights(tiny_mace[0], direction).evaluate([atoms]).forces[0] - before) ** 2).sum(axis=1)
        assert found.forces_sigma == pytest.approx(0.6 * np.sqrt(squares), rel=1e-8)

    @pytest.mark.parametrize("kind", ["shallow", "last_layer_bayes"])
    def test_bias_is_the_derivative_of_sigma(self, potential, body, atoms, kind):
        estimator = estimator_of([potential], made(body, kind))
        found = estimator.estimate(atoms, stress=True, bias=True, forces_sigma=True)
        step = 1e-4
        for index in [(0, 0), (1, 2), (3, 1)]:
            sides = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index] += sign * step
                sides.append(estimator.estimate(moved).energy_sigma)
            assert found.sigma_forces[index] == pytest.approx(-(sides[0] - sides[1]) / (2 * step), abs=1e-6)
        for voigt, (i, j) in {0: (0, 0), 3: (1, 2), 5: (0, 1)}.items():
            sides = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                moved = atoms.copy()
                moved.set_cell(atoms.cell @ strain, scale_atoms=True)
                sides.append(estimator.estimate(moved).energy_sigma)
            expected = (sides[0] - sides[1]) / (2 * step * atoms.get_volume())
            assert found.sigma_stress[voigt] == pytest.approx(expected, abs=1e-6)

    def test_it_turns_and_reorders_with_the_atoms(self, potential, body, atoms):
        estimator = estimator_of([potential], made(body))
        before = estimator.estimate(atoms, forces_sigma=True)
        turned = atoms.copy()
        turned.rotate(41.0, (1, -2, 3), rotate_cell=True)
        order = [3, 1, 0, 2]
        after = estimator.estimate(turned[order], forces_sigma=True)
        assert after.energy_sigma == pytest.approx(before.energy_sigma, rel=1e-9)
        assert after.forces_sigma == pytest.approx(before.forces_sigma[order], rel=1e-8)

    def test_an_atom_alone_has_no_force_and_no_uncertainty_of_it(self, potential, body):
        found = estimator_of([potential], made(body)).estimate(Atoms("Cu"), forces_sigma=True, bias=True, stress=True)
        assert not found.forces.any()
        assert not found.forces_sigma.any()
        assert not found.sigma_forces.any()
        assert found.stress is None

    def test_single_precision_is_close(self, tiny_mace, potential, body, atoms):
        model = made(body)
        single = estimator_of([load_potential(tiny_mace[0], None, dtype="float32")], model)
        double = estimator_of([potential], model).estimate(atoms, forces_sigma=True)
        found = single.estimate(atoms, forces_sigma=True)
        assert found.energy_sigma == pytest.approx(double.energy_sigma, rel=1e-4)
        assert found.forces_sigma == pytest.approx(double.forces_sigma, rel=1e-3)

    def test_an_unknown_element_is_named(self, potential, body):
        with pytest.raises(TaskError, match="has W, which the potential lacks"):
            estimator_of([potential], made(body)).estimate(bulk("W"))
