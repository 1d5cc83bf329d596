"""Stages with ramps, and time series as text."""

from __future__ import annotations

import io
import math

import pytest

from aiida_mlip.schema.dynamics import Stage
from aiida_mlip.science.dynamics.schedule import Schedule, Target
from aiida_mlip.science.dynamics.series import COLUMNS, header, read_series, row


def test_ramps_end_at_their_ends_and_stages_follow_each_other() -> None:
    schedule = Schedule(
        [
            Stage(steps=10, temperature=300, temperature_end=500, pressure=1.0),
            Stage(steps=4, temperature=200, pressure=1.0, pressure_end=-1.0),
        ]
    )
    assert schedule.steps == 14
    assert schedule.at(0) == Target(0, 300.0, 1.0)
    assert schedule.at(5) == Target(0, 400.0, 1.0)
    assert schedule.at(10) == Target(0, 500.0, 1.0)
    assert schedule.at(11) == Target(1, 200.0, 0.5)
    assert schedule.at(14) == Target(1, 200.0, -1.0)


def test_without_a_pressure_there_is_none() -> None:
    assert Schedule([Stage(steps=1, temperature=10)]).at(1).pressure is None


def test_rows_come_back_to_the_last_bit_and_what_is_missing_is_nan() -> None:
    text = header() + row({"step": 3, "energy": -1 / 3, "tau": None}) + row({"step": 4, "energy": 0.1})
    found = read_series(io.StringIO(text))
    assert set(found) == set(COLUMNS)
    assert found["step"].tolist() == [3.0, 4.0]
    assert found["energy"].tolist() == [-1 / 3, 0.1]
    assert all(math.isnan(value) for name in ("tau", "pressure") for value in found[name])
    assert read_series(io.StringIO(header()))["step"].shape == (0,)


def test_damage_is_told() -> None:
    with pytest.raises(ValueError, match="one number for each column"):
        read_series(io.StringIO(header() + "1.0,2.0\n"))
    with pytest.raises(KeyError, match="temprature"):
        row({"temprature": 1.0})


def test_the_hottest_target_so_far_outlives_its_stage() -> None:
    """A quench: the first step of a cool stage has atoms of the hot one, and the rule must not take that for heat."""
    schedule = Schedule(
        [
            Stage(steps=10, temperature=300, temperature_end=2000),
            Stage(steps=5, temperature=300),
            Stage(steps=5, temperature=300, temperature_end=2500),
        ]
    )
    assert [schedule.hottest(step) for step in (0, 5, 10, 11, 15, 20)] == [
        300.0,
        1150.0,
        2000.0,
        2000.0,
        2000.0,
        2500.0,
    ]
    assert schedule.at(11).temperature == 300.0
    assert Schedule([Stage(steps=4, temperature=900, temperature_end=100)]).hottest(4) == 900.0
