"""The task ``uncertainty`` on a tiny MACE model: what it writes is what a later job loads."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from scipy.stats import spearmanr

from aiida_mlip.schema.errors import TaskError
from aiida_mlip.schema.job import Job
from aiida_mlip.schema.uncertainty import CALIBRATION_FILE, UncertaintyResult
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.keys import ENERGY, FORCES
from aiida_mlip.science.uncertainty.model import UNCERTAINTY_FILE, UncertaintyModel
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.progress import Reporter
from aiida_mlip.worker.tasks.uncertainty import run
from aiida_mlip.worker.uncertainty.load import load_estimator

FOUNDATION = Path.home() / ".cache/aiida-mlip/foundation/mace-omat-0-small/mace-omat-0-small.model"


def context_of(folder, method, sets, potentials, task="uncertainty", **settings):
    files = {f"potential_member_{index:02d}": str(path) for index, path in enumerate(potentials)}
    folder.mkdir(exist_ok=True)
    for name, frames in sets.items():
        files[name] = f"{name}.xyz"
        with (folder / f"{name}.xyz").open("w") as handle:
            write_extxyz(frames, handle)
    if (folder / UNCERTAINTY_FILE).exists():
        files["uncertainty"] = UNCERTAINTY_FILE
    job = Job(task=task, settings={"method": method, **settings}, files=files)
    return Context(job, folder, Reporter(folder / "progress.jsonl", interval=5.0))


@pytest.fixture(scope="module")
def bayes(tiny_mace, tmp_path_factory):
    """Folder and payload of last-layer Bayes on ten cells, and the sets."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("cells", Path(__file__).parent.parent / "conftest.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    lone = Atoms("Cu", cell=[12, 12, 12], pbc=True)
    lone.info[ENERGY] = -3.7
    lone.arrays[FORCES] = np.zeros((1, 3))
    sets = {"training_set": [*module._emt_frames(5, 0), lone], "calibration_set": [lone, *module._emt_frames(5, 1)]}
    folder = tmp_path_factory.mktemp("bayes")
    method = {"kind": "last_layer_bayes", "projections": 2}
    return folder, run(context_of(folder, method, sets, [tiny_mace[0]])), sets


def load(folder, path, **changes):
    context = context_of(folder, {"kind": "deep"}, {}, [path], task="md")
    return load_estimator(context, **{"device": "cpu", "dtype": "float64", "head": None, **changes})


def test_the_payload_is_a_result(bayes):
    _, payload, _ = bayes
    result = UncertaintyResult.model_validate({k: v for k, v in payload.items() if k != "regularisation"})
    assert result.forces.count == 20  # without the isolated atom
    assert result.energy.count == 5
    assert payload["regularisation"] in [10.0**power for power in range(-10, 3)]
    assert any("fewer than 10" in warning for warning in result.warnings)


def test_a_later_job_says_what_was_calibrated(bayes, tiny_mace):
    """Uncertainties of the estimator are those of the calibration arrays, and errors those of the labels."""
    folder, payload, sets = bayes
    estimator = load(folder, tiny_mace[0])
    arrays = np.load(folder / CALIBRATION_FILE)
    found = [estimator.estimate(atoms, forces_sigma=True) for atoms in sets["calibration_set"][1:]]
    assert np.concatenate([one.forces_sigma for one in found]) == pytest.approx(arrays["forces_sigma"], rel=1e-8)
    assert [one.energy_sigma / 4 for one in found] == pytest.approx(arrays["energy_sigma"], rel=1e-8)
    errors = [
        np.linalg.norm(one.forces - atoms.arrays[FORCES], axis=1)
        for one, atoms in zip(found, sets["calibration_set"][1:], strict=True)
    ]
    assert np.concatenate(errors) == pytest.approx(arrays["forces_error"], abs=1e-10)
    assert payload["median_max_forces_sigma"] == pytest.approx(np.median([one.forces_sigma.max() for one in found]))
    expected = spearmanr(arrays["forces_sigma"], arrays["forces_error"]).statistic
    assert payload["forces"]["rank_correlation"] == pytest.approx(expected)


