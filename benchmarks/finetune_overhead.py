#!/usr/bin/env python
"""What the graph costs: ``mlip.train.base`` through the daemon against bare ``mace_run_train``.

Both train the same foundation model on the same configurations with the same settings, one after the other on an
otherwise idle machine. The work chain also evaluates the chosen model on its sets, proves the strategy and stores the
outcome; the bare run does mace's own training only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.engine import submit
from ase.data import atomic_numbers

from aiida_mlip.computers.defaults import find_worker, job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science.keys import ENERGY, FORCES, STRESS
from aiida_mlip.workchains.train_base import TrainBaseWorkChain


def settings(epochs: int, dtype: str) -> dict[str, Any]:
    return {
        "strategy": {"kind": "naive"},
        "learning_rate": 1e-4,
        "e0_policy": {"kind": "estimated"},
        "max_epochs": epochs,
        "batch_size": 4,
        "dtype": dtype,
        "loss": {"kind": "universal", "energy_weight": 1.0, "forces_weight": 10.0, "stress_weight": 100.0},
    }


def run_work_chain(computer: orm.Computer, potential: PotentialData, sets: Any, asked: dict[str, Any]) -> Any:
    """Return the finished node and its wall time [s]."""
    builder = TrainBaseWorkChain.get_builder()
    builder.train.code = find_worker(computer)
    builder.train.potential = potential
    builder.train.training_set, builder.train.validation_set = sets
    builder.train.settings = asked
    builder.train.metadata = {"options": job_options(computer)}
    start = time.perf_counter()
    node = submit(builder)
    while not node.is_terminated:
        time.sleep(0.5)
    seconds = time.perf_counter() - start
    if not node.is_finished_ok:
        raise SystemExit(f"the work chain ended with [{node.exit_status}] {node.exit_message}")
    return node, seconds


def run_bare(folder: Path, potential: PotentialData, sets: Any, asked: dict[str, Any], e0s: dict[str, float]) -> float:
    """Return the wall time of mace_run_train [s], given what the work chain worked out."""
    with potential.open(mode="rb") as handle:
        (folder / "foundation.model").write_bytes(handle.read())
    for name, node in zip(("train", "valid"), sets, strict=True):
        (folder / f"{name}.xyz").write_text(node.content, encoding="utf-8")
    options = {
        "name": "bare", "foundation_model": "foundation.model", "train_file": "train.xyz", "valid_file": "valid.xyz",
        "energy_key": ENERGY, "forces_key": FORCES, "stress_key": STRESS,
        "E0s": repr({atomic_numbers[symbol]: value for symbol, value in e0s.items()}),
        "foundation_model_elements": True, "multiheads_finetuning": False, "plot": False, "ema": True,
        "ema_decay": 0.99, "loss": "universal", "energy_weight": 1.0, "forces_weight": 10.0, "stress_weight": 100.0,
        "lr": asked["learning_rate"], "max_num_epochs": asked["max_epochs"], "batch_size": asked["batch_size"],
        "valid_batch_size": 8, "seed": 1, "default_dtype": asked["dtype"], "device": "cpu", "optimizer": "adamw",
    }  # fmt: skip
    lines = [f"{name}: {json.dumps(value)}" for name, value in options.items()]
    (folder / "config.yaml").write_text("\n".join(lines), encoding="utf-8")
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    start = time.perf_counter()
    with (folder / "log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", "mace.cli.run_train", "--config", "config.yaml"],
            cwd=folder, check=True, stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    return time.perf_counter() - start


@click.command(help=__doc__)
@click.option("--epochs", default=20, show_default=True)
@click.option("--dtype", default="float64", show_default=True, type=click.Choice(["float32", "float64"]))
@click.option("--dataset", default="tungsten", show_default=True, help="Label of a data set in the profile.")
@click.option("--potential", default="mace-omat-0-small", show_default=True)
@click.option("--computer", default="localhost", show_default=True)
def main(*, epochs: int, dtype: str, dataset: str, potential: str, computer: str) -> None:
    data = orm.QueryBuilder().append(DatasetData, filters={"label": dataset}).first(flat=True)
    model = orm.QueryBuilder().append(PotentialData, filters={"label": potential}).first(flat=True)
    frames = [atoms for atoms in data.frames() if len(atoms) > 1]
    sets = (DatasetData(frames[:-8]).store(), DatasetData(frames[-8:]).store())
    asked = settings(epochs, dtype)
    node, chain = run_work_chain(orm.load_computer(computer), model, sets, asked)
    with tempfile.TemporaryDirectory() as folder:
        bare = run_bare(Path(folder), model, sets, asked, node.outputs.results["e0s"]["Default"])
    job = next(child for child in node.called if isinstance(child, orm.CalcJobNode))
    timings = job.outputs.results["timings"]
    print(f"{len(frames) - 8} configurations, {epochs} epochs, {dtype}, {os.cpu_count()} cores")
    print(f"bare mace_run_train   {bare:8.1f} s")
    print(f"mlip.train.base       {chain:8.1f} s, of which the worker {timings['total']:.1f} s: {timings}")
    print(f"ratio                 {chain / bare:8.3f}")


if __name__ == "__main__":
    main()
