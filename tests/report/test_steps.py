"""The picture of properties over the steps of a training set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiida_mlip.report.steps import draw_steps, panels


def case(**values: float) -> dict[str, Any]:
    """One case of a summary with one record."""
    quantities = [{"key": key, "value": value, "unit": "GPa", "label": key} for key, value in values.items()]
    return {"records": {"elastic": {"quantities": quantities}}, "failed": {}}


SUMMARY = {
    "elements": ["W", "Nb"],
    "potentials": {"foundation": {}, "to_bulk": {}, "to_vacancy": {}},
    "cases": {
        "foundation": {"W": case(C11=604.0, C44=144.0), "Nb": case(C11=283.0)},
        "to_bulk": {"W": case(C11=520.0, C44=139.0), "Nb": case(C11=260.0)},
        "to_vacancy": {"W": case(C11=523.0), "Nb": {"records": {}, "failed": {}}},
    },
    "reference": {"W": {"values": {"C11": {"value": 516.0}}}, "Nb": {"values": {}}},
}


def test_panels_keep_the_order_of_the_potentials_and_leave_gaps() -> None:
    first, second = panels(SUMMARY, ["C11", "C44", "vacancy_formation"])
    assert first.label == "C11 [GPa]"
    assert first.lines == {"W": (604.0, 520.0, 523.0), "Nb": (283.0, 260.0, None)}
    assert first.references == {"W": 516.0}
    assert second.lines == {"W": (144.0, 139.0, None), "Nb": (None, None, None)}


def test_where_two_properties_have_a_key_the_first_one_counts() -> None:
    records = {"eos": case(B=310.0)["records"]["elastic"], "elastic": case(B=305.0)["records"]["elastic"]}
    summary = {**SUMMARY, "cases": {"foundation": {"W": {"records": records, "failed": {}}}}}
    (panel,) = panels(summary, ["B"])
    assert panel.lines["W"] == (310.0, None, None)


def test_the_picture_is_written(tmp_path: Path) -> None:
    node: Any = SimpleNamespace(pk=7, outputs=SimpleNamespace(summary=SimpleNamespace(get_dict=lambda: SUMMARY)))
    path = draw_steps(node, tmp_path / "new" / "steps.svg", keys=["C11", "C44"])
    text = path.read_text()
    assert "to vacancy" in text
    assert "W, DFT" in text
    with pytest.raises(ValueError, match=r"steps.gif: the suffix '.gif' is not one of"):
        draw_steps(node, tmp_path / "steps.gif", keys=["C11"])
    with pytest.raises(ValueError, match="process 7 has none of the quantities surface_110"):
        draw_steps(node, tmp_path / "steps.png", keys=["surface_110"])
