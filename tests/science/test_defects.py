"""What further properties start from, and what came out, with records made here."""

from __future__ import annotations

from typing import Any

import pytest

from aiida_mlip.science import defects
from aiida_mlip.science.properties import Flag, PropertyRecord, Quantity
from aiida_mlip.science.reference import load

EOS = PropertyRecord(property="eos", inputs={"element": "Nb"}, result={"lattice_constant": 3.301234567})


def elastic(c11: float, c12: float, c44: float) -> PropertyRecord:
    return PropertyRecord(property="elastic", inputs={}, result={"c11": c11, "c12": c12, "c44": c44})


def test_the_settings_of_a_property_hold_the_lattice_constant_of_the_potential() -> None:
    asked: dict[str, Any] = {"eos": {}, "elastic": {}, "vacancy": {"sizes": [3]}, "own": {"property": "vacancy"}}
    asked["own"]["lattice_constant"] = 3.0
    inputs, skipped = defects.complete_from_bulk(asked, {"eos": EOS}, "Nb")
    assert inputs["vacancy"] == {"sizes": [3], "element": "Nb", "lattice_constant": 3.30123}
    assert inputs["own"]["lattice_constant"] == 3.0
    assert skipped == {}
    assert asked["vacancy"] == {"sizes": [3]}


def test_without_an_equation_of_state_nothing_else_is_attempted() -> None:
    inputs, skipped = defects.complete_from_bulk({"vacancy": {}}, {"elastic": elastic(500, 200, 150)}, "W")
    assert inputs == {}
    assert skipped["vacancy"]["type"] == "NoBulk"


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ((250.0, 135.0, -15.9), "C44 = -15.9 GPa"),
        ((200.0, 230.0, 40.0), "C' = (C11 - C12) / 2 = -15.0 GPa"),
        ((10.0, -6.0, 40.0), "B = (C11 + 2 C12) / 3 = -0.7 GPa"),
    ],
)
def test_dislocations_are_left_out_where_the_crystal_is_unstable(constants: tuple[float, ...], words: str) -> None:
    bulk = {"eos": EOS, "elastic": elastic(*constants)}
    inputs, skipped = defects.complete_from_bulk({"screw_dislocation": {}, "vacancy": {}}, bulk, "Nb")
    assert set(inputs) == {"vacancy"}
    assert skipped["screw_dislocation"]["type"] == "UnstableConstants"
    assert words in skipped["screw_dislocation"]["message"]


def test_dislocations_get_the_elastic_constants_of_the_potential() -> None:
    bulk = {"eos": EOS, "elastic": elastic(250.1234, 134.98, 28.126)}
    inputs, skipped = defects.complete_from_bulk({"screw_dislocation": {}}, bulk, "Nb")
    assert inputs["screw_dislocation"]["elastic_constants"] == {"c11": 250.12, "c12": 134.98, "c44": 28.13}
    assert skipped == {}
    _, skipped = defects.complete_from_bulk({"screw_dislocation": {}}, {"eos": EOS}, "Nb")
    assert skipped["screw_dislocation"]["type"] == "NoElasticConstants"


def test_a_case_lists_what_there_is_and_why_the_rest_is_missing() -> None:
    asked: dict[str, Any] = {"eos": {}, "elastic": {}, "vacancy": {}, "lost": {"property": "vacancy"}}
    failure = {"property": "elastic", "inputs": {}, "error": {"type": "PropertyError", "message": "no minimum"}}
    results = {
        "bulk": {"properties": {"eos": EOS.model_dump()}, "failed": {"elastic": failure}},
        "vacancy": {"properties": {"vacancy": {"property": "vacancy", "inputs": {}, "result": {}}}, "failed": {}},
    }
    records, failed = defects.summarize_case(asked, "Nb", results)
    assert list(records) == ["eos", "vacancy"]
    assert failed["elastic"]["message"] == "no minimum"
    assert failed["lost"] == defects.JOB_FAILED


def test_the_crystal_comes_first_however_the_properties_were_asked_for() -> None:
    """Where two properties give a number, such as the bulk modulus, the first one counts."""
    found = {"eos": EOS.model_dump(), "elastic": elastic(500, 200, 150).model_dump()}
    results = {"bulk": {"properties": found}, "vacancy": {"properties": {"vacancy": EOS.model_dump()}}}
    records, _ = defects.summarize_case({"vacancy": {}, "elastic": {}, "eos": {}}, "W", results)
    assert list(records) == ["eos", "elastic", "vacancy"]


def test_deviations_compare_equal_units_and_grade_only_what_may_be_used() -> None:
    def record(flag: bool, **numbers: tuple[float, str]) -> PropertyRecord:
        flags = (Flag(name="bad", message="no", unusable=True),) if flag else ()
        items = tuple(Quantity(key=key, value=v, unit=u, label=key) for key, (v, u) in numbers.items())
        return PropertyRecord(property="elastic", inputs={}, result={}, quantities=items, flags=flags)

    known = load()
    records = {
        "first": record(False, C11=(540.0, "GPa"), C12=(1.2, "eV"), own=(1.0, "GPa")),
        "second": record(True, C44=(139.0, "GPa"), C11=(1.0, "GPa")),
    }
    found = defects.deviations(records, "W", known)
    assert set(found) == {"C11", "C44"}
    reference = known.get("W", "C11")
    assert reference is not None
    assert found["C11"]["deviation"] == pytest.approx(540.0 - reference.value)
    assert found["C11"]["relative"] == pytest.approx(540.0 / reference.value - 1)
    assert found["C11"]["grade"] == "good"
    assert found["C44"]["grade"] is None


def test_reference_data_come_as_plain_values() -> None:
    document = defects.reference_document(load(), ["W", "Ta"])
    assert document["W"]["values"]["C11"]["unit"] == "GPa"
    assert document["W"]["curves"]["eos_BCC"]["y_unit"] == "eV/atom"
    assert document["Ta"] == {"values": {}, "curves": {}}
