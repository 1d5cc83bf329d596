"""``mlip.property.base`` with real jobs, in which each failure is brought about for real."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching

from aiida_mlip.calculations.property import PropertyCalculation
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.tasks import PARTIAL_FILE
from aiida_mlip.workchains.property_base import PropertyBaseWorkChain, _folder_of_last_job

Run = Callable[..., tuple[dict[str, Any], orm.WorkChainNode]]

EOS = {"eos": {"element": "W"}}
FAR = {"eos": {"element": "W", "lattice_constant": 40.0}}
"""At this lattice constant the atoms do not see each other."""


@pytest.fixture
def run(worker_code: orm.PortableCode, localhost: orm.Computer) -> Run:
    """A function that runs a chain for tungsten: ``options`` of the job, ``inputs`` of the chain."""
    known = {"architecture": "finnis_sinclair", "elements": ["W"]}
    file = io.BytesIO(json.dumps(known).encode())
    potential = PotentialData(file, {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0})

    def function(
        properties: dict[str, Any], options: dict[str, Any] | None = None, **inputs: Any
    ) -> tuple[dict[str, Any], orm.WorkChainNode]:
        given = {
            "code": inputs.pop("code", worker_code),
            "metadata": {"computer": localhost, "options": options or {}},
            "settings": {"properties": properties},
            "potential": potential,
        }
        outputs, node = run_get_node(PropertyBaseWorkChain, property=given, **inputs)
        return outputs, node

    return function


def jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return sorted(node.called, key=lambda job: job.pk)


def test_one_job_passes_its_outputs_through(run: Run) -> None:
    outputs, node = run(EOS)
    assert node.is_finished_ok, node.exit_message
    (job,) = jobs(node)
    assert job.process_class is PropertyCalculation
    assert outputs["results"].uuid == job.outputs.results.uuid
    assert outputs["structures"]["eos"].uuid == job.outputs.structures.eos.uuid


def test_when_every_property_failed_the_results_say_why(run: Run) -> None:
    outputs, node = run(FAR)
    assert [job.exit_status for job in jobs(node)] == [710]
    assert node.exit_status == 710
    assert outputs["results"]["properties"] == {}
    assert outputs["results"]["failed"]["eos"]["error"]["message"] in node.exit_message


def test_one_of_two_is_not_a_failure(run: Run) -> None:
    outputs, node = run({"far": {"property": "eos", **FAR["eos"]}, **EOS})
    assert node.is_finished_ok, node.exit_message
    assert set(outputs["results"]["properties"]) == {"eos"}
    assert set(outputs["results"]["failed"]) == {"far"}


def test_what_the_worker_refuses_is_not_tried_again(run: Run) -> None:
    """Its job file is damaged."""
    _, node = run(EOS, options={"prepend_text": "echo '{' > job.json"})
    (job,) = jobs(node)
    assert job.exit_status == 310
    assert node.exit_status == 450
    assert f"[{job.exit_status}]" in node.exit_message


def test_a_killed_job_is_submitted_again_once(run: Run, tmp_path: Path) -> None:
    once = tmp_path / "killed"
    _, node = run(EOS, options={"prepend_text": f"[ -e {once} ] || {{ touch {once}; exit 1; }}"})
    assert [job.exit_status for job in jobs(node)] == [300, 0]
    assert node.is_finished_ok
    _, node = run(EOS, options={"prepend_text": "exit 1"})
    assert [job.exit_status for job in jobs(node)] == [300, 300]
    assert node.exit_status == 455


@pytest.mark.parametrize(
    ("properties", "prepend"),
    [
        # What the kernel does to a job that takes too much: signal 9, and the shell says so.
        (EOS, "bash -c 'kill -9 $$'; echo Killed; exit 137"),
        # What a limit of the address space does: Python is refused the memory for 330 000 atoms.
        ({"vacancy": {"element": "W", "sizes": [55]}}, "export OPENBLAS_NUM_THREADS=1; ulimit -v 600000"),
    ],
    ids=["killed", "refused"],
)
def test_out_of_memory_says_so_and_stops(run: Run, properties: dict[str, Any], prepend: str) -> None:
    _, node = run(properties, options={"prepend_text": prepend})
    assert [job.exit_status for job in jobs(node)] == [340]
    assert node.exit_status == 453
    assert "more memory" in node.exit_message


ENDLESS = {"property": "eos", "element": "W", "points": 1_000_000}


def test_time_for_nothing_says_so(run: Run) -> None:
    _, node = run({"endless": ENDLESS}, options={"max_wallclock_seconds": 1})
    assert [job.exit_status for job in jobs(node)] == [401]
    assert node.exit_status == 452


@pytest.mark.slow
def test_a_chain_ends_where_a_job_finishes_nothing_new(run: Run) -> None:
    outputs, node = run({**EOS, "endless": ENDLESS}, options={"max_wallclock_seconds": 8})
    assert [job.exit_status for job in jobs(node)] == [400, 400]
    assert node.exit_status == 451
    assert set(outputs["results"]["properties"]) == {"eos"}


@pytest.mark.slow
def test_a_job_out_of_time_is_continued_and_the_chain_comes_from_the_cache(run: Run) -> None:
    """Fifty relaxations, each of a third of a second of an idle core and seconds of a busy one, in jobs of 7 s."""
    cell = {"property": "vacancy", "element": "W", "sizes": [10], "fmax": 1e-4}
    cells = {f"seed_{seed:02d}": {**cell, "seed": seed} for seed in range(50)}
    outputs, node = run(cells, options={"max_wallclock_seconds": 8}, max_iterations=orm.Int(60))
    assert node.is_finished_ok, node.exit_message
    first, second, *_ = chain = jobs(node)
    assert [job.exit_status for job in chain] == [400] * (len(chain) - 1) + [0]
    assert second.inputs.restart_folder.uuid == first.outputs.remote_folder.uuid
    done = outputs["results"]["properties"]
    assert set(done) == set(cells)
    partial = json.loads(first.outputs.retrieved.base.repository.get_object_content(PARTIAL_FILE))["properties"]
    assert 0 < len(partial) < len(cells)
    assert all(done[name]["seconds"] == pytest.approx(record["seconds"]) for name, record in partial.items())
    with enable_caching(identifier="aiida.calculations:mlip.property"):
        again, other = run(cells)
    (job,) = jobs(other)
    assert job.base.caching.get_cache_source() == chain[-1].uuid
    assert again["results"].get_dict() == outputs["results"].get_dict()


def test_a_chain_goes_on_from_folders_of_its_own_computer_only(
    worker_code: orm.PortableCode, localhost: orm.Computer
) -> None:
    potential = PotentialData(
        io.BytesIO(b'{"architecture": "finnis_sinclair", "elements": ["Nb"]}'),
        {"architecture": "finnis_sinclair", "elements": ["Nb"], "r_max": 4.4, "dtype": "float64", "num_parameters": 0},
    )
    inputs = {"settings": orm.Dict({"properties": EOS}), "potential": potential, "code": worker_code}
    folder = orm.RemoteData(computer=localhost, remote_path="/nowhere")
    job = orm.CalcJobNode(computer=localhost, process_type=PropertyCalculation.build_process_type())
    for name, node in {**inputs, "restart_folder": folder}.items():
        job.base.links.add_incoming(node.store(), LinkType.INPUT_CALC, name)
    job.set_exit_status(0)
    job.store()
    found = _folder_of_last_job({**inputs, "metadata": {"computer": localhost}})
    assert found is not None
    assert found.uuid == folder.uuid
    elsewhere = orm.Computer(
        "elsewhere", "localhost", transport_type="core.local", scheduler_type="core.direct"
    ).store()
    assert _folder_of_last_job({**inputs, "metadata": {"computer": elsewhere}}) is None
