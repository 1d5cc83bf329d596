#!/usr/bin/env python
"""What selection is worth: frames chosen by their strangest atom, by averaged descriptors, and at random.

Copper with a vacancy, ASE's EMT as truth: it has an energy of each atom, which a kernel model of each atom's
environment can learn in a second. Among frames of ordinary dynamics at 300 to 1200 K are a few cool ones in which an
atom is on its way into the vacancy. Six frames are added to four of the perfect crystal, and the errors of the energies
of all atoms are printed, for several pools. Needs no profile and takes about half a minute for each pool.
"""

from __future__ import annotations

from dataclasses import dataclass

import click
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from aiida_mlip.science.selection import Budget, Candidate, Described, Level, choose, geometric_descriptors

Array = NDArray[np.float64]
RARE = 6
WIDTH = 8.0
"""Of the Gaussian kernel, in standard deviations of the descriptors."""


@dataclass(frozen=True)
class Frame:
    atoms: Atoms
    features: Array
    energies: Array


def frame(atoms: Atoms) -> Frame:
    calculated = atoms.copy()
    calculated.calc = EMT()
    return Frame(atoms, geometric_descriptors(atoms, ["Cu"]), calculated.get_potential_energies())


def dynamics(start: Atoms, temperature: float, count: int, rng: np.random.Generator) -> list[Atoms]:
    atoms, frames = start.copy(), []
    atoms.calc = EMT()
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    run = Langevin(atoms, 4 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    run.run(50)
    for _ in range(count):
        run.run(10)
        frames.append(atoms.copy())
    return frames


def pools(seed: int) -> tuple[list[Frame], list[Frame]]:
    """Return the frames to choose from, the rare ones last, and those that are known."""
    rng = np.random.default_rng(seed)
    perfect = bulk("Cu", cubic=True, a=3.62) * (3, 3, 3)
    vacancy = perfect.copy()
    site = perfect.positions[40]
    del vacancy[40]
    neighbour = int(np.argmin(np.linalg.norm(vacancy.positions - site, axis=1)))
    ordinary = [atoms for t in (300, 600, 900, 1200) for atoms in dynamics(vacancy, t, 40, rng)]
    rare = dynamics(vacancy, 300, RARE, rng)
    for atoms in rare:
        atoms.positions[neighbour] += rng.uniform(0.35, 0.55) * (site - vacancy.positions[neighbour])
    return [frame(a) for a in (*ordinary, *rare)], [frame(a) for a in dynamics(perfect, 300, 4, rng)]


def by_strangest_atom(pool: list[Frame], known: list[Frame], budget: int) -> list[int]:
    def described(frames: list[Frame]) -> list[Described]:
        return [Described(f.atoms.numbers, f.features, np.ones(len(f.atoms), bool)) for f in frames]

    candidates = [Candidate("all", i, f.atoms, 1.0, Level.CANDIDATE) for i, f in enumerate(pool)]
    chosen = choose(candidates, described(pool), described(known), Budget(budget))
    return [choice.candidate for choice in chosen.choices]


def by_average(pool: list[Frame], known: list[Frame], budget: int) -> list[int]:
    means, familiar = (np.array([f.features.mean(axis=0) for f in frames]) for frames in (pool, known))
    scale = means.std(axis=0)
    nearest = cdist(means / scale, familiar / scale).min(axis=1)
    picked: list[int] = []
    for _ in range(budget):
        picked.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, cdist(means / scale, means[picked[-1:]] / scale)[:, 0])
    return picked


def errors(pool: list[Frame], known: list[Frame], picked: list[int]) -> Array:
    """Return root mean square, 99.9 % quantile and largest error [meV/atom], and the largest of the rare frames."""
    everything = np.vstack([f.features for f in pool])
    mean, scale = everything.mean(axis=0), everything.std(axis=0)
    scale = np.maximum(scale, 0.05 * np.sqrt(np.mean(scale**2)))
    training = [*known, *(pool[i] for i in picked)]
    x = (np.vstack([f.features for f in training]) - mean) / scale
    y = np.concatenate([f.energies for f in training])

    def kernel(features: Array) -> Array:
        return np.exp(-cdist(features, x, "sqeuclidean") / (2 * WIDTH**2))

    weights = np.linalg.solve(kernel(x) + 1e-5 * np.eye(len(x)), y - y.mean())
    each = [np.abs(kernel((f.features - mean) / scale) @ weights + y.mean() - f.energies) for f in pool]
    flat, rare = np.concatenate(each), np.concatenate(each[-RARE:])
    return 1000 * np.array([np.sqrt(np.mean(flat**2)), np.quantile(flat, 0.999), flat.max(), rare.max()])


@click.command()
@click.option("--pools", "count", default=3, show_default=True, help="Pools of frames, each with its own seed.")
@click.option("--budget", default=6, show_default=True, help="Frames chosen.")
def main(count: int, budget: int) -> None:
    rows: dict[str, list[Array]] = {"strangest atom": [], "average": [], "random": []}
    for seed in range(count):
        pool, known = pools(seed)
        rows["strangest atom"].append(errors(pool, known, by_strangest_atom(pool, known, budget)))
        rows["average"].append(errors(pool, known, by_average(pool, known, budget)))
        for draw in range(10):
            picked = np.random.default_rng([seed, draw]).choice(len(pool), budget, replace=False).tolist()
            rows["random"].append(errors(pool, known, picked))
    click.echo(f"energy of an atom, {budget} frames of {len(pool)} chosen, mean over {count} pools [meV]")
    click.echo(f"{'chosen by':16s}{'rms':>10s}{'99.9 %':>10s}{'largest':>10s}{'rare':>10s}")
    for name, values in rows.items():
        click.echo(f"{name:16s}" + "".join(f"{value:10.1f}" for value in np.mean(values, axis=0)))


if __name__ == "__main__":
    main()
