"""Convergence of tungsten energies, forces and pressures with cut-off, k-spacing and smearing, through AiiDA.

Run it with ``python converge.py --code pw@localhost``. Every point is one ``PwBaseWorkChain``; points that the profile
already has are not run again. The numbers go to ``convergence.json`` next to this file: raw values of each run, and for
each series the differences from its most accurate member.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from aiida import engine, load_profile, orm
from ase import Atoms
from ase.build import bulk
from pw_settings import PwSettings, make_builder, run_all, settings_name, wall_time

A0 = 3.18
"""Lattice constant of the test cells [Å]."""

CUTOFFS = (40.0, 45.0, 50.0, 60.0, 70.0, 90.0)
DISTANCES = (0.50, 0.40, 0.35, 0.30, 0.25, 0.18)
SMEARINGS = (0.02, 0.03, 0.05)
EXTRA = "tungsten_convergence"


def test_cells() -> dict[str, Atoms]:
    """Return the cells whose differences are watched: two phases, a compressed cell and one with forces.

    ``displaced`` is the two-atom cubic cell with its second atom moved by 0.15 Å along [110]: its forces are large, its
    stress has a shear, and four symmetry operations keep it affordable at dense meshes.
    """
    displaced = bulk("W", "bcc", a=A0, cubic=True)
    displaced.positions[1] += 0.15 * np.array([1.0, 1.0, 0.0]) / np.sqrt(2.0)
    return {
        "bcc": bulk("W", "bcc", a=A0),
        "fcc": bulk("W", "fcc", a=A0 * 2.0 ** (1.0 / 3.0)),
        "compressed": bulk("W", "bcc", a=0.95 * A0),
        "displaced": displaced,
    }


def mesh_cells() -> dict[str, Atoms]:
    """Return one crystal in the cells and with the meshes of the labels, the densest mesh last."""
    cubic, primitive = bulk("W", "bcc", a=A0, cubic=True), bulk("W", "bcc", a=A0)
    meshes: dict[str, tuple[Atoms, dict[str, Any]]] = {
        "primitive_12": (primitive, {"mesh": [12, 12, 12]}),
        "cubic_8_shifted": (cubic, {"mesh": [8, 8, 8], "shift_mesh": True}),
        "primitive_10": (primitive, {"mesh": [10, 10, 10]}),
        "primitive_18": (primitive, {"mesh": [18, 18, 18]}),
    }
    cells = {}
    for name, (atoms, info) in meshes.items():
        cells[name] = atoms.copy()
        cells[name].info = info
    return cells


def atom_cells() -> dict[str, Atoms]:
    """Return the free atom in boxes of growing size."""
    info = {"mesh": [1, 1, 1], "spin_polarised": True}
    boxes = {"atom_8": [8.0, 8.5, 9.0], "atom_9": [9.0, 9.5, 10.0], "atom_10": [10.0, 10.5, 11.0]}
    return {name: Atoms("W", cell=box, pbc=True, info=dict(info)) for name, box in boxes.items()}


def series(cutoff: float) -> dict[str, list[PwSettings]]:
    """Return the settings of each series, the reference last."""
    return {
        "cutoff": [PwSettings(ecut, 0.50, 0.03) for ecut in CUTOFFS],
        "kpoints_degauss_0.02": [PwSettings(cutoff, distance, 0.02) for distance in DISTANCES],
        "kpoints_degauss_0.03": [PwSettings(cutoff, distance, 0.03) for distance in DISTANCES],
        "kpoints_degauss_0.05": [PwSettings(cutoff, distance, 0.05) for distance in DISTANCES[1:]],
        "smearing": [PwSettings(cutoff, DISTANCES[-1], degauss) for degauss in reversed(SMEARINGS)],
    }


def single_settings(cutoff: float) -> dict[str, tuple[PwSettings, dict[str, Atoms]]]:
    """Return the series that vary the cell at fixed settings, the reference cell last."""
    return {
        "meshes": (PwSettings(cutoff, 0.285, 0.05), mesh_cells()),
        "isolated_atom": (PwSettings(cutoff, 0.285, 0.005), atom_cells()),
    }


def measure(node: orm.WorkChainNode, atoms: Atoms) -> dict[str, Any]:
    """Return energy [eV/atom], x force on the last atom [eV/Å], pressure and xy stress as QE prints them [GPa]."""
    parameters = node.outputs.output_parameters.get_dict()
    trajectory = node.outputs.output_trajectory
    stress = trajectory.get_array("stress")[-1]
    return {
        "energy": parameters["energy"] / len(atoms),
        "force": float(trajectory.get_array("forces")[-1][-1][0]),
        "pressure": float(np.trace(stress) / 3.0),
        "stress_xy": float(stress[0][1]),
        "n_kpoints": parameters["number_of_k_points"],
        "wall_time": wall_time(node),
        "uuid": node.uuid,
    }


def differences(points: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return what a training set is sensitive to: energy differences [meV/atom], force [meV/Å], pressure [GPa]."""
    result = {}
    if "bcc" in points:
        for other in ("fcc", "compressed", "displaced"):
            if other in points:
                result[f"E({other})-E(bcc)"] = 1000.0 * (points[other]["energy"] - points["bcc"]["energy"])
        result["pressure(bcc)"] = points["bcc"]["pressure"]
    if "displaced" in points:
        result["force(displaced)"] = 1000.0 * points["displaced"]["force"]
        result["stress_xy(displaced)"] = points["displaced"]["stress_xy"]
    if "compressed" in points:
        result["pressure(compressed)"] = points["compressed"]["pressure"]
    return result


