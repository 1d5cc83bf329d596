"""Inputs of ``mlip.defects``: the protocols, the builder, and what is refused; nothing is run."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import pytest
from aiida import orm

from aiida_mlip.computers.defaults import PROPERTY, job_options, max_concurrent
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.defects import DefectSettings
from aiida_mlip.science import properties
from aiida_mlip.workchains.defects import DefectsWorkChain
from aiida_mlip.workchains.defects_inputs import graph_name, property_inputs, with_protocol
from aiida_mlip.workchains.protocols import available, protocol_inputs


@pytest.fixture
def finnis_sinclair(aiida_profile) -> PotentialData:
    known = {"architecture": "finnis_sinclair", "elements": ["W", "Mo"]}
    info = {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0, "name": "fs"}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), info)


def problem(builder: Any) -> str:
    """What the work chain would refuse, or an empty text."""
    spec = builder.process_class.spec()
    error = spec.inputs.validate(spec.inputs.pre_process(builder._inputs(prune=True)))
    return "" if error is None else str(error.message)


@pytest.mark.parametrize("protocol", ["fast", "balanced", "stringent"])
def test_each_protocol_asks_for_properties_that_exist_with_inputs_they_know(protocol: str) -> None:
    inputs = protocol_inputs("defects", protocol)
    assert DefectSettings(**inputs["settings"]).model_dump(mode="json") == inputs["settings"]
    asked = property_inputs(protocol)
    assert list(asked)[:2] == ["eos", "elastic"]
    for name, fields in asked.items():
        known = properties.get(fields.get("property", name))
        given = {key: value for key, value in fields.items() if key != "property"}
        assert properties.parse_inputs(known, {**given, "element": "W"})
        assert not {"element", "lattice_constant", "elastic_constants"} & set(fields)
    assert protocol in available("defects")


def test_a_choice_of_properties_keeps_what_the_protocol_says_of_them() -> None:
    known = protocol_inputs("defects", "stringent")["properties"]
    assert property_inputs("stringent", ["vacancy"]) == {"vacancy": known["vacancy"]}
    assert property_inputs("stringent") == known
    assert "screw_dislocation" not in property_inputs("fast")
    assert property_inputs("fast", ["screw_dislocation"]) == {"screw_dislocation": {}}
    with pytest.raises(ValueError, match=r"property = 'vacency' is not known: known are .*vacancy"):
        property_inputs("fast", ["vacency"])


def test_other_workflows_take_the_same_numbers_for_bcc_crystals() -> None:
    known = protocol_inputs("defects", "fast")["properties"]
    asked = {"eos": {"element": "W", "points": 9}, "far": {"property": "vacancy", "element": "W"}}
    found = with_protocol(asked, "fast")
    assert found["eos"] == {**known["eos"], "element": "W", "points": 9}
    assert found["far"] == {**known["vacancy"], "property": "vacancy", "element": "W"}
    copper = {"eos": {"element": "Cu", "structure": "fcc"}}
    assert with_protocol(copper, "fast") == copper


def test_the_builder_makes_valid_inputs_and_leaves_the_users_alone(
    worker_code, localhost, finnis_sinclair: PotentialData
) -> None:
    overrides = {
        "properties": {"small": {"property": "vacancy", "sizes": [2]}, "vacancy": {"sizes": [4]}, "surface": None}
    }
    before = copy.deepcopy(overrides)
    builder = DefectsWorkChain.get_builder_from_protocol(
        code=worker_code,
        potentials={"classical": finnis_sinclair},
        elements=["W"],
        properties=["vacancy"],
        options=job_options(localhost),
        protocol="fast",
        overrides=overrides,
    )
    asked = builder.properties.get_dict()
    assert set(asked) == {"eos", "elastic", "vacancy", "small"}
    assert asked["eos"] == property_inputs("fast")["eos"]
    assert asked["vacancy"]["sizes"] == [4]
    assert asked["small"] == {"property": "vacancy", "sizes": [2]}
    assert problem(builder) == ""
    assert overrides == before


def test_workers_of_architectures_that_no_potential_has_are_refused(
    worker_code, finnis_sinclair: PotentialData
) -> None:
    builder = DefectsWorkChain.get_builder_from_protocol(
        code=worker_code, potentials={"classical": finnis_sinclair}, elements=["W"], codes={"chgnet": worker_code}
    )
    assert "codes.chgnet" in problem(builder)
    assert "no potential is of this architecture" in problem(builder)


@pytest.mark.parametrize("value", [0, -1])
def test_a_window_without_jobs_is_refused(worker_code, finnis_sinclair: PotentialData, value: int) -> None:
    builder = DefectsWorkChain.get_builder_from_protocol(
        code=worker_code, potentials={"classical": finnis_sinclair}, elements=["W"], max_concurrent=value
    )
    assert f"max_concurrent = {value}" in problem(builder)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mace-omat-0-small", "mace_omat_0_small"),
        ("pk_12", "pk_12"),
        ("2nd try!", "p_2nd_try"),
        ("tungsten, LoRA", "tungsten_LoRA"),
    ],
)
def test_labels_become_names_in_the_graph(text: str, name: str) -> None:
    assert graph_name(text) == name


def test_the_computer_says_how_many_jobs_may_run_at_a_time(aiida_profile, localhost: orm.Computer) -> None:
    assert max_concurrent(localhost) >= 1  # one thread for each job, on this machine
    jobs = localhost.get_property(PROPERTY)
    localhost.set_property(PROPERTY, {**jobs, "max_concurrent": 7})
    assert max_concurrent(localhost) == 7
    localhost.set_property(PROPERTY, {**jobs, "cpus": 10_000})
    assert max_concurrent(localhost) == 1
    queue = orm.Computer(label="queue", hostname="queue", transport_type="core.ssh", scheduler_type="core.slurm")
    assert max_concurrent(queue) is None
