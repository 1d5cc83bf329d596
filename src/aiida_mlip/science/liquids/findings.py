"""What a check of a liquid says: pass, fail or inconclusive, with the numbers it says it from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiida_mlip.science.models import StrictModel

Status = Literal["pass", "fail", "inconclusive"]

Aspect = Literal["stability", "accuracy"]
"""Stability needs no reference; accuracy is agreement with one, is reported apart, and never makes a run unstable."""


class CheckResult(StrictModel):
    """The answer of one check."""

    check: str = Field(description="name of the check, e.g. 'density'")
    status: Status
    aspect: Aspect = "stability"
    quantity: str = Field(default="", description="what was measured, in words, e.g. 'drift over the window'")
    value: float | None = Field(default=None, description="None where it could not be measured")
    error: float | None = Field(default=None, ge=0, description="standard error of the value")
    limit: float | None = Field(default=None, description="the value that parts pass from fail")
    unit: str = ""
    reason: str = Field(description="one sentence with the numbers")
    missing: str = Field(default="", description="what an inconclusive check would need, e.g. '150 ps, there are 2 ps'")
    numbers: dict[str, float | int | str | None] = Field(default_factory=dict, description="further numbers, by name")


class Species(StrictModel):
    """A kind of molecule: elements and bonds. Atoms are numbered in the species, not in the box."""

    key: str = Field(description="formula and digest of the bond graph, the same for all conformations")
    formula: str
    symbols: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...] = ()
    count_first: int = Field(default=0, ge=0, description="molecules of this kind in the first frame")
    count_last: int = Field(default=0, ge=0)
    first_time_fs: float | None = Field(default=None, description="when it was first seen [fs]")
    name: str = Field(default="", description="e.g. 'EC', where it is a known one")
    smiles: str = Field(default="", description="filled in where RDKit is: not on the compute node")


class Event(StrictModel):
    """A reaction: bonds that broke or formed and stayed so."""

    time_fs: float
    step: int = Field(ge=0)
    broken: tuple[tuple[int, int], ...] = Field(default=(), description="pairs of atoms of the box")
    formed: tuple[tuple[int, int], ...] = ()
    before: tuple[str, ...] = Field(default=(), description="keys of the species that took part")
    after: tuple[str, ...] = Field(default=(), description="keys of what they became")
    atoms: tuple[int, ...] = Field(default=(), description="of all molecules that took part")
    before_atoms: tuple[tuple[int, ...], ...] = Field(default=(), description="atoms of each species of `before`")
    after_atoms: tuple[tuple[int, ...], ...] = Field(default=(), description="atoms of each species of `after`")


def worst(results: tuple[CheckResult, ...] | list[CheckResult]) -> Status:
    """Return the verdict on checks taken together: one that fails decides, then one that is inconclusive.

    Only checks of stability count. Without any it is inconclusive.
    """
    found = {result.status for result in results if result.aspect == "stability"}
    if "fail" in found:
        return "fail"
    return "pass" if found == {"pass"} else "inconclusive"
