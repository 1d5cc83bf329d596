"""Flags of screw dislocations: each is raised by a result that deserves it, and by no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aiida_mlip.science.properties._cores import CoreLabel
from aiida_mlip.science.properties._screw_flags import (
    core_flags,
    glide_flags,
    method_flags,
    order_flags,
    radius_flags,
)
from aiida_mlip.science.properties._screw_result import CoreInCylinder, GlidePath
from aiida_mlip.science.properties._stiffness import CubicStiffness


def label(**changes: Any) -> CoreLabel:
    values: dict[str, Any] = {
        "kind": "easy", "burgers": 1, "open_triangles": 1, "centre": (0.0, 0.0),
        "differential": (0.33, 0.33, 0.33), "polarity": 0.0,
    }  # fmt: skip
    return CoreLabel(**{**values, **changes})


def core(**changes: Any) -> CoreInCylinder:
    values: dict[str, Any] = {
        "requested": "easy", "radius": 12.0, "atoms": 300, "held": False, "before": label(), "after": label(),
        "energy": 0.0, "by_total_energy": 0.0, "lag": 0.0, "fmax": 0.001, "steps": 5, "converged": True,
    }  # fmt: skip
    return CoreInCylinder(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"converged": False, "fmax": 0.2}, [("not_converged", True)]),
        ({"after": label(kind="none", burgers=0, open_triangles=0, centre=None)}, [("core_left", True)]),
        ({"after": label(kind="several", burgers=0, open_triangles=2)}, [("core_left", True)]),
        ({"after": label(kind="degenerate", polarity=0.8)}, [("degenerate_core", False)]),
        ({"after": label(kind="hard")}, [("easy_core_unstable", True)]),
        ({"requested": "hard", "after": label(kind="easy")}, [("hard_core_lost", False)]),
        ({"requested": "hard", "after": label(kind="hard")}, []),
        ({"requested": "midpoint", "after": label(kind="between"), "lag": 0.8}, [("boundary_lags", False)]),
        (
            {"requested": "split", "after": label(kind="split"), "energy": 0.1, "by_total_energy": 0.12},
            [("surface_drift", False)],
        ),
    ],
)
def test_flags_of_cores(changes: dict[str, Any], expected: list[tuple[str, bool]]) -> None:
    assert [(flag.name, flag.unusable) for flag in core_flags([core(**changes)])] == expected


def test_a_crystal_close_to_instability_is_flagged() -> None:
    """MACE-OMAT-0 small gives niobium C44 = 5.4 GPa; density-functional theory has a ratio of 0.3."""
    soft, normal = (CubicStiffness(c11=282.9, c12=133.2, c44=c44) for c44 in (5.4, 25.0))
    (flag,) = method_flags(soft, atomic_energies=True)
    assert flag.name == "nearly_unstable"
    assert "C44 = 5.4 GPa" in flag.message
    assert method_flags(normal, atomic_energies=True) == []
    assert [flag.name for flag in method_flags(normal, atomic_energies=False)] == ["no_atomic_energies"]


def test_flags_of_the_order_of_cores_and_of_radii() -> None:
    low = core(requested="hard", energy=-0.02, by_total_energy=-0.02, after=label(kind="hard"))
    assert [flag.name for flag in order_flags([low], hard_collapses=False)] == ["hard_below_easy"]
    assert [flag.name for flag in order_flags([], hard_collapses=True)] == ["hard_core_collapsed"]
    pair = [core(requested="hard", radius=radius, energy=energy) for radius, energy in ((9.0, 0.10), (12.0, 0.11))]
    assert [flag.name for flag in radius_flags(pair)] == ["radii_disagree"]
    assert radius_flags(pair[:1]) == []


def path(energy: list[float], **changes: Any) -> GlidePath:
    line = np.linspace(0, 1, len(energy)).tolist()
    values: dict[str, Any] = {
        "radius": 12.0, "length": line, "position": line, "offset": [0.0] * len(energy), "energy": energy,
        "by_total_energy": energy, "barrier": max(energy), "barrier_at": 0.5, "symmetric": True,
        "end_mismatch": 0.0, "perpendicular": 0.01, "iterations": 9, "converged": True,
    }  # fmt: skip
    return GlidePath(**{**values, **changes})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (path([0, 0.02, 0.06, 0.08, 0.06, 0.02, 0]), []),
        (path([0, 0.04, 0.06, 0.03, 0.06, 0.04, 0]), ["midpoint_no_maximum"]),
        (path([0, 0.05, 0.02, 0.08, 0.02, 0.05, 0]), ["several_humps"]),
        (path([0, -0.02, 0.02, 0.05, 0.02, -0.02, 0]), ["below_easy"]),
        (path([0, 0.02, 0.06, 0.08, 0.06, 0.02, 0], end_mismatch=0.004), ["unequal_ends"]),
        (path([0, 0.02, 0.06, 0.08, 0.06, 0.02, 0.003], symmetric=False), ["unequal_ends"]),
        (path([0, 0.02, 0.06, 0.08, 0.06, 0.02, 0], converged=False, perpendicular=0.2), ["path_not_converged"]),
    ],
)
def test_flags_of_paths(found: GlidePath, expected: list[str]) -> None:
    flags = glide_flags(found)
    assert [flag.name for flag in flags] == expected
    assert all(flag.unusable == (flag.name == "path_not_converged") for flag in flags)
