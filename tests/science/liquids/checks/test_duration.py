"""What can be said of a run by its length, its size, and how it ended."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.schema.dynamics import StopRule
from aiida_mlip.science.liquids.checks.duration import STOPPED, UNSURE


@pytest.fixture
def box(make_box) -> Atoms:
    return make_box(["CH3CH2OH", "H2O"] * 24)


def ended(check, box: Atoms, *, ps: float, **known: object):
    return check("duration", [box, box], start=box, spacing=1000 * ps, **known).results[0]


def test_long_and_large_passes(check, box: Atoms) -> None:
    result = ended(check, box, ps=150.0)
    assert result.status == "pass"
    assert result.value == pytest.approx(150.0)


def test_what_is_missing_is_said(check, box: Atoms, make_box) -> None:
    small = make_box(["H2O"] * 8) + Atoms("Li", positions=[[1.0, 1.0, 1.0]])
    assert ended(check, box, ps=2.0).missing == "150 ps, there are 2 ps"
    assert ended(check, small, ps=200.0).missing == "48 molecules, there are 8"
    both = ended(check, small, ps=2.0)
    assert both.status == "inconclusive"
    assert both.missing == "150 ps, there are 2 ps; 48 molecules, there are 8"
    assert ended(check, small, ps=2.0, limits={"min_time_ps": 1.0, "min_molecules": 8}).status == "pass"
    assert check("duration", [], start=box).results[0].status == "inconclusive"


@pytest.mark.parametrize("rule", StopRule.__args__)
def test_every_stop_rule_is_known(check, box: Atoms, rule: str) -> None:
    result = ended(check, box, ps=200.0, stopped_by=rule)
    assert rule in result.reason
    assert result.status == ("inconclusive" if rule in UNSURE else "fail")
    assert (rule in UNSURE) != (rule in STOPPED)


def test_frames_that_no_stop_rule_saw_fail(check, box: Atoms) -> None:
    touching = box.copy()
    touching.positions[3] = touching.positions[7] + [0.2, 0.2, 0.1] + box.cell.array[0]
    hot = box.copy()
    hot.info["instantaneous_temperature"] = 1200.0
    lost = box.copy()
    lost.positions[0] = np.nan
    for frame, words in ((touching, "0.300 Å apart"), (hot, "1200 K"), (lost, "NaN")):
        result = check("duration", [box, frame, box], start=box, spacing=1e5).results[0]
        assert result.status == "fail"
        assert words in result.reason
        assert "at 100 ps" in result.reason


@pytest.mark.parametrize(("temperature", "scale", "status"), [(1200.0, 1.3, "inconclusive"), (1200.0, 0.8, "fail"),
                                                              (300.0, 1.3, "fail")])  # fmt: skip
def test_a_run_whose_liquid_boiled_away_did_not_fail(check, box: Atoms, temperature, scale, status) -> None:
    last = box.copy()
    last.set_cell(scale * box.cell.array, scale_atoms=True)
    last.info["time_fs"] = 5000.0
    known = {"ensemble": "npt", "temperature": temperature, "pressure": 1e-4, "stopped_by": "density"}
    (result,) = check("duration", [box, last], start=box, **known).results
    assert result.status == status, result.reason
