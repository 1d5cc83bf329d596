"""ASE's integrators behind one interface: targets that may change at every step, and a state that can be kept.

Each adapter sets what its ASE class (3.29) keeps; some of that is private there, and tests compare a run with one that
was broken and restored. The centre of mass is at rest in all of them, so that there are 3n - 3 degrees of freedom:
Langevin and Bussi hold it with a constraint, and the chains of Nosé and Hoover, which ASE makes for 3n, are made for
n - 1 atoms. With ASE's own count two atoms would be twice as hot as asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.bussi import Bussi as AseBussi
from ase.md.langevin import Langevin as AseLangevin
from ase.md.nose_hoover_chain import (
    MTKNPT,
    IsotropicMTKBarostat,
    IsotropicMTKNPT,
    MTKBarostat,
    NoseHooverChainNVT,
    NoseHooverChainThermostat,
)
from ase.md.verlet import VelocityVerlet
from numpy.random import Generator

from aiida_mlip.schema.dynamics import NPT, NVE, Bussi, Ensemble, Langevin, NoseHoover
from aiida_mlip.science.dynamics.schedule import Target
from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.predictions import FloatArray

_CELL_FREEDOM = 6
"""Degrees of freedom of a cell that does not turn; ASE counts 9, and its cell would be too hot by 3/2."""


class Integrator:
    """One ASE integrator and its atoms.

    :param dynamics: an object of ASE; positions, momenta and cell are those of its atoms.
    """

    STATE: ClassVar[tuple[str, ...]] = ()
    """What the ASE object keeps besides the atoms, as paths of attributes."""

    def __init__(self, dynamics: Any) -> None:
        self.dynamics = dynamics

    def step(self) -> None:
        """Advance the atoms by one step; afterwards their calculator has evaluated where they are."""
        self.dynamics.step()

    def set_target(self, target: Target) -> None:
        """Set the conditions of the next step; constant energy has none."""

    def state(self) -> dict[str, FloatArray]:
        """Return what the integrator keeps besides positions, momenta and cell."""
        return {path: np.array(attrgetter(path)(self.dynamics), dtype=float) for path in self.STATE}

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Set what :meth:`state` returned; the atoms have been set before the integrator was made."""
        for path in self.STATE:
            owner, _, name = path.rpartition(".")
            target = attrgetter(owner)(self.dynamics) if owner else self.dynamics
            value = state[path]
            setattr(target, name, value.copy() if value.ndim else float(value))

    def conserved_energy(self) -> float | None:
        """Return what is conserved at constant conditions [eV]; None where nothing is."""
        return float(self.dynamics.atoms.get_total_energy())


class _Langevin(Integrator):
    def __init__(self, dynamics: Any) -> None:
        super().__init__(dynamics)
        self._temperature = 0.0

    def set_target(self, target: Target) -> None:
        if target.temperature != self._temperature:
            self._temperature = target.temperature
            self.dynamics.set_temperature(temperature_K=target.temperature)

    def conserved_energy(self) -> float | None:
        return None


class _Bussi(Integrator):
    STATE: ClassVar[tuple[str, ...]] = ("transferred_energy",)

    def set_target(self, target: Target) -> None:
        self.dynamics.temp = target.temperature * units.kB
        self.dynamics.target_kinetic_energy = 0.5 * self.dynamics.temp * self.dynamics.ndof

    def conserved_energy(self) -> float | None:
        return float(self.dynamics.atoms.get_total_energy() - self.dynamics.transferred_energy)


class _Chain(Integrator):
    """A chain of thermostats; its masses follow the temperature, so that its time constant stays as it was asked."""

    STATE: ClassVar[tuple[str, ...]] = ("_thermostat._kT", "_thermostat._Q", "_thermostat._eta", "_thermostat._p_eta")

    def set_target(self, target: Target) -> None:
        thermostat = self.dynamics._thermostat
        ratio = units.kB * target.temperature / thermostat._kT
        if ratio != 1.0:
            thermostat._kT = units.kB * target.temperature
            self._scale_masses(ratio)

    def _scale_masses(self, ratio: float) -> None:
        """Scale masses and momenta of the chain alike, so that its variables go on as fast as they were."""
        self.dynamics._thermostat._Q *= ratio
        self.dynamics._thermostat._p_eta *= ratio

    def conserved_energy(self) -> float | None:
        return float(self.dynamics.get_conserved_energy())


