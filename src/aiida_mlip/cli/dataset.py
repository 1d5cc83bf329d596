"""The command `aiida-mlip dataset`: labelled configurations, from files or from finished pw.x calculations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mlip.cli._nodes import find_node
from aiida_mlip.cli._profile import with_profile

if TYPE_CHECKING:
    from aiida.orm import Dict

    from aiida_mlip.data.dataset import DatasetData


@click.group()
def dataset() -> None:
    """Data sets: import, look at, audit, split and export labelled configurations.

    \b
    Example:
        aiida-mlip dataset import train.xyz --energy-key dft_energy --label my-data
        aiida-mlip dataset audit my-data
    """


_KEYS = ("energy", "forces", "stress", "virial", "config_type", "group")


def _key_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one option for the name of each label in the file."""
    for quantity in reversed(_KEYS):
        option = f"--{quantity.replace('_', '-')}-key"
        function = click.option(option, f"{quantity}_key", metavar="NAME", help=f"Name of the {quantity}.")(function)
    return function


@dataset.command("import")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--from-pw", metavar="PK,PK,...", help="Finished pw.x calculations or work chains, instead of files.")
@click.option("--label", help="Label of the node; the name of the first file where it is not given.")
@click.option("--format", "file_format", help="Format of the files, where it is not recognised.")
@click.option("--index", default=":", show_default=True, help="Frames of each file, as in ASE.")
@click.option("--config-type", help="Configuration type of all frames.")
@click.option("--group", help="Group of all frames.")
@_key_options
@click.option(
    "--energy-unit", default="eV", show_default=True, help="Unit of the energies in the files, as ASE names it."
)
@click.option("--forces-unit", default="eV/angstrom", show_default=True, help="Unit of the forces.")
@click.option("--stress-unit", default="eV/angstrom^3", show_default=True, help="Unit of the stresses.")
@click.option("--stress-sign", type=click.Choice(["1", "-1"]), default="1", help="-1: positive is compressive.")
@click.option("--level-of-theory", default="unknown", help="What the labels were computed with, in words.")
@with_profile
def import_dataset(files: tuple[Path, ...], from_pw: str | None, label: str | None, **options: Any) -> None:
    """Store labelled configurations as a data set.

    Reads extended XYZ, ASE .traj and .db, VASP's OUTCAR and vasprun.xml, and Quantum ESPRESSO output. Names of labels
    are detected where that is not ambiguous.

    \b
    Example:
        aiida-mlip dataset import train.xyz --energy-key dft_energy --forces-key dft_forces
        aiida-mlip dataset import OUTCAR --config-type liquid
        aiida-mlip dataset import --from-pw 120,134 --label tungsten
    """
    if bool(files) == bool(from_pw):
        raise click.UsageError("give FILES or --from-pw, one of the two")
    try:
        node = _from_pw(from_pw, options) if from_pw else _from_files(files, options)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    node.label = label or (_stem(files[0]) if files else "from pw.x")
    if not node.is_stored:
        node.store()
    click.echo(f"DatasetData<{node.pk}> {node.label}: {_in_words(node)}")
    click.echo(_labels_in_words(node))
    click.echo(f"Next: aiida-mlip dataset audit {node.pk}")


def _from_files(files: tuple[Path, ...], options: dict[str, Any]) -> DatasetData:
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.science.datasets.keymap import KeyMap
    from aiida_mlip.science.datasets.reading import read_labelled

    frames = read_labelled(
        list(files),
        format=options["file_format"],
        keys=KeyMap(**{name: options[f"{name}_key"] for name in _KEYS}),
        index=options["index"],
        config_type=options["config_type"],
        group=options["group"],
        energy_unit=options["energy_unit"],
        forces_unit=options["forces_unit"],
        stress_unit=options["stress_unit"],
        stress_sign=int(options["stress_sign"]),
    )
    return DatasetData(frames, level_of_theory=options["level_of_theory"])


