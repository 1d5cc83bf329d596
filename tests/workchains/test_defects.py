"""``mlip.defects`` run for real, with the potentials of Finnis and Sinclair: a job takes about a second."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_mlip.computers.defaults import job_options
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.defects import DefectsWorkChain

PROPERTIES = {"vacancy": {"sizes": [3]}}


def finnis_sinclair(*elements: str) -> PotentialData:
    """The potential of Finnis and Sinclair for some of its elements."""
    known = {"architecture": "finnis_sinclair", "elements": list(elements)}
    info = {**known, "r_max": 4.400224, "dtype": "float64", "num_parameters": 0, "name": f"FS {'-'.join(elements)}"}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), info)


@pytest.fixture
def launch(worker_code, localhost):
    """A function that runs an evaluation with changed inputs and returns its node."""

    def function(**changes: Any) -> orm.WorkChainNode:
        inputs: dict[str, Any] = {
            "potentials": {"first": finnis_sinclair("W"), "second": finnis_sinclair("Mo", "W")},
            "elements": ["W"],
            "properties": PROPERTIES,
            "property": {"property": {"code": worker_code, "metadata": {"options": job_options(localhost)}}},
        }
        return run_get_node(DefectsWorkChain, **{**inputs, **changes})[1]

    return function


def test_every_case_has_its_records_references_and_deviations(launch) -> None:
    node = launch()
    assert node.exit_status == 0, node.exit_message
    summary = node.outputs.summary.get_dict()
    assert set(summary["cases"]) == {"first", "second"}
    case = summary["cases"]["first"]["W"]
    assert set(case["records"]) == {"eos", "elastic", "vacancy"}
    assert case["failed"] == {}
