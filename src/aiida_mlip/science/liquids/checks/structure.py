"""Whether molecules keep their distance, and how ions are coordinated; radial distribution functions for the eye."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip.science.dynamics.observables import is_bulk
from aiida_mlip.science.liquids.blocks import RunningBlocks, mean_of
from aiida_mlip.science.liquids.checks._base import Array, Check, Finding, Run, answers
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.structure import (
    Distances,
    Distributions,
    Shell,
    Types,
    acceptors,
    element_pairs,
    first_shell,
    half_width,
    intra_pairs,
)
from aiida_mlip.science.models import StrictModel

NAME = "structure"

_result = answers(NAME, "closest contact of two molecules over its limit")

Numbers = dict[str, float | int | str | None]


class StructureLimits(StrictModel):
    """Limits of ``structure``."""

    r_max: float = Field(default=8.0, gt=1, description="largest distance [Å]; at most half the width of the cell")
    bin: float = Field(default=0.05, gt=0, le=0.5, description="width of a bin [Å]")
    interval: float = Field(default=50.0, ge=0, description="time between frames that are looked at, at least [fs]")
    contact: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="contact of two molecules that is too close, over the sum of the van der Waals radii: H..H 1.20 Å, "
        "H..O 1.36 Å, O..O 1.52 Å; 200 liquid configurations of EC and EMC have 0.71 and more; proposal",
    )
    ion_contact: float = Field(
        default=1.4, gt=0, description="contact of an ion (Li, Na, ...) that is too close [Å]; Li-O has 1.9; proposal"
    )
    contact_share: float = Field(
        default=0.01, ge=0, lt=1, description="share of frames with such a contact that fails; 2 frames pass; proposal"
    )
    shell_within: float = Field(
        default=3.5, gt=0, description="the first maximum around an ion is below this distance [Å]; proposal"
    )
    smoothing: float = Field(default=0.08, gt=0, description="of g(r) before its extrema are looked for [Å]; proposal")
    min_coordination: float = Field(
        default=2.0, ge=0, description="fewest N, O, F, S, Cl, Br around an ion; Li in carbonates has 4 to 5; proposal"
    )
    max_coordination: float = Field(default=8.0, gt=0, description="most of them; proposal")
    blocks: int = Field(default=5, ge=2, description="blocks after equilibration that a coordination number needs")
    solvation_ps: float = Field(
        default=20.0,
        ge=0,
        description="a coordination number does not fail in a shorter run [ps]: packing knows nothing of solvation, "
        "and an ion finds its neighbours in picoseconds; proposal",
    )


class _Structure:
    """One reading."""

    def __init__(self, run: Run, limits: StructureLimits) -> None:
        self._run, self._limits = run, limits
        r_max = min(limits.r_max, half_width(run.start))
        bins = max(int(r_max / limits.bin), 10)
        self._distances = Distances(run.start, r_max, bins, limits.contact, limits.ion_contact)
        self._blocks = RunningBlocks(32)
        self._frames, self._too_close = 0, 0
        self._next, self._times = -np.inf, (np.inf, -np.inf)
        self._closest: tuple[float, tuple[int, int], float] = (float("inf"), (0, 0), 0.0)

    def add(self, frame: Atoms) -> None:
        time = float(frame.info["time_fs"])
        self._times = min(self._times[0], time), max(self._times[1], time)
        if time < self._next:
            return
        self._next = time + self._limits.interval * (1 - 1e-9)
        found = self._distances.of(frame)
        self._frames += 1
        self._too_close += found.closest < 1
        if found.closest < self._closest[0]:
            self._closest = found.closest, found.atoms, time
        self._blocks.add(np.stack([found.inter, found.inter * found.volume, found.intra * found.volume]))

    def finish(self) -> Finding:
        results = [self._contacts()]
        blocks = self._blocks.means(self._run.equilibration)
        if not len(blocks):
            return Finding(results)
        average = self._distributions(blocks.mean(axis=0))
        curves = {"structure_r": average.r, **dict(self._curves(average))}
        ions = sorted(self._distances.types.ions)
        results += [self._coordination(ion, average, blocks[:, 0]) for ion in ions]
        return Finding(results, curves)

    def _distributions(self, mean: Array) -> Distributions:
        types = self._distances.types
        return Distributions(types, self._distances.edges, mean, intra_pairs(self._run.start, types))

    def _contacts(self) -> CheckResult:
        limits, (ratio, atoms, time) = self._limits, self._closest
        numbers: Numbers = {"frames": self._frames, "frames_too_close": self._too_close}
        status: Status = "fail" if self._too_close > max(2, limits.contact_share * self._frames) else "pass"
        if not np.isfinite(ratio):
            return _result("inconclusive", "No two molecules come near each other.", missing="two molecules")
        symbols = self._run.start.symbols
        pair = "..".join(f"{symbols[index]}{index}" for index in atoms)
        numbers |= {"closest_pair": pair, "closest_time_fs": time}
        share = f"{self._too_close} of {self._frames} frames have a contact below its limit"
        return _result(
            status,
            f"The closest contact of two molecules is {pair} at {time:g} fs, {ratio:.2f} of its limit; {share}.",
            quantity="closest contact of two molecules over its limit",
            value=ratio,
            limit=1.0,
            numbers=numbers,
        )

    def _curves(self, average: Distributions) -> Iterator[tuple[str, Array]]:
        types = self._distances.types
        for (a, b), (first, second) in element_pairs(types).items():
            yield from _pair_curves(average, f"structure_{a}_{b}", first, second)
        for ion in sorted(types.ions):
            for other in _around(types):
                name = f"structure_{types.elements[ion]}_{types.names[other]}"
                yield from _pair_curves(average, name, [ion], [other])

    def _coordination(self, ion: int, average: Distributions, blocks: Array) -> CheckResult:
        """Return how many atoms with lone pairs are around an ion: each element has a shell of its own.

        :param blocks: mean number of ordered pairs in each block, shape (blocks, types, types, bins).
        """
        limits, types = self._limits, self._distances.types
        name, numbers = types.names[ion], Numbers()
        per_block = np.zeros(len(blocks))
        shells: dict[str, Shell] = {}
        for element in acceptors(types):
            members = [index for index in _around(types) if types.elements[index] == element]
            shell = self._shell(average, ion, members)
            if shell is None:
                continue
            shells[element] = shell
            inside = average.r <= shell.edge
            numbers |= {f"peak_{name}_{element}": shell.peak, f"shell_{name}_{element}": shell.edge}
            for other in members:
                count = blocks[:, ion, other, inside].sum(axis=-1) / types.counts[ion]
                per_block += count
                numbers[f"coordination_{name}_{types.names[other]}"] = float(count.mean())
        quantity = f"coordination number of {name}"
        if not shells:
            none = f"{name} has no first shell: no maximum of g(r) above 1 below {limits.shell_within:g} Å."
            return _result("inconclusive", none, quantity=quantity, missing="more frames, or a solvent around the ion")
        total = mean_of(per_block)
        words = ", ".join(f"{item:.2f} {key.split('_')[-1]}" for key, item in numbers.items() if _is_number(key, item))
        edges = ", ".join(f"{element} {shell.edge:.2f} Å" for element, shell in shells.items())
        inside_limits = limits.min_coordination <= total.value <= limits.max_coordination
        enough = len(per_block) >= limits.blocks
        status: Status = "inconclusive" if not enough else "pass" if inside_limits else "fail"
        missing = "" if enough else f"{limits.blocks} blocks after equilibration, there are {len(per_block)}"
        length = (self._times[1] - self._times[0]) / 1000
        if status == "fail" and length < limits.solvation_ps:
            status, missing = "inconclusive", f"{limits.solvation_ps:g} ps, there are {length:.3g} ps"
        return _result(
            status,
            f"{name} has {total.value:.2f} ± {total.error:.2f} neighbours ({words}) within the first minimum of g(r) "
            f"({edges}); {limits.min_coordination:g} to {limits.max_coordination:g} are expected.",
            quantity=quantity,
            value=total.value,
            error=total.error,
            numbers=numbers,
            missing=missing,
        )

    def _shell(self, average: Distributions, ion: int, members: list[int]) -> Shell | None:
        g = average.inter([ion], members) if members else None
        if g is None:
            return None
        return first_shell(average.r, g, within=self._limits.shell_within, width=self._limits.smoothing)


def _around(types: Types) -> list[int]:
    """Return the types that coordinate ions."""
    wanted = acceptors(types)
    return [index for index, element in enumerate(types.elements) if element in wanted]


def _pair_curves(average: Distributions, name: str, first: list[int], second: list[int]) -> Iterator[tuple[str, Array]]:
    if (inter := average.inter(first, second)) is not None:
        yield f"{name}_inter", inter
        yield f"{name}_number", average.number(first, second)
    if (intra := average.intra(first, second)) is not None:
        yield f"{name}_intra", intra


def _is_number(key: str, item: float | int | str | None) -> bool:
    return key.startswith("coordination_") and isinstance(item, float) and item >= 0.005


def _applies(run: Run) -> bool:
    return is_bulk(run.start) and find_molecules(run.start) is not None


CHECK = Check(
    title="Structure",
    limits=StructureLimits,
    begin=_Structure,
    formula="g(r) = <V n(r) / (N v(r))>, n of N pairs in a shell of volume v; coordination: up to the first minimum",
    source="radii: Bondi, J. Phys. Chem. 68, 441 (1964); limits are proposals",
    applies=_applies,
)
