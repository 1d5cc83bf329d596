"""A loop with a teacher that is sometimes wrong, dynamics that explode, and a training that is killed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from aiida import orm

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.iterative import History
from aiida_mlip.science import keys

pytestmark = pytest.mark.slow

LIMIT = 30.0
"""Largest force of a label [eV/Å]; EMT itself stays far below it."""


def teacher() -> PotentialData:
    elements = ["Al", "Cu", "Ni"]
    document = {"architecture": "ase", "calculator": "outlier_teacher:SometimesWrong", "elements": elements}
    info = {"architecture": "ase", "elements": elements, "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    return PotentialData(io.BytesIO(json.dumps(document).encode()), {**info, "level_of_theory": "EMT"})


@pytest.fixture(scope="module")
def run(house: Any, loop: Any, look: ModuleType) -> Iterator[orm.WorkChainNode]:
    """The loop, at 1e6 K with steps of 10 fs: no walker makes one step that can be used."""
    structures = look.cells("Al", 6)
    for index, atoms in enumerate(structures):
        atoms.rattle(0.08, seed=index)
    changes = {
        "settings": {
            "conditions": [{"name": "hot", "stages": [{"steps": 50, "temperature": 1e6}]}],
            "augmentation": {"rattles": 6},
        },
        "md": {"timestep": 10.0, "uncertainty_stride": 1, "stop": {"uncertainty": 1e-3}},
        "label": {"max_force": LIMIT, "max_failed_fraction": 0.9},
    }
    path = {"prepend_text": f"export PYTHONPATH={Path(__file__).parent}"}
    data = DatasetData(structures)
    node = house.submit(loop(structures=data, seed=6, changes=changes, options=path, teacher=teacher()))
    job = house.until(lambda: _training(house, look, node), "the training", node)
    assert house.kill_program("python", job)
    house.wait(node)
    return node


def _training(house: Any, look: ModuleType, node: orm.WorkChainNode) -> orm.CalcJobNode | None:
    """The job of the first training, once mace trains in it."""
    job = look.job_of(node, "g01_train_00")
    folder = job.get_remote_workdir() if job is not None else None
    progress = Path(folder) / "progress.jsonl" if folder else None
    if progress is None or not progress.is_file() or '"train"' not in progress.read_text():
        return None
    return job if house.program("python", job) else None


def test_the_loop_goes_on_to_its_last_generation(run: orm.WorkChainNode, look: ModuleType) -> None:
    assert run.exit_status == 705, look.ending(run)
    assert not look.excepted()
    assert not look.active()
    assert "potential" in run.outputs


def test_outliers_are_refused_and_counted(run: orm.WorkChainNode, look: ModuleType) -> None:
    """The first set, and what is asked for later: not one frame of the set has such a force, and each is reported."""
    history = History(**run.outputs.history.get_dict())
    reports = [history.start, *(record.labels for record in history.generations if record.labels)]
    refused = [item for report in reports for item in report["failed"]]
    assert refused
    for item in refused:
        assert item["reason"].startswith("outlier: the force on atom 0"), item
        assert orm.load_node(item["process"]).process_label == "LabelCalculation"
    for report in reports:
        assert report["labelled"] + len(report["failed"]) == report["asked"]
    for data in (run.outputs.training_set, run.outputs.holdout):
        for atoms in data.frames():
            assert np.abs(atoms.arrays[keys.FORCES]).max() < LIMIT
    assert f"no label for configuration {refused[0]['index']}: outlier" in look.ending(run)


def test_an_explosion_is_reported(run: orm.WorkChainNode, look: ModuleType) -> None:
    history = History(**run.outputs.history.get_dict())
    dynamics = look.called(run, "g01_md")
    assert dynamics.exit_status == 420, look.ending(dynamics)
    for record in history.generations:
        assert record.survival
        for item in record.survival:
            assert item.stopped_by is not None
            assert item.survived_ps == 0.0
        assert not record.converged
        assert any("stopped" in reason for reason in record.reasons), record.reasons
    assert "[420]" in look.ending(run)


def test_a_killed_training_is_submitted_again_as_it_was(run: orm.WorkChainNode, look: ModuleType) -> None:
    chain = look.called(run, "g01_train_00")
    first, second = sorted(look.jobs(chain), key=lambda job: job.pk)
    assert [first.exit_status, second.exit_status] == [340, 0]
    assert first.inputs.settings.get_dict() == second.inputs.settings.get_dict()
    assert chain.is_finished_ok
    assert chain.outputs.results["epochs"]["last"] + 1 == chain.inputs.train.settings["max_epochs"]
