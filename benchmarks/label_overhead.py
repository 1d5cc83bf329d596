#!/usr/bin/env python
"""What AiiDA adds to a label: ``mlip.label`` through the daemon on many runs of pw.x that take a moment each.

Prints the overhead per label, (wall time - time of pw.x / runs at a time) / labels, and where the time of one label
goes, from the times that AiiDA itself left in the graph. The profile needs a computer and a running daemon, and the
machine should be idle. Example::

    aiida-mlip setup --local
    verdi daemon restart
    ./label_overhead.py --labels 100 --window 2
"""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path

import click
import numpy as np
import psutil
from aiida import load_profile, orm
from aiida.engine import submit
from aiida.manage import get_manager
from aiida_pseudo.data.pseudo.upf import UpfData
from ase import Atoms
from ase.build import bulk

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.workchains.label import LabelWorkChain

PARAMETERS = {
    "SYSTEM": {"ecutwfc": 12.0, "occupations": "smearing", "smearing": "cold", "degauss": 0.05},
    "ELECTRONS": {"conv_thr": 1e-8},
}


def configurations(count: int, seed: int) -> list[Atoms]:
    """Return primitive cells of aluminium, each with a strain of its own."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = bulk("Al", "fcc", a=4.0)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        frames.append(atoms)
    return frames


def pw_code(computer: orm.Computer, executable: str) -> orm.InstalledCode:
    """Return the code of the benchmark on a computer; it is made the first time."""
    filters = {"label": "pw-overhead", "dbcomputer_id": computer.pk}
    found = orm.QueryBuilder().append(orm.InstalledCode, filters=filters).first(flat=True)
    return (
        found
        or orm.InstalledCode(
            label="pw-overhead",
            computer=computer,
            filepath_executable=executable,
            default_calc_job_plugin="quantumespresso.pw",
            prepend_text="export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
            with_mpi=False,
        ).store()
    )


def daemon_cpu() -> tuple[int, float]:
    """Return the number of workers of the daemon, and the CPU time they have used [s]."""
    pids = [int(pid) for pid in get_manager().get_daemon_client().get_worker_info()["info"]]
    return len(pids), sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def job_times(job: orm.CalcJobNode) -> dict[str, float]:
    """Return the wall time of pw.x and of the whole job [s]."""
    return {
        "pw.x": float(job.outputs.output_parameters["wall_time_seconds"]),
        "job": (job.mtime - job.ctime).total_seconds(),
    }


def print_split(node: orm.WorkChainNode) -> None:
    """Print where the time of a label goes."""
    chains = [child for child in node.called if isinstance(child, orm.WorkChainNode)]
    jobs = [job for chain in chains for job in chain.called if isinstance(job, orm.CalcJobNode)]
    functions = [child for child in node.called if isinstance(child, orm.CalcFunctionNode)]
    chain_times = [(chain.mtime - chain.ctime).total_seconds() for chain in chains]
    times = [job_times(job) for job in jobs]
    for name in ("pw.x", "job"):
        print(f"  {name:<28s} {statistics.median(item[name] for item in times):7.2f} s, median")
    print(f"  {'work chain of a label':<28s} {statistics.median(chain_times):7.2f} s, median")
    for function in functions:
        print(f"  {function.process_label:<28s} {(function.mtime - function.ctime).total_seconds():7.2f} s")


@click.command(help=__doc__)
@click.option("--labels", default=100, show_default=True)
@click.option("--window", default=2, show_default=True, help="Runs of pw.x at a time.")
@click.option("--computer", "label", default="localhost", show_default=True)
@click.option("--executable", default=lambda: shutil.which("pw.x"), help="pw.x  [default: the one on PATH]")
@click.option(
    "--pseudo",
    default="/usr/share/espresso/pseudo/Al.pz-vbc.UPF",
    show_default=True,
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--seed", default=1, show_default=True, help="Another one makes other configurations: none is reused.")
@click.option("--profile", help="Of AiiDA.  [default: the default one]")
def main(
    *, labels: int, window: int, label: str, executable: str, pseudo: Path, seed: int, profile: str | None
) -> None:
    load_profile(profile)
    computer = orm.load_computer(label)
    builder = LabelWorkChain.get_builder()
    builder.configurations = DatasetData(configurations(labels, seed)).store()
    builder.settings = {"max_concurrent": window, "reuse": False}
    builder.pw.pw.code = pw_code(computer, executable)
    builder.pw.pw.parameters = orm.Dict(PARAMETERS)
    builder.pw.pw.pseudos = {"Al": UpfData.get_or_create(pseudo).store()}
    builder.pw.pw.metadata = {"options": {"resources": {"num_machines": 1}, "withmpi": False}}
    builder.pw.kpoints_distance = orm.Float(1.0)
    workers, cpu_before = daemon_cpu()
    start = time.perf_counter()
    node = submit(builder)
    while not node.is_terminated:
        time.sleep(0.5)
    wall = time.perf_counter() - start
    if not node.is_finished_ok:
        raise SystemExit(f"mlip.label<{node.pk}> ended with [{node.exit_status}] {node.exit_message}")
    inside = node.outputs.report["core_seconds"]
    print(f"{labels} labels, {window} at a time, {workers} workers of the daemon, mlip.label<{node.pk}>")
    print(f"wall time {wall:.1f} s, pw.x {inside:.1f} s in all")
    print(f"overhead per label {(wall - inside / window) / labels:.2f} s")
    print(f"CPU time of the daemon per label {(daemon_cpu()[1] - cpu_before) / labels:.2f} s")
    print_split(node)


if __name__ == "__main__":
    main()
