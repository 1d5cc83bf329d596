#!/usr/bin/env python
"""What an uncertainty costs and what it is worth: one model, deep committee, shallow and last-layer Bayes in one run.

The teacher is ASE's EMT potential, so that the true error is known everywhere. Students are small MACE models trained
from scratch on few frames; they differ in seed and in the subset of the frames. Costs are CPU seconds, the kinds in
turn, so that a busy machine is the same for all; ranks are Spearman's correlations on frames that nothing has seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import thermalize_momenta
from ase.units import fs
from rich.console import Console
from rich.table import Table

from aiida_mlip.schema.dynamics import Hal
from aiida_mlip.schema.job import Job
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES
from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel
from aiida_mlip.science.uncertainty.pairs import assess, pairs_of
from aiida_mlip.worker.backends import load_potential
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.progress import Reporter
from aiida_mlip.worker.runner import run_job
from aiida_mlip.worker.uncertainty import Estimator
from aiida_mlip.worker.uncertainty.body import MaceBody
from aiida_mlip.worker.uncertainty.hal import HalCalculator
from aiida_mlip.worker.uncertainty.load import estimator_of, load_estimator

E0S = {"Al": -2.4, "Ni": -5.1, "Cu": -3.7}
"""Constants of the made-up level of theory [eV]."""

MEMBERS = 3
KINDS: dict[str, dict[str, Any] | None] = {
    "one model": None,
    f"deep {MEMBERS}": {"kind": "deep"},
    "shallow": {"kind": "shallow"},
    "shallow, exact": {"kind": "shallow", "probes": 0},
    "last_layer_bayes": {"kind": "last_layer_bayes"},
    "last_layer_bayes, exact": {"kind": "last_layer_bayes", "samples": 16, "probes": 0},
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


def train(folder: Path, frames: list[Atoms], epochs: int, channels: int) -> list[Path]:
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
                "num_channels": channels,
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


def make(folder: Path, name: str, students: list[Path], sets: dict[str, Path]) -> tuple[Estimator, dict[str, Any]]:
    """Make one kind of uncertainty as the calculation does, and load it as dynamics does."""
    method = KINDS[name]
    deep = method is not None and method["kind"] == "deep"
    files = {f"potential_member_{i:02d}": path for i, path in enumerate(students if deep else students[:1])}
    where = folder / name.replace(" ", "_").replace(",", "")
    payload: dict[str, Any] = {}
    if method is not None:
        payload = job(where, "uncertainty", {"method": method, "batch_size": 5}, {**files, **sets})
        files["uncertainty"] = where / "uncertainty.npz"
    where.mkdir(parents=True, exist_ok=True)
    roles = {role: str(path.absolute()) for role, path in files.items()}
    context = Context(Job(task="md", settings={}, files=roles), where, Reporter(where / "progress.jsonl", interval=60))
    return load_estimator(context, device="cpu", dtype="float64", head=None), payload


def ranks(estimator: Estimator, frames: list[Atoms]) -> dict[str, float | None]:
    """Return rank correlations and coverages of calibrated uncertainties on labelled frames."""
    found = []
    for atoms in frames:
        one = estimator.estimate(atoms, forces_sigma=True)
        found.append((one.energy, one.forces, one.energy_sigma, one.forces_sigma))
    pairs = pairs_of(frames, found)  # type: ignore[arg-type]
    quality = assess(pairs, energy_members=None, forces_members=None)
    return {
        "force_rank": quality.forces.rank_correlation if quality.forces else None,
        "max_force_rank": quality.max_force.rank_correlation if quality.max_force else None,
        "energy_rank": quality.energy.rank_correlation if quality.energy else None,
        "force_coverage": quality.forces.coverage_before if quality.forces else None,
        "energy_coverage": quality.energy.coverage_before if quality.energy else None,
        "force_scale_left": quality.forces.scale if quality.forces else None,
        "force_rmse": float(np.sqrt(np.nanmean(pairs.forces_error**2))),
    }


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


def steps_to_limit(estimator: Estimator, atoms: Atoms, limit: float, hal: Hal, *, seed: int, most: int) -> int:
    """Return the steps at one temperature until an atom's force uncertainty is above ``limit``."""
    moving = atoms.copy()
    thermalize_momenta(moving, temperature_K=400, rng=np.random.default_rng(seed))
    calculator = HalCalculator(estimator, hal)
    calculator.forces_sigma = True
    moving.calc = calculator
    dynamics = Bussi(moving, 2 * fs, temperature_K=400, taut=50 * fs, rng=np.random.default_rng(seed))
    for step in range(1, most + 1):
        dynamics.run(1)
        assert calculator.last is not None
        assert calculator.last.forces_sigma is not None
        if calculator.last.forces_sigma.max() > limit:
            return step
    return most


