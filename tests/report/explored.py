"""A small iterative training that is really computed: committees of tungsten that come nearer to their teacher.

Members are potentials of Finnis and Sinclair with disturbed parameters, the disturbance smaller in each generation;
the teacher is the undisturbed one. Since the energy is linear in the parameters that are disturbed, the mean of the
members is a potential of the same form, and dynamics on it is dynamics on the committee.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from scipy.stats import spearmanr

from aiida_mlip.schema.dynamics import WalkerResult
from aiida_mlip.schema.selection import SelectionCounts
from aiida_mlip.schema.uncertainty import Calibration, UncertaintyResult
from aiida_mlip.science import keys
from aiida_mlip.science.dynamics.series import COLUMNS
from aiida_mlip.science.errors import error_table
from aiida_mlip.science.parity import parity_arrays
from aiida_mlip.science.predictions import Predictions
from aiida_mlip.science.trajectory import Moment, write_frame
from aiida_mlip.science.uncertainty.committee import forces_spread
from aiida_mlip.worker.backends import finnis_sinclair as fs

DISTURBANCE = (0.06, 0.02, 0.006)
"""Relative size of the disturbance of the parameters in each generation."""

MEMBERS = 3
CONDITIONS = {"t600": 600.0, "t1800": 1800.0, "t3200": 3200.0}
STEPS, STRIDE, TIMESTEP = 200, 10, 2.0
LEVELS = {"lower": 0.2, "upper": 0.55}
"""Trust levels [eV/Å]."""

TEACHER = fs.PARAMETERS["W"]


@cache
def parameters(generation: int, member: int | None = None) -> fs.Parameters:
    """Return the parameters of a member; None: of the mean of all."""
    if member is None:
        found = [parameters(generation, index) for index in range(MEMBERS)]
        return dataclasses.replace(
            TEACHER,
            depth=float(np.mean([item.depth for item in found])),
            coefficients=tuple(np.mean([item.coefficients for item in found], axis=0)),
        )
    rng = np.random.default_rng([generation, member])
    noise = 1.0 + DISTURBANCE[generation - 1] * rng.normal(size=4)
    return dataclasses.replace(
        TEACHER,
        depth=TEACHER.depth * noise[0],
        coefficients=tuple(np.array(TEACHER.coefficients) * (1 + 0.25 * (noise[1:] - 1))),
    )


class Disturbed(fs.FinnisSinclair):
    """Tungsten with other parameters."""

    def __init__(self, known: fs.Parameters) -> None:
        super().__init__()
        self.known = known

    def calculate(self, *arguments: Any, **options: Any) -> None:
        """Compute as the undisturbed one does."""
        before = fs.PARAMETERS["W"]
        fs.PARAMETERS["W"] = self.known
        try:
            super().calculate(*arguments, **options)
        finally:
            fs.PARAMETERS["W"] = before


def potential(generation: int, member: int | None) -> Disturbed:
    return Disturbed(parameters(generation, member))


def evaluated(atoms: Atoms, calculator: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Return energy, forces and stress of a copy."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.calc = calculator
    return copy.get_potential_energy(), copy.get_forces(), copy.get_stress()


def predictions(frames: Sequence[Atoms], calculator: Any) -> Predictions:
    found = [evaluated(atoms, calculator) for atoms in frames]
    return Predictions(np.array([e for e, _, _ in found]), [f for _, f, _ in found], np.array([s for _, _, s in found]))


def labelled(atoms: Atoms, **info: Any) -> Atoms:
    """Return a copy with the teacher's labels; what it carries is kept."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    energy, forces, stress = evaluated(atoms, fs.FinnisSinclair())
    kept = {key: atoms.info[key] for key in (keys.CONFIG_TYPE, keys.GROUP, keys.ORIGIN) if key in atoms.info}
    copy.info = {**kept, keys.ENERGY: energy, keys.STRESS: stress, **info}
    copy.arrays[keys.FORCES] = forces
    return copy


def cell(vacancy: bool = True) -> Atoms:
    atoms = bulk("W", "bcc", a=3.165, cubic=True) * (2, 2, 2)
    if vacancy:
        del atoms[0]
    return atoms


def first_set(number: int, seed: int) -> list[Atoms]:
    """Return rattled and strained cells with labels."""
    rng, frames = np.random.default_rng(seed), []
    for index in range(number):
        atoms = cell(vacancy=index % 3 != 0)
        kind = "vacancy" if index % 3 else "bulk_strain"
        strain = np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3)) * (kind == "bulk_strain")
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.rattle((0.04, 0.09)[index % 2], rng=rng)
        atoms.info[keys.CONFIG_TYPE] = kind
        frames.append(labelled(atoms))
    return frames


@dataclasses.dataclass(frozen=True)
class Doubt:
    """What the uncertainty of a generation is on the calibration set."""

    result: UncertaintyResult
    arrays: dict[str, np.ndarray]

    @property
    def scale(self) -> float:
        return self.result.forces.scale


