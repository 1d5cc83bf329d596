"""One walker: steps until its schedule ends or a rule is broken, with its trajectory, time series and checkpoints."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms, units
from numpy.random import Generator, default_rng

from aiida_mlip.schema.dynamics import MDSettings, Walker, WalkerProgress, WalkerResult
from aiida_mlip.schema.errors import ErrorKind
from aiida_mlip.science.dynamics.observables import density_of, draw_momenta, is_bulk, pressure_of, temperature_of
from aiida_mlip.science.dynamics.schedule import Schedule, Target
from aiida_mlip.science.dynamics.series import SERIES_FILE, header, row
from aiida_mlip.science.dynamics.stop_rules import Observation, Reference, broken_rule, reference_of
from aiida_mlip.science.trajectory import TRAJECTORY_FILE, Moment, write_frame
from aiida_mlip.worker.context import Stopped
from aiida_mlip.worker.dynamics.calculator import (
    CountedEstimator,
    DynamicsCalculator,
    EstimatorCalculator,
    NotFiniteError,
)
from aiida_mlip.worker.dynamics.checkpoint import Checkpoint, Header, arrays_of, estimate_of
from aiida_mlip.worker.dynamics.integrators import Integrator, make_integrator
from aiida_mlip.worker.dynamics.streams import Check, Stream
from aiida_mlip.worker.failures import failure_of
from aiida_mlip.worker.uncertainty import Estimate, Estimator
from aiida_mlip.worker.uncertainty.hal import HalCalculator

Broken = tuple[str, str]
"""Name of a stop rule, and the value and limit in words."""

UNCERTAIN = ("uncertainty", "relative_uncertainty")
"""Rules that are asked only at steps with an uncertainty."""

Report = Callable[[WalkerProgress, float], None]
"""Called with every checkpoint: how far the walker is, and its temperature [K]."""


@dataclass(frozen=True)
class Plan:
    """What one walker is to do.

    :param name: of the walker.
    :param settings: of all walkers.
    :param start: the first configuration.
    :param key: digest of all that its numbers depend on.
    :param folder: where its files are.
    """

    name: str
    settings: MDSettings
    start: Atoms
    key: str
    folder: Path

    @property
    def walker(self) -> Walker:
        """The walker itself."""
        return self.settings.walkers[self.name]

    @cached_property
    def schedule(self) -> Schedule:
        """Its conditions."""
        return Schedule(self.walker.stages)


class WalkerRun:
    """A walker on its way, new or from a checkpoint.

    :param plan: what it is to do.
    :param estimator: one potential or a committee; it is shared by the walkers of a job.
    :param report: called with every checkpoint.
    :param checkpoint: where an earlier job left it.
    :raises ValueError: where the files are shorter than they were at the checkpoint.
    """

    def __init__(self, plan: Plan, estimator: Estimator, report: Report, checkpoint: Checkpoint | None = None) -> None:
        self._plan, self._report = plan, report
        self._settings, self._schedule = plan.settings, plan.schedule
        known = checkpoint.header if checkpoint else None
        self._step = known.step if known else 0
        self._frames = known.frames if known else 0
        self._seconds = known.seconds if known else 0.0
        self._largest = known.max_forces_sigma if known else None
        self._certain = known.uncertainty_checked if known else 0
        self._clock = time.monotonic()
        self._bulk = is_bulk(plan.start)
        self._reference: Reference = reference_of(plan.start, self._settings.stop.ions)
        self._rng: Generator = default_rng(plan.walker.seed)
        self._estimator = CountedEstimator(estimator, known.force_calls if known else 0)
        self._estimator.forget()
        self._calculator = self._make_calculator(known)
        self._atoms = self._make_atoms(checkpoint)
        self._integrator = self._make_integrator(checkpoint)
        self._trajectory = Stream(plan.folder / TRAJECTORY_FILE, known.trajectory_bytes if known else 0)
        self._series = Stream(plan.folder / SERIES_FILE, known.series_bytes if known else 0)
        self._is_new = known is None

    def run(self, pause: Check) -> WalkerResult:
        """Step to the end of the schedule, or until a rule is broken.

        :param pause: called between two steps; a checkpoint is written where it raises ``Stopped``.
        """
        with self._trajectory, self._series:
            broken = self._begin() if self._is_new else None
            while broken is None and self._step < self._schedule.steps:
                self._pause(pause)
                broken = self._advance()
                if broken is None and self._step % self._settings.checkpoint_stride == 0:
                    self._save()
            self._tell(done=True)
        return self._result(broken)

    def _make_calculator(self, known: Header | None) -> DynamicsCalculator:
        constant_pressure = self._settings.ensemble.kind == "npt"
        if self._settings.hal is None:
            return EstimatorCalculator(self._estimator, stress=constant_pressure)
        state = known.hal if known else None
        return HalCalculator(self._estimator, self._settings.hal, state, stress=constant_pressure)

    def _make_atoms(self, checkpoint: Checkpoint | None) -> Atoms:
        start = self._plan.start
        atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=start.pbc)
        if checkpoint is None:
            atoms.set_momenta(draw_momenta(atoms, self._schedule.at(0).temperature, self._rng))
        else:
            atoms.positions[:] = checkpoint.atoms["positions"]
            atoms.set_cell(checkpoint.atoms["cell"])
            atoms.set_momenta(checkpoint.atoms["momenta"])
        atoms.calc = self._calculator
        return atoms

    def _make_integrator(self, checkpoint: Checkpoint | None) -> Integrator:
        target = self._schedule.at(self._step)
        made = make_integrator(self._settings.ensemble, self._atoms, self._settings.timestep, target, self._rng)
        if checkpoint is not None:
            made.restore(checkpoint.integrator)
            self._rng.bit_generator.state = checkpoint.header.rng
            self._calculator.last = estimate_of(checkpoint.estimate)
            self._calculator.results = {
                name: values.copy() if values.ndim else float(values) for name, values in checkpoint.results.items()
            }
            self._calculator.atoms = self._atoms.copy()
        return made

    def _begin(self) -> Broken | None:
        """Evaluate and record the first configuration."""
        self._series.write(header())
        self._ask_for(0)
        try:
            self._calculator.get_property("forces", self._atoms)
        except Exception as error:
            return _failure(error)
        return self._observe(self._schedule.at(0))

    def _advance(self) -> Broken | None:
        """Make one step, record it and return the rule that it broke."""
        target = self._schedule.at(self._step + 1)
        self._integrator.set_target(target)
        self._ask_for(self._step + 1)
        try:
            self._integrator.step()
        except Exception as error:
            return _failure(error)
        self._step += 1
        return self._observe(target)

    def _ask_for(self, step: int) -> None:
        """Let the evaluation of a step give what is recorded of it."""
        settings = self._settings
        self._calculator.forces_sigma = self._estimator.has_uncertainty and (
            step % settings.uncertainty_stride == 0 or step % settings.stride == 0
        )
        logged = self._bulk and step % settings.log_stride == 0
        self._calculator.stress = logged or settings.ensemble.kind == "npt"

    def _observe(self, target: Target) -> Broken | None:
        found = self._said()
        temperature = temperature_of(self._atoms, float(self._atoms.get_kinetic_energy()))
        hottest = self._schedule.hottest(self._step)
        seen = Observation(self._atoms, found.energy, found.forces, temperature, hottest, found.forces_sigma)
        broken = broken_rule(seen, self._reference, self._settings.stop)
        if broken is None and found.forces_sigma is not None:
            self._certain = self._step
        if broken is None or broken[0] != "not_finite":
            self._record(target, temperature, stopped=broken is not None)
        return broken

    def _record(self, target: Target, temperature: float, *, stopped: bool) -> None:
        """Write the frame and the row of this step, where it is one that is written."""
        settings = self._settings
        if stopped and self._said().forces_sigma is None and self._estimator.has_uncertainty:
            self._calculator.last = self._estimator.estimate(self._atoms, forces_sigma=True)
        if (sigma := self._said().forces_sigma) is not None:
            self._largest = max(self._largest or 0.0, float(sigma.max()))
        if stopped or self._step % settings.log_stride == 0:
            self._series.write(row(self._row(target, temperature)))
        if stopped or self._step % settings.stride == 0:
            text = io.StringIO()
            write_frame(text, self._atoms, self._moment(target, temperature, stopped=stopped))
            self._trajectory.write(text.getvalue())
            self._frames += 1

    def _row(self, target: Target, temperature: float) -> dict[str, float | None]:
        found, kinetic = self._said(), float(self._atoms.get_kinetic_energy())
        volume = float(self._atoms.get_volume()) if self._bulk else None
        known = found.stress is not None and volume is not None
        return {
            "step": self._step,
            "time_fs": self._step * self._settings.timestep,
            "stage": target.stage,
            "temperature": temperature,
            "target_temperature": target.temperature,
            "energy": found.energy,
            "kinetic_energy": kinetic,
            "conserved_energy": self._integrator.conserved_energy(),
            "pressure": pressure_of(found.stress, kinetic, volume) if known else None,  # type: ignore[arg-type]
            "target_pressure": target.pressure,
            "volume": volume,
            "density": density_of(self._atoms) if self._bulk else None,
            "energy_sigma": found.energy_sigma,
            "max_forces_sigma": None if found.forces_sigma is None else float(found.forces_sigma.max()),
            "tau": self._calculator.tau if isinstance(self._calculator, HalCalculator) else None,
        }

    def _moment(self, target: Target, temperature: float, *, stopped: bool) -> Moment:
        found = self._said()
        return Moment(
            step=self._step,
            time_fs=self._step * self._settings.timestep,
            stage=target.stage,
            temperature=target.temperature,
            instantaneous_temperature=temperature,
            energy=found.energy,
            forces=found.forces,
            pressure=target.pressure,
            energy_sigma=found.energy_sigma,
            forces_sigma=found.forces_sigma,
            velocities=self._atoms.get_velocities() * units.fs if self._settings.velocities else None,
            stopped=stopped,
        )

    def _said(self) -> Estimate:
        assert self._calculator.last is not None
        return self._calculator.last

    def _pause(self, pause: Check) -> None:
        try:
            pause()
        except Stopped:
            self._save()
            raise

    def _save(self) -> None:
        """Write a checkpoint. The estimator forgets what it kept, as it will have where a job goes on from here."""
        self._estimator.forget()
        sizes = self._trajectory.sync(), self._series.sync()
        calculator = self._calculator
        known = Header(
            key=self._plan.key,
            step=self._step,
            rng=dict(self._rng.bit_generator.state),
            trajectory_bytes=sizes[0],
            series_bytes=sizes[1],
            frames=self._frames,
            force_calls=self._estimator.calls,
            seconds=self._elapsed(),
            max_forces_sigma=self._largest,
            uncertainty_checked=self._certain,
            hal=calculator.state if isinstance(calculator, HalCalculator) else None,
        )
        atoms = self._atoms
        Checkpoint(
            known,
            {"positions": atoms.positions, "momenta": atoms.get_momenta(), "cell": atoms.cell.array},
            self._integrator.state(),
            arrays_of(self._said()),
            {name: np.asarray(values, dtype=float) for name, values in calculator.results.items()},
        ).write(self._plan.folder)
        self._tell()

    def _tell(self, *, done: bool = False) -> None:
        temperature = temperature_of(self._atoms, float(self._atoms.get_kinetic_energy()))
        self._report(WalkerProgress(steps=self._step, asked_steps=self._schedule.steps, done=done), temperature)

    def _elapsed(self) -> float:
        now = time.monotonic()
        self._seconds += now - self._clock
        self._clock = now
        return self._seconds

    def _result(self, broken: Broken | None) -> WalkerResult:
        name, message = broken or (None, "")
        target = self._schedule.at(self._step)
        return WalkerResult(
            structure=self._plan.walker.structure,
            formula=self._atoms.get_chemical_formula(),
            steps=self._step,
            asked_steps=self._schedule.steps,
            stable_steps=self._stable_steps(name),
            stopped_by=name,
            message=message,
            temperature=target.temperature,
            pressure=target.pressure,
            frames=self._frames,
            max_forces_sigma=self._largest,
            force_calls=self._estimator.calls,
            seconds=self._elapsed(),
        )

    def _stable_steps(self, rule: str | None) -> int:
        if rule is None or rule == "calculator_error":  # the step that failed was not counted
            return self._step
        return self._certain if rule in UNCERTAIN else max(self._step - 1, 0)


def _failure(error: Exception) -> Broken:
    """Return the rule that an exception of a step breaks; what is not the walker's own failure is raised again."""
    if isinstance(error, NotFiniteError):
        return "not_finite", "NaN or infinite: positions or cell"
    failure = failure_of(error)
    if failure.kind != ErrorKind.EXCEPTION:
        raise error
    return "calculator_error", failure.message
