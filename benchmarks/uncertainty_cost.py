#!/usr/bin/env python
"""What an uncertainty costs and what it is worth: one model, deep committee, shallow and last-layer Bayes in one run.

The teacher is ASE's EMT potential, so that the true error is known everywhere. Students are small MACE models trained
from scratch on few frames; they differ in seed and in the subset of the frames. Costs are CPU seconds, the kinds in
turn, so that a busy machine is the same for all; ranks are Spearman's correlations on frames that nothing has seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import thermalize_momenta
from ase.units import fs
from rich.console import Console
from rich.table import Table

from aiida_mlip.schema.dynamics import Hal
from aiida_mlip.schema.uncertainty import LastLayerBayes, Shallow
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel
from aiida_mlip.science.uncertainty.pairs import assess, pairs_of
from aiida_mlip.worker.backends import Potential, load_potential
from aiida_mlip.worker.runner import run_job
from aiida_mlip.worker.uncertainty import Estimate, Estimator
from aiida_mlip.worker.uncertainty.body import MaceBody
from aiida_mlip.worker.uncertainty.fit import Owner, deep_estimates, fit_deep, fit_last_layer
from aiida_mlip.worker.uncertainty.hal import HalCalculator
from aiida_mlip.worker.uncertainty.load import estimator_of

E0S = {"Al": -2.4, "Ni": -5.1, "Cu": -3.7}
"""Constants of the made-up level of theory [eV]."""

MEMBERS = 3
METHODS: dict[str, Shallow | LastLayerBayes] = {
    "shallow": Shallow(),
    "shallow, exact": Shallow(probes=0),
    "last_layer_bayes": LastLayerBayes(),
}


def frame(rng: np.random.Generator, largest: float) -> Atoms:
    """Return a strained, rattled cell of 7 or 8 atoms with EMT labels."""
    atoms = bulk("Cu", "fcc", a=3.75, cubic=True) * (2, 1, 1)
    atoms.symbols[:] = rng.choice(list(E0S), size=len(atoms), p=rng.dirichlet([2.0, 2.0, 2.0]))
    if rng.random() < 0.4:
        del atoms[int(rng.integers(len(atoms)))]
    atoms.set_cell(atoms.cell @ (np.eye(3) * rng.uniform(0.95, 1.05) + rng.normal(scale=0.015, size=(3, 3))), True)
    atoms.positions += rng.normal(scale=rng.uniform(0.03, largest), size=atoms.positions.shape)
    return labelled(atoms)


def labelled(atoms: Atoms) -> Atoms:
    """Return a copy with EMT labels."""
    copy, bare = atoms.copy(), atoms.copy()
    bare.calc = EMT()
    copy.info[ENERGY] = float(bare.get_potential_energy()) + sum(E0S[symbol] for symbol in atoms.symbols)
    copy.arrays[FORCES] = bare.get_forces()
    copy.info[CONFIG_TYPE] = "vacancy" if len(atoms) < 8 else "bulk"
    return copy


def write(path: Path, frames: list[Atoms]) -> None:
    with path.open("w", encoding="utf-8") as handle:
        write_extxyz(frames, handle)


def job(folder: Path, task: str, settings: dict[str, Any], files: dict[str, Path]) -> dict[str, Any]:
    """Run a task of the worker and return its payload."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {role: str(path.absolute()) for role, path in files.items()}
    (folder / "job.json").write_text(json.dumps({"contract": 1, "task": task, "settings": settings, "files": named}))
    run_job(folder / "job.json")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    if result["error"]:
        raise click.ClickException(f"{task}: {result['error']['message']}")
    return dict(result["payload"])


def train(folder: Path, frames: list[Atoms], epochs: int) -> list[Path]:
    """Train the students; those that are there already are kept."""
    found = []
    for member in range(MEMBERS):
        where = folder / f"student_{member}"
        path = where / "potential.model"
        found.append(path)
        if path.exists():
            continue
        where.mkdir(parents=True, exist_ok=True)
        subset = np.random.default_rng(member).permutation(len(frames))[: int(0.85 * len(frames))]
        rest = [index for index in range(len(frames)) if index not in subset]
        write(where / "train.xyz", [frames[index] for index in subset])
        write(where / "valid.xyz", [frames[index] for index in rest])
        settings = {
            "strategy": {
                "kind": "scratch",
                "num_channels": 16,
                "max_L": 0,
                "correlation": 2,
                "r_max": 4.0,
            },
            "learning_rate": 0.02,
            "e0_policy": {"kind": "average"},
            "dtype": "float32",
            "max_epochs": epochs,
            "batch_size": 5,
            "seed": member + 1,
        }
        job(where, "train", settings, {"train": where / "train.xyz", "valid": where / "valid.xyz"})
    return found


@dataclass(frozen=True)
class Made:
    """One kind of uncertainty, calibrated: its estimator, and what it says of the unseen frames."""

    estimator: Estimator
    median: float
    worth: dict[str, float | None]


Said = list[tuple[float, FloatArray, float, FloatArray]]
"""Energy, forces, and the uncertainties of the two, of each frame."""


