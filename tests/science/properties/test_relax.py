"""Relaxations: the optimiser that takes over, a stop that the caller asks for, and a restart."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science.properties import Journal, Meter, Notebook
from aiida_mlip.science.properties._relax import largest_force, relax
from aiida_mlip.science.properties.vacancy import vacancy_cell
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair


def shaken_vacancy() -> Atoms:
    atoms = vacancy_cell("W", "bcc", 3.165, 3, noise=0.1, seed=3)
    atoms.calc = Meter(FinnisSinclair())
    return atoms


def test_one_optimiser_suffices_near_a_minimum() -> None:
    atoms = shaken_vacancy()
    done = relax(atoms, fmax=0.01, max_steps=200, report=Journal(), stage="relax")
    assert done.converged
    assert done.optimizer == "LBFGS"
    assert done.fmax == largest_force(atoms) < 0.01
    assert atoms.calc.force_calls == done.steps + 1


def test_fire_takes_over_where_half_of_the_steps_have_not_sufficed() -> None:
    atoms = shaken_vacancy()
    steps: list[int] = []
    report = Journal(lambda stage, step, total: steps.append(step))
    done = relax(atoms, fmax=1e-3, max_steps=14, report=report, stage="relax")
    assert (done.optimizer, done.steps, done.converged) == ("FIRE", 14, False)
    assert steps == sorted(steps)
    assert steps[-1] == 14
    assert done.fmax < largest_force(shaken_vacancy())


def test_the_caller_can_end_it() -> None:
    atoms = shaken_vacancy()
    start = atoms.get_potential_energy()
    done = relax(
        atoms,
        fmax=1e-4,
        max_steps=200,
        report=Journal(),
        stage="relax",
        stop=lambda moving: moving.get_potential_energy() < start - 1,
    )
    assert done.stopped
    assert not done.converged
    assert atoms.get_potential_energy() < start - 1


def test_positions_are_kept_and_a_second_job_goes_on_from_them() -> None:
    notebook, atoms = Notebook(), shaken_vacancy()
    first = relax(atoms, fmax=1e-9, max_steps=50, report=Journal(notebook=notebook), stage="relax", keep="so far")
    assert not first.converged
    kept = notebook.steps["so far"]
    assert kept["steps"] in {20, 45}
    again = shaken_vacancy()
    again.positions += 0.1
    second = relax(again, fmax=0.01, max_steps=50, report=Journal(notebook=notebook), stage="relax", keep="so far")
    assert second.converged
    np.testing.assert_allclose(again.positions, np.array(kept["positions"]), atol=1e-6)
    assert second.steps == pytest.approx(kept["steps"], abs=1)
