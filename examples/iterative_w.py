#!/usr/bin/env python
"""Teach a foundation model a vacancy in hot tungsten: dynamics, uncertainty, selection, pw.x, and again.

MACE-OMAT-0 small explores a cell of 15 atoms with a vacancy at rising temperature, stops where it is unsure, and has
pw.x label what it has not seen, until it is sure: 19 labels in three generations, of about 200 s of one core each. With
``--resume PK --generations 5 --labels 30`` an ended run goes on by two generations, and nothing is done again.

Run with ``verdi run examples/iterative_w.py`` after ``aiida-mlip setup --local`` and
``aiida-mlip foundation install mace-omat-0-small``. pw.x has to be on PATH (``make system-deps``, or a code of your own
with ``--pw-code``). With ``--rehearse``, a classical potential makes the labels within seconds.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.exceptions import NotExistent
from ase import Atoms
from ase.build import bulk

sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))  # `verdi run` leaves the folder of the script out
sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent / "data"))
import install_pseudos
from finetune_w import foundation
from pw_settings import LABEL_SETTINGS, pw_parameters

from aiida_mlip.cli._nodes import find_node
from aiida_mlip.cli.session import run_and_report
from aiida_mlip.computers.codes import register_installed
from aiida_mlip.computers.config import InstalledCode
from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.iterative import IterativeTrainingWorkChain
from aiida_mlip.workchains.label_builder import pw_inputs

LATTICE_CONSTANT = 3.185
LABEL = "tungsten vacancy, 15 atoms"
PW_PLUGIN = "quantumespresso.pw"

CONDITIONS = [
    {"name": "t300", "stages": [{"steps": 300, "temperature": 300.0}]},
    {"name": "t1500", "stages": [{"steps": 300, "temperature": 1500.0}]},
    {"name": "ramp", "stages": [{"steps": 300, "temperature": 1500.0, "temperature_end": 3000.0}]},
]
"""Steps of 2.5 fs; tungsten melts at 3695 K."""

OVERRIDES: dict[str, Any] = {
    "settings": {
        "conditions": CONDITIONS,
        "committee": {"size": 1, "vary": ["seed"]},
        "augmentation": {"rattles": 6, "rattle_amplitudes": [0.05, 0.12], "strains": 1, "volumes": [0.94, 1.06]},
        "holdout_fraction": 0.3,
        "validation_fraction": 0.3,
        # Two validation frames make no median. In eV/Å; forces on the worst atom: 1.5 (300 K), 3 to 4 (1500 to 3000 K).
        "levels": {"kind": "absolute", "lower": 0.4, "upper": 1.5},
        "convergence": {"candidate_fraction": 0.1},
    },
    # 15 atoms and 300 steps of 2.5 fs with one model: the uncertainty of its last layer costs no second one.
    "uncertainty": {"method": {"kind": "last_layer_bayes"}, "dtype": "float32"},
    "training": {"max_epochs": 50, "learning_rate": 5.0e-4, "batch_size": 2, "dtype": "float32"},
    "evaluation": {"dtype": "float32"},
    "md": {"timestep": 2.5, "dtype": "float32", "ensemble": {"kind": "nvt_langevin", "friction": 0.02}},
    "selection": {"budget": 5, "budget_per_temperature": 3, "dtype": "float32"},
}


def vacancy() -> Atoms:
    """Return 2x2x2 cubic cells of bcc tungsten without one atom."""
    atoms = bulk("W", "bcc", a=LATTICE_CONSTANT, cubic=True) * (2, 2, 2)
    del atoms[0]
    return atoms


def structures() -> DatasetData:
    """Return the start of all walkers, from the profile where it is there already."""
    found = orm.QueryBuilder().append(DatasetData, filters={"label": LABEL}).first(flat=True)
    if found is None:
        found = DatasetData([vacancy()], level_of_theory="none")
        found.label = LABEL
        found.store()
    return found


def find_pw(label: str, computer: orm.Computer) -> orm.AbstractCode:
    """Return the code of pw.x; on this machine it is registered where it is missing."""
    name = label if "@" in label else f"{label}@{computer.label}"
    try:
        return orm.load_code(name)
    except NotExistent:
        executable = shutil.which("pw.x") if computer.transport_type == "core.local" else None
    if executable is None or "@" in label:
        raise click.ClickException(
            f"--pw-code {label}: there is no {name} in this profile, and no pw.x on PATH: install the Debian package "
            f"quantum-espresso (`make system-deps`), or register a code of plugin {PW_PLUGIN!r}"
        )
    described = InstalledCode(
        executable=executable, plugin=PW_PLUGIN, with_mpi=False, activate="export OMP_NUM_THREADS=1"
    )
    return register_installed(computer, label, described)


def pw(code: orm.AbstractCode, walltime: str) -> dict[str, Any]:
    """Return what pw.x labels with: 2x2x2 k-points moved off Gamma, 60 Ry, cold smearing of 0.05 Ry."""
    install_pseudos.main.callback(path=None, timeout=20.0)
    inputs = pw_inputs(
        code,
        pseudos=install_pseudos.FAMILY_LABEL,
        parameters=pw_parameters(LABEL_SETTINGS, len(vacancy())),
        kpoints_distance=1.0,
        walltime=walltime,
    )
    mesh = orm.KpointsData()
    mesh.set_kpoints_mesh([2, 2, 2], offset=[0.5, 0.5, 0.5])
    del inputs["kpoints_distance"]
    return {**inputs, "kpoints": mesh}


def classical() -> PotentialData:
    """Return a Finnis-Sinclair potential of tungsten, for a rehearsal."""
    known = {"architecture": "finnis_sinclair", "elements": ["W"]}
    info = {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0, "name": "Finnis-Sinclair, W"}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), info)


@click.command(help=__doc__)
@click.option("--computer", "label", default="localhost", show_default=True, help="Computer of `aiida-mlip setup`.")
@click.option("--potential", default="mace-omat-0-small", show_default=True, help="Foundation model to start from.")
@click.option(
    "--pw-code", default="pw", show_default=True, help="Label of the code of pw.x, with or without @computer."
)
@click.option("--generations", type=int, default=3, show_default=True, help="Earlier runs included.")
@click.option("--labels", type=int, default=20, show_default=True, help="Labels in all, earlier runs included.")
@click.option("--at-a-time", type=int, default=2, show_default=True, help="Runs of pw.x side by side.")
@click.option("--epochs", type=int, help="Epochs of each training, where 50 are not wanted.")
@click.option("--resume", help="An earlier run to go on from: pk or uuid.")
@click.option("--rehearse", is_flag=True, help="Label with a classical potential instead of pw.x.")
@click.option("--walltime", default="02:00:00", show_default=True, help="Longest time of one job.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), show_default=True)
def main(
    *,
    label: str,
    potential: str,
    pw_code: str,
    generations: int,
    labels: int,
    at_a_time: int,
    epochs: int | None,
    resume: str | None,
    rehearse: bool,
    walltime: str,
    out: Path,
) -> None:
    computer = orm.load_computer(label)
    limits = {"max_generations": generations, "label_budget": labels}
    given: dict[str, Any] = {"overrides": {"settings": limits}}
    if resume is not None:
        given["previous"] = find_node(resume, orm.WorkChainNode, "--resume")
    else:
        training = {**OVERRIDES["training"], "device": job_defaults(computer).device}
        training |= {"max_epochs": epochs} if epochs is not None else {}
        given |= {
            "structures": structures(),
            "potential": foundation(potential),
            "options": job_options(computer, walltime=walltime),
            "protocol": "fast",
            "overrides": {
                **OVERRIDES,
                "settings": {**OVERRIDES["settings"], **limits},
                "training": training,
                "label": {"max_concurrent": at_a_time},
            },
        }
        if rehearse:
            given["teacher"] = classical()
        else:
            given["pw"] = pw(find_pw(pw_code, computer), walltime)
    try:
        builder = IterativeTrainingWorkChain.get_builder_from_protocol(code=find_worker(computer), **given)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    builder.metadata.label = f"tungsten vacancy{', rehearsal' if rehearse else ''}"
    run_and_report(builder, out, needs="potential", finished="Converged.")


if __name__ == "__main__":
    main()