def test_energies_of_a_shallow_ensemble_spread_as_its_forces(bayes, tiny_mace, tmp_path):
    """All members, by name and by number: exact without probes, and the same again with the same seed."""
    sets = {name: frames[:4] for name, frames in bayes[2].items()}
    method = {"kind": "shallow", "members": 5, "projections": 1, "probes": 0, "regularisation": 0.01}
    payload = run(context_of(tmp_path, method, sets, [tiny_mace[0]]))
    assert payload["members"] == 5
    assert payload["regularisation"] == 0.01
    model = UncertaintyModel.read(tmp_path / UNCERTAINTY_FILE)
    assert np.array_equal(model.arrays["factor"], model.arrays["directions"])
    assert model.arrays["factor"].sum(axis=0) == pytest.approx(0.0, abs=1e-12)
    again = tmp_path / "again"
    run(context_of(again, method, sets, [tiny_mace[0]]))
    other = UncertaintyModel.read(again / UNCERTAINTY_FILE)
    assert np.array_equal(model.arrays["factor"], other.arrays["factor"])


def test_refusals(bayes, tiny_mace, tmp_path):
    _, _, sets = bayes
    bare = [atoms.copy() for atoms in sets["calibration_set"]]
    for atoms in bare:
        atoms.arrays.pop(FORCES, None)
    cases = [
        ({"kind": "shallow"}, {"calibration_set": sets["calibration_set"]}, 1, r"files\['training_set'\] is required"),
        ({"kind": "shallow"}, sets, 2, "'shallow' with 2 potentials"),
        ({"kind": "deep"}, sets, 1, "'deep' with 1 potentials"),
        ({"kind": "deep"}, {**sets, "calibration_set": bare}, 2, "has no configuration with REF_forces"),
    ]
    for index, (method, given, count, words) in enumerate(cases):
        with pytest.raises(TaskError, match=words):
            run(context_of(tmp_path / str(index), method, given, [tiny_mace[0]] * count))


def test_the_uncertainty_of_one_potential_is_not_that_of_two(bayes, tiny_mace):
    folder, _, _ = bayes
    context = context_of(folder, {"kind": "deep"}, {}, [tiny_mace[0]] * 2, task="md")
    with pytest.raises(TaskError, match="belongs to potentials with sha256"):
        load_estimator(context, device="cpu", dtype="float64", head=None)
    document = json.loads(UncertaintyModel.read(folder / UNCERTAINTY_FILE).header.model_dump_json())
    assert document["sha256"] == [tiny_mace[1]["sha256"]]


@pytest.mark.slow
@pytest.mark.foundation
@pytest.mark.skipif(not FOUNDATION.exists(), reason="no foundation model")
def test_a_foundation_model_is_linear_in_its_features():
    """What is left of the energy are E0s and the pair repulsion, which differs between two geometries of one cell."""
    import torch
    from ase.build import bulk

    from aiida_mlip.worker.backends import load_potential
    from aiida_mlip.worker.backends._torch import default_dtype
    from aiida_mlip.worker.uncertainty.body import MaceBody

    potential = load_potential(FOUNDATION, None)
    body = MaceBody(potential)
    atoms = bulk("W", cubic=True)
    atoms.rattle(0.1, seed=1)
    model = potential.model
    changes = np.random.default_rng(2).normal(size=len(body.weights))
    with default_dtype("float64"):
        done = body.run([atoms])
        before = body.potential.evaluate([atoms])
        linear = model.readouts[0].linear
        effect = linear(torch.eye(linear.irreps_in.dim))[:, 0]
        ratio = effect / linear.weight.reshape(-1)
        size = len(effect)
        linear.weight += torch.as_tensor(changes[:size]) / ratio
        after = body.potential.evaluate([atoms])
        along = done.forces_along(
            torch.as_tensor(np.r_[changes[:size], np.zeros(len(changes) - size)])[None], last=True
        )
    features = done.features.detach().numpy()[0]
    assert after.energies[0] - before.energies[0] == pytest.approx(features[:size] @ changes[:size], rel=1e-8)
    assert after.forces[0] - before.forces[0] == pytest.approx(along, abs=1e-8)
