"""Settings of the pw.x labels, and the one function that turns them into AiiDA inputs.

The values of ``LABEL_SETTINGS`` come out of the convergence test ``converge.py``; its numbers are in
``convergence.json`` and are discussed in ``README.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
from aiida import engine, orm
from aiida.plugins import WorkflowFactory
from ase import Atoms

VALENCE_ELECTRONS = 14
"""Of tungsten in this pseudopotential."""


@dataclass(frozen=True)
class PwSettings:
    """What decides the accuracy of one pw.x run.

    Attributes
    ----------
    ecutwfc
        Plane-wave cut-off of the wave functions [Ry]; the density has four times as much (norm-conserving).
    kpoints_distance
        Largest distance of neighbouring k-points along each reciprocal axis, 2 pi included [1/Å].
    degauss
        Width of the Marzari-Vanderbilt cold smearing [Ry].
    conv_thr_per_atom
        Estimated energy error at which self-consistency stops [Ry/atom].
    """

    ecutwfc: float
    kpoints_distance: float
    degauss: float
    conv_thr_per_atom: float = 1.0e-9


LABEL_SETTINGS = PwSettings(ecutwfc=60.0, kpoints_distance=0.285, degauss=0.05, conv_thr_per_atom=5.0e-9)


def mesh_for(atoms: Atoms, distance: float) -> tuple[list[int], list[float]]:
    """Return the k-point mesh, shape (3,), of a spacing [1/Å], and its offset in units of its step, shape (3,).

    ``atoms.info["mesh"]`` overrides the mesh; where ``atoms.info["slab"]`` is true the third axis, across vacuum, gets
    one point; with ``atoms.info["shift_mesh"]`` the numbers are made even and the mesh moves off Gamma by half a step.
    """
    shifted = bool(atoms.info.get("shift_mesh", False))
    reciprocal = 2.0 * np.pi * np.linalg.inv(atoms.cell.array).T
    mesh = [max(1, int(np.ceil(round(length / distance, 5)))) for length in np.linalg.norm(reciprocal, axis=1)]
    mesh = [int(number) for number in atoms.info.get("mesh", mesh)]
    if shifted:
        mesh = [number + number % 2 for number in mesh]
    if atoms.info.get("slab", False):
        mesh[2] = 1
    return mesh, [0.5 if shifted and number > 1 else 0.0 for number in mesh]


def settings_for(atoms: Atoms, common: PwSettings) -> PwSettings:
    """Return the common settings with the smearing of ``atoms.info["degauss"]`` [Ry] where it is given."""
    return replace(common, degauss=float(atoms.info.get("degauss", common.degauss)))


def pw_parameters(settings: PwSettings, n_atoms: int, spin_polarised: bool = False) -> dict[str, Any]:
    """Return the namelists of a single-point pw.x run with forces and stress."""
    system: dict[str, Any] = {
        "ecutwfc": settings.ecutwfc,
        "ecutrho": 4.0 * settings.ecutwfc,
        "occupations": "smearing",
        "smearing": "cold",
        "degauss": settings.degauss,
    }
    if spin_polarised:
        # The 5d5 6s1 septet of the free atom: six of fourteen valence electrons unpaired.
        system |= {"nspin": 2, "starting_magnetization": {"W": 6.0 / VALENCE_ELECTRONS}}
    if n_atoms > 2:
        # pw.x takes 1.2 times the occupied bands, of which the last is then not quite empty in some cells.
        system["nbnd"] = int(np.ceil(1.3 * VALENCE_ELECTRONS / 2 * n_atoms))
    return {
        "CONTROL": {"calculation": "scf", "tprnfor": True, "tstress": True},
        "SYSTEM": system,
        "ELECTRONS": {"conv_thr": settings.conv_thr_per_atom * n_atoms, "electron_maxstep": 120, "mixing_beta": 0.6},
    }


def make_builder(atoms: Atoms, common: PwSettings, code: orm.AbstractCode, family: str) -> engine.ProcessBuilder:
    """Return the inputs of a ``PwBaseWorkChain`` that labels one configuration.

    ``atoms.info`` may deviate from the common settings with ``mesh``, ``shift_mesh``, ``slab``, ``degauss`` and
    ``spin_polarised``.
    """
    settings = settings_for(atoms, common)
    builder = WorkflowFactory("quantumespresso.pw.base").get_builder()
    structure = orm.StructureData(ase=Atoms(atoms.get_chemical_symbols(), atoms.positions, cell=atoms.cell, pbc=True))
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh(*mesh_for(atoms, settings.kpoints_distance))
    (group,) = orm.QueryBuilder().append(orm.Group, filters={"label": family}).first()
    builder.pw.code = code
    builder.pw.structure = structure
    builder.pw.pseudos = group.get_pseudos(structure=structure)
    spin = bool(atoms.info.get("spin_polarised", False))
    builder.pw.parameters = orm.Dict(pw_parameters(settings, len(atoms), spin))
    structure.label = builder.metadata.label = builder.pw.metadata.label = str(atoms.info.get("name", ""))
    builder.pw.metadata.options = {
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
        "max_wallclock_seconds": 6 * 3600,
        "withmpi": False,
    }
    builder.kpoints = kpoints
    builder.clean_workdir = orm.Bool(True)
    return builder


def find_finished(key: str, value: str) -> orm.WorkChainNode | None:
    """Return the newest successful work chain whose extra ``key`` is ``value``, or ``None``."""
    return _newest({f"extras.{key}": value, "attributes.exit_status": 0})


def find_running(key: str, value: str) -> orm.WorkChainNode | None:
    """Return a work chain whose extra ``key`` is ``value`` and that has not ended, or ``None``."""
    return _newest({f"extras.{key}": value, "attributes.process_state": {"in": ["created", "running", "waiting"]}})


def _newest(filters: dict[str, Any]) -> orm.WorkChainNode | None:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters, tag="work")
    found = query.order_by({"work": {"ctime": "desc"}}).first(flat=True)
    return found if isinstance(found, orm.WorkChainNode) else None


def run_all(
    jobs: Iterable[tuple[str, Callable[[], engine.ProcessBuilder]]],
    key: str,
    window: int,
    may_submit: Callable[[], bool] = lambda: True,
) -> dict[str, orm.WorkChainNode]:
    """Submit jobs to the daemon, at most ``window`` at a time, and return the finished nodes by name.

    A job whose name is the extra ``key`` of a work chain that runs or was successful is not run again. A failed one is
    reported and left out: the rest goes on. Nothing more is submitted once ``may_submit`` says no.
    """
    done: dict[str, orm.WorkChainNode] = {}
    running: dict[str, orm.WorkChainNode] = {}
    waiting = []
    for name, make in jobs:
        if found := find_finished(key, name):
            done[name] = found
        elif found := find_running(key, name):
            running[name] = found
        else:
            waiting.append((name, make))
    click.echo(f"{len(done)} already there, {len(running)} running, {len(waiting)} to run.")
    while running or (waiting and may_submit()):
        while waiting and len(running) < window and may_submit():
            name, make = waiting.pop(0)
            running[name] = engine.submit(make())
            running[name].base.extras.set(key, name)
        time.sleep(1.0)
        for name, node in list(running.items()):
            if node.is_terminated:
                del running[name]
                report(name, node)
                if node.is_finished_ok:
                    done[name] = node
    return done


def wall_time(node: orm.WorkChainNode) -> float:
    """Return the wall time of the pw.x runs of a work chain as pw.x itself printed it [s]."""
    runs = [run for run in node.called if isinstance(run, orm.CalcJobNode)]
    return float(sum(run.outputs.output_parameters.get("wall_time_seconds", 0.0) for run in runs if run.is_finished_ok))


def report(name: str, node: orm.WorkChainNode) -> None:
    """Print one line on a terminated work chain."""
    outcome = f"{wall_time(node):7.1f} s" if node.is_finished_ok else f"FAILED [{node.exit_status}] {node.exit_message}"
    click.echo(f"{time.strftime('%H:%M:%S')}  {name:<40s} pk {node.pk}  {outcome}")


def settings_name(name: str, settings: PwSettings) -> str:
    """Return a unique, readable name of a structure with settings."""
    return f"{name}:{settings.ecutwfc:g}Ry:{settings.kpoints_distance:g}:{settings.degauss:g}"
