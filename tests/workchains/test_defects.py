"""``mlip.defects`` run for real, with the potentials of Finnis and Sinclair: a job takes about a second.

Jobs with the same inputs come from AiiDA's cache, as in a profile that `aiida-mlip setup` has prepared.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching

from aiida_mlip.computers.defaults import job_options
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.report.subject import Subject
from aiida_mlip.science import defects
from aiida_mlip.workchains.defects import DefectsWorkChain
from aiida_mlip.workchains.property_base import PropertyBaseWorkChain

VACANCY = {"vacancy": {"sizes": [3]}}


def potential(architecture: str, *elements: str) -> PotentialData:
    """An analytic potential of the worker for some elements."""
    known = {"architecture": architecture, "elements": list(elements)}
    info = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0, "level_of_theory": "none"}
    name = f"{architecture} {'-'.join(elements)}"
    return PotentialData(io.BytesIO(json.dumps(known).encode()), {**info, "name": name})


@pytest.fixture(autouse=True)
def _cached(aiida_profile) -> Iterator[None]:
    with enable_caching(identifier="aiida.calculations:mlip.property"):
        yield


@pytest.fixture
def launch(worker_code, localhost):
    """A function that runs an evaluation with changed inputs and returns its node."""

    def function(**changes: Any) -> orm.WorkChainNode:
        code = changes.pop("code", worker_code)
        inputs: dict[str, Any] = {
            "potentials": {"fs": potential("finnis_sinclair", "Mo", "W")},
            "elements": ["W", "Mo"],
            "properties": VACANCY,
            "max_concurrent": 1,
            "property": {"property": {"code": code, "metadata": {"options": job_options(localhost)}}},
        }
        return run_get_node(DefectsWorkChain, **{**inputs, **changes})[1]

    return function


def jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    """All jobs of an evaluation."""
    return [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]


def computed(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    """Those that were not taken from the cache."""
    return [job for job in jobs(node) if not job.base.caching.is_created_from_cache]


def test_every_property_starts_from_the_crystal_of_its_potential(launch) -> None:
    node = launch()
    assert node.exit_status == 0, node.exit_message
    summary = node.outputs.summary.get_dict()
    assert {name: set(case["records"]) for name, case in summary["cases"]["fs"].items()} == {
        "W": {"eos", "elastic", "vacancy"},
        "Mo": {"eos", "elastic", "vacancy"},
    }
    for element, a in {"W": 3.1652, "Mo": 3.1472}.items():  # fitted by Finnis and Sinclair
        case = summary["cases"]["fs"][element]
        assert case["records"]["eos"]["result"]["lattice_constant"] == pytest.approx(a, abs=2e-4)
        found = case["records"]["eos"]["result"]["lattice_constant"]
        assert case["records"]["vacancy"]["inputs"]["lattice_constant"] == round(found, defects.LATTICE_DECIMALS)
        assert case["records"]["vacancy"]["inputs"]["element"] == element
        vacancy = orm.load_node(case["jobs"]["vacancy"])
        assert vacancy.inputs.settings.creator.inputs.bulk.creator.uuid == case["jobs"]["eos"]
    assert summary["potentials"]["fs"]["architecture"] == "finnis_sinclair"
    assert summary["reference"]["W"]["values"]["C11"]["unit"] == "GPa"
    row = summary["deviations"]["fs"]["W"]["C11"]
    assert row["deviation"] == pytest.approx(row["value"] - row["reference"])
    assert len(node.outputs.structures.fs.Mo.vacancy) == 1
    labels = {link.link_label for link in node.base.links.get_outgoing().all()}
    assert {"bulk_settings", "bulk_fs_W", "settings_fs_Mo", "vacancy_fs_Mo", "summarize"} <= labels


def test_nothing_is_computed_twice(launch) -> None:
    first = launch(elements=["W"])
    labelled = launch(elements=["W"], metadata={"label": "the same again"}, max_concurrent=2)
    assert len(jobs(labelled)) == 2
    assert computed(labelled) == []
    cases = labelled.outputs.summary["cases"]["fs"]
    assert cases["W"]["cached"] == ["eos", "elastic", "vacancy"]
    assert cases["W"]["records"] == first.outputs.summary["cases"]["fs"]["W"]["records"]
    other = launch(elements=["W"], properties={**VACANCY, "larger": {"property": "vacancy", "sizes": [4]}})
    (job,) = computed(other)
    assert set(job.inputs.settings["properties"]) == {"larger"}
    assert set(other.outputs.summary["cases"]["fs"]["W"]["records"]) == {"eos", "elastic", "vacancy", "larger"}


@pytest.mark.slow
def test_the_cache_can_be_left_out(launch, worker_code, localhost) -> None:
    launch(elements=["W"], properties={})
    metadata = {"options": job_options(localhost), "disable_cache": True}
    runtime = {"property": {"code": worker_code, "metadata": metadata}}
    node = launch(elements=["W"], properties={}, property=runtime)
    assert len(computed(node)) == len(jobs(node)) == 1
    assert node.outputs.summary["cases"]["fs"]["W"]["cached"] == []


def test_your_own_reference_counts_more(launch) -> None:
    own = {"value": 3.9, "unit": "eV", "source": "DFT", "citation": "me"}
    document = {
        "format": 1,
        "citations": {"me": "Me (2026)"},
        "elements": {"W": {"values": {"vacancy_formation": own}}},
    }
    summary = launch(elements=["W"], reference=orm.Dict(document)).outputs.summary
    assert summary["deviations"]["fs"]["W"]["vacancy_formation"]["reference"] == 3.9
    assert summary["reference"]["W"]["values"]["vacancy_formation"]["citation"] == "Me (2026)"
    assert summary["deviations"]["fs"]["W"]["C11"]["reference"] != 3.9


def test_a_property_that_fails_takes_no_other_down(launch) -> None:
    """There is no equation of state around a lattice constant at which the atoms do not see each other."""
    far = {"property": "eos", "lattice_constant": 40.0}
    node = launch(elements=["W"], properties={"far": far, **VACANCY})
    assert node.exit_status == 703
    assert "far of W with fs" in node.exit_message
    case = node.outputs.summary["cases"]["fs"]["W"]
    assert set(case["records"]) == {"eos", "elastic", "vacancy"}
    assert set(case["failed"]) == {"far"}
    assert orm.load_node(case["jobs"]["far"]).exit_status == 710


def test_a_number_that_must_not_be_used_is_a_warning(launch) -> None:
    node = launch(elements=["W"], properties={"vacancy": {"sizes": [3], "max_steps": 1}})
    assert node.exit_status == 704
    assert "vacancy of W with fs" in node.exit_message
    assert "not_converged" in node.exit_message
    assert node.outputs.summary["deviations"]["fs"]["W"]["vacancy_formation"]["grade"] is None


def test_without_any_crystal_there_is_nothing_to_start_from(launch, broken_code) -> None:
    node = launch(elements=["W"], code=broken_code)
    assert node.exit_status == 454
    case = node.outputs.summary["cases"]["fs"]["W"]
    assert case["records"] == {}
    assert set(case["failed"]) == {"eos", "elastic", "vacancy"}
    assert case["failed"]["eos"] == defects.JOB_FAILED
    assert case["jobs"] == {}
    assert "python3" in node.exit_message
    shown = Subject(node).measured.cases["fs", "W"].failed
    assert "python3" in shown["eos"]["message"]
    assert shown["vacancy"]["type"] == "NoBulk"


def test_all_that_a_summary_rests_on_has_a_creator_or_was_given(launch, broken_code) -> None:
    potentials = {"fs": potential("finnis_sinclair", "W"), "lj": potential("lj", "W")}
    node = launch(elements=["W"], properties={}, potentials=potentials, codes={"lj": broken_code})
    given = {link.node.pk for link in node.base.links.get_incoming().all()}
    inputs = node.outputs.summary.creator.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all_nodes()
    assert [data for data in inputs if data.creator is None and data.pk not in given] == []


@pytest.mark.slow
def test_a_potential_that_cannot_be_loaded_leaves_the_others_alone(launch, broken_code) -> None:
    potentials = {"fs": potential("finnis_sinclair", "Mo", "W"), "lj": potential("lj", "W")}
    node = launch(elements=["W"], potentials=potentials, codes={"lj": broken_code})
    assert node.exit_status == 703
    cases = node.outputs.summary["cases"]
    assert set(cases["fs"]["W"]["records"]) == {"eos", "elastic", "vacancy"}
    assert set(cases["lj"]["W"]["failed"]) == {"eos", "elastic", "vacancy"}
    chains = [child for child in node.called if child.process_class is PropertyBaseWorkChain]
    used = {chain.label: chain.inputs.property.code.pk for chain in chains}
    assert used["bulk_lj_W"] == broken_code.pk != used["bulk_fs_W"]
