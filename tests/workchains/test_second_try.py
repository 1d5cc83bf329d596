"""A job without a restart chain that is killed is submitted once more, and no job that fails for another reason."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ToContext, run_get_node, while_
from ase.build import bulk

from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.second_try import TriesTwice

Run = Callable[..., tuple[dict[str, Any], orm.WorkChainNode]]


class Pair(TriesTwice):
    """Submits two jobs, waits for both, and submits what was lost again."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.expose_inputs(LabelCalculation, namespace="killed")
        spec.expose_inputs(LabelCalculation, namespace="whole")
        spec.outline(cls.submit_both, while_(cls.has_lost_jobs)(cls.submit_lost_jobs), cls.look)
        spec.output("statuses", valid_type=orm.Dict)

    def submit_both(self) -> ToContext:
        jobs = {}
        for name in ("killed", "whole"):
            inputs = AttributeDict(self.exposed_inputs(LabelCalculation, namespace=name))
            inputs.metadata = {**inputs.metadata, "call_link_label": f"label_{name}", "label": name}
            jobs[name] = self.submit(LabelCalculation, **inputs)
        return ToContext(**jobs)

    def look(self) -> None:
        found = {name: [self.ctx[name].exit_status, self.ctx[name].label] for name in ("killed", "whole")}
        self.out("statuses", orm.Dict(found).store())


@pytest.fixture
def run(worker_code: orm.PortableCode, localhost: orm.Computer) -> Run:
    """A function that runs the pair; ``before`` is run in the shell of the first job."""

    def function(before: str, **document: Any) -> tuple[dict[str, Any], orm.WorkChainNode]:
        def given(document: dict[str, Any], **options: Any) -> dict[str, Any]:
            known = {"architecture": "finnis_sinclair", "elements": ["W"], **document}
            facts = {name: known[name] for name in ("architecture", "elements")}
            facts |= {"r_max": 4.4, "dtype": "float64", "num_parameters": 0}
            return {
                "code": worker_code,
                "potential": PotentialData(io.BytesIO(json.dumps(known).encode()), facts),
                "configurations": DatasetData([bulk("W", "bcc", a=3.2)]),
                "settings": {},
                "metadata": {"computer": localhost, "options": options},
            }

        return run_get_node(Pair, killed=given(document, prepend_text=before), whole=given({}))

    return function


def jobs(node: orm.WorkChainNode, label: str) -> list[orm.CalcJobNode]:
    return sorted((job for job in node.called if job.label == label), key=lambda job: job.pk)


def test_a_killed_job_is_submitted_again_with_the_same_inputs(run: Run, tmp_path: Path) -> None:
    once = tmp_path / "killed"
    outputs, node = run(f"[ -e {once} ] || {{ touch {once}; kill -9 $$; }}")
    assert node.is_finished_ok, node.exit_message
    assert outputs["statuses"].get_dict() == {"killed": [0, "killed"], "whole": [0, "whole"]}
    first, second = jobs(node, "killed")
    assert not first.is_finished_ok
    assert second.inputs.configurations.uuid == first.inputs.configurations.uuid
    assert second.base.caching.compute_hash() == first.base.caching.compute_hash()
    assert len(jobs(node, "whole")) == 1


def test_a_job_that_is_killed_twice_is_not_submitted_a_third_time(run: Run) -> None:
    outputs, node = run("kill -9 $$")
    assert len(jobs(node, "killed")) == 2
    assert outputs["statuses"]["killed"][0] not in (0, None)
    assert outputs["statuses"]["whole"][0] == 0


def test_a_job_that_says_why_it_failed_is_not_submitted_again(run: Run) -> None:
    outputs, node = run("", architecture="ase", calculator="nowhere.ase:Nothing")
    assert len(jobs(node, "killed")) == 1
    assert outputs["statuses"]["killed"][0] == 330
