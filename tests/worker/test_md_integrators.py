"""The integrators sample what they should: energy, temperature, equipartition, pressure and ramps.

The cells are small, sheared and of unequal masses, so that wrong degrees of freedom show: three atoms would be hotter
by 3/2 if the centre of mass counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from aiida_mlip.schema.dynamics import NPT, NVE, Bussi, Langevin, NoseHoover
from aiida_mlip.science.dynamics.observables import draw_momenta, pressure_of, temperature_of
from aiida_mlip.science.dynamics.schedule import Target
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair
from aiida_mlip.worker.dynamics.integrators import Integrator, make_integrator

THERMOSTATS = [
    Langevin(friction=0.02),
    Bussi(time_constant=50.0),
    NoseHoover(time_constant=30.0),
    NPT(temperature_time=30.0, pressure_time=200.0),
    NPT(temperature_time=30.0, pressure_time=200.0, isotropic=False),
]


def name(ensemble: Any) -> str:
    return f"{ensemble.kind}{'' if getattr(ensemble, 'isotropic', True) else '_full'}"


def tungsten(repeat: tuple[int, int, int] = (1, 1, 3), masses: bool = True) -> Atoms:
    """A sheared, rattled bcc cell; its atoms have masses of 183, 40 and 90 in turn."""
    atoms = bulk("W", "bcc", a=3.16) * repeat
    shear = np.array([[0.01, 0.02, 0.0], [0.0, -0.015, 0.01], [0.0, 0.0, 0.02]])
    atoms.set_cell(atoms.cell @ (np.eye(3) + shear), scale_atoms=True)
    atoms.rattle(0.05, seed=3)
    if masses:
        atoms.set_masses(np.resize([183.0, 40.0, 90.0], len(atoms)))
    atoms.calc = FinnisSinclair()
    return atoms


def begin(ensemble: Any, atoms: Atoms, target: Target, timestep: float = 2.0, seed: int = 5) -> Integrator:
    rng = np.random.default_rng(seed)
    atoms.set_momenta(draw_momenta(atoms, target.temperature, rng))
    return make_integrator(ensemble, atoms, timestep, target, rng)


def sample(integrator: Integrator, atoms: Atoms, steps: int, measure: Callable[[], Any], first: int = 500) -> Any:
    """Values of each step after the first ones."""
    for _ in range(first):
        integrator.step()
    values = []
    for _ in range(steps):
        integrator.step()
        values.append(measure())
    return np.array(values)


def mean_and_error(values: Any, blocks: int = 20) -> tuple[float, float]:
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(blocks))


def test_the_first_momenta_have_the_temperature_and_no_drift() -> None:
    atoms = tungsten((2, 2, 2))
    atoms.set_momenta(draw_momenta(atoms, 731.0, np.random.default_rng(1)))
    assert temperature_of(atoms, atoms.get_kinetic_energy()) == pytest.approx(731.0, rel=1e-12)
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
    many = np.array([draw_momenta(atoms, 300.0, np.random.default_rng(seed)) for seed in range(2000)])
    masses = atoms.get_masses()
    expected = masses * units.kB * 300.0 * (1 - masses / masses.sum())
    assert (many**2).mean(axis=(0, 2)) == pytest.approx(expected, rel=0.08)


def test_energy_drifts_with_the_square_of_the_time_step() -> None:
    """Velocity Verlet: the energy follows a shadow Hamiltonian that is off by O(dt^2)."""
    spreads = []
    for timestep, steps in ((1.0, 800), (2.0, 400), (4.0, 200)):
        atoms = tungsten()
        integrator = begin(NVE(), atoms, Target(0, 600.0, None), timestep)
        energies = sample(integrator, atoms, steps, integrator.conserved_energy, first=0)
        spreads.append(energies.std())
    assert spreads[1] / spreads[0] == pytest.approx(4.0, rel=0.2)
    assert spreads[2] / spreads[1] == pytest.approx(4.0, rel=0.2)


@pytest.mark.parametrize("ensemble", [*THERMOSTATS], ids=name)
def test_temperature_equipartition_and_momentum(ensemble: Any) -> None:
    """The mean kinetic energy is that of 3n - 3 degrees of freedom; that of each atom is (3/2) kT (1 - m/M).

    Each atom's is asked of Langevin only: in the others energy passes from one mode to another by collisions, for which
    a few thousand steps of a crystal are not enough.
    """
    atoms = tungsten()
    kelvin = 900.0
    integrator = begin(ensemble, atoms, Target(0, kelvin, 3.0 if ensemble.kind == "npt" else None))
    masses = atoms.get_masses()

    def per_atom() -> Any:
        return (atoms.get_momenta() ** 2).sum(axis=1) / (2 * masses)

    kinetic = sample(integrator, atoms, 2000, per_atom, first=300)
    found, error = mean_and_error(np.array([temperature_of(atoms, value) for value in kinetic.sum(axis=1)]))
    assert error < 0.12 * kelvin
    assert abs(found - kelvin) < 4 * error + 0.01 * kelvin
    expected = 1.5 * units.kB * kelvin * (1 - masses / masses.sum())
    for index in range(len(atoms) if ensemble.kind == "nvt_langevin" else 0):
        mean, error = mean_and_error(kinetic[:, index])
        assert abs(mean - expected[index]) < 4 * error + 0.02 * expected[index]
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10


@pytest.mark.parametrize("ensemble", THERMOSTATS[3:], ids=name)
def test_pressure_and_the_temperature_of_the_cell(ensemble: Any) -> None:
    """<P> is what was asked for, and the cell has kT/2 for each of its degrees of freedom: one, or six."""
    atoms = tungsten((2, 2, 2))
    kelvin, pressure = 600.0, 8.0
    integrator = begin(ensemble, atoms, Target(0, kelvin, pressure), timestep=3.0)
    dynamics = integrator.dynamics

    def measure() -> tuple[float, float]:
        found = pressure_of(atoms.get_stress(), atoms.get_kinetic_energy(), atoms.get_volume())
        if ensemble.isotropic:
            return found, dynamics._p_eps**2 / (2 * dynamics._barostat.W)
        return found, dynamics._get_cell_kinetic_energy()

    values = sample(integrator, atoms, 3000, measure)
    mean, error = mean_and_error(values[:, 0])
    assert error < 0.5
    assert abs(mean - pressure) < 4 * error
    expected = (0.5 if ensemble.isotropic else 3.0) * units.kB * kelvin
    mean, error = mean_and_error(values[:, 1])
    assert abs(mean - expected) < 4 * error + 0.02 * expected
    assert error < (0.3 if ensemble.isotropic else 0.06) * expected
    if ensemble.isotropic:
        start = tungsten((2, 2, 2)).cell.array
        scaled = start * (atoms.get_volume() / np.linalg.det(start)) ** (1 / 3)
        assert np.allclose(atoms.cell.array, scaled, rtol=1e-9)


@pytest.mark.parametrize("ensemble", [NVE(), *THERMOSTATS[1:]], ids=name)
def test_conserved_energies_are_conserved(ensemble: Any) -> None:
    atoms = tungsten((2, 2, 2))
    integrator = begin(ensemble, atoms, Target(0, 600.0, 2.0 if ensemble.kind == "npt" else None), timestep=1.0)
    values = sample(integrator, atoms, 1000, integrator.conserved_energy, first=0)
    total = sample(integrator, atoms, 200, atoms.get_total_energy, first=0)
    assert np.ptp(values) < 0.02
    if ensemble.kind != "nve":
        assert np.ptp(total) > 5 * np.ptp(values)


@pytest.mark.parametrize("ensemble", [*THERMOSTATS[:4], pytest.param(THERMOSTATS[4], marks=pytest.mark.slow)], ids=name)
def test_ramps_are_followed(ensemble: Any) -> None:
    """Temperature from 300 to 1200 K, and pressure from 0 to 20 GPa: means of each quarter against the target."""
    atoms = tungsten((2, 2, 2))
    constant_pressure = ensemble.kind == "npt"
    integrator = begin(ensemble, atoms, Target(0, 300.0, 0.0 if constant_pressure else None))
    steps = 2000
    found = []
    for step in range(1, steps + 1):
        fraction = step / steps
        integrator.set_target(Target(0, 300.0 + 900.0 * fraction, 20.0 * fraction if constant_pressure else None))
        integrator.step()
        pressure = pressure_of(atoms.get_stress(), atoms.get_kinetic_energy(), atoms.get_volume())
        found.append((temperature_of(atoms, atoms.get_kinetic_energy()), pressure))
    quarters = np.array(found).reshape(4, -1, 2).mean(axis=1)
    centres = np.array([0.125, 0.375, 0.625, 0.875])
    assert quarters[:, 0] == pytest.approx(300.0 + 900.0 * centres, rel=0.15)
    if constant_pressure:
        assert quarters[:, 1] == pytest.approx(20.0 * centres, abs=1.0)
