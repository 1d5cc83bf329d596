#!/usr/bin/env python
"""What a property costs: the registry's way against a plain ASE script, with the same potential in one run.

The plain scripts are what one would write in an afternoon: conventional supercells, BFGS or FIRE from the ideal
positions, every point and every image computed, no use of symmetry. Numbers must agree; the cost is counted in force
calls times atoms, which does not depend on the machine, and in seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from ase import Atoms
from ase.build import bcc110, bulk
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixedLine
from ase.eos import calculate_eos
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from rich.console import Console
from rich.table import Table

from aiida_mlip.science import properties
from aiida_mlip.science.properties import Meter
from aiida_mlip.worker.backends import load_potential
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair

EV_PER_A2 = 16.0217663
"""J/m^2."""


def lattice(element: str, calculator: BaseCalculator, guess: float) -> tuple[float, float]:
    """Return lattice constant [Å] and energy per atom [eV] from equations of state, as a script would."""
    for _ in range(2):
        cell = bulk(element, "bcc", a=guess, cubic=True)
        cell.calc = calculator
        volume, energy, _ = calculate_eos(cell, npoints=7, eps=0.03).fit(warn=False)
        guess = volume ** (1 / 3)
    return guess, energy / 2


def vacancy(element: str, a: float, energy: float, calculator: BaseCalculator, n: int) -> float:
    """Return the formation energy [eV] in n x n x n cubic cells."""
    atoms = bulk(element, "bcc", a=a, cubic=True) * (n, n, n)
    del atoms[0]
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=300)
    return float(atoms.get_potential_energy() - len(atoms) * energy)


def migration(element: str, a: float, calculator: BaseCalculator, n: int, images: int) -> float:
    """Return the barrier of a <111>/2 hop [eV] by a climbing nudged elastic band with ``images`` between the ends."""
    perfect = bulk(element, "bcc", a=a, cubic=True) * (n, n, n)
    first, last = perfect[1:], perfect[1:]
    hop = int(np.argmin(perfect.get_distances(0, range(1, len(perfect)), mic=True)))
    last.positions[hop] = (
        perfect.positions[0]
        + np.round((last.positions[hop] - perfect.positions[0]) / perfect.cell.lengths()) * perfect.cell.lengths()
    )
    path = [first, *(first.copy() for _ in range(images)), last]
    for atoms in path:
        atoms.calc = calculator
    for atoms in (first, last):
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=300)
    band = NEB(path, method="improvedtangent", climb=True, allow_shared_calculator=True)
    band.interpolate(mic=True)
    FIRE(band, logfile=None).run(fmax=0.05, steps=500)
    energies = [atoms.get_potential_energy() for atoms in path]
    return float(max(energies) - energies[0])


def interstitial(element: str, a: float, energy: float, calculator: BaseCalculator, n: int) -> float:
    """Return the formation energy of a <111> dumbbell [eV] in n x n x n cubic cells."""
    atoms = bulk(element, "bcc", a=a, cubic=True) * (n, n, n)
    centre = len(atoms) // 2
    arm = 0.2 * a * np.ones(3) / np.sqrt(3)
    place = atoms.positions[centre].copy()
    atoms.positions[centre] = place + 1.7 * arm
    atoms += Atoms(element, positions=[place - 1.7 * arm])
    atoms.positions += np.random.default_rng(1).normal(scale=0.005, size=atoms.positions.shape)
    atoms.calc = calculator
    FIRE(atoms, logfile=None).run(fmax=0.01, steps=800)
    return float(atoms.get_potential_energy() - len(atoms) * energy)


def gamma_line(element: str, a: float, calculator: BaseCalculator, points: int, layers: int) -> float:
    """Return the largest energy [J/m^2] of the {110}<111> line, every point from the unrelaxed fault."""
    slab = bcc110(element, (1, 1, layers), a=a, vacuum=10.0, orthogonal=False)
    slab.pbc = True
    direction = slab.cell[0] if np.isclose(np.linalg.norm(slab.cell[0]), a * np.sqrt(3) / 2) else slab.cell[1]
    upper = slab.positions[:, 2] > slab.positions[:, 2].mean()
    energies = []
    for fraction in np.linspace(0, 1, points):
        atoms = slab.copy()
        atoms.positions[upper] += fraction * direction
        atoms.set_constraint(FixedLine(list(range(len(atoms))), (0, 0, 1)))
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
        energies.append(atoms.get_potential_energy())
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    return float((max(energies) - energies[0]) / area * EV_PER_A2)


def surface(element: str, a: float, energy: float, calculator: BaseCalculator, layers: int) -> float:
    """Return the relaxed energy [J/m^2] of the (110) surface."""
    slab = bcc110(element, (1, 1, layers), a=a, vacuum=10.0, orthogonal=False)
    slab.pbc = True
    slab.calc = calculator
    BFGS(slab, logfile=None).run(fmax=0.01, steps=200)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    return float((slab.get_potential_energy() - len(slab) * energy) / (2 * area) * EV_PER_A2)


Plain = Callable[[str, float, float, BaseCalculator], float]

CASES: Mapping[str, tuple[dict[str, Any], str, Plain]] = {
    "vacancy": (
        {"sizes": [3, 4]},
        "vacancy_formation",
        lambda element, a, energy, calculator: [vacancy(element, a, energy, calculator, n) for n in (3, 4)][-1],
    ),
    "vacancy_migration": (
        {"size": 3},
        "vacancy_migration",
        lambda element, a, _, calculator: migration(element, a, calculator, 3, 7),
    ),
    "interstitial": (
        {"kinds": ["111"], "sizes": [4]},
        "interstitial_formation_111",
        lambda element, a, energy, calculator: interstitial(element, a, energy, calculator, 4),
    ),
    "gamma_line": (
        {"planes": ["110"], "points": 31, "unrelaxed": False},
        "gamma_max_110",
        lambda element, a, _, calculator: gamma_line(element, a, calculator, 31, 12),
    ),
    "surface": (
        {"surfaces": ["110"], "reconstructions": [], "thicknesses": [15.0, 20.0]},
        "surface_110",
        lambda element, a, energy, calculator: [surface(element, a, energy, calculator, n) for n in (8, 10)][-1],
    ),
}
"""Property -> its inputs, the quantity that is compared, and the plain script."""


def compare(name: str, element: str, calculator: BaseCalculator) -> dict[str, Any]:
    """Return value and cost of both ways; each finds its own lattice constant."""
    inputs, key, plain = CASES[name]
    record, _ = properties.compute(properties.get(name), {"element": element, **inputs}, calculator)
    ours = next((item.value for item in record.quantities if item.key == key), None)
    meter, start = Meter(calculator), time.perf_counter()
    a, energy = lattice(element, meter, bulk(element).cell.cellpar()[0] * 2 / np.sqrt(3))
    theirs = plain(element, a, energy, meter)
    return {
        "property": name,
        "ours": ours,
        "plain": theirs,
        "atom_calls": (record.atom_calls, meter.atom_calls),
        "seconds": (record.seconds, time.perf_counter() - start),
        "flags": [flag.name for flag in record.flags],
        "error": record.error.message if record.error else None,
    }


@click.command(help=__doc__)
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="Model file; default: Finnis-Sinclair.")
@click.option("--element", default="W", show_default=True)
@click.option("--property", "names", multiple=True, type=click.Choice(list(CASES)), default=list(CASES))
@click.option("--out", type=click.Path(path_type=Path), help="Write the numbers as JSON.")
def main(*, model: Path | None, element: str, names: tuple[str, ...], out: Path | None) -> None:
    calculator = load_potential(model, None).calculator() if model else FinnisSinclair()
    table = Table(title=f"{element}, {model.name if model else 'Finnis-Sinclair'}: registry against a plain ASE script")
    for heading in ("property", "registry", "plain", "difference", "atom calls", "seconds", "ratio of atom calls"):
        table.add_column(heading, justify="left" if heading == "property" else "right")
    rows = [compare(name, element, calculator) for name in names]
    for row in rows:
        if row["ours"] is None:
            table.add_row(row["property"], row["error"] or "-", f"{row['plain']:.4f}", "", "", "", "")
            continue
        calls, seconds = row["atom_calls"], row["seconds"]
        table.add_row(
            row["property"],
            f"{row['ours']:.4f}",
            f"{row['plain']:.4f}",
            f"{row['ours'] - row['plain']:+.4f}",
            f"{calls[0]} / {calls[1]}",
            f"{seconds[0]:.1f} / {seconds[1]:.1f}",
            f"{calls[0] / calls[1]:.2f}",
        )
    Console(width=130).print(table)
    if out:
        out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
