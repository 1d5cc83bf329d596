"""Label the configurations of ``structures.py`` with pw.x through AiiDA, then build the data set.

``python label.py run`` submits one ``PwBaseWorkChain`` per configuration, a few at a time, and tolerates failures.
``python label.py build`` collects what is labelled into a ``DatasetData`` node and writes ``tungsten.xyz``.
``python label.py export`` writes the node with everything it came from to ``tungsten.aiida``.

The default AiiDA profile is used. A configuration counts as labelled when the profile has a successful work chain for
the same positions, cell and settings: those are part of the key that is looked up.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from aiida import load_profile, orm
from aiida.manage.configuration import Profile
from aiida.storage.sqlite_dos.backend import SqliteDosStorage
from aiida.tools.archive import create_archive, import_archive
from ase import Atoms
from pw_settings import LABEL_SETTINGS, find_finished, make_builder, mesh_for, run_all, settings_for, wall_time
from structures import all_configurations

from aiida_mlip.calculations.from_pw import import_pw, pw_calculation
from aiida_mlip.data.dataset import DatasetData

HERE = Path(__file__).resolve().parent
EXTRA = "tungsten_label"
DATASET_EXTRA = "tungsten_dataset"


def key_of(atoms: Atoms) -> str:
    """Return the name of a configuration with a hash of everything that decides its label."""
    settings = settings_for(atoms, LABEL_SETTINGS)
    physical = {
        "cell": atoms.cell.array.round(6).tolist(),
        "positions": ((atoms.positions - atoms.positions[0]).round(6) + 0.0).tolist(),
        "mesh": mesh_for(atoms, settings.kpoints_distance),
        "spin": bool(atoms.info.get("spin_polarised", False)),
        "settings": {name: value for name, value in asdict(settings).items() if name != "kpoints_distance"},
    }
    digest = hashlib.sha256(json.dumps(physical, sort_keys=True).encode()).hexdigest()
    return f"{atoms.info['name']}:{digest[:10]}"


def labelled() -> list[tuple[Atoms, orm.WorkChainNode]]:
    """Return the configurations that have a label in this profile, with the work chain that made it."""
    pairs = [(atoms, find_finished(EXTRA, key_of(atoms))) for atoms in all_configurations()]
    return [(atoms, node) for atoms, node in pairs if node is not None]


@click.group()
def main() -> None:
    """Label tungsten configurations with pw.x."""
    load_profile()


@main.command()
@click.option("--code", "code_label", default="pw@localhost", show_default=True, help="The pw.x code.")
@click.option("--family", default="PseudoDojo/0.5/PBE/SR/standard/upf", show_default=True)
@click.option("--window", default=2, show_default=True, help="Work chains in flight.")
@click.option("--until", help="Submit nothing after this time of day, e.g. 17:30.")
def run(code_label: str, family: str, window: int, until: str | None) -> None:
    """Submit what is not labelled yet."""
    code = orm.load_code(code_label)
    jobs = [(key_of(a), partial(make_builder, a, LABEL_SETTINGS, code, family)) for a in all_configurations()]
    done = run_all(jobs, EXTRA, window, may_submit=lambda: until is None or time.strftime("%H:%M") < until)
    click.echo(f"{len(done)} of {len(jobs)} labelled, {sum(map(wall_time, done.values())) / 60.0:.1f} min of pw.x.")


@main.command()
def build() -> None:
    """Make the data set of everything that is labelled, and write it with a table of the runs."""
    pairs = labelled()
    if not pairs:
        raise click.ClickException("nothing is labelled in this profile yet: use `python label.py run` first")
    dataset = import_pw(
        [node for _, node in pairs],
        config_types=[atoms.info["config_type"] for atoms, _ in pairs],
        groups=[atoms.info["group"] for atoms, _ in pairs],
    )
    dataset.label = "tungsten, PBE, pw.x"
    dataset.base.extras.set(DATASET_EXTRA, True)
    (HERE / "tungsten.xyz").write_text(dataset.content)
    with (HERE / "labels.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(row_of(*pairs[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row_of(atoms, node) for atoms, node in pairs)
    minutes = sum(wall_time(node) for _, node in pairs) / 60.0
    click.echo(f"DatasetData {dataset.pk}: {len(dataset)} configurations, {minutes:.1f} min of pw.x.")


def row_of(atoms: Atoms, node: orm.WorkChainNode) -> dict[str, object]:
    """Return what identifies and cost one label."""
    calculation = pw_calculation(node)
    parameters = calculation.outputs.output_parameters
    mesh, offset = mesh_for(atoms, LABEL_SETTINGS.kpoints_distance)
    return {
        "name": atoms.info["name"],
        "config_type": atoms.info["config_type"],
        "atoms": len(atoms),
        "mesh": "x".join(map(str, mesh)) + (" shifted" if any(offset) else ""),
        "irreducible_kpoints": parameters.get("number_of_k_points"),
        "scf_iterations": parameters.get("scf_iterations"),
        "energy_eV_per_atom": f"{parameters.get('energy') / len(atoms):.6f}",
        "wall_time_s": f"{wall_time(node):.1f}",
        "source": calculation.uuid,
    }


@main.command()
@click.option("--output", type=click.Path(path_type=Path), default=HERE / "tungsten.aiida", show_default=True)
def export(output: Path) -> None:
    """Write the newest data set with its ancestors: structures, inputs and parsed outputs of each pw.x run.

    AiiDA never exports a calculation without all its outputs. The whole graph is therefore taken to a temporary profile
    first, where the files that pw.x wrote, the bands and the remote folders are deleted: no label depends on them.
    """
    query = orm.QueryBuilder().append(DatasetData, filters={"extras": {"has_key": DATASET_EXTRA}}, tag="data")
    dataset = query.order_by({"data": {"ctime": "desc"}}).first(flat=True)
    if dataset is None:
        raise click.ClickException("this profile has no data set yet: use `python label.py build` first")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.aiida"
        write_archive(dataset, whole)
        backend = temporary_storage(Path(folder) / "storage")
        import_archive(whole, backend=backend, create_group=False)
        prune(backend)
        kept = orm.QueryBuilder(backend=backend).append(DatasetData, filters={"uuid": dataset.uuid}).first(flat=True)
        write_archive(kept, output)
        click.echo(f"{output.name}: {output.stat().st_size / 1e6:.2f} MB ({whole.stat().st_size / 1e6:.2f} MB whole)")


def write_archive(dataset: DatasetData, path: Path) -> None:
    """Write a data set and all its ancestors, without the work chains that only submitted the calculations."""
    rules = {"call_calc_backward": False, "call_work_backward": False, "return_backward": False}
    options = {"include_logs": False, "include_comments": False, "overwrite": True, "compression": 9}
    create_archive([dataset], filename=path, backend=dataset.backend, **options, **rules)


def temporary_storage(folder: Path) -> SqliteDosStorage:
    """Return an empty storage that no profile knows of and that nodes can be deleted from."""
    storage = {"backend": "core.sqlite_dos", "config": {"filepath": str(folder)}}
    profile = Profile("prune", {"storage": storage, "process_control": {"backend": "null", "config": {}}})
    SqliteDosStorage.initialise(profile)
    return SqliteDosStorage(profile)


def prune(backend: SqliteDosStorage) -> None:
    """Delete the outputs of calculations from which no label was made.

    ``delete_nodes`` would take the calculations along: for AiiDA the outputs of a calculation are all or none. In a
    copy that nobody works in, the nodes and their links are removed one level below that rule.
    """
    heavy = (orm.FolderData, orm.RemoteData, orm.BandsData)
    query = orm.QueryBuilder(backend=backend).append(orm.CalcJobNode, tag="run")
    pks = query.append(heavy, with_incoming="run", project="id").all(flat=True)
    with backend.transaction():
        backend.delete_nodes_and_connections(pks)


if __name__ == "__main__":
    main()
