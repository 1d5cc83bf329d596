#!/usr/bin/env python
"""Fine-tune MACE-OMAT-0 small on tungsten labelled with Quantum ESPRESSO, and see what changed.

Run with ``verdi run examples/finetune_w.py`` after ``aiida-mlip setup`` and
``aiida-mlip foundation install mace-omat-0-small`` (``make demo`` does all of it). On a cluster: ``--computer NAME``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.log import override_log_level
from aiida.tools.archive import import_archive

from aiida_mlip.cli.session import run_and_report
from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.finetune import FinetuneWorkChain

HERE = Path(sys.argv[0]).resolve().parent  # `verdi run` gives `__file__` without its folder
ARCHIVE = HERE / "data" / "tungsten.aiida"
DATASET_LABEL = "tungsten, PBE, pw.x"

STRATEGIES: dict[str, dict[str, Any]] = {
    "naive": {"kind": "naive"},
    "frozen": {"kind": "frozen", "level": "interactions"},
    "lora": {"kind": "lora", "rank": 8, "alpha": 8.0},
    "replay": {"kind": "replay"},
    "scratch": {"kind": "scratch"},
}

PROPERTIES = {name: {"element": "W"} for name in ("eos", "elastic", "vacancy")}
"""Computed before and after, with the numbers of the protocol for defects."""


def tungsten_dataset() -> DatasetData:
    """Return the labelled tungsten cells; the archive brings every pw.x calculation behind them into the profile."""
    query = orm.QueryBuilder().append(DatasetData, filters={"label": DATASET_LABEL})
    if not query.count():
        print(f"Importing {ARCHIVE.name}: the labels and the calculations that made them ...", flush=True)
        with override_log_level("WARNING"):
            import_archive(ARCHIVE)
    return query.first(flat=True)


def foundation(name: str) -> PotentialData:
    """Return the foundation model from the profile."""
    found = orm.QueryBuilder().append(PotentialData, filters={"label": name}).first(flat=True)
    if found is None:
        raise click.ClickException(f"{name} is not in this profile: run `aiida-mlip foundation install {name}`")
    return found


@click.command(help=__doc__)
@click.option("--computer", "label", default="localhost", show_default=True, help="Computer of `aiida-mlip setup`.")
@click.option("--potential", default="mace-omat-0-small", show_default=True, help="Foundation model to start from.")
@click.option("--protocol", default="fast", show_default=True, type=click.Choice(["fast", "balanced", "stringent"]))
@click.option("--strategy", default="naive", show_default=True, type=click.Choice(list(STRATEGIES)))
@click.option("--epochs", type=int, help="Epochs, where the protocol's are not wanted.")
@click.option("--learning-rate", type=float, help="Learning rate, where the protocol's is not wanted.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--committee", type=int, help="Number of potentials, trained with different seeds.")
@click.option("--walltime", help="Longest time of one job, HH:MM:SS.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), show_default=True)
def main(
    *,
    label: str,
    potential: str,
    protocol: str,
    strategy: str,
    epochs: int | None,
    learning_rate: float | None,
    seed: int,
    committee: int | None,
    walltime: str | None,
    out: Path,
) -> None:
    computer = orm.load_computer(label)
    training: dict[str, Any] = {"strategy": STRATEGIES[strategy], "seed": seed, "device": job_defaults(computer).device}
    if strategy == "scratch":
        training["e0_policy"] = {"kind": "isolated_atoms"}
    if epochs is not None:
        training["max_epochs"] = epochs
    if learning_rate is not None:
        training["learning_rate"] = learning_rate
    overrides: dict[str, Any] = {
        "training": training,
        "properties": PROPERTIES,
        "measure_forgetting": strategy != "scratch",
    }
    if committee is not None:
        overrides["committee"] = {"size": committee}
    builder = FinetuneWorkChain.get_builder_from_protocol(
        code=find_worker(computer),
        potential=foundation(potential),
        dataset=tungsten_dataset(),
        options=job_options(computer, walltime=walltime),
        protocol=protocol,
        overrides=overrides,
    )
    builder.metadata.label = f"tungsten, {strategy}, {protocol}"
    run_and_report(builder, out, needs="potential", finished="Finished; better than the foundation model.")


if __name__ == "__main__":
    main()
