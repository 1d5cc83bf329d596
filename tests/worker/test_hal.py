"""Hyperactive learning: forces are derivatives, tau follows its formula, restarts are exact, and limits come sooner."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from aiida_mlip.schema.dynamics import Hal
from aiida_mlip.science.hal import HalState, advanced, tau
from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel
from aiida_mlip.worker.backends import load_potential
from aiida_mlip.worker.uncertainty.hal import HalCalculator
from aiida_mlip.worker.uncertainty.load import estimator_of

MEMBERS = ({"sigma": 2.20, "epsilon": 0.40}, {"sigma": 2.215, "epsilon": 0.39}, {"sigma": 2.19, "epsilon": 0.41})


@pytest.fixture
def estimator(tmp_path):
    potentials = []
    for index, values in enumerate(MEMBERS):
        document = {"architecture": "lj", "elements": ["Cu"], "parameters": {**values, "rc": 4.5, "smooth": True}}
        path = tmp_path / f"{index}.json"
        path.write_text(json.dumps(document))
        potentials.append(load_potential(path, None))
    return estimator_of(potentials)


@pytest.fixture
def atoms():
    cell = bulk("Cu", "fcc", a=3.5, cubic=True) * (2, 1, 1)
    cell.set_cell(cell.cell @ (np.eye(3) + np.random.default_rng(2).normal(scale=0.02, size=(3, 3))), scale_atoms=True)
    cell.rattle(0.05, seed=4)
    return cell


def started(state=None, strength=0.3, window=3):
    full = HalState(forces=(0.4, 0.5, 0.6), bias=(0.02, 0.01, 0.03))
    return Hal(tau_rel=strength, window=window), state or full


class TestTau:
    def test_it_is_zero_until_the_window_is_full(self):
        state = HalState()
        for _ in range(4):
            assert tau(state, 0.2, 4) == 0.0
            state = advanced(state, np.array([[0.3, 0.0, 0.4]]), np.array([[0.0, 0.1, 0.0]]), 4)
        assert tau(state, 0.2, 4) == pytest.approx(0.2 * 0.5 / 0.1)

    def test_averages_are_over_the_last_steps_only(self):
        state = HalState()
        for force, bias in [(9.0, 9.0), (1.0, 0.1), (3.0, 0.5)]:
            state = advanced(state, np.array([[force, 0, 0]]), np.array([[0, bias, 0]]), 2)
        assert tau(state, 0.5, 2) == pytest.approx(0.5 * 2.0 / 0.3)

    def test_without_a_bias_force_there_is_no_bias(self):
        state = advanced(HalState(), np.ones((2, 3)), np.zeros((2, 3)), 1)
        assert tau(state, 0.5, 1) == 0.0

    def test_json_keeps_every_bit(self):
        state = advanced(HalState(), np.full((1, 3), 1 / 3), np.full((1, 3), np.pi / 7), 1)
        assert HalState.model_validate_json(state.model_dump_json()) == state


class TestCalculator:
    def test_forces_and_stress_are_derivatives_of_the_biased_energy(self, estimator, atoms):
        settings, state = started()

        def energy(moved):
            moved.calc = HalCalculator(estimator, settings, state)
            return moved.get_potential_energy()

        atoms.calc = calculator = HalCalculator(estimator, settings, state)
        forces, stress = atoms.get_forces(), atoms.get_stress()
        assert calculator.tau == pytest.approx(0.3 * 0.5 / 0.02)
        assert energy(atoms.copy()) == pytest.approx(
            calculator.last.energy - calculator.tau * calculator.last.energy_sigma, abs=1e-12
        )
        step = 1e-4
        for index in [(0, 0), (3, 1), (7, 2)]:
            values = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index] += sign * step
                values.append(energy(moved))
            assert forces[index] == pytest.approx(-(values[0] - values[1]) / (2 * step), abs=1e-6)
        values = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[0, 1] += sign * step / 2
            strain[1, 0] += sign * step / 2
            moved = atoms.copy()
            moved.set_cell(atoms.cell @ strain, scale_atoms=True)
            values.append(energy(moved))
        assert stress[5] == pytest.approx((values[0] - values[1]) / (2 * step * atoms.get_volume()), abs=1e-7)

    def test_the_same_geometry_counts_once(self, estimator, atoms):
        atoms.calc = calculator = HalCalculator(estimator, Hal(window=5))
        atoms.get_forces()
        atoms.get_stress()
        assert calculator.state.forces == ()
        atoms.rattle(0.01, seed=9)
        atoms.get_forces()
        assert len(calculator.state.forces) == 1

    def test_a_run_in_two_parts_is_the_same_to_the_last_bit(self, estimator, atoms):
        settings = Hal(tau_rel=0.3, window=4)
        thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(1))
        whole, parts = atoms.copy(), atoms.copy()
        whole.calc = HalCalculator(estimator, settings)
        VelocityVerlet(whole, 2 * fs).run(20)
        parts.calc = HalCalculator(estimator, settings)
        VelocityVerlet(parts, 2 * fs).run(9)
        stored = parts.calc.state.model_dump_json()
        again = parts.copy()
        again.calc = HalCalculator(estimator, settings, HalState.model_validate_json(stored))
        VelocityVerlet(again, 2 * fs).run(11)
        assert whole.calc.tau > 0
        assert np.array_equal(whole.positions, again.positions)
        assert np.array_equal(whole.get_momenta(), again.get_momenta())


def anharmonic_committee(folder, cell):
    """Morse potentials of one equilibrium distance and stiffness: they agree near the crystal, and not far from it."""
    potentials = []
    for index, width in enumerate((5.0, 6.0, 7.2)):
        parameters = {"epsilon": 0.35 * 36 / width**2, "rho0": width, "r0": 2.6, "rcut1": 1.3, "rcut2": 1.6}
        document = {"architecture": "ase", "calculator": "ase.calculators.morse:MorsePotential", "elements": ["Cu"]}
        path = folder / f"morse_{index}.json"
        path.write_text(json.dumps({**document, "parameters": parameters}))
        potentials.append(load_potential(path, None))
    energies = np.array([potential.evaluate([cell]).energies[0] for potential in potentials])
    shifts = ((energies - energies.mean()) / len(cell))[:, None]
    facts = {"kind": "deep", "sha256": ("a", "b", "c"), "head": "Default", "elements": ("Cu",)}
    return estimator_of(
        potentials, UncertaintyModel(UncertaintyHeader(**facts, energy_scale=1, forces_scale=1), {"shifts": shifts})
    )


def steps_to_limit(estimator, cell, limit, strength, most):
    """Steps at 300 K until an atom's uncertainty is above ``limit``, and the largest temperature after the first 20."""
    moving = cell.copy()
    thermalize_momenta(moving, temperature_K=600, rng=np.random.default_rng(4))
    moving.calc = calculator = HalCalculator(estimator, Hal(tau_rel=strength, window=20))
    calculator.forces_sigma = True
    dynamics = Bussi(moving, 2 * fs, temperature_K=300, taut=50 * fs, rng=np.random.default_rng(5))
    hottest = 0.0
    for step in range(1, most + 1):
        dynamics.run(1)
        hottest = max(hottest, moving.get_temperature() if step > 20 else 0.0)
        if calculator.last.forces_sigma.max() > limit:
            return step, hottest
    return most, hottest


def test_the_biased_run_reaches_the_limit_sooner(tmp_path):
    """A vacancy in copper at the same temperature, which the thermostat holds."""
    cell = bulk("Cu", "fcc", a=3.68, cubic=True) * (2, 2, 1)
    del cell[5]
    estimator = anharmonic_committee(tmp_path, cell)
    plain, _ = steps_to_limit(estimator, cell, 0.28, 1e-12, 100)
    biased, hottest = steps_to_limit(estimator, cell, 0.28, 0.3, 100)
    assert plain == 100  # not reached
    assert 20 < biased < 80
    assert hottest < 700