def hal_table(
    estimators: dict[str, Estimator], payloads: dict[str, dict[str, Any]], most: int
) -> dict[str, dict[str, Any]]:
    """Return the steps of plain and of biased dynamics to three times the median uncertainty, for several seeds."""
    atoms = bulk("Cu", "fcc", a=3.75, cubic=True) * (2, 2, 1)
    atoms.symbols[:] = ["Al", "Ni", "Cu", "Cu"] * 4
    del atoms[3]
    found = {}
    for name in (f"deep {MEMBERS}", "shallow", "last_layer_bayes"):
        limit = 1.5 * payloads[name]["median_max_forces_sigma"]
        steps = {
            label: [
                steps_to_limit(estimators[name], atoms, limit, Hal(tau_rel=strength, window=20), seed=seed, most=most)
                for seed in range(3)
            ]
            for label, strength in (("plain", 1e-12), ("hal", 0.3))
        }
        found[name] = {"limit": limit, **steps}
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
@click.option("--channels", type=int, default=16, show_default=True)
@click.option("--train-frames", type=int, default=40, show_default=True)
@click.option("--repeats", type=int, default=15, show_default=True)
@click.option("--hal-steps", type=int, default=300, show_default=True, help="0: leave hyperactive learning out.")
@click.option("--foundation", type=click.Path(path_type=Path, exists=True), help="Measure the cost of this model too.")
@click.option("--out", type=click.Path(path_type=Path), help="Write all numbers here, as JSON.")
def main(  # noqa: PLR0917
    folder: Path,
    epochs: int,
    channels: int,
    train_frames: int,
    repeats: int,
    hal_steps: int,
    foundation: Path | None,
    out: Path | None,
) -> None:
    """Measure costs, rank correlations and steps to the limit, and print them as tables."""
    console = Console(width=160)
    rng = np.random.default_rng(7)
    training = [frame(rng, 0.25) for _ in range(train_frames)]
    sets = {"training_set": training, "calibration_set": [frame(rng, 0.3) for _ in range(24)]}
    test = [frame(rng, 0.3) for _ in range(48)]
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.xyz" for name in sets}
    for name, frames in sets.items():
        write(files[name], frames)
    students = train(folder, training, epochs, channels)
    estimators, payloads, quality = {}, {}, {}
    for name in KINDS:
        estimators[name], payloads[name] = make(folder, name, students, files)
        if estimators[name].has_uncertainty:
            quality[name] = ranks(estimators[name], test)
    console.print(table("Worth: Spearman with the true error on 48 unseen frames; coverage after calibration", quality))
    costs = {"students": relative_costs(seconds(estimators, test[0] * (1, 2, 2), repeats))}
    if foundation is not None:
        costs["foundation"] = foundation_costs(foundation, test[0] * (2, 1, 1), repeats)
    for name, rows in costs.items():
        console.print(table(f"Cost of an MD step, {name}: in units of one model", rows))
    hal = hal_table(estimators, payloads, hal_steps) if hal_steps else {}
    if hal:
        console.print(table(f"Steps to the limit (most {hal_steps}), three seeds", hal))
    if out is not None:
        out.write_text(json.dumps({"quality": quality, "costs": costs, "hal": hal, "calibration": payloads}, indent=1))


def foundation_costs(path: Path, atoms: Atoms, repeats: int) -> dict[str, dict[str, float]]:
    """Return the costs of a foundation model; weights are random, since costs do not depend on them."""
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