class _ConstantPressure(_Chain):
    """Chains on particles and cell; subclasses name the momentum of the cell."""

    STATE: ClassVar[tuple[str, ...]] = (
        *_Chain.STATE,
        "_pressure_au",
        "_barostat._kT",
        "_barostat._W",
        "_barostat._R",
        "_barostat._xi",
        "_barostat._p_xi",
    )
    MOMENTUM: ClassVar[str]

    def set_target(self, target: Target) -> None:
        super().set_target(target)
        assert target.pressure is not None
        self.dynamics._pressure_au = target.pressure / EV_PER_ANGSTROM3_IN_GPA
        self.dynamics._barostat._kT = units.kB * target.temperature

    def _scale_masses(self, ratio: float) -> None:
        super()._scale_masses(ratio)
        barostat = self.dynamics._barostat
        barostat._W *= ratio
        barostat._R *= ratio
        barostat._p_xi *= ratio
        setattr(self.dynamics, self.MOMENTUM, ratio * getattr(self.dynamics, self.MOMENTUM))


class _Isotropic(_ConstantPressure):
    STATE: ClassVar[tuple[str, ...]] = (*_ConstantPressure.STATE, "_eps", "_p_eps", "_cell0", "_volume0")
    MOMENTUM = "_p_eps"


class _FullCell(_ConstantPressure):
    STATE: ClassVar[tuple[str, ...]] = (*_ConstantPressure.STATE, "_p_g")
    MOMENTUM = "_p_g"


def _nve(_ensemble: NVE, atoms: Atoms, timestep: float, _target: Target, _rng: Generator) -> Integrator:
    return Integrator(VelocityVerlet(atoms, timestep))


def _langevin(ensemble: Langevin, atoms: Atoms, timestep: float, target: Target, rng: Generator) -> Integrator:
    atoms.set_constraint(FixCom())
    friction = ensemble.friction / units.fs
    return _Langevin(
        AseLangevin(atoms, timestep, temperature_K=target.temperature, friction=friction, fixcm=False, rng=rng)
    )


def _bussi(ensemble: Bussi, atoms: Atoms, timestep: float, target: Target, rng: Generator) -> Integrator:
    atoms.set_constraint(FixCom())
    return _Bussi(AseBussi(atoms, timestep, target.temperature, ensemble.time_constant * units.fs, rng=rng))


def _nose_hoover(ensemble: NoseHoover, atoms: Atoms, timestep: float, target: Target, _rng: Generator) -> Integrator:
    time, length = ensemble.time_constant * units.fs, ensemble.chain_length
    dynamics = NoseHooverChainNVT(atoms, timestep, target.temperature, time, tchain=length)
    dynamics._thermostat = _thermostat(dynamics, target, time, length)
    return _Chain(dynamics)


def _npt(ensemble: NPT, atoms: Atoms, timestep: float, target: Target, _rng: Generator) -> Integrator:
    assert target.pressure is not None
    times = ensemble.temperature_time * units.fs, ensemble.pressure_time * units.fs
    pressure = target.pressure / EV_PER_ANGSTROM3_IN_GPA
    made = IsotropicMTKNPT if ensemble.isotropic else MTKNPT
    dynamics = made(atoms, timestep, target.temperature, pressure, *times)
    dynamics._num_atoms_global = len(atoms) - 1
    dynamics._thermostat = _thermostat(dynamics, target, times[0], 3)
    barostat = IsotropicMTKBarostat if ensemble.isotropic else MTKBarostat
    dynamics._barostat = barostat(len(atoms) - 1, target.temperature, times[1])
    if ensemble.isotropic:
        return _Isotropic(dynamics)
    dynamics._barostat._R[0] *= _CELL_FREEDOM / dynamics._barostat._cell_dof
    dynamics._barostat._cell_dof = _CELL_FREEDOM
    return _FullCell(dynamics)


def _thermostat(dynamics: Any, target: Target, time: float, length: int) -> NoseHooverChainThermostat:
    """Return a chain for the degrees of freedom of n - 1 atoms."""
    return NoseHooverChainThermostat(
        num_atoms_global=len(dynamics.atoms) - 1,
        masses=dynamics.masses,
        temperature_K=target.temperature,
        tdamp=time,
        tchain=length,
    )


INTEGRATORS: Mapping[str, Callable[..., Integrator]] = {
    "nve": _nve,
    "nvt_langevin": _langevin,
    "nvt_bussi": _bussi,
    "nvt_nose_hoover": _nose_hoover,
    "npt": _npt,
}
"""Kind of the ensemble -> function that makes the integrator."""


def make_integrator(ensemble: Ensemble, atoms: Atoms, timestep: float, target: Target, rng: Generator) -> Integrator:
    """Return the integrator of an ensemble.

    :param atoms: with momenta of a centre of mass at rest, and a calculator; the integrator moves them.
    :param timestep: [fs].
    :param target: conditions of the first step.
    :param rng: source of the noise, where there is any.
    """
    return INTEGRATORS[ensemble.kind](ensemble, atoms, timestep * units.fs, target, rng)