@cache
def doubt(generation: int) -> Doubt:
    """Return the calibrated uncertainty of a committee on 20 labelled cells."""
    frames = first_set(20, seed=77)
    members = [predictions(frames, potential(generation, index)) for index in range(MEMBERS)]
    mean = predictions(frames, potential(generation, None))
    sigma, error, energy = [], [], []
    for index, atoms in enumerate(frames):
        sigma.append(forces_spread(np.array([item.forces[index] for item in members])))
        error.append(np.linalg.norm(mean.forces[index] - atoms.arrays[keys.FORCES], axis=1))
        spread = float(np.std([item.energies[index] for item in members])) / len(atoms)
        energy.append((spread, abs(mean.energies[index] - atoms.info[keys.ENERGY]) / len(atoms)))
    largest = np.array([[part.max() for part in sigma], [part.max() for part in error]])
    pairs = {"forces": (np.concatenate(sigma), np.concatenate(error)), "max_forces": tuple(largest),
             "energy": tuple(np.array(energy).T)}  # fmt: skip
    found = {name: _calibration(*pair, 1 if name == "energy" else 3) for name, pair in pairs.items()}
    arrays = {}
    for name, (spread, wrong) in pairs.items():
        arrays |= {f"{name}_sigma": spread * found[name].scale, f"{name}_error": wrong}
    result = UncertaintyResult(
        kind="deep", members=MEMBERS, forces=found["forces"], energy=found["energy"], max_force=found["max_forces"],
        median_max_forces_sigma=float(np.median(largest[0])) * found["forces"].scale,
        warnings=("only 20 calibration frames",) if generation == 1 else (),
    )  # fmt: skip
    return Doubt(result, arrays)


def _calibration(sigma: np.ndarray, error: np.ndarray, dimensions: int) -> Calibration:
    scale = float(np.sqrt(np.mean((error / sigma) ** 2)))
    return Calibration(
        scale=scale, coverage_before=float(np.mean(error <= sigma)),
        coverage_after=float(np.mean(error <= scale * sigma)), expected_coverage=0.68 if dimensions == 1 else 0.61,
        rank_correlation=float(spearmanr(sigma, error).statistic), count=len(sigma),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Walk:
    """One walker: its trajectory as text, its time series, its result, and its frames."""

    text: str
    series: dict[str, np.ndarray]
    result: WalkerResult
    frames: tuple[Atoms, ...]


@cache
def walk(generation: int, condition: str, seed: int) -> Walk:
    """Return Langevin dynamics on the mean of a committee, stopped where its uncertainty is above the upper level."""
    known, target, atoms = doubt(generation), CONDITIONS[condition], cell()
    rng = np.random.default_rng([generation, seed, int(target)])
    MaxwellBoltzmannDistribution(atoms, temperature_K=target, rng=rng)
    atoms.calc = potential(generation, None)
    run = Langevin(atoms, TIMESTEP * units.fs, temperature_K=target, friction=0.02 / units.fs, rng=rng, fixcm=False)
    handle, rows, frames, stopped = io.StringIO(), [], [], None
    for step in range(0, STEPS + 1, STRIDE):
        if step:
            run.run(STRIDE)
        members = [evaluated(atoms, potential(generation, index)) for index in range(MEMBERS)]
        sigma = known.scale * forces_spread(np.array([forces for _, forces, _ in members]))
        spread = known.result.energy.scale * float(np.std([energy for energy, _, _ in members]))
        stopped = "uncertainty" if sigma.max() > LEVELS["upper"] else None
        moment = Moment(
            step=step, time_fs=step * TIMESTEP, stage=0, temperature=target,
            instantaneous_temperature=atoms.get_temperature(), energy=atoms.get_potential_energy(),
            forces=atoms.get_forces(), energy_sigma=spread, forces_sigma=sigma, stopped=stopped is not None,
        )  # fmt: skip
        write_frame(handle, atoms, moment)
        density = atoms.get_masses().sum() / atoms.get_volume() * 1.66053907
        rows.append({"step": step, "time_fs": moment.time_fs, "stage": 0, "target_temperature": target,
                     "temperature": moment.instantaneous_temperature, "energy": moment.energy,
                     "kinetic_energy": atoms.get_kinetic_energy(), "volume": atoms.get_volume(), "density": density,
                     "energy_sigma": spread, "max_forces_sigma": sigma.max()})  # fmt: skip
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        frame.info = {"step": step, "sigma": float(sigma.max()), "energy_sigma": spread / len(atoms)}
        frames.append(frame)
        if stopped:
            break
    result = WalkerResult(
        structure=0, formula=atoms.get_chemical_formula(), steps=step, asked_steps=STEPS,
        stable_steps=max(step - STRIDE, 0) if stopped else step, stopped_by=stopped, temperature=target,
        message=f"largest force uncertainty {sigma.max():.3f} eV/Å is above {LEVELS['upper']:.3f} eV/Å"
        if stopped else "",
        frames=len(frames), max_forces_sigma=max(frame.info["sigma"] for frame in frames),
        force_calls=MEMBERS * (step + len(frames)), seconds=0.4 * step / STEPS,
    )  # fmt: skip
    series = {name: np.array([row.get(name, np.nan) for row in rows], dtype=float) for name in COLUMNS}
    return Walk(handle.getvalue(), series, result, tuple(frames))


def counts(frames: Sequence[Atoms], selected: int) -> SelectionCounts:
    """Return what frames of a trajectory are, without geometry filters."""
    sigma, levels = np.array([atoms.info["sigma"] for atoms in frames]), LEVELS
    return SelectionCounts(
        frames=len(frames), filtered=0, accurate=int((sigma <= levels["lower"]).sum()),
        candidate=int(((sigma > levels["lower"]) & (sigma <= levels["upper"])).sum()),
        failed=int((sigma > levels["upper"]).sum()), known=0, selected=selected,
    )  # fmt: skip


def measured(generation: int, frames: Sequence[Atoms]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return member, and committee -> error table and parity arrays."""
    names = {f"member_{index:02d}": index for index in range(MEMBERS)} | {"committee": None}
    found = {name: predictions(frames, potential(generation, index)) for name, index in names.items()}
    return {name: (error_table(frames, item), parity_arrays(frames, item)) for name, item in found.items()}
