"""Settings of dynamics and of selection that make no sense are refused, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.selection import GeometryFilters

STAGE = {"steps": 5, "temperature": 300.0}
WALKER = {"stages": [STAGE], "seed": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stop": {"density": (2.0, 0.5)}}, "lower limit from 0 to below 1 and an upper one above 1"),
        ({"stop": {"density": (-1.0, 2.0)}}, "lower limit from 0"),
        ({"stop": {"density": (1.2, 2.0)}}, "below 1"),
        ({"stop": {"ions": ("Li", "Xx")}}, "Xx: no chemical symbol"),
        ({"hal": {}, "ensemble": {"kind": "nve"}}, "use an ensemble with a thermostat"),
        ({"walkers": {"a": WALKER, "b": WALKER}}, "walkers.b is the same run as walkers.a: give it another seed"),
        ({"walkers": {"a": {"stages": [{**STAGE, "pressure_end": 1.0}], "seed": 1}}}, "give the pressure at the start"),
    ],
)
def test_refused(changes: dict[str, Any], words: str) -> None:
    assert MDSettings.model_validate({"walkers": {"a": WALKER}})
    with pytest.raises(ValidationError, match=words):
        MDSettings.model_validate({"walkers": {"a": WALKER}, **changes})


def test_walkers_that_differ_in_anything_are_different() -> None:
    others = {"b": {**WALKER, "seed": 2}, "c": {**WALKER, "structure": 1}, "d": {**WALKER, "stages": [STAGE, STAGE]}}
    assert len(MDSettings.model_validate({"walkers": {"a": WALKER, **others}}).walkers) == 4


def test_the_filter_on_densities_keeps_the_first_frame() -> None:
    """Limits in the wrong order refuse every frame, and a loop would take that for convergence."""
    assert GeometryFilters(density=(0.6, 1.6)).density == (0.6, 1.6)
    for window in ((1.6, 0.6), (-0.1, 1.6), (0.2, 0.9)):
        with pytest.raises(ValidationError, match="upper one above 1"):
            GeometryFilters(density=window)
