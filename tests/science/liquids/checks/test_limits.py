"""Each check runs with its defaults, and says where its limits come from."""

from __future__ import annotations

import pytest

from aiida_mlip.science.liquids import checks

NAMES = ("molecules", "density", "bubble", "energy", "temperature", "duration")


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_has_a_default_and_a_source(name: str) -> None:
    check = checks.get(name)
    fields = check.limits.model_fields
    assert not [field for field, info in fields.items() if info.is_required()]
    sources = ("proposal", "measured", "CAMMLS 2025", "CRC Handbook", "not done")
    assert not [field for field, info in fields.items() if not any(word in info.description for word in sources)]
    assert check.formula
    assert check.source
    assert check.title


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_claimed_of_an_empty_trajectory(check, make_box, name: str) -> None:
    box = make_box(["CH3OH"] * 8)
    found = check(name, [], start=box, ensemble="npt")
    assert found.results
    assert {result.status for result in found.results} == {"inconclusive"}
    assert all(result.missing and result.check == name for result in found.results)
    assert all(curve.startswith(f"{name}_") for curve in found.curves)
