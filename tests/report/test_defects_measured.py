"""What is read from a summary: rows, cells, references, grades, and the verdicts made of them."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

from aiida_mlip.report.bars import ticks
from aiida_mlip.report.measured import Row, before_after, from_records, from_summary, in_order
from aiida_mlip.report.sections import expense
from aiida_mlip.report.theme import span
from aiida_mlip.report.verdict import changes, deviation_text, table, verdict, verdicts
from aiida_mlip.science.tolerances import grade


@pytest.fixture(scope="module")
def content(evaluated):
    return evaluated.summary()[0]


@pytest.fixture(scope="module")
def measured(content):
    return from_summary(content, {"fs_soft": "fs"})


def row_of(measured, key, record=None):
    return next(row for row in measured.rows if row.key == key and record in (None, row.record))


def test_rows_come_by_property_and_a_key_twice_is_marked(measured):
    records = [row.record for row in measured.rows]
    assert records == sorted(records, key=in_order(dict.fromkeys(records)).index)
    assert records[0] == "eos"
    assert records[-1] == "screw_dislocation"
    first, second = (row for row in measured.rows if row.key == "bulk_modulus")
    assert (first.again, second.again) == (False, True)
    assert second.label == "B (elastic)"


def test_a_cell_has_value_reference_and_the_grade_of_its_deviation(measured, evaluated):
    cell = measured.cell(row_of(measured, "C11"), "fs_soft", "W")
    known = evaluated.REFERENCE.get("W", "C11").value
    assert cell.reference == known
    assert cell.deviation == pytest.approx(cell.value - known)
    assert cell.grade == grade("C11", cell.value, known) == "poor"
    stiff = measured.cell(row_of(measured, "C11"), "fs", "W")
    assert cell.value == pytest.approx(evaluated.SCALE * stiff.value, rel=1e-3)
    assert cell.severity == pytest.approx(abs(cell.deviation) / (0.1 * known))


def test_the_grade_in_the_summary_counts_as_long_as_its_numbers_do(content):
    changed = copy.deepcopy(content)
    changed["deviations"]["fs"]["W"]["C11"]["grade"] = "fair"
    measured = from_summary(changed)
    assert measured.cell(row_of(measured, "C11"), "fs", "W").grade == "fair"
    changed["deviations"]["fs"]["W"]["C11"]["value"] += 1.0
    measured = from_summary(changed)
    assert measured.cell(row_of(measured, "C11"), "fs", "W").grade == "good"


def test_a_reference_in_another_unit_is_none(content):
    changed = copy.deepcopy(content)
    changed["reference"]["W"]["values"]["C11"]["unit"] = "eV"
    measured = from_summary(changed)
    assert measured.reference(row_of(measured, "C11"), "W") is None
    assert measured.cell(row_of(measured, "C11"), "fs", "W").grade is None


def test_without_a_reference_potentials_are_compared_with_each_other(measured, evaluated):
    first, second = (measured.cell(row_of(measured, "C44"), name, "Ta") for name in ("fs", "fs_soft"))
    assert first.reference is None
    assert first.grade is None
    assert deviation_text(first) == ""
    assert deviation_text(second) == f"↔ −{100 * (1 - evaluated.SCALE):.1f} %"


@pytest.mark.parametrize(
    ("key", "unit", "value", "known", "text"),
    [
        ("C11", "GPa", 464.4, 516.0, "−10.0 %"),
        ("E_A15_minus_BCC", "eV/atom", 0.354, 0.098, "+256 meV/atom"),
        ("vacancy_formation", "eV", 3.45, 3.35, "+0.10 eV"),
        ("screw_glide_barrier", "eV per b", 0.09, 0.0815, "+10.4 %"),
        ("temperature", "K", 290.0, 300.0, "−3.3 %"),
        ("gamma_max_112", "J/m^2", 8.2, 0.82, "× 10"),
        ("gamma_max_112", "J/m^2", -8.2, 0.82, "× −10"),
    ],
)
def test_deviations_are_in_percent_or_in_the_unit_of_an_absolute_tolerance(key, unit, value, known, text):
    quantity = {"key": key, "value": value, "unit": unit, "label": key}
    record = {"quantities": [quantity], "inputs": {"element": "W"}}
    published = {"value": known, "unit": unit, "source": "DFT", "citation": "me", "note": ""}
    measured = from_records({"a": {"properties": {"x": record}}}, {"W": {"values": {key: published}}})
    assert deviation_text(measured.cell(measured.rows[0], "a", "W")) == text


def test_the_verdict_counts_what_can_be_used_and_names_the_rest(measured):
    found = {(item.case.potential, item.case.element): item for item in verdicts(measured)}
    soft = found["fs_soft", "W"]
    cells = [cell for row, cell in measured.cells("fs_soft", "W") if not row.again]
    assert soft.counts == {
        name: sum(cell.grade == name and not cell.unusable for cell in cells) for name in ("good", "fair", "poor")
    }
    assert soft.unusable == 1
    assert soft.forbidden == (("screw_dislocation", "camel_hump"),)
    assert soft.judged == sum(cell.grade is not None and not cell.unusable for cell in cells)
    counted = ", ".join(f"{number} {name}" for name, number in soft.counts.items() if number)
    assert soft.sentence == f"Of {soft.judged} quantities with a reference, {counted}."
    assert soft.counts["poor"] >= 9
    assert found["fs", "Mo"].missing == (("surface", "PropertyError"),)
    without = [row for row, _ in measured.cells("fs", "Ta") if not row.again]
    assert found["fs", "Ta"].sentence == f"{len(without)} quantities, no reference values to judge them by."
    assert found["fs", "W"].worst[0][0] == "E(fcc) - E(bcc)"


def test_a_training_that_softens_moves_numbers_away_and_costs_grades(measured):
    tungsten, *others = changes(measured)
    assert [item.element for item in others] == ["Mo", "Nb"]
    assert (tungsten.before, tungsten.after) == ("fs", "fs_soft")
    assert tungsten.farther > tungsten.closer
    assert "C11" in tungsten.lost["good → poor"]
    judged = {name: verdict(measured, measured.cases[name, "W"]).judged for name in ("fs", "fs_soft")}
    assert tungsten.closer + tungsten.farther + tungsten.same == judged["fs_soft"] == judged["fs"] - 1


def test_potentials_come_after_the_one_they_were_trained_from(content):
    measured = from_summary(content, {"fs": "fs_soft"})
    assert measured.names == ("fs_soft", "fs")
    assert measured.title("fs") == "after"
    assert measured.title("fs_soft") == "before"


def test_a_potential_of_the_middle_of_a_chain_is_after(content):
    changed = copy.deepcopy(content)
    changed["potentials"]["third"] = {}
    measured = from_summary(changed, {"third": "fs_soft", "fs_soft": "fs"})
    assert [measured.title(name) for name in measured.names] == ["before", "after", "after"]


def test_records_before_and_after_become_pairs(finished):
    found = {
        name: {"properties": finished.property_records(which), "failed": {}}
        for which, name in enumerate(("before", "after"))
    }
    measured = from_records(found, {}, {"after": "before"})
    rows = {row["label"]: row for row in before_after(measured)}
    assert (rows["C11"]["before"], rows["C11"]["after"]) == (455.2, 521.4)
    assert rows["B (elastic)"]["again"]
    assert measured.title("before") == measured.title("after") == ""
    single = before_after(from_records({"alone": found["after"]}, {}))
    assert {row["before"] for row in single} == {None}


def test_the_table_has_a_line_for_each_number_and_each_failure(measured, content):
    lines = list(table(measured))
    numbers = sum(
        len(record["quantities"])
        for of_potential in content["cases"].values()
        for case in of_potential.values()
        for record in case["records"].values()
    )
    failures = [line for line in lines if line["message"]]
    assert len(lines) == numbers + len(failures)
    assert {(line["element"], line["property"]) for line in failures} == {
        ("Mo", "surface"),
        ("Ta", "screw_dislocation"),
    }
    one = next(line for line in lines if (line["element"], line["potential"], line["key"]) == ("Mo", "fs", "C12"))
    assert one["reference"] == 155.0
    assert one["grade"] == "good"
    assert "Grigorev" in one["source"]


def test_an_empty_summary_is_nothing_to_judge():
    measured = from_summary({"elements": ["W"], "potentials": {"a": {}}, "cases": {"a": {"W": {"failed": {
        "eos": {"type": "PropertyError", "message": "no minimum"}}}}}})  # fmt: skip
    assert measured.rows == ()
    assert verdicts(measured)[0].sentence == "No property has a result."
    assert not measured.compared


def test_a_configuration_that_became_another_one_says_so_in_its_cell_alone():
    def record(label, value):
        rows = [{"key": "interstitial_formation_100", "value": value, "unit": "eV", "label": label}]
        return {"properties": {"interstitial": {"quantities": rows, "inputs": {"element": "W"}}}}

    found = {
        "a": record("E_f (<100> dumbbell, ended as <111> dumbbell)", 8.0),
        "b": record("E_f (<100> dumbbell)", 9.0),
    }
    measured = from_records(found, {})
    (row,) = measured.rows
    assert row.label == "E_f (<100> dumbbell)"
    assert [measured.cell(row, name, "W").ended for name in ("a", "b")] == ["<111> dumbbell", ""]
    assert [line["message"] for line in table(measured)] == ["ended as <111> dumbbell", ""]


@pytest.mark.parametrize(
    ("usable", "others", "expected"),
    [
        ([1.0, 2.0], [], None),
        ([1.0, 2.0], [2.1], None),
        ([1.0, 2.0], [-90.0, 3.0], (-0.78, 2.78)),
        ([1.0, 2.0], [90.0], (-0.08, 2.78)),
        ([], [-90.0], None),
    ],
)
def test_an_axis_is_made_for_what_can_be_used(usable, others, expected):
    assert span(usable, others, zero=True) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("labels", "letters", "expected"),
    [
        (["C11", "C12"], 20, (["C<sub>11</sub>", "C<sub>12</sub>"], False)),
        (["hard minus easy", "barrier"], 12, (["hard<br>minus<br>easy", "barrier"], True)),
        (["hard minus easy", "barrier"], 14, (["hard<br>minus<br>easy", "barrier"], False)),
    ],
)
def test_labels_below_bars_take_lines_or_are_turned(labels, letters, expected):
    rows = [Row("x", f"key_{place}", label, "eV") for place, label in enumerate(labels)]
    names, turned = ticks(rows, letters)
    assert turned == expected[1]
    assert names == ([name.replace("<br>", " ") for name in expected[0]] if turned else expected[0])


def test_references_of_a_user_have_their_own_note_and_name(content):
    changed = copy.deepcopy(content)
    changed["reference"]["W"]["values"]["C11"] |= {"source": "experiment", "citation": "A. User, 2026"}
    measured = from_summary(changed)
    assert measured.source == "reference"
    assert from_summary(content).source == "DFT"
    notes = [measured.note(measured.reference(row_of(measured, key), "W")) for key in ("C11", "C12")]
    assert {measured.citations[note - 1][:7] for note in notes} == {"A. User", "P. Grig"}


def test_the_cost_says_what_came_from_the_cache():
    record = {"force_calls": 4, "atom_calls": 20, "seconds": 1.5, "quantities": [], "flags": []}
    case = {"records": {"eos": record, "vacancy": record}, "failed": {}, "cached": ["vacancy"]}
    found = expense.collect(SimpleNamespace(measured=from_summary({"elements": ["W"], "cases": {"a": {"W": case}}})))
    assert {row["name"]: row["cells"][0]["cached"] for row in found["rows"]} == {"eos": False, "vacancy": True}
    assert found["cached"]
    assert found["sum"] == {"force_calls": 8, "atom_calls": 40, "seconds": 3.0}
