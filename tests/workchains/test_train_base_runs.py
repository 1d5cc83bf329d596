"""mlip.train.base with real jobs, in which each failure is brought about for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip.calculations.train import TrainCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science import keys
from aiida_mlip.workchains.train_base import TrainBaseWorkChain

pytestmark = pytest.mark.slow

Train = Callable[..., tuple[dict[str, Any], orm.WorkChainNode]]

SETTINGS = {
    "strategy": {"kind": "naive"},
    "learning_rate": 1e-3,
    "e0_policy": {"kind": "estimated"},
    "max_epochs": 3,
    "batch_size": 2,
}


@pytest.fixture
def train(
    worker_code: orm.PortableCode,
    localhost: orm.Computer,
    tiny_potential: PotentialData,
    emt_frames: Callable[..., list[Atoms]],
) -> Train:
    """A function that runs a chain: keywords change the settings; ``options`` of the job, ``inputs`` of the chain."""

    def run(
        options: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None, **changes: Any
    ) -> tuple[dict[str, Any], orm.WorkChainNode]:
        given = {
            "code": worker_code,
            "metadata": {"computer": localhost, "options": options or {}},
            "settings": {**SETTINGS, **changes},
            "potential": tiny_potential,
            "training_set": DatasetData(emt_frames(6, 0)),
            "validation_set": DatasetData(emt_frames(2, 1)),
            **(inputs or {}).pop("train", {}),
        }
        outputs, node = run_get_node(TrainBaseWorkChain, train=given, **(inputs or {}))
        return outputs, node

    return run


def jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return sorted((child for child in node.called if child.process_class is TrainCalculation), key=lambda job: job.pk)


def test_one_job_passes_its_outputs_through(train: Train) -> None:
    outputs, node = train()
    assert node.is_finished_ok, node.exit_message
    (job,) = jobs(node)
    assert {name: outputs[name].uuid for name in ("results", "history", "potential")} == {
        name: job.outputs[name].uuid for name in ("results", "history", "potential")
    }


def test_early_stopping_ends_with_the_best_epoch_of_all_slices(train: Train) -> None:
    stopping = {"slice_epochs": 2, "patience": 1, "min_delta": 0.9}
    outputs, node = train(max_epochs=8, early_stopping=stopping)
    assert node.is_finished_ok, node.exit_message
    assert [job.inputs.settings["max_epochs"] for job in jobs(node)] == [2, 4]
    assert outputs["history"].get_array("epoch").tolist() == [0, 1, 2, 3]
    losses = outputs["history"].get_array("valid_loss")
    assert outputs["results"]["chosen_epoch"] == int(np.argmin(losses))
    assert [job["epochs"]["last"] for job in outputs["results"]["chain"]] == [1, 3]
    given = node.inputs.train.settings.uuid
    for data in (*(job.inputs.settings for job in jobs(node)), outputs["results"]):
        assert data.uuid == given or data.creator is not None


def test_divergence_is_repaired_once(train: Train) -> None:
    outputs, node = train(learning_rate=0.9, divergence_factor=1.5)
    assert node.is_finished_ok, node.exit_message
    assert [job.exit_status for job in jobs(node)] == [430, 0]
    assert outputs["results"]["changed"]["learning_rate"] == {"asked": 0.9, "used": pytest.approx(0.09)}
    assert outputs["history"].get_array("epoch").tolist() == [0, 1, 2]


def test_out_of_time_goes_on_where_it_stopped(train: Train) -> None:
    """There is time to start mace twice over, and never for all epochs: the chain ends at its number of jobs."""
    timings = train()[0]["results"]["timings"]
    start_up = timings["prepare"] + timings["start mace"]
    outputs, node = train(
        options={"max_wallclock_seconds": int(2 * start_up + 30)},
        inputs={"max_iterations": orm.Int(2)},
        max_epochs=100_000,
    )
    first, second = jobs(node)
    assert (first.exit_status, second.exit_status) == (400, 400)
    assert second.inputs.restart_folder.uuid == first.outputs.remote_folder.uuid
    epochs = second.outputs.history.get_array("epoch")
    assert epochs.tolist() == list(range(len(epochs)))
    assert len(epochs) > len(first.outputs.history.get_array("epoch"))
    assert node.exit_status == TrainBaseWorkChain.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED.status
    assert not outputs


def test_time_for_no_epoch_says_so(train: Train) -> None:
    _, node = train(options={"max_wallclock_seconds": 2})
    assert [job.exit_status for job in jobs(node)] == [401]
    assert node.exit_status == 452
    assert "Not even one epoch fits into the time" in node.exit_message


def test_a_killed_job_is_submitted_again(train: Train, tmp_path: Path) -> None:
    """The first job and its script are killed together, as by a failing node."""
    once = tmp_path / "killed"
    kill = f"[ -e {once} ] || {{ touch {once}; (sleep 1; kill -9 -- -$(ps -o pgid= -p $$ | tr -d ' ')) & }}"
    _, node = train(options={"prepend_text": kill})
    assert [job.exit_status for job in jobs(node)] == [300, 0]
    assert node.is_finished_ok


def test_out_of_memory_halves_the_batch(train: Train) -> None:
    """The address space holds mace and a batch of one, and not a batch of eight."""
    limit = _address_space_of_mace() + 450_000
    large = {"training_set": DatasetData(_cells(8, 0)), "validation_set": DatasetData(_cells(1, 8))}
    outputs, node = train(
        options={"prepend_text": f"ulimit -v {limit}"},
        inputs={"train": large},
        max_epochs=1,
        batch_size=8,
        valid_batch_size=1,
    )
    assert node.is_finished_ok, node.exit_message
    assert jobs(node)[0].exit_status == 340
    assert outputs["results"]["changed"]["batch_size"]["used"] < 8
    assert any("does not accumulate gradients" in warning for warning in outputs["results"]["warnings"])


def _address_space_of_mace() -> int:
    """Return the address space that a process needs to import mace [kB]."""
    script = (
        "import mace.cli.run_train, re; print(re.search(r'VmPeak:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _cells(count: int, seed: int) -> list[Atoms]:
    """Return cells of 864 atoms."""
    frames = []
    for index in range(count):
        atoms = bulk("Cu", "fcc", a=3.65, cubic=True) * (6, 6, 6)
        atoms.rattle(0.05, seed=seed + index)
        calculated = atoms.copy()
        calculated.calc = EMT()
        atoms.info[keys.ENERGY] = float(calculated.get_potential_energy())
        atoms.arrays[keys.FORCES] = calculated.get_forces()
        frames.append(atoms)
    return frames