def _from_pw(pks: str, options: dict[str, Any]) -> DatasetData:
    from aiida.orm import ProcessNode

    from aiida_mlip.calculations.from_pw import import_pw

    nodes = [find_node(pk.strip(), ProcessNode, "--from-pw") for pk in pks.split(",") if pk.strip()]
    types, groups = ([text] * len(nodes) if (text := options[name]) else None for name in ("config_type", "group"))
    return import_pw(nodes, config_types=types, groups=groups)


def _stem(file: Path) -> str:
    """Return the name of a file without its suffix, and without that of a compression."""
    return Path(file.stem).stem if file.suffix in (".gz", ".bz2", ".xz") else file.stem


def _labels_in_words(node: DatasetData) -> str:
    """Return how many configurations have each label, so that one that was not recognised is seen at once."""
    total = len(node)
    counts = [
        f"{key.removeprefix('REF_')} {'in all' if found == total else f'in {found}' if found else 'in none'}"
        for key, found in node.labels.items()
    ]
    return f"Labels: {', '.join(counts)}"


def _in_words(node: DatasetData) -> str:
    types = ", ".join(f"{name} {count}" for name, count in node.config_types.items())
    atoms = node.base.attributes.get("num_atoms")
    return f"{len(node)} configurations, {atoms} atoms of {', '.join(node.elements)} ({types})"


@dataset.command()
@click.argument("identifier", metavar="DATASET")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_profile
def show(identifier: str, as_json: bool) -> None:
    """Show what is in a data set: elements, types, labels and ranges.

    \b
    Example:
        aiida-mlip dataset show my-data
    """
    from rich.console import Console
    from rich.pretty import Pretty

    from aiida_mlip.science.datasets.statistics import summarize

    node = _dataset(identifier)
    facts = {"pk": node.pk, "uuid": node.uuid, "label": node.label, "level of theory": node.level_of_theory}
    facts |= summarize(node.frames())
    if as_json:
        click.echo(json.dumps(facts, indent=2, default=str))
    else:
        Console().print(Pretty(facts, expand_all=True))


