#!/usr/bin/env python
"""Is an electrolyte stable with a potential: do molecules stay intact, does the density hold, are the forces right?

EC and EMC, 33:67, as in the lectures of CAMMLS 2025, with MACE-OMAT-0 small. The fast protocol takes 12 molecules at
300 and 500 K and less than half an hour on two cores: what falls apart at once is seen, and the answer says what a
claim of stability would need.

Run with ``verdi run examples/electrolyte_stability.py`` after ``aiida-mlip setup`` and
``aiida-mlip foundation install mace-omat-0-small``. Several potentials side by side: ``--potential a=LABEL --potential
b=LABEL``. With GFN2-xTB as a reference for the forces (``pip install 'aiida-mlip-workchains[xtb]'``, in the environment
of the computer's worker too): ``--reference gfn2``.
"""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import ase.io
import click
from aiida import orm

from aiida_mlip.cli._nodes import find_node
from aiida_mlip.cli.session import report_on, session_console, submit_and_watch
from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.defects_inputs import graph_name
from aiida_mlip.workchains.electrolyte import ElectrolyteWorkChain

REFERENCES = {"gfn1": "GFN1-xTB", "gfn2": "GFN2-xTB"}
ELEMENTS = ["H", "Li", "B", "C", "N", "O", "F", "Na", "P", "S", "Cl"]
"""Those that the reference is asked for; GFN-xTB knows more."""


def tight_binding(method: str) -> PotentialData:
    """Return GFN-xTB as a potential.

    :raises click.ClickException: where it is not installed.
    """
    if importlib.util.find_spec("tblite") is None:
        raise click.ClickException(
            "the reference, tblite, is not installed: pip install 'aiida-mlip-workchains[xtb]', or pip install tblite"
        )
    document = {"architecture": "ase", "calculator": "tblite.ase:TBLite", "elements": ELEMENTS,
                "parameters": {"method": method, "verbosity": 0}, "level_of_theory": method}  # fmt: skip
    info = {"architecture": "ase", "elements": ELEMENTS, "r_max": 5.0, "dtype": "float64", "num_parameters": 0,
            "level_of_theory": method, "name": method}  # fmt: skip
    return PotentialData(io.BytesIO(json.dumps(document).encode()), info)


def named_potentials(given: tuple[str, ...]) -> dict[str, PotentialData]:
    """Return name -> potential, from ``NAME=IDENTIFIER`` or identifiers alone."""
    found = {}
    for text in given:
        name, _, identifier = text.rpartition("=")
        found[graph_name(name or identifier)] = find_node(identifier, PotentialData, "--potential")
    return found


def composition_of(text: str) -> dict[str, int]:
    """Return component -> number, from ``EC=4,EMC=8``.

    :raises click.ClickException: where it is not of this form.
    """
    found = {}
    for part in text.split(","):
        name, _, number = part.strip().rpartition("=")
        if not name or not number.strip().isdigit():
            raise click.ClickException(f"--box {text!r}: write component=number, e.g. EC=4,EMC=8")
        found[name.strip()] = int(number)
    return found


def imported_boxes(files: tuple[Path, ...]) -> dict[str, DatasetData]:
    """Return name -> box, the last configuration of each file."""
    found = {}
    for file in files:
        node = DatasetData([ase.io.read(file)], level_of_theory="none")
        node.label = file.name
        found[graph_name(file.stem)] = node
    return found


def packed_boxes(boxes: tuple[str, ...], salt: int, density: float, seed: int) -> dict[str, dict[str, Any]]:
    """Return the boxes to be packed: those named, or EC and EMC 33:67; with salt a second one of each."""
    found = {}
    for text in boxes or ("EC=4,EMC=8",):
        composition = composition_of(text)
        name = graph_name("_".join(f"{key}{number}" for key, number in composition.items()).lower())
        found[name] = {"composition": composition, "density": density, "seed": seed}
        if salt:
            salted = {**composition, "Li+": salt, "PF6-": salt}
            found[f"{name}_lipf6"] = {"composition": salted, "density": density, "seed": seed}
    return found


@click.command(help=__doc__)
@click.option("--computer", "label", default="localhost", show_default=True, help="Computer of `aiida-mlip setup`.")
@click.option("--potential", "potentials", multiple=True, default=("mace-omat-0-small",), show_default=True,
              help="pk, uuid or label, or NAME=IDENTIFIER; may be given several times.")  # fmt: skip
@click.option("--box", "boxes", multiple=True, help="EC=4,EMC=8: what is packed; may be given several times.")
@click.option("--density", default=1.1, show_default=True, help="Of the boxes to begin with [g/cm^3].")
@click.option("--salt", default=0, show_default=True, help="LiPF6 units: a second box of each composition with them.")
@click.option("--imported", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A box of your own: a file that ASE reads; may be given several times.")  # fmt: skip
@click.option("--temperature", "temperatures", multiple=True, type=float, help="[K]; the first is the target.")
@click.option("--pressure", "pressures", multiple=True, type=float, help="[GPa]; 1 bar is 1e-4.")
@click.option("--steps", type=int, help="At constant pressure, where the protocol's are not wanted.")
@click.option("--labelled", help="Labelled configurations for the tests of forces: pk, uuid or label of a data set.")
@click.option("--reference", type=click.Choice(list(REFERENCES)), help="What the tests of forces compare with.")
@click.option(
    "--d3", multiple=True, help="NAME of a potential to which D3(BJ) for PBE is added; may be given several times."
)
@click.option("--protocol", default="fast", show_default=True, type=click.Choice(["fast", "balanced", "stringent"]))
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--walltime", help="Longest time of one job, HH:MM:SS.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("out"), show_default=True)
def main(
    *,
    label: str,
    potentials: tuple[str, ...],
    boxes: tuple[str, ...],
    density: float,
    salt: int,
    imported: tuple[Path, ...],
    temperatures: tuple[float, ...],
    pressures: tuple[float, ...],
    steps: int | None,
    labelled: str | None,
    reference: str | None,
    d3: tuple[str, ...],
    protocol: str,
    seed: int,
    walltime: str | None,
    out: Path,
) -> None:
    computer = orm.load_computer(label)
    dynamics: dict[str, Any] = {"seed": seed}
    dynamics |= {"temperatures": list(temperatures)} if temperatures else {}
    dynamics |= {"pressures": list(pressures)} if pressures else {}
    dynamics |= {"npt_steps": steps} if steps is not None else {}
    overrides = {"settings": {"dynamics": dynamics}, "md": {"device": job_defaults(computer).device}}
    small = protocol == "fast" and not imported
    packed = packed_boxes(boxes, salt, density, seed) if boxes or salt or small else None
    try:
        builder = ElectrolyteWorkChain.get_builder_from_protocol(
            code=find_worker(computer),
            potentials=named_potentials(potentials),
            dispersion={graph_name(name): {"method": "d3bj", "functional": "pbe"} for name in d3},
            boxes=imported_boxes(imported),
            packed=packed,
            labelled=None if labelled is None else find_node(labelled, DatasetData, "--labelled"),
            reference=None if reference is None else tight_binding(REFERENCES[reference]),
            options=job_options(computer, walltime=walltime),
            protocol=protocol,
            overrides=overrides,
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    builder.metadata.label = f"electrolyte, {protocol}"
    console = session_console()
    node = submit_and_watch(builder, console)
    report_on(node, out, console)
    if "verdict" not in node.outputs:
        raise SystemExit(1)
    for verdict in node.outputs.verdict["potentials"].values():
        console.print(f"{verdict['answer'].upper()}: {verdict['sentence']}", markup=False)


if __name__ == "__main__":
    main()
