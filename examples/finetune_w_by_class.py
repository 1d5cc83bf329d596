#!/usr/bin/env python
"""What does each class of configurations in a training set buy? Tungsten, one database class added at a time.

The foundation model is fine-tuned on bulk cells only, then on bulk and vacancies, then on interstitials too, and so on.
All potentials are then evaluated for W, Mo and Nb in one `mlip.defects`, and the figure shows what each class changed,
where it was trained and where nothing was trained. Validation and test sets come from one split.

Run with ``verdi run examples/finetune_w_by_class.py`` after ``make demo``. With AiiDA's cache on for trainings too
(``verdi config set -a caching.enabled_for aiida.calculations:mlip.train``, then ``verdi daemon restart``), a second run
after an interruption takes from it what is finished.
"""

from __future__ import annotations

import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import click
from aiida import orm

sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))  # `verdi run` leaves the folder of the script out
from finetune_w import foundation, tungsten_dataset

from aiida_mlip.calculations.datasets import select_types, split_dataset
from aiida_mlip.cli.session import report_on, session_console, submit_and_watch
from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.report.steps import draw_steps
from aiida_mlip.schema.finetuning import SplitSettings
from aiida_mlip.workchains.defects import DefectsWorkChain
from aiida_mlip.workchains.finetune import FinetuneWorkChain

CLASSES: dict[str, list[str]] = {
    "bulk": ["isolated_atom", "bcc_volume", "bcc_tetragonal", "bcc_orthorhombic", "bcc_shear", "frozen_phonon"],
    "vacancy": ["vacancy", "divacancy"],
    "interstitial": ["self_interstitial"],
    "gamma": ["gamma_110", "gamma_112"],
    "surface": ["surface_100", "surface_110", "surface_111", "surface_112"],
    "phases": ["a15", "fcc", "hcp", "sc"],
    "disorder": ["rattled", "md"],
}
"""Class -> configuration types, in the order in which the classes are added."""

PROPERTIES: dict[str, dict[str, Any]] = {
    "eos": {},
    "elastic": {},
    "vacancy": {"sizes": [3]},
    "interstitial": {"kinds": ["111"], "sizes": [3]},
    "gamma_line": {"points": 13},
    "surface": {"surfaces": ["001", "110"], "reconstructions": [], "thicknesses": [12.0, 15.0]},
}
"""What is evaluated after each step, in cells small enough for many potentials; differences between steps count."""

KEYS = (
    "lattice_constant", "C11", "Cprime", "C44", "vacancy_formation", "interstitial_formation_111", "gamma_max_110",
    "gamma_max_112", "surface_001", "surface_110", "E_FCC_minus_BCC", "E_A15_minus_BCC",
)  # fmt: skip
"""What the figure shows, one panel each."""


def steps(dataset: DatasetData, seed: int) -> dict[str, dict[str, DatasetData]]:
    """Return for each class the sets of the potential that is trained on it and on all classes before it."""
    settings = orm.Dict(SplitSettings(seed=seed).model_dump(mode="json"))
    parts = split_dataset(dataset, settings, metadata={"label": "split for class by class"})
    found: dict[str, dict[str, DatasetData]] = {}
    for name, types in zip(CLASSES, accumulate(CLASSES.values()), strict=True):
        chosen = orm.List(types)
        chosen.label = f"classes up to {name}"
        label = {"label": f"up to {name}"}
        found[name] = {
            "training": select_types(parts["training"], chosen, metadata=label),
            "validation": select_types(parts["validation"], chosen, metadata=label),
            "test": parts["test"],
        }
    return found


def train(
    name: str, sets: dict[str, DatasetData], start: PotentialData, computer: orm.Computer, asked: dict[str, Any]
) -> Any:
    """Return the inputs of one fine-tuning."""
    overrides: dict[str, Any] = {
        "training": {"device": job_defaults(computer).device, "seed": asked["seed"]},
        "measure_forgetting": False,
        # The whole set is audited where it is used as a whole; in a part of it, the first of a class stands out.
        "audit": {"strict": False},
    }
    if asked["epochs"] is not None:
        overrides["training"]["max_epochs"] = asked["epochs"]
    builder = FinetuneWorkChain.get_builder_from_protocol(
        code=find_worker(computer),
        potential=start,
        sets=sets,
        options=job_options(computer, walltime=asked["walltime"]),
        protocol=asked["protocol"],
        overrides=overrides,
    )
    builder.metadata.label = f"class by class, up to {name}"
    return builder


@click.command(help=__doc__)
@click.option("--computer", "label", default="localhost", show_default=True, help="Computer of `aiida-mlip setup`.")
@click.option("--potential", default="mace-omat-0-small", show_default=True, help="Foundation model to start from.")
@click.option("--protocol", default="fast", show_default=True, type=click.Choice(["fast", "balanced", "stringent"]))
@click.option("--element", "elements", multiple=True, default=("W", "Mo", "Nb"), show_default=True)
@click.option("--property", "properties", multiple=True, default=tuple(PROPERTIES), show_default=True)
@click.option("--epochs", type=int, help="Epochs of each step, where the protocol's are not wanted.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--walltime", help="Longest time of one job, HH:MM:SS.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), show_default=True)
def main(
    *,
    label: str,
    potential: str,
    elements: tuple[str, ...],
    properties: tuple[str, ...],
    out: Path,
    **asked: Any,
) -> None:
    console = session_console()
    computer = orm.load_computer(label)
    start = foundation(potential)
    potentials = {"step0_foundation": start}  # numbered: AiiDA puts the names in alphabetical order
    for number, (name, sets) in enumerate(steps(tungsten_dataset(), asked["seed"]).items(), start=1):
        console.print(f"Step {number}: {name}, {len(sets['training'])} frames to train on")
        node = submit_and_watch(train(name, sets, start, computer, asked), console)
        if "potential" not in node.outputs:
            raise click.ClickException(f"step {name} gave no potential: [{node.exit_status}] {node.exit_message}")
        potentials[f"step{number}_{name}"] = node.outputs.potential
    builder = DefectsWorkChain.get_builder_from_protocol(
        code=find_worker(computer),
        potentials=potentials,
        elements=elements,
        properties=properties,
        options=job_options(computer, walltime=asked["walltime"]),
        protocol=asked["protocol"],
        overrides={"properties": {name: PROPERTIES.get(name, {}) for name in properties}},
    )
    builder.metadata.label = "class by class"
    node = submit_and_watch(builder, console)
    if "summary" not in node.outputs:
        raise click.ClickException(f"no evaluation: [{node.exit_status}] {node.exit_message}")
    report_on(node, out, console)
    figure = draw_steps(node, out / f"class-by-class-{node.pk}.png", keys=KEYS)
    console.print(f"figure: {figure.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main()
