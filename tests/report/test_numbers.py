"""Numbers as they are printed."""

from __future__ import annotations

import math

import pytest

from aiida_mlip.report import numbers
from aiida_mlip.science.errors import ERROR_UNITS


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (0.03149, "0.0315"), (123.45, "123"), (99.96, "100"), (1.0, "1.00"), (12345.6, "12300"),
        (2.5e-7, "2.50e-07"), (None, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_significant_digits(number, text):
    assert numbers.significant(number) == text


def test_errors_come_in_the_units_a_reader_expects():
    assert set(numbers.QUANTITIES) == set(ERROR_UNITS)
    assert numbers.error(0.0123, "energy") == "12.3"
    assert numbers.error(0.05, "forces") == "50.0"
    assert float(numbers.error(0.01, "stress")) == pytest.approx(1.602, abs=0.005)  # 1 eV/Å^3 = 160.2 GPa


@pytest.mark.parametrize(
    ("number", "unit", "text"), [(3.18541, "angstrom", "3.1854"), (-12.34, "GPa", "−12.3"), (None, "eV", "–")]
)
def test_properties_have_the_digits_of_their_unit(number, unit, text):
    assert numbers.value(number, unit) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(1.0, 0.17, "−83 %"), (1.0, 1.12, "+12 %"), (1.0, 3.4, "× 3.4"), (0.0, 1.0, ""), (None, 1.0, "")],
)
def test_changes(before, after, text):
    assert numbers.percent(numbers.change(before, after)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (41.3, "41 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (277200, "3 d 5 h"), (None, "–")],
)
def test_durations(seconds, text):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(2.5, "+2.5 %"), (-0.04, "0.0 %"), (-3.0, "−3.0 %"), (None, "")])
def test_signed_percentages(number, text):
    assert numbers.signed(number) == text


def test_deviation_is_relative_to_the_reference():
    assert numbers.deviation(110.0, 100.0) == pytest.approx(10.0)
    assert numbers.deviation(None, 100.0) is None


@pytest.mark.parametrize(
    ("item", "text"), [(True, "yes"), (None, "–"), (0.1 + 0.2, "0.3"), ([1, "a"], "1, a"), ([], "none"), ("x", "x")]
)
def test_settings_as_text(item, text):
    assert numbers.plain(item) == text


def test_long_values_are_counted():
    assert numbers.brief(list(range(20))) == "20 items"
    assert numbers.brief({"W": -12.5}) == "W -12.5"
    assert numbers.brief({}) == "–"


@pytest.mark.parametrize(
    ("label", "html"),
    [
        ("C11", "C<sub>11</sub>"), ("E_f (vacancy)", "E<sub>f</sub> (vacancy)"), ("a", "<i>a</i>"),
        ("B (elastic)", "<i>B</i> (elastic)"), ("a<b", "a&lt;b"), ("Ba", "Ba"),
    ],
)  # fmt: skip
def test_labels_are_typeset_and_escaped(label, html):
    assert numbers.typeset(label) == html


def test_code_in_text_is_marked_and_the_rest_escaped():
    assert numbers.coded("set `a<b` & go") == "set <code>a&lt;b</code> &amp; go"
