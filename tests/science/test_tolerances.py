"""Grades of deviations, and that every reference value has a tolerance in its own unit."""

from __future__ import annotations

import math

import pytest

from aiida_mlip.science import reference
from aiida_mlip.science.properties.junction_100 import UNITS
from aiida_mlip.science.tolerances import TABLE, grade, tolerance

KNOWN = reference.load()
ENTRIES = [(element, key) for element in KNOWN.elements for key in KNOWN.keys(element)]


@pytest.mark.parametrize(
    ("key", "value", "known", "expected"),
    [
        ("lattice_constant", 3.1854 * 1.0049, 3.1854, "good"),
        ("lattice_constant", 3.1854 * 0.9949, 3.1854, "fair"),
        ("lattice_constant", 3.1854 * 0.9899, 3.1854, "poor"),
        ("C11", 516.0 * 1.099, 516.0, "good"),
        ("C11", 516.0 * 0.81, 516.0, "fair"),
        ("C11", 516.0 * 1.21, 516.0, "poor"),
        ("C44", 21.0 + 4.9, 21.0, "good"),
        ("C44", 21.0 - 9.9, 21.0, "fair"),
        ("vacancy_formation", 3.26, 3.35, "good"),
        ("vacancy_formation", 3.06, 3.35, "fair"),
        ("vacancy_formation", 3.66, 3.35, "poor"),
        ("vacancy_migration", 1.95, 1.74, "poor"),
        ("interstitial_formation_111", 9.7, 10.18, "good"),
        ("interstitial_formation_111", 9.2, 10.18, "fair"),
        ("interstitial_formation_111", 8.4, 10.18, "poor"),
        ("E_A15_minus_BCC", 0.354, 0.09772, "poor"),
        ("E_FCC_minus_BCC", 0.44, 0.47142, "fair"),
        ("gamma_max_110", 1.5, 1.80165, "fair"),
        ("surface_110", 3.0, 3.2, "good"),
        ("screw_glide_barrier", 0.07, 0.08153, "good"),
        ("screw_glide_barrier", 0.045, 0.08153, "fair"),
        ("screw_glide_barrier", 0.01, 0.08153, "poor"),
    ],
)
def test_grades(key, value, known, expected):
    assert grade(key, value, known) == expected


@pytest.mark.parametrize(
    ("key", "value", "known"),
    [("C44", -1.0, 3.0), ("E_A15_minus_BCC", -0.004, 0.01), ("screw_hard_minus_easy", -0.002, 0.004)],
)
def test_the_wrong_sign_is_poor_however_close(key, value, known):
    assert grade(key, value, known) == "poor"
    assert grade(key, abs(value), known) == "good"


def test_sign_does_not_matter_where_it_says_nothing_of_stability():
    assert grade("vacancy_formation", -0.01, 0.02) == "good"


def test_what_is_not_known_or_not_a_number_has_no_grade():
    assert grade("temperature", 1.0, 1.0) is None
    assert tolerance("temperature") is None
    assert grade("C11", math.nan, 500.0) is None
    assert grade("C11", 500.0, math.inf) is None


def test_a_number_in_another_unit_has_no_grade():
    assert grade("screw_glide_barrier", 0.08, 0.08, "eV per b") == "good"
    assert grade("screw_glide_barrier", 0.08, 0.08, "eV per a") is None


@pytest.mark.parametrize("plane", UNITS)
def test_barriers_of_junctions_are_judged_per_period_of_their_line(plane):
    key = f"junction_100_{plane}_barrier"
    assert grade(key, 1.3, 1.0, UNITS[plane]) == "fair"
    assert grade(key, 1.3, 1.0, "eV per b") is None


@pytest.mark.parametrize(("element", "key"), ENTRIES)
def test_every_reference_value_has_a_tolerance_in_its_unit(element, key):
    entry, known = tolerance(key), KNOWN.get(element, key)
    assert entry is not None
    assert entry.unit == known.unit
    assert grade(key, known.value, known.value) == "good"


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.title)
def test_limits_widen_and_say_why(entry):
    for known in (1e-3, 1.0, -400.0):
        good, fair = entry.limits(known)
        assert 0 < good < fair
    assert entry.why.endswith(".")
    assert entry.text()


def test_a_specific_kind_comes_before_a_general_one():
    assert tolerance("vacancy_migration").title == "vacancy migration"
    assert tolerance("interstitial_111_minus_110").title == "differences between interstitials"
    assert tolerance("interstitial_formation_110").title == "interstitials"
    assert tolerance("C44").text() == "10 / 20 %, at least 5 / 10 GPa"
    assert tolerance("lattice_constant").text() == "0.5 / 1 %"
    assert tolerance("E_FCC_minus_BCC").text() == "0.025 / 0.05 eV/atom"