def tabulate(all_series: dict[str, list[PwSettings]], done: dict[str, orm.WorkChainNode]) -> dict[str, Any]:
    """Return raw points and, for each series, the errors against its reference (the last point that has finished)."""
    cells = test_cells()
    table: dict[str, Any] = {"points": {}, "series": {}}
    for label, members in all_series.items():
        rows = []
        for settings in members:
            names = {cell: settings_name(cell, settings) for cell in cells}
            points = {cell: measure(done[name], cells[cell]) for cell, name in names.items() if name in done}
            table["points"] |= {names[cell]: point for cell, point in points.items()}
            setting = {key: getattr(settings, key) for key in ("ecutwfc", "kpoints_distance", "degauss")}
            rows.append({"settings": setting, "values": differences(points)})
        reference = rows[-1]["values"]
        for row in rows:
            row["errors"] = {key: value - reference[key] for key, value in row["values"].items() if key in reference}
        table["series"][label] = rows
    return table


def tabulate_cells(cutoff: float, done: dict[str, orm.WorkChainNode]) -> dict[str, Any]:
    """Return the energies of the series over cells, against the last cell [meV/atom]."""
    table: dict[str, Any] = {}
    for label, (settings, cells) in single_settings(cutoff).items():
        names = {cell: settings_name(cell, settings) for cell in cells}
        points = {cell: measure(done[name], cells[cell]) for cell, name in names.items() if name in done}
        if points:
            reference = list(points.values())[-1]["energy"]
            errors = {cell: 1000.0 * (point["energy"] - reference) for cell, point in points.items()}
            table[label] = {"points": points, "errors": errors}
    return table


@click.command()
@click.option("--code", "code_label", default="pw@localhost", show_default=True, help="The pw.x code.")
@click.option("--family", default="PseudoDojo/0.5/PBE/SR/standard/upf", show_default=True)
@click.option("--cutoff", default=60.0, show_default=True, help="Cut-off of the k-point and smearing series [Ry].")
@click.option("--only", multiple=True, help="Run only these series (default: all).")
@click.option("--window", default=2, show_default=True, help="Work chains in flight.")
@click.option("--output", type=click.Path(path_type=Path), default=Path(__file__).with_name("convergence.json"))
def main(*, code_label: str, family: str, cutoff: float, only: tuple[str, ...], window: int, output: Path) -> None:
    """Run what is missing, then write the table."""
    load_profile()
    code = orm.load_code(code_label)
    chosen = {label: members for label, members in series(cutoff).items() if not only or label in only}
    jobs: dict[str, Callable[[], engine.ProcessBuilder]] = {}
    for members in chosen.values():
        for settings in members:
            for cell, atoms in test_cells().items():
                jobs[settings_name(cell, settings)] = partial(make_builder, atoms, settings, code, family)
    for label, (settings, cells) in single_settings(cutoff).items():
        if not only or label in only:
            for cell, atoms in cells.items():
                jobs[settings_name(cell, settings)] = partial(make_builder, atoms, settings, code, family)
    done = run_all(jobs.items(), EXTRA, window)
    table = tabulate(chosen, done) | {"cells": tabulate_cells(cutoff, done)}
    output.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