@dataset.command()
@click.argument("identifier", metavar="DATASET")
@click.option("--against", metavar="DATASET", help="A test set that this set must not leak into.")
@click.option("--baseline", metavar="POTENTIAL", help="A potential whose predictions the labels are compared with.")
@click.option("--computer", default="localhost", show_default=True, help="Where the baseline is evaluated.")
@click.option("--strict", is_flag=True, help="End with status 1 where there are errors.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@with_profile
def audit(
    *, identifier: str, against: str | None, baseline: str | None, computer: str, strict: bool, as_json: bool
) -> None:
    """Look for what is wrong in a data set: which frames, why, and what to do.

    \b
    Example:
        aiida-mlip dataset audit my-data --baseline mace-omat-0-small
    """
    from aiida_mlip.calculations.datasets import audit_sets
    from aiida_mlip.schema.finetuning import AuditOptions

    node = _dataset(identifier)
    sets = {"training": node} if against is None else {"training": node, "test": _dataset(against)}
    predictions = {} if baseline is None else _predictions(sets, baseline, computer)
    options = AuditOptions(strict=strict).model_dump(mode="json")
    report = audit_sets(settings=_dict(options), **sets, **predictions)
    if as_json:
        click.echo(json.dumps(report.get_dict(), indent=2))
    else:
        for line in audit_lines(report):
            click.echo(line)
    if strict and any(finding["severity"] == "error" for finding in report["findings"]):
        raise click.exceptions.Exit(1)


def audit_lines(report: Dict) -> Iterator[str]:
    """Yield the findings of an audit as text."""
    findings = report["findings"]
    if not findings:
        yield "Nothing found."
    for finding in findings:
        frames = finding.get("dataset_frames", finding["frames"])
        listed = ", ".join(str(index) for index in frames[:12]) + (", ..." if len(frames) > 12 else "")
        yield f"{finding['severity'].upper():7} {finding['check']} ({finding['set']}, {len(frames)} frames: {listed})"
        yield f"        {finding['message']}"
        yield f"        -> {finding['remedy']}"
    counts = {severity: sum(f["severity"] == severity for f in findings) for severity in ("error", "warning", "info")}
    yield f"{counts['error']} errors, {counts['warning']} warnings, {counts['info']} remarks. Dict<{report.pk}>"


def _predictions(sets: dict[str, DatasetData], baseline: str, label: str) -> dict[str, Any]:
    """Evaluate a potential on the sets and return the inputs of the audit made of it."""
    from aiida import orm
    from aiida.engine import run_get_node

    from aiida_mlip.calculations.evaluate import EvaluateCalculation
    from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
    from aiida_mlip.data.potential import PotentialData

    computer = orm.load_computer(label)
    builder = EvaluateCalculation.get_builder()
    builder.code = find_worker(computer)
    builder.potential = find_node(baseline, PotentialData, "--baseline")
    builder.datasets = sets
    builder.settings = {"device": job_defaults(computer).device}
    builder.metadata = {"options": job_options(computer), "label": "baseline of an audit"}
    _, job = run_get_node(builder)
    if not job.is_finished_ok:
        raise click.ClickException(f"the baseline could not be evaluated: [{job.exit_status}] {job.exit_message}")
    return {f"predictions_{name}": job.outputs.predictions[name] for name in sets}


@dataset.command()
@click.argument("identifier", metavar="DATASET")
@click.option("--train", default=0.8, show_default=True, help="Share for training.")
@click.option("--valid", default=0.1, show_default=True, help="Share for validation.")
@click.option("--test", default=0.1, show_default=True, help="Share held out.")
@click.option("--seed", default=1, show_default=True, help="Seed of the random choice.")
@click.option("--ignore-groups", is_flag=True, help="Let frames of one group fall into different sets.")
@with_profile
def split(*, identifier: str, ignore_groups: bool, **fractions: Any) -> None:
    """Split a data set by configuration type; groups and near-duplicates stay together.

    \b
    Example:
        aiida-mlip dataset split my-data --train 0.8 --valid 0.1 --test 0.1 --seed 7
    """
    from pydantic import ValidationError

    from aiida_mlip.calculations.datasets import split_dataset
    from aiida_mlip.schema.finetuning import SplitSettings
    from aiida_mlip.science.datasets.errors import DatasetError
    from aiida_mlip.science.models import explain

    try:
        settings = SplitSettings(by_group=not ignore_groups, **fractions)
    except ValidationError as error:
        raise click.ClickException(explain(error, what="split", model=SplitSettings)) from error
    try:
        parts = split_dataset(_dataset(identifier), _dict(settings.model_dump(mode="json")))
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    report = parts.pop("report")
    for warning in report["warnings"]:
        click.echo(f"Note: {warning}", err=True)
    for name, node in parts.items():
        click.echo(f"{name:11} DatasetData<{node.pk}> {_in_words(node)}")


@dataset.command()
@click.argument("identifier", metavar="DATASET")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_profile
def export(identifier: str, file: Path) -> None:
    """Write a data set as extended XYZ with canonical keys.

    \b
    Example:
        aiida-mlip dataset export my-data my-data.xyz
    """
    node = _dataset(identifier)
    try:
        file.write_text(node.content, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"FILE = {file}: not written: {error.strerror}") from error
    click.echo(f"{len(node)} configurations written to {file}")


def _dataset(identifier: str) -> DatasetData:
    from aiida_mlip.data.dataset import DatasetData

    return find_node(identifier, DatasetData, "DATASET")


def _dict(values: dict[str, Any]) -> Dict:
    from aiida.orm import Dict as DictNode

    return DictNode(values)
