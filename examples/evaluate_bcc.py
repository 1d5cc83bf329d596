#!/usr/bin/env python
"""Evaluate potentials on crystals and defects of tungsten, molybdenum and niobium, next to DFT and to each other.

Run with ``verdi run examples/evaluate_bcc.py`` after ``aiida-mlip setup`` and
``aiida-mlip foundation install mace-omat-0-small``. Without ``--potential``, the foundation model is evaluated and,
where this profile has one, the newest potential that was fine-tuned from it on tungsten: before and after.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
from aiida import orm

from aiida_mlip.cli._nodes import find_node
from aiida_mlip.cli.session import run_and_report
from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.defects import DefectsWorkChain
from aiida_mlip.workchains.defects_inputs import graph_name, special_workers
from aiida_mlip.workchains.finetune import FinetuneWorkChain

FOUNDATION = "mace-omat-0-small"


def before_and_after() -> dict[str, PotentialData]:
    """Return the foundation model and the newest potential fine-tuned from it on tungsten, where there is one."""
    foundation = find_node(FOUNDATION, PotentialData, "potential")
    query = orm.QueryBuilder()
    query.append(orm.Node, filters={"uuid": foundation.uuid}, tag="before")
    query.append(FinetuneWorkChain, with_incoming="before", filters={"label": {"like": "tungsten%"}}, tag="chain")
    query.append(PotentialData, with_incoming="chain", edge_filters={"label": "potential"}, project="*")
    query.order_by({"chain": [{"id": "desc"}]})
    trained = query.first(flat=True)
    return {"foundation": foundation} | ({"tungsten": trained} if trained is not None else {})


def named(texts: tuple[str, ...]) -> dict[str, PotentialData]:
    """Return name -> potential for ``NAME=label``, or a label, pk or uuid, which is then the name."""
    found = {}
    for text in texts:
        name, given, identifier = text.rpartition("=")
        node = find_node(identifier, PotentialData, "--potential")
        key = name if given else graph_name(re.sub(r"^\d+$", f"pk_{identifier}", identifier))
        if key in found:
            raise click.BadParameter(f"{key} is given twice: name them, as in --potential NAME={identifier}")
        found[key] = node
    return found


@click.command(help=__doc__)
@click.option("--computer", "label", default="localhost", show_default=True, help="Computer of `aiida-mlip setup`.")
@click.option("--potential", "potentials", multiple=True, help="[NAME=]label, pk or uuid; may be repeated.")
@click.option("--element", "elements", multiple=True, default=("W", "Mo", "Nb"), show_default=True)
@click.option("--protocol", default="balanced", show_default=True, type=click.Choice(["fast", "balanced", "stringent"]))
@click.option("--property", "properties", multiple=True, help="A choice; `eos` and `elastic` are always computed.")
@click.option("--walltime", help="Longest time of one job, HH:MM:SS.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), show_default=True)
def main(
    *,
    label: str,
    potentials: tuple[str, ...],
    elements: tuple[str, ...],
    protocol: str,
    properties: tuple[str, ...],
    walltime: str | None,
    out: Path,
) -> None:
    computer = orm.load_computer(label)
    chosen = named(potentials) if potentials else before_and_after()
    try:
        builder = DefectsWorkChain.get_builder_from_protocol(
            code=find_worker(computer),
            potentials=chosen,
            elements=elements,
            properties=properties or None,
            options=job_options(computer, walltime=walltime),
            protocol=protocol,
            codes=special_workers(computer, chosen),
            overrides={"settings": {"device": job_defaults(computer).device}},
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    builder.metadata.label = f"{', '.join(chosen)} on {', '.join(elements)}, {protocol}"
    run_and_report(builder, out, needs="summary")


if __name__ == "__main__":
    main()
