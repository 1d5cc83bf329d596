"""Trajectories of a liquid made by hand, and what the checks and the tests of forces really say of them.

Molecules are rigid but for a rattle, and stay near where they were packed; the density of the cell and a reaction are
prescribed. Everything behind that is computed: findings, curves, scores and verdicts come from the functions that the
worker and the work chain use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from ase import Atoms, units

from aiida_mlip.schema.electrolyte import ElectrolyteSettings
from aiida_mlip.schema.liquid import WalkerFacts, WalkerFindings
from aiida_mlip.science import keys
from aiida_mlip.science.liquids.checks import Run
from aiida_mlip.science.liquids.conditions import place_of
from aiida_mlip.science.liquids.force_probes import Wanted, plan_probes
from aiida_mlip.science.liquids.force_results import ForceTestResult
from aiida_mlip.science.liquids.force_scores import ForceLimits, Reference, score
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.packing import pack
from aiida_mlip.science.liquids.reading import chosen_checks, read, select_frames
from aiida_mlip.science.liquids.transfer import reference_density, transfer_checks
from aiida_mlip.science.liquids.verdict import Evidence, PotentialVerdict, Question, judge
from aiida_mlip.science.origin import Origin, set_origin

COMPOSITION = {"EC": 2, "EMC": 3, "Li+": 1, "PF6-": 1}
SPACING = 50.0
"""Time between frames [fs]."""

SETTINGS: dict[str, Any] = {
    "boxes": {"salt": {"composition": COMPOSITION, "density": 1.1}},
    "dynamics": {"temperatures": [300.0, 500.0], "nvt_steps": 0, "npt_steps": 3000, "nve_steps": 1500},
    "reference_densities": {"salt": 1.12},
}


@cache
def box() -> Atoms:
    """Return EC, EMC and LiPF6."""
    atoms = pack(COMPOSITION, 1.1, seed=2)
    atoms.info[keys.CONFIG_TYPE] = "salt"
    return atoms


@dataclass
class Script:
    """What happens in a trajectory.

    :param drift: relative change of the density from start to end.
    :param torn: frame at which a methyl group leaves an EMC; None: never.
    """

    temperature: float = 300.0
    ensemble: str = "npt"
    frames: int = 60
    drift: float = 0.0
    torn: int | None = None
    stopped_by: str | None = None
    seed: int = 1


@dataclass
class Seen:
    """What was found in a trajectory."""

    findings: WalkerFindings
    curves: dict[str, np.ndarray]
    kept: list[Atoms] = field(default_factory=list)


def frames(script: Script) -> Iterator[Atoms]:
    """Yield the frames of a trajectory."""
    start, rng = box(), np.random.default_rng(script.seed)
    molecules = find_molecules(start) or []
    middle = [molecule.centre(start) for molecule in molecules]
    bodies = [molecule.positions(start) for molecule in molecules]
    leaving = methyl(start)
    wobble, breath = np.zeros((len(molecules), 3)), 0.0
    for number in range(script.frames):
        done = number / max(script.frames - 1, 1)
        breath = 0.9 * breath + 0.008 * rng.normal()
        density = 1 + (script.drift * done + breath) * (script.ensemble == "npt")
        scale = density ** (-1 / 3)
        wobble = 0.95 * wobble + 0.05 * rng.normal(size=wobble.shape)
        atoms = start.copy()
        for molecule, centre, body, shift in zip(molecules, middle, bodies, wobble, strict=True):
            atoms.positions[molecule.indices] = body - centre + scale * centre + shift
        atoms.cell = start.cell * scale
        atoms.positions += 0.03 * rng.normal(size=atoms.positions.shape)
        if script.torn is not None and number >= script.torn:
            bond = atoms.positions[leaving[0]] - atoms.positions[leaving[-1]]
            atoms.positions[list(leaving[:-1])] += 1.1 * bond / np.linalg.norm(bond)
        yield _in_motion(atoms, script, number, rng)


def methyl(atoms: Atoms) -> tuple[int, ...]:
    """Return the carbon of a methyl group on an oxygen, its hydrogens, and that oxygen last."""
    distances = atoms.get_all_distances(mic=True)
    near = [set(np.flatnonzero((row > 0.1) & (row < 1.65)).tolist()) for row in distances]
    for carbon in np.flatnonzero(atoms.numbers == 6).tolist():
        hydrogens = sorted(other for other in near[carbon] if atoms.numbers[other] == 1)
        oxygens = [other for other in near[carbon] if atoms.numbers[other] == 8]
        if len(hydrogens) == 3 and oxygens:
            return (carbon, *hydrogens, oxygens[0])
    raise AssertionError("there is no methyl group")


def _in_motion(atoms: Atoms, script: Script, number: int, rng: np.random.Generator) -> Atoms:
    masses = atoms.get_masses()[:, None]
    kelvin = script.temperature * float(units.kB)
    velocities = rng.normal(size=atoms.positions.shape) * np.sqrt(kelvin / masses)
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    atoms.arrays["velocities"] = velocities * units.fs
    kinetic = 0.5 * float((masses * velocities**2).sum())
    found = 2 * kinetic / ((3 * len(atoms) - 3) * float(units.kB))
    atoms.info = {"step": int(number * SPACING), "time_fs": number * SPACING, "instantaneous_temperature": found}
    atoms.info["energy"] = -450.0 - kinetic + 1e-3 * float(rng.normal())
    return atoms


def look(walker: str, script: Script) -> Seen:
    """Return what the checks find in a trajectory."""
    pressure = 1e-4 if script.ensemble == "npt" else None
    run = Run(box(), script.ensemble, 1.0, script.temperature, pressure, stopped_by=script.stopped_by)
    whole = list(frames(script))
    reading = read(run, whole, chosen_checks(run))
    facts = WalkerFacts(ensemble=script.ensemble, temperature=script.temperature, pressure=pressure,
                        stopped_by=script.stopped_by)  # fmt: skip
    findings = WalkerFindings(
        facts=facts,
        formula=box().get_chemical_formula(),
        frames=reading.frames,
        time_ps=reading.time_fs / 1000,
        molecules={"C3H4O3": 2, "C4H8O3": 3},
        checks=tuple(reading.finding.results),
        events=tuple(reading.finding.events),
        species=tuple(reading.finding.species),
        seconds=reading.seconds,
    )
    events = [event.step for event in findings.events]
    kept = [_kept(whole[index], walker, event) for index, event in select_frames(reading.steps, 5, events, 3)]
    return Seen(findings, dict(reading.finding.curves), kept)


def _kept(atoms: Atoms, walker: str, event: bool) -> Atoms:
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    copy.info[keys.CONFIG_TYPE] = f"{'event' if event else 'frame'}_{walker}"
    step = int(atoms.info["step"])
    return set_origin(copy, Origin(kind="md", walker=walker, step=step, reason=f"{step:g} fs"))


@cache
def probes() -> tuple[list[Atoms], Any]:
    """Return probes of the tests of forces, and their plan."""
    densities = (0.1, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
    wanted = Wanted(4, densities, 1, 2, (-0.9, -0.4, 0.0, 0.5, 1.0, 2.0, 5.0))
    solvent = pack({"EC": 2, "EMC": 3}, 1.1, seed=3)
    others = []
    for seed in range(4):
        atoms = solvent.copy()
        atoms.rattle(0.04, seed=seed)
        others.append(atoms)
    return plan_probes(others, {"solvent": solvent}, wanted)


def labels(calculator: Any) -> dict[int, Atoms]:
    """Return the labels of the probes by a calculator."""
    found = {}
    for index, atoms in enumerate(probes()[0]):
        copy = atoms.copy()
        copy.calc = calculator
        labelled = atoms.copy()
        labelled.info[keys.ENERGY] = copy.get_potential_energy()
        labelled.arrays[keys.FORCES] = copy.get_forces()
        if atoms.pbc.all():
            labelled.info[keys.STRESS] = copy.get_stress()
        found[index] = labelled
    return found


def force_tests(pairs: ModuleType, *, epsilon: float, reference: bool = True) -> tuple[ForceTestResult, dict[str, Any]]:
    """Return what the tests of forces say of a pair potential against another one."""
    truth = Reference(labels(pairs.PairLiquid(epsilon=0.02)), "another pair potential") if reference else None
    return score(probes()[1], labels(pairs.PairLiquid(epsilon=epsilon)), truth, ForceLimits())


def verdict(
    name: str, seen: dict[tuple[str, str], Seen], tests: ForceTestResult | None, dispersion: str
) -> PotentialVerdict:
    """Return the verdict on a potential.

    :param seen: (stage, walker) -> what was found.
    """
    settings = ElectrolyteSettings(**SETTINGS)
    asked = settings.dynamics
    question = Question(
        temperatures=asked.temperatures, pressures=asked.pressures, reference_densities=settings.reference_densities
    )
    runs = [
        Evidence(
            walker=walker, box=place_of(walker).box, stage=stage, temperature=one.findings.facts.temperature,
            pressure=one.findings.facts.pressure, composition=COMPOSITION, time_ps=one.findings.time_ps,
            checks=one.findings.checks,
        )
        for (stage, walker), one in seen.items()
    ]  # fmt: skip
    return judge(
        name, question, runs, force_tests=tests.checks if tests is not None else (),
        transfer=transfer_checks(question, runs), accuracy=reference_density(question, runs), dispersion=dispersion,
    )  # fmt: skip
