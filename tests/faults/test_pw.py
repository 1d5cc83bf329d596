"""A loop whose labels are made by the real pw.x, which is killed, and which does not always converge."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from aiida import orm
from ase.build import bulk

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.iterative import History
from aiida_mlip.schema.labelling import LABEL_EXTRA
from aiida_mlip.science import keys

pytestmark = pytest.mark.slow

STEPS = 9
"""Of self-consistency: a small cell takes 6 or 7 at this threshold, and the long one 15."""


@pytest.fixture(scope="module")
def run(house: Any, loop: Any, look: ModuleType, pw: ModuleType) -> Iterator[orm.WorkChainNode]:
    """The loop with a small cell and a long one; a pw.x is killed in the first set, and one in the later labels."""
    long = bulk("Al", "fcc", a=4.0).repeat((1, 1, 6))
    long.rattle(0.4, seed=2)
    small = bulk("Al", "fcc", a=4.05, cubic=True)
    inputs = pw.pw_inputs(pw.pw_code(house.computer), "Al")
    parameters = inputs["pw"]["parameters"].get_dict()
    parameters["ELECTRONS"] = {"conv_thr": 1e-6, "electron_maxstep": STEPS}
    inputs["pw"]["parameters"] = orm.Dict(parameters)
    inputs["handler_overrides"] = orm.Dict({"handle_electronic_convergence_not_reached": {"enabled": False}})
    changes = {"label": {"max_failed_fraction": 0.9, "max_concurrent": 2}, "settings": {"augmentation": {"rattles": 4}}}
    builder = loop(structures=DatasetData([small, long]), seed=5, changes=changes, pw=inputs)
    node = house.submit(builder)
    _kill_pw(house, look, node, "label_start")
    house.until(lambda: look.called(node, "g01_label"), "labels that were asked for", node)
    _kill_pw(house, look, node, "g01_label")
    house.wait(node)
    return node


def _kill_pw(house: Any, look: ModuleType, node: orm.WorkChainNode, step: str) -> None:
    """Kill a pw.x with signal 9, in the middle of a labelling."""
    house.until(lambda: look.called(node, step), step, node)
    house.until(lambda: house.kill_program("pw.x"), f"pw.x of {step}", node)


def runs(look: ModuleType, node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return [job for job in look.jobs(node) if job.process_label == "PwCalculation"]


def test_the_loop_goes_on_to_its_last_generation(run: orm.WorkChainNode, look: ModuleType) -> None:
    assert run.exit_status == 705, look.ending(run)
    assert not look.excepted()
    assert not look.active()


def test_a_killed_pw_is_run_again(run: orm.WorkChainNode, look: ModuleType) -> None:
    """Two were killed; each was submitted again once, and the label is there."""
    found = [chain for chain in run.called_descendants if chain.process_label == "PwLabelWorkChain"]
    lost = [chain for chain in found if any(job.exit_status in (303, 305, 312) for job in look.jobs(chain))]
    assert len(lost) == 2, [(job.exit_status, job.exit_message) for job in runs(look, run)]
    for chain in lost:
        assert len(look.jobs(chain)) >= 2
        assert "submitting it again" in look.ending(chain)


def test_what_does_not_converge_is_counted_with_its_reason(run: orm.WorkChainNode, look: ModuleType) -> None:
    history = History(**run.outputs.history.get_dict())
    failed = history.start["failed"]
    assert failed
    for item in failed:
        chain = orm.load_node(item["process"])
        assert {job.exit_status for job in look.jobs(chain)} & {410, 412}, look.ending(chain)
        assert item["reason"]
    assert history.start["labelled"] + len(failed) == history.start["asked"]
    assert "no label for configuration" in look.ending(run)


def test_nothing_is_labelled_twice(run: orm.WorkChainNode, look: ModuleType) -> None:
    """A run of pw.x that ended well and was done again with more bands made no label, and has no address."""
    done = [job for job in runs(look, run) if LABEL_EXTRA in job.base.extras.all]
    addresses = [job.base.extras.get(LABEL_EXTRA) for job in done]
    assert len(set(addresses)) == len(addresses)
    history = History(**run.outputs.history.get_dict())
    labelled = [history.start, *(record.labels for record in history.generations if record.labels)]
    assert len(addresses) == sum(report["labelled"] - report["reused"] for report in labelled)
    sources = {
        atoms.info[keys.SOURCE] for data in (run.outputs.training_set, run.outputs.holdout) for atoms in data.frames()
    }
    assert sources <= {job.uuid for job in done}
