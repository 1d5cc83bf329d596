"""Whether the molecules stay what they were at step 0, and what they become where they do not."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from aiida_mlip.science.liquids.bond_graph import BondGraph, Change, components
from aiida_mlip.science.liquids.checks._base import Array, Check, Finding, Run
from aiida_mlip.science.liquids.findings import CheckResult, Event, Status
from aiida_mlip.science.liquids.molecules import IONS
from aiida_mlip.science.liquids.reactions import SpeciesBook, accept_reaction, poisson_rate
from aiida_mlip.science.models import StrictModel

NAME = "molecules"


class MoleculesLimits(StrictModel):
    """Limits of ``molecules``."""

    broken: float = Field(
        default=1.6,
        gt=1,
        description="a bond breaks beyond this multiple of the sum of covalent radii (Cordero 2008); proposal",
    )
    formed: float = Field(
        default=1.15, gt=0.8, description="a bond forms below this multiple of the sum of covalent radii; proposal"
    )
    persistence_fs: float = Field(
        default=50.0, ge=0, description="time that a change must last to count [fs]; proposal"
    )
    mode: Literal["neutral", "reactive"] = Field(
        default="neutral",
        description="'neutral': any change fails; 'reactive': changes are named and do not fail; proposal",
    )
    apart: tuple[str, ...] = Field(
        default=("F6P",),
        description="formulas (Hill) of molecules with a result of their own, PF6- by default; proposal",
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="of the interval of the rate; proposal")
    keep_events: int = Field(default=200, ge=1, description="reactions that are described, the first ones; proposal")
    keep_species: int = Field(default=60, ge=1, description="kinds that are described, the first ones; proposal")

    @model_validator(mode="after")
    def _there_is_hysteresis(self) -> MoleculesLimits:
        if self.formed >= self.broken:
            raise ValueError(f"formed = {self.formed} is not below broken = {self.broken}: lower the first")
        return self


class _Group:
    """Molecules of the start that are judged together."""

    def __init__(self, name: str, molecules: set[int]) -> None:
        self.name, self.molecules = name, molecules
        self.events: list[Event] = []
        self.total = 0


class _Molecules:
    """One reading."""

    def __init__(self, run: Run, limits: MoleculesLimits) -> None:
        self._limits = limits
        self._graph = BondGraph(
            run.start, broken=limits.broken, formed=limits.formed, persistence=limits.persistence_fs
        )
        self._start_bonds = frozenset(self._graph.bonds)
        self._book = SpeciesBook(run.start)
        self._first = self._book.census(self._graph.bonds, 0.0)
        self._home = components(self._start_bonds, range(len(run.start)))
        self._groups = self._grouped(run.start)
        self._times: list[float] = []
        self._events: list[Event] = []
        self._deviations: list[tuple[float, int, int]] = []

    def _grouped(self, start: Atoms) -> list[_Group]:
        rest, apart = set[int](), dict[str, set[int]]()
        for members in set(self._home.values()):
            if len(members) == 1 and start.numbers[members[0]] in IONS:
                continue
            formula = start[list(members)].get_chemical_formula()
            (apart.setdefault(formula, set()) if formula in self._limits.apart else rest).add(members[0])
        groups = [_Group("molecules", rest)] if rest else []
        return groups + [_Group("PF6-" if name == "F6P" else name, found) for name, found in sorted(apart.items())]

    def add(self, frame: Atoms) -> None:
        time_fs = float(frame.info["time_fs"])
        self._times.append(time_fs)
        for changes in self._graph.add(frame, time_fs, int(frame.info.get("step", 0))):
            self._count(changes, accept_reaction(self._graph, changes, self._book))

    def _count(self, changes: list[Change], event: Event) -> None:
        touched = {self._home[atom][0] for change in changes for atom in change.pair}
        for group in self._groups:
            if touched & group.molecules:
                group.total += 1
                if len(group.events) < self._limits.keep_events:
                    group.events.append(event)
        if len(self._events) < self._limits.keep_events:
            self._events.append(event)
        for change in changes:
            sign = 1 if change.formed != (change.pair in self._start_bonds) else -1
            molecules = {self._home[atom][0] for atom in change.pair}
            self._deviations += [(change.time_fs, molecule, sign) for molecule in molecules]

    def finish(self) -> Finding:
        last = self._book.census(self._graph.bonds, self._times[-1] if self._times else 0.0)
        species = self._book.counted(self._first, last)[: self._limits.keep_species]
        times = np.array(self._times) / 1000
        curves: dict[str, Array] = {"molecules_time_ps": times, "molecules_intact": self._intact()}
        results = [self._judge(group) for group in self._groups]
        if not results:
            results = [_nothing_to_judge()]
        return Finding(results, curves, self._events, species)

    def _intact(self) -> Array:
        """Return the share of molecules that have the bonds of the start, at each frame."""
        molecules = set().union(*(group.molecules for group in self._groups)) if self._groups else set()
        changes, intact = sorted(self._deviations), np.ones(len(self._times))
        off, index = Counter[int](), 0
        for frame, time_fs in enumerate(self._times):
            while index < len(changes) and changes[index][0] <= time_fs:
                off[changes[index][1]] += changes[index][2]
                index += 1
            gone = sum(1 for molecule, count in off.items() if count and molecule in molecules)
            intact[frame] = 1 - gone / max(len(molecules), 1)
        return intact

    def _judge(self, group: _Group) -> CheckResult:
        window = (self._times[-1] - self._times[0]) / 1000 if self._times else 0.0
        spacing = float(np.median(np.diff(self._times))) if len(self._times) > 1 else 0.0
        status, reason, missing = self._verdict(group, window, spacing)
        numbers: dict[str, float | int | str | None] = {
            "molecules": len(group.molecules),
            "time_ps": window,
            "frame_spacing_fs": spacing,
            "first_time_fs": group.events[0].time_fs if group.events else None,
            "unsettled_changes": self._unsettled(group),
            "changes_that_went_back": self._graph.returned,
            "mode": self._limits.mode,
        }
        if window > 0:
            rate = poisson_rate(group.total, len(group.molecules) * window / 1000, self._limits.confidence)
            numbers |= {"rate": rate.value, "rate_low": rate.low, "rate_high": rate.high}
            numbers["rate_unit"] = "1/(molecule ns)"
        return CheckResult(
            check=NAME,
            status=status,
            quantity=f"reactions of {group.name}",
            value=float(group.total) if self._times else None,
            limit=0.0 if self._limits.mode == "neutral" else None,
            unit="reactions",
            reason=reason,
            missing=missing,
            numbers=numbers,
        )

    def _unsettled(self, group: _Group) -> int:
        """Return how many changes of these molecules have not lasted yet."""
        return sum(
            any(self._home[atom][0] in group.molecules for atom in change.pair) for change in self._graph.pending
        )

    def _verdict(self, group: _Group, window: float, spacing: float) -> tuple[Status, str, str]:
        what, limits = f"{len(group.molecules)} {group.name}", self._limits
        if len(self._times) < 2:
            return "inconclusive", f"There are {len(self._times)} frames: no change can last.", "at least two frames"
        judged = f"{what} over {window:.3g} ps, frames {spacing:.3g} fs apart"
        if group.total:
            told = f"{group.total} reactions in {judged}; the first at {group.events[0].time_fs / 1000:.3g} ps: "
            return "fail" if limits.mode == "neutral" else "pass", told + _equation(group.events[0]), ""
        if unsettled := self._unsettled(group):
            return (
                "inconclusive",
                f"No change lasted {limits.persistence_fs:g} fs in {judged}, but {unsettled} began at the end of the "
                "run.",
                f"frames for another {max(limits.persistence_fs, spacing):g} fs",
            )
        if spacing > limits.persistence_fs and self._graph.returned:
            return (
                "inconclusive",
                f"{self._graph.returned} changes were seen in single frames of {judged}: whether they lasted "
                f"{limits.persistence_fs:g} fs cannot be told.",
                f"frames at most {limits.persistence_fs:g} fs apart",
            )
        blind = " What lasted less than two frames was not seen." if spacing > limits.persistence_fs else ""
        return "pass", f"No reaction in {judged}.{blind}", ""


def _equation(event: Event) -> str:
    sides = (_side(keys) for keys in (event.before, event.after))
    return " -> ".join(sides) + "."


def _side(keys: tuple[str, ...]) -> str:
    counts = Counter(key.split("_")[0] for key in keys)
    shown = [formula if count == 1 else f"{count} {formula}" for formula, count in counts.items()]
    return " + ".join(shown[:6]) + (" + ..." if len(shown) > 6 else "")


def _nothing_to_judge() -> CheckResult:
    return CheckResult(
        check=NAME,
        status="inconclusive",
        quantity="reactions of molecules",
        reason="The first configuration has only ions.",
        missing="molecules in the first configuration",
    )


CHECK = Check(
    title="Molecules intact",
    limits=MoleculesLimits,
    begin=_Molecules,
    formula="reactions = groups of bonds that passed r/(R_i + R_j) = 1.6 (broken) or 1.15 (formed) for at least 50 fs",
    source="limits: proposals; radii: Cordero et al., Dalton Trans. 2008, 2832; rates: Garwood, Biometrika 1936, 437",
)
