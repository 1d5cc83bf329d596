"""Lights, numbers, sentences and panels as the pages on electrolytes write them."""

from __future__ import annotations

import pytest

from aiida_mlip.report import lights
from aiida_mlip.report.canvas import canvas
from aiida_mlip.report.electrolyte import Condition
from aiida_mlip.science.liquids.findings import CheckResult


@pytest.mark.parametrize(
    ("value", "error", "unit", "expected"),
    [
        (1.09912, 0.00362, "g/cm3", "1.0991 ± 0.0036 g/cm³"),
        (-3.77, 2.4, "K", "−3.8 ± 2.4 K"),
        (12.5, 31.0, "1e-6 cm2/s", "12 ± 31 10⁻⁶ cm²/s"),
        (0.0, None, "reactions", "0"),
        (-3e-15, None, "eV/molecule", "0 eV/molecule"),
        (4.113, None, "%", "4.11 %"),
        (0.0005, 0.0, "eV/molecule", "0.0005 eV/molecule"),
        (None, 1.0, "K", ""),
        (float("nan"), None, "K", ""),
    ],
)
def test_numbers_have_the_digits_of_their_errors(value, error, unit, expected):
    assert lights.with_error(value, error, unit) == expected


def test_the_worst_walker_decides_and_the_others_are_counted():
    found = [
        CheckResult(check="density", status=status, value=value, unit="g/cm3", reason=f"{status}.", missing="time")
        for status, value in (("pass", 1.1), ("fail", 0.5), ("inconclusive", 1.0), ("pass", 1.2))
    ]
    light = lights.light_of(found)
    assert (light.status, light.number, light.missing) == ("fail", "0.5 g/cm³", "")
    assert light.several == "4 walkers: 1 fail, 1 inconclusive, 2 pass"


def test_wide_tables_are_cut_by_stage():
    conditions = tuple(
        Condition("box", stage, float(t), 1e-4 if stage == "npt" else None)
        for stage in ("npt", "nvt") for t in range(300, 1000, 100)
    )  # fmt: skip
    shown = tuple(lights.Light("pass") for _ in conditions)
    table = lights.Table(conditions, (lights.Row("energy", "Energy", "", shown),), shown)
    parts = list(lights.blocks_of(table, most=4))
    assert [len(part.conditions) for _, part in parts] == [4, 3, 4, 3]
    assert [stage for stage, _ in parts] == ["npt", "npt", "nvt", "nvt"]
    assert sum((part.conditions for _, part in parts), ()) == conditions


def test_sentences_are_typeset():
    assert lights.readable("a -> b, 1.1 g/cm3") == "a → b, 1.1 g/cm³"
    assert lights.readable("diffusion of F6P_259425") == "diffusion of PF6-"
    assert lights.readable("no result of salt_t300_p0_w1") == "no result of salt_t300_p0_w1"


def test_a_legend_names_each_thing_once():
    made = canvas((1, 2), 100)
    for column in (1, 2):
        made.add(([0, 1], [0, 1]), "line", {"row": 1, "col": column})
    assert [trace.showlegend for trace in made.figure.data] == [True, False]
