"""The calcfunctions of ``mlip.defects`` on results written here; nothing is submitted."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType

from aiida_mlip.calculations.checks import check_properties
from aiida_mlip.calculations.defects import bulk_settings, defect_settings, summarize_defects
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.defects import DefectSettings
from aiida_mlip.schema.tasks import PropertySettings
from aiida_mlip.science.defects import JOB_FAILED

pytestmark = pytest.mark.usefixtures("aiida_profile")

ASKED = {"eos": {"phases": ["fcc"]}, "elastic": {}, "vacancy": {"sizes": [3]}, "screw_dislocation": {"radii": [8.0]}}
SETTINGS = DefectSettings(dtype="float32").model_dump(mode="json")


def bulk(c44: float) -> dict[str, Any]:
    """Results of a job with the crystal of niobium."""
    eos = {"property": "eos", "inputs": {"element": "Nb"}, "result": {"lattice_constant": 3.3012345}}
    constants = {"c11": 250.004, "c12": 135.0, "c44": c44}
    elastic = {"property": "elastic", "inputs": {"element": "Nb"}, "result": constants}
    number = {"key": "C44", "value": c44, "unit": "GPa", "label": "C44"}
    return {"properties": {"eos": eos, "elastic": {**elastic, "quantities": [number]}}, "failed": {}}


def test_the_jobs_of_the_crystals_differ_in_the_element_only() -> None:
    found = bulk_settings(orm.Dict(ASKED), orm.Dict(SETTINGS), orm.List(["Nb", "W"]))
    first, second = (found[element].get_dict() for element in ("Nb", "W"))
    assert set(first["properties"]) == {"eos", "elastic"}
    assert first["dtype"] == "float32"
    assert check_properties(PropertySettings(**first)) == []
    assert json.dumps(first).replace('"Nb"', '"W"') == json.dumps(second)


def test_each_further_property_has_complete_settings_of_its_own() -> None:
    found = defect_settings(orm.Dict(ASKED), orm.Dict(SETTINGS), orm.Dict(bulk(28.126)))
    assert set(found) == {"vacancy", "screw_dislocation"}
    for name, node in found.items():
        settings = node.get_dict()
        assert set(settings["properties"]) == {name}
        assert settings["properties"][name]["element"] == "Nb"
        assert settings["properties"][name]["lattice_constant"] == 3.30123
        assert check_properties(PropertySettings(**settings)) == []
        assert node.creator.process_label == "defect_settings"
    constants = found["screw_dislocation"]["properties"]["screw_dislocation"]["elastic_constants"]
    assert constants == {"c11": 250.0, "c12": 135.0, "c44": 28.13}
    assert set(defect_settings(orm.Dict(ASKED), orm.Dict(SETTINGS), orm.Dict(bulk(-15.9)))) == {"vacancy"}


def test_equal_settings_have_equal_hashes_however_they_were_asked_for() -> None:
    """Names, fields and sizes in another order, defaults left out or written down, whole numbers or not."""
    one = {"eos": {}, "elastic": {}, "vacancy": {"sizes": [3, 4], "fmax": 0.01}, "surface": {"surfaces": ["110"]}}
    two = {
        "surface": {"max_steps": 300, "surfaces": [[1, 1, 0]], "vacuum": 10},
        "vacancy": {"structure": "bcc", "fmax": 1e-2, "sizes": (4, 3), "lattice_constant": None},
        "elastic": {"strains": [0.01, 0.005]},
        "eos": {"phases": []},
    }
    reverse = dict(reversed(SETTINGS.items()))

    def nodes(asked: dict[str, Any], settings: dict[str, Any]) -> dict[str, orm.Dict]:
        shared = orm.Dict(asked), orm.Dict(settings)
        return {**bulk_settings(*shared, orm.List(["Nb"])), **defect_settings(*shared, orm.Dict(bulk(28.0)))}

    first, second = nodes(one, SETTINGS), nodes(two, reverse)
    assert set(first) == set(second) == {"Nb", "vacancy", "surface"}
    for name, node in first.items():
        assert node.get_dict() == second[name].get_dict()
        assert node.base.caching.compute_hash() == second[name].base.caching.compute_hash()


def test_the_summary_says_why_something_is_missing() -> None:
    known = {"architecture": "finnis_sinclair", "elements": ["Nb"]}
    info = {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0, "name": "fs", "level_of_theory": "none"}
    potential = PotentialData(io.BytesIO(json.dumps(known).encode()), info)
    results = orm.Dict(bulk(-15.9))
    job = orm.CalcFunctionNode().store()
    results.base.links.add_incoming(job, LinkType.CREATE, "results")
    summary = summarize_defects(
        orm.List(["Nb"]),
        orm.Dict(ASKED),
        potentials={"p": potential},
        results={"p": {"Nb": {"bulk": results}}},
    ).get_dict()
    case = summary["cases"]["p"]["Nb"]
    assert case["failed"]["vacancy"] == JOB_FAILED
    assert case["failed"]["screw_dislocation"]["type"] == "UnstableConstants"
    assert "C44 = -15.9 GPa" in case["failed"]["screw_dislocation"]["message"]
    assert case["jobs"] == {"eos": job.uuid, "elastic": job.uuid}
    assert case["cached"] == []
    assert summary["potentials"]["p"] == {
        "uuid": potential.uuid, "label": "fs", "architecture": "finnis_sinclair", "level_of_theory": "none",
    }  # fmt: skip
    assert summary["deviations"]["p"]["Nb"]["C44"]["grade"] == "poor"
