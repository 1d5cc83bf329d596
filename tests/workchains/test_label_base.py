"""``mlip.label.base`` with real jobs, in which each failure is brought about for real."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from ase.calculators.emt import EMT

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.labelling import LABEL_EXTRA
from aiida_mlip.science import keys
from aiida_mlip.workchains.label_base import LabelBaseWorkChain

Run = Callable[..., tuple[dict[str, Any], orm.WorkChainNode]]

SLOW = """
import os
import time
from ase.calculators.emt import EMT

class SlowEMT(EMT):
    def calculate(self, *args):
        time.sleep(float(os.environ["SLOW"]))
        super().calculate(*args)
"""


def teacher(elements: list[str], calculator: str = "ase.calculators.emt:EMT") -> PotentialData:
    known = {"architecture": "ase", "calculator": calculator, "elements": elements}
    info = {"architecture": "ase", "elements": elements, "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), {**info, "level_of_theory": "EMT"})


@pytest.fixture
def run(worker_code: orm.PortableCode, localhost: orm.Computer) -> Run:
    def function(
        frames: list[Atoms], potential: PotentialData, **options: Any
    ) -> tuple[dict[str, Any], orm.WorkChainNode]:
        given = {
            "code": worker_code,
            "metadata": {"computer": localhost, "options": options},
            "settings": {},
            "potential": potential,
            "configurations": DatasetData(frames),
        }
        outputs, node = run_get_node(LabelBaseWorkChain, label=given)
        return outputs, node

    return function


def jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return sorted(node.called, key=lambda job: job.pk)


def test_labels_keep_what_the_frame_carries(run: Run, emt_frames: Callable[..., list[Atoms]]) -> None:
    """Old labels are replaced; type, group and origin stay; the failed one is left out and named."""
    frames = emt_frames(3)
    frames[0].info |= {keys.GROUP: "walker 1", keys.SOURCE: "another", keys.ORIGIN: '{"kind":"given"}'}
    frames.insert(1, Atoms("W2", [[0, 0, 0], [0, 0, 2.5]]))  # EMT has no parameters of tungsten
    outputs, node = run(frames, teacher(["Cu", "Ni", "W"]))
    assert node.is_finished_ok, node.exit_message
    (job,) = jobs(node)
    labelled = list(outputs["labelled"].frames())
    assert [item["index"] for item in outputs["results"]["failed"]] == [1]
    for atoms, original in zip(labelled, [frames[0], frames[2], frames[3]], strict=True):
        assert atoms.info[keys.SOURCE] == job.uuid
        assert atoms.info[keys.CONFIG_TYPE] == original.info[keys.CONFIG_TYPE]
        np.testing.assert_array_equal(atoms.positions, original.positions)
        original.calc = EMT()
        assert atoms.info[keys.ENERGY] == pytest.approx(original.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(atoms.arrays[keys.FORCES], original.get_forces(), atol=1e-9)
    assert labelled[0].info[keys.GROUP] == "walker 1"
    assert labelled[0].info[keys.ORIGIN] == '{"kind":"given"}'
    assert outputs["labelled"].level_of_theory == "ase potential EMT"
    assert job.base.extras.get(LABEL_EXTRA)


def test_no_label_at_all_says_why(run: Run) -> None:
    outputs, node = run([Atoms("W2", [[0, 0, 0], [0, 0, 2.5]])], teacher(["W"]))
    assert [job.exit_status for job in jobs(node)] == [411]
    assert node.exit_status == 411
    assert "labelled" not in outputs
    assert outputs["results"]["failed"][0]["reason"] in node.exit_message


def test_a_calculator_that_is_not_installed_is_said_once(run: Run, emt_frames: Callable[..., list[Atoms]]) -> None:
    _, node = run(emt_frames(1), teacher(["Cu", "Ni"], "no_such_code.ase:Calculator"))
    assert [job.exit_status for job in jobs(node)] == [330]
    assert node.exit_status == 450


def test_a_killed_job_goes_on_from_the_labels_on_the_disk(
    run: Run, emt_frames: Callable[..., list[Atoms]], tmp_path: Path
) -> None:
    """The worker is killed by signal 9 once it has written a label."""
    (tmp_path / "slow_emt.py").write_text(SLOW)
    once = tmp_path / "killed"
    wait = "until [ $(cat labels.jsonl 2>/dev/null | wc -l) -ge 3 ]; do sleep 0.05; done"
    kill = f"[ -e {once} ] || {{ touch {once}; me=$$; ({wait}; pkill -9 -P $me python) & }}"
    prepend = f"export SLOW=0.4 PYTHONPATH={tmp_path}\n{kill}"
    outputs, node = run(emt_frames(5), teacher(["Cu", "Ni"], "slow_emt:SlowEMT"), prepend_text=prepend)
    assert node.is_finished_ok, node.exit_message
    first, second = jobs(node)
    assert first.exit_status in (300, 340)
    kept = [atoms.info[keys.ENERGY] for atoms in first.outputs.labelled.frames()]
    assert 0 < len(kept) < 5
    assert second.inputs.restart_folder.uuid == first.outputs.remote_folder.uuid
    assert [atoms.info[keys.ENERGY] for atoms in outputs["labelled"].frames()][: len(kept)] == kept
    assert len(outputs["labelled"]) == 5


@pytest.mark.slow
def test_a_job_out_of_time_is_continued(run: Run, emt_frames: Callable[..., list[Atoms]], tmp_path: Path) -> None:
    (tmp_path / "slow_emt.py").write_text(SLOW)
    prepend = f"export SLOW=0.4 PYTHONPATH={tmp_path}"
    outputs, node = run(
        emt_frames(20), teacher(["Cu", "Ni"], "slow_emt:SlowEMT"), prepend_text=prepend, max_wallclock_seconds=6
    )
    assert node.is_finished_ok, node.exit_message
    chain = [job.exit_status for job in jobs(node)]
    assert len(chain) > 1
    assert chain == [400] * (len(chain) - 1) + [0]
    assert len(outputs["labelled"]) == 20
    counts = [job.outputs.results["counts"]["labelled"] for job in jobs(node)]
    assert counts == sorted(set(counts))
    _, short = run(
        emt_frames(2),
        teacher(["Cu", "Ni"], "slow_emt:SlowEMT"),
        prepend_text=f"export SLOW=9 PYTHONPATH={tmp_path}",
        max_wallclock_seconds=3,
    )
    assert [job.exit_status for job in jobs(short)] == [401]
    assert short.exit_status == 452
