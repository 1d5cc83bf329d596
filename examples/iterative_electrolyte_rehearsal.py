#!/usr/bin/env python
"""Rehearse iterative training on the solvents of batteries, with a teacher that is cheap enough to know the truth.

A committee of small MACE models learns ethylene carbonate (EC), ethyl methyl carbonate (EMC) and a pair of them from
GFN2-xTB: first from a few displaced molecules, then from what its own dynamics asked for. At the end the teacher labels
every frame of every trajectory, so that the true error is known next to the uncertainty, generation by generation.

Run with ``verdi run examples/iterative_electrolyte_rehearsal.py`` after ``aiida-mlip setup --local``; it takes some
minutes on two cores. The teacher is tblite: ``pip install 'aiida-mlip-workchains[xtb]'``, in the environment of the
computer's worker too.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import ase.io
import click
from aiida import orm
from aiida.common.links import LinkType
from rich.console import Console
from rich.table import Table

from aiida_mlip.calculations.truth import trajectory_frames, true_errors
from aiida_mlip.cli._nodes import find_node
from aiida_mlip.cli.session import report_on, session_console, submit_and_watch
from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.iterative import History
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.workchains.iterative import IterativeTrainingWorkChain
from aiida_mlip.workchains.label import LabelWorkChain

HERE = Path(sys.argv[0]).resolve().parent  # `verdi run` gives `__file__` without its folder
SOLVENTS = HERE / "data" / "solvents.xyz"
LABEL = "EC, EMC and a pair"

TEACHER = {
    "architecture": "ase",
    "calculator": "tblite.ase:TBLite",
    "elements": ["H", "C", "O"],
    "parameters": {"method": "GFN2-xTB", "verbosity": 0},
    "level_of_theory": "GFN2-xTB",
}

OVERRIDES: dict[str, Any] = {
    "settings": {
        "conditions": [
            {"name": "t300", "stages": [{"steps": 400, "temperature": 300.0}]},
            {"name": "t600", "stages": [{"steps": 400, "temperature": 600.0}]},
        ],
        "committee": {"size": 2, "vary": ["seed", "bootstrap"]},
        "augmentation": {"rattles": 6, "rattle_amplitudes": [0.03, 0.08], "strains": 0, "molecules": False},
        "convergence": {"candidate_fraction": 0.02},
        # Random displacements strain molecules more than their dynamics does: levels relative to the first set would
        # call everything accurate.
        "levels": {"kind": "absolute", "lower": 0.4, "upper": 1.5},
        "validation_fraction": 0.2,
    },
    "training": {
        "strategy": {
            "kind": "scratch",
            "num_channels": 16,
            "max_L": 0,
            "correlation": 2,
            "num_interactions": 2,
            "num_radial_basis": 8,
            "r_max": 4.0,
        },
        "e0_policy": {"kind": "isolated_atoms"},
        "learning_rate": 0.01,
        "max_epochs": 60,
        "batch_size": 2,
        "scheduler_patience": 15,
        "loss": {"kind": "weighted", "energy_weight": 10.0, "forces_weight": 100.0, "stress_weight": 0.0},
    },
    "md": {
        "timestep": 1.0,
        "dtype": "float32",
        "stop": {"bonds": 1.6},
        "ensemble": {"kind": "nvt_langevin", "friction": 0.02},
    },
    "selection": {"budget": 15, "include_failed": True},
}


COLUMNS = (
    "generation", "trained on", "survived [%]", "candidates [%]", "held-out F [meV/Å]", "true F along MD [meV/Å]",
    "median of max [meV/Å]", "rank correlation", "within 2 sigma [%]",
)  # fmt: skip
"""Of the table at the end; max: the largest force error of a frame."""


def teacher() -> PotentialData:
    """Return GFN2-xTB as a potential.

    :raises click.ClickException: where it is not installed.
    """
    if importlib.util.find_spec("tblite") is None:
        raise click.ClickException(
            "the teacher, tblite, is not installed: pip install 'aiida-mlip-workchains[xtb]', or pip install tblite"
        )
    info = {"architecture": "ase", "elements": TEACHER["elements"], "r_max": 5.0, "dtype": "float64",
            "num_parameters": 0, "level_of_theory": "GFN2-xTB", "name": "GFN2-xTB"}  # fmt: skip
    return PotentialData(io.BytesIO(json.dumps(TEACHER).encode()), info)


def structures() -> DatasetData:
    """Return the molecules and the pair, from the profile where they are there already."""
    found = orm.QueryBuilder().append(DatasetData, filters={"label": LABEL}).first(flat=True)
    if found is None:
        frames = ase.io.read(SOLVENTS, ":")
        for atoms in frames:
            atoms.info[CONFIG_TYPE] = atoms.info.pop("name")
        found = DatasetData(frames, level_of_theory="none")
        found.label = LABEL
        found.store()
    return found


def explored(node: orm.WorkChainNode) -> dict[int, Any]:
    """Return generation -> trajectories of its dynamics, those of this run."""
    links = node.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()
    found = {}
    for link in links:
        step = re.fullmatch(r"g(\d+)_md", link.link_label)
        if step and "trajectories" in link.node.outputs:
            found[int(step[1])] = dict(link.node.outputs.trajectories)
    return dict(sorted(found.items()))


def label_all(node: orm.WorkChainNode, console: Console) -> dict[int, dict[str, Any]]:
    """Have the teacher label every frame of every generation, and return the true errors of each generation."""
    errors = {}
    batch = node.inputs.label.batch
    options = job_options(orm.load_computer(batch.code.computer.label))
    for generation, trajectories in explored(node).items():
        metadata = {"label": f"frames of generation {generation}"}
        builder = LabelWorkChain.get_builder()
        builder.configurations = trajectory_frames(**trajectories, metadata=metadata)
        builder.settings = {"max_force": None, "max_failed_fraction": 1.0}
        builder.batch = {"code": batch.code, "potential": batch.potential, "settings": batch.settings,
                         "metadata": {"options": options}}  # fmt: skip
        builder.metadata.label = f"truth along the trajectories of generation {generation}"
        labelled = submit_and_watch(builder, console)
        if "labelled" in labelled.outputs:
            made = true_errors(labelled.outputs.labelled, labelled.outputs.report, **trajectories, metadata=metadata)
            errors[generation] = made.get_dict()
    return errors


def table(history: History, errors: dict[int, dict[str, Any]]) -> Table:
    """Return one row for each generation: survival, counts, and true errors along the dynamics."""
    grid = Table(title="Rehearsal with GFN2-xTB: what the dynamics met, and what was true", title_justify="left")
    for name in COLUMNS:
        grid.add_column(name, justify="right")
    for record in history.generations:
        survived = [item.survived_ps / item.asked_ps for item in record.survival]
        true = errors.get(record.generation, {}).get("all", {})
        held = record.errors.get("committee", {}).get("all", {}).get("forces", {}).get("rmse")
        grid.add_row(
            str(record.generation),
            str(record.frames["training"]),
            _number(sum(survived) / len(survived) if survived else None, 100.0),
            _number(record.candidate_fraction, 100.0),
            _number(held, 1e3),
            _number(true.get("rmse"), 1e3),
            _number(true.get("median_max_error"), 1e3),
            _number(true.get("rank_correlation"), 1.0, 2),
            _number(true.get("within_two_sigma"), 100.0),
        )
    return grid


def _number(value: float | None, factor: float, digits: int = 0) -> str:
    return "-" if value is None else f"{value * factor:.{digits}f}"


@click.command(help=__doc__)
@click.option("--computer", "label", default="localhost", show_default=True, help="Computer of `aiida-mlip setup`.")
@click.option("--generations", type=int, default=4, show_default=True, help="Earlier runs included.")
@click.option("--labels", type=int, default=120, show_default=True, help="Labels in all, earlier runs included.")
@click.option("--epochs", type=int, help="Epochs of each training, where the default is not wanted.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--resume", help="An earlier run to go on from: pk or uuid.")
@click.option(
    "--truth/--no-truth", default=True, show_default=True, help="Label all frames of the dynamics at the end."
)
@click.option("--walltime", help="Longest time of one job, HH:MM:SS.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), show_default=True)
def main(
    *,
    label: str,
    generations: int,
    labels: int,
    epochs: int | None,
    seed: int,
    resume: str | None,
    truth: bool,
    walltime: str | None,
    out: Path,
) -> None:
    computer = orm.load_computer(label)
    limits: dict[str, Any] = {"max_generations": generations, "label_budget": labels}
    if resume is not None:
        given: dict[str, Any] = {"previous": find_node(resume, orm.WorkChainNode, "--resume")}
        given["overrides"] = {"settings": limits}
    else:
        training = {**OVERRIDES["training"], "device": job_defaults(computer).device, "seed": seed}
        training |= {"max_epochs": epochs} if epochs is not None else {}
        settings = {**OVERRIDES["settings"], **limits, "seed": seed}
        given = {
            "structures": structures(),
            "teacher": teacher(),
            "options": job_options(computer, walltime=walltime),
            "protocol": "fast",
            "overrides": {**OVERRIDES, "settings": settings, "training": training},
        }
    try:
        builder = IterativeTrainingWorkChain.get_builder_from_protocol(code=find_worker(computer), **given)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    builder.metadata.label = "EC and EMC, rehearsal"
    console = session_console()
    node = submit_and_watch(builder, console)
    errors = label_all(node, console) if truth else {}
    report_on(node, out, console, finished="Converged.")
    if "history" not in node.outputs:
        raise SystemExit(1)
    console.print(table(History(**node.outputs.history.get_dict()), errors))


if __name__ == "__main__":
    main()