def said(estimates: Sequence[Estimate]) -> Said:
    found = []
    for one in estimates:
        assert one.energy_sigma is not None
        assert one.forces_sigma is not None
        found.append((one.energy, one.forces, one.energy_sigma, one.forces_sigma))
    return found


def calibrated(
    potentials: Sequence[Potential],
    model: UncertaintyModel,
    sets: dict[str, list[Atoms]],
    raw: dict[str, Said],
    members: tuple[int | None, int],
) -> Made:
    """Calibrate on the calibration set, and judge on the unseen one.

    :param raw: what the raw uncertainty says of both sets.
    :param members: behind the uncertainty of energies and of forces.
    """
    quality = assess(
        pairs_of(sets["calibration"], raw["calibration"]), energy_members=members[0], forces_members=members[1]
    )
    scales = {"energy_scale": quality.energy_scale, "forces_scale": quality.forces_scale}
    scaled = [(e, f, quality.energy_scale * s, quality.forces_scale * sf) for e, f, s, sf in raw["test"]]
    found = assess(pairs_of(sets["test"], scaled), energy_members=None, forces_members=None)
    assert found.forces is not None
    assert found.max_force is not None
    assert found.energy is not None
    worth = {
        "force_rank": found.forces.rank_correlation,
        "max_force_rank": found.max_force.rank_correlation,
        "energy_rank": found.energy.rank_correlation,
        "force_coverage": found.forces.coverage_before,
        "energy_coverage": found.energy.coverage_before,
    }
    final = replace(model, header=model.header.model_copy(update=scales))
    return Made(estimator_of(potentials, final), quality.median_max_forces_sigma, worth)


def make(students: Sequence[Potential], sets: dict[str, list[Atoms]]) -> dict[str, Made]:
    """Return all kinds, made as the calculation does; those on the last layer are of the first student."""
    judged = ("calibration", "test")
    predictions = {key: [one.evaluate(sets[key], batch_size=12, stress=False) for one in students] for key in judged}
    head = students[0].info.head
    deep = fit_deep(Owner(("any",) * MEMBERS, head), sets["calibration"], predictions["calibration"])
    raw = {name: said(deep_estimates(deep, sets[name], predictions[name])) for name in judged}
    found = {f"deep {MEMBERS}": calibrated(students, deep, sets, raw, (MEMBERS, MEMBERS))}
    for name, method in METHODS.items():
        model, _ = fit_last_layer(
            Owner(("any",), head),
            students[0],
            method,
            {"training": sets["training"], "calibration": sets["calibration"]},
            batch_size=8,
            stage=lambda _name, _total: lambda _done: None,
        )
        estimator = estimator_of(students[:1], model)
        raw = {key: said([estimator.estimate(atoms, forces_sigma=True) for atoms in sets[key]]) for key in judged}
        members = (16 if method.kind == "shallow" else None, len(model.arrays["directions"]) + 1)
        found[name] = calibrated(students[:1], model, sets, raw, members)
    return found


def seconds(estimators: dict[str, Estimator], atoms: Atoms, repeats: int) -> dict[str, dict[str, float]]:
    """Return CPU seconds of a step without and with force uncertainties; the median of interleaved repeats."""
    tasks: dict[tuple[str, bool], Callable[[Atoms], Any]] = {}
    for name, estimator in estimators.items():
        tasks[name, False] = lambda moved, e=estimator: e.estimate(moved)
        if estimator.has_uncertainty:
            tasks[name, True] = lambda moved, e=estimator: e.estimate(moved, forces_sigma=True)
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in tasks}
    rng = np.random.default_rng(0)
    for repeat in range(repeats + 3):
        for key, task in tasks.items():
            moved = atoms.copy()
            moved.positions += rng.normal(scale=0.01, size=moved.positions.shape)
            start = time.process_time()
            task(moved)
            if repeat >= 3:  # torch compiles in the first calls
                times[key].append(time.process_time() - start)
    median = {key: float(np.median(values)) for key, values in times.items()}
    return {
        name: {"plain": median[name, False], "full": median.get((name, True), median[name, False])}
        for name in estimators
    }


