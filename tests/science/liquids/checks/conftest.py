"""Boxes and trajectories made by hand for the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.checks import Finding, Run

TRICLINIC = np.array([[1.0, 0.03, -0.08], [0.11, 1.04, 0.05], [-0.06, 0.09, 0.97]])

MakeBox = Callable[..., Atoms]
Check = Callable[..., Finding]


def made_box(names: Sequence[str], *, spacing: float = 4.4, seed: int = 0, shuffled: bool = True) -> Atoms:
    """Molecules turned at random on the sites of a triclinic lattice, atoms in random order and wrapped.

    :param names: of molecules of ase.build.molecule; the lattice has as many sites along each direction as are needed.
    """
    rng = np.random.default_rng(seed)
    sites = int(np.ceil(len(names) ** (1 / 3) - 1e-9))
    cell = TRICLINIC * spacing * sites
    atoms = Atoms(cell=cell, pbc=True)
    for name, site in zip(names, product(range(sites), repeat=3), strict=False):
        one = molecule(name)
        one.rotate(float(rng.uniform(0, 180)), rng.normal(size=3))
        one.positions += np.array(site) / sites @ cell - one.get_center_of_mass() + rng.uniform(-0.1, 0.1, size=3)
        atoms += one
    atoms.wrap()
    return atoms[rng.permutation(len(atoms)).tolist()] if shuffled else atoms


@pytest.fixture
def make_box() -> MakeBox:
    return made_box


@pytest.fixture
def check() -> Check:
    """Give frames to a check and return what it finds; times are set where a frame has none."""

    def checked(
        name: str,
        frames: Iterable[Atoms],
        *,
        start: Atoms,
        spacing: float = 10.0,
        limits: dict | None = None,
        **known: object,
    ) -> Finding:
        run = Run(start=start, **({"ensemble": "nvt", "timestep": 1.0, "temperature": 300.0} | known))
        reading = checks.get(name).begin(run, checks.get(name).parse(limits or {}))
        for index, frame in enumerate(frames):
            seen = frame.copy()
            seen.info = {"time_fs": index * spacing, "step": round(index * spacing)} | frame.info
            reading.add(seen)
        return reading.finish()

    return checked