def relative_costs(times: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return the cost of one step in units of one model, with force uncertainties every 10 steps and every step."""
    one = times["one model"]["plain"]
    return {
        name: {
            "ms": 1000 * found["plain"],
            "stride_10": (0.9 * found["plain"] + 0.1 * found["full"]) / one,
            "stride_1": found["full"] / one,
        }
        for name, found in times.items()
    }


def largest_sigmas(estimator: Estimator, atoms: Atoms, hal: Hal, *, seed: int, steps: int) -> np.ndarray:
    """Return the largest force uncertainty so far [eV/Å] at each step of dynamics at one temperature."""
    moving = atoms.copy()
    thermalize_momenta(moving, temperature_K=400, rng=np.random.default_rng(seed))
    calculator = HalCalculator(estimator, hal)
    calculator.forces_sigma = True
    moving.calc = calculator
    dynamics = Bussi(moving, 2 * fs, temperature_K=400, taut=50 * fs, rng=np.random.default_rng(seed))
    found = []
    for _ in range(steps):
        dynamics.run(1)
        assert calculator.last is not None
        assert calculator.last.forces_sigma is not None
        found.append(float(calculator.last.forces_sigma.max()))
    return np.maximum.accumulate(found)


def hal_table(made: dict[str, Made], steps: int) -> dict[str, dict[str, Any]]:
    """Return how far plain and biased dynamics get, for several seeds.

    The limit is the largest uncertainty that plain dynamics met in all its steps, the median of the seeds: whatever
    the scale of an uncertainty, half of the plain runs reach it.
    """
    atoms = bulk("Cu", "fcc", a=3.75, cubic=True) * (2, 1, 1)
    atoms.symbols[:] = ["Al", "Ni", "Cu", "Cu"] * 2
    del atoms[3]
    found = {}
    for name in (f"deep {MEMBERS}", "shallow", "last_layer_bayes"):
        runs = {
            label: [
                largest_sigmas(made[name].estimator, atoms, Hal(tau_rel=tau, window=20), seed=seed, steps=steps)
                for seed in range(5)
            ]
            for label, tau in (("plain", 1e-12), ("hal", 0.3))
        }
        limit = float(np.median([run[-1] for run in runs["plain"]]))
        found[name] = {"limit": limit}
        for label, series in runs.items():
            reached = [int(np.argmax(run >= limit)) + 1 if run[-1] >= limit else None for run in series]
            found[name] |= {f"{label} steps": reached, f"{label} largest": float(np.mean([run[-1] for run in series]))}
    return found


def table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    made = Table(title=title)
    for column in ("kind", *columns):
        made.add_column(column)
    for name, row in rows.items():
        made.add_row(
            name, *(f"{row[c]:.3f}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns)
        )
    return made


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("uncertainty-benchmark"), show_default=True)
@click.option("--epochs", type=int, default=60, show_default=True)
@click.option("--repeats", type=int, default=15, show_default=True)
@click.option("--hal-steps", type=int, default=300, show_default=True, help="0: leave hyperactive learning out.")
@click.option("--foundation", type=click.Path(path_type=Path, exists=True), help="Measure the cost of this model too.")
@click.option("--out", type=click.Path(path_type=Path), help="Write all numbers here, as JSON.")
def main(folder: Path, epochs: int, repeats: int, hal_steps: int, foundation: Path | None, out: Path | None) -> None:  # noqa: PLR0917
    """Measure costs, rank correlations and steps to the limit, and print them as tables."""
    torch.set_num_threads(1)
    console = Console(width=160)
    rng = np.random.default_rng(7)
    sets = {
        name: [frame(rng, largest) for _ in range(count)]
        for name, count, largest in (("training", 40, 0.25), ("calibration", 24, 0.3), ("test", 48, 0.3))
    }
    paths = train(folder, sets["training"], epochs)
    made = make([load_potential(path, None) for path in paths], sets)
    worth = {name: one.worth for name, one in made.items()}
    console.print(table("Worth: Spearman with the true error on 48 unseen frames; coverage after calibration", worth))
    costs = {"student": costs_of(paths[0], sets["test"][0] * (2, 2, 1), repeats)}
    if foundation is not None:
        costs["foundation"] = costs_of(foundation, bulk("W", cubic=True) * (2, 2, 2), repeats)
    for name, rows in costs.items():
        console.print(table(f"Cost of an MD step, {name}: in units of one model", rows))
    hal = hal_table(made, hal_steps) if hal_steps else {}
    if hal:
        console.print(table(f"Steps to the limit (eV/Å), and largest uncertainty in {hal_steps}; five seeds", hal))
    if out is not None:
        out.write_text(json.dumps({"worth": worth, "costs": costs, "hal": hal}, indent=1))


def costs_of(path: Path, atoms: Atoms, repeats: int) -> dict[str, dict[str, float]]:
    """Return the costs of a model with each kind; weights are random, since costs do not depend on them."""
    potential = load_potential(path, None)
    size, rng = len(MaceBody(potential).weights), np.random.default_rng(0)
    facts = {"sha256": ("any",), "head": potential.info.head, "elements": potential.info.elements}
    estimators: dict[str, Estimator] = {"one model": estimator_of([potential])}
    estimators[f"deep {MEMBERS}"] = estimator_of([load_potential(path, None) for _ in range(MEMBERS)])
    for kind, rows in (("shallow", 16), ("last_layer_bayes", size)):
        header = UncertaintyHeader(kind=kind, **facts, energy_scale=1.0, forces_scale=1.0)
        arrays = {
            "centres": np.zeros((len(potential.info.elements), size)),
            "factor": rng.normal(size=(rows, size)),
            "directions": rng.normal(size=(2, size)),
        }
        estimators[kind] = estimator_of([potential], UncertaintyModel(header, arrays))
    return relative_costs(seconds(estimators, atoms, repeats))


if __name__ == "__main__":
    main()
