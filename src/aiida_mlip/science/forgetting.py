"""What a potential forgets when it is trained on something else: its drift on common crystals.

There are no labels: the potential before the training is the reference. A change is not an error, but on crystals that
were not trained it is a change for no reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal as spacegroup_crystal
from numpy.typing import NDArray

from aiida_mlip.science.keys import CONFIG_TYPE, GROUP
from aiida_mlip.science.predictions import FloatArray, Predictions

STRAINS = (-0.02, 0.0, 0.02)
"""Isotropic strains of the frames of a crystal; each also has a random strain and random displacements."""

RANDOM_STRAIN = 0.01
"""Largest component of the random strain."""

RATTLE = 0.05
"""Standard deviation of the random displacements [Å]."""

SEED = 20261120


@dataclass(frozen=True)
class Crystal:
    """One crystal of the built-in set.

    :param name: chemical formula.
    :param family: what it is reported under.
    :param build: returns the ideal cell.
    """

    name: str
    family: str
    build: Callable[[], Atoms]


def _metal(symbol: str, structure: str, a: float, c: float | None = None) -> Crystal:
    """Return a metal in a cell of four atoms, so that displacements cause forces."""
    if structure == "fcc":
        return Crystal(symbol, "fcc metals", lambda: bulk(symbol, "fcc", a=a, cubic=True))
    if structure == "bcc":
        return Crystal(symbol, "bcc metals", lambda: bulk(symbol, "bcc", a=a, cubic=True) * (2, 1, 1))
    return Crystal(symbol, "hcp metals", lambda: bulk(symbol, "hcp", a=a, c=c) * (2, 1, 1))


def _cubic(name: str, structure: str, a: float, family: str) -> Crystal:
    repeat = (2, 1, 1) if structure == "cesiumchloride" else (1, 1, 1)
    sites = name.replace("F2", "FF")  # ASE's name of fluorite lists each site
    return Crystal(name, family, lambda: bulk(sites, structure, a=a, cubic=True) * repeat)


def _group(name: str, sites: dict[str, tuple[float, float, float]], group: int, cell: tuple[float, ...]) -> Crystal:
    """Return an oxide from its space group, in the primitive cell; ``cell`` is a, b, c, alpha, beta, gamma."""

    def build() -> Atoms:
        made = spacegroup_crystal(
            list(sites), list(sites.values()), spacegroup=group, cellpar=list(cell), primitive_cell=True
        )
        return Atoms(made.numbers, made.positions, cell=made.cell, pbc=True)

    return Crystal(name, "oxides", build)


CRYSTALS: tuple[Crystal, ...] = (
    _metal("Al", "fcc", 4.05),
    _metal("Ni", "fcc", 3.52),
    _metal("Cu", "fcc", 3.61),
    _metal("Au", "fcc", 4.08),
    _metal("Na", "bcc", 4.29),
    _metal("Fe", "bcc", 2.87),
    _metal("Nb", "bcc", 3.30),
    _metal("Mo", "bcc", 3.15),
    _metal("Mg", "hcp", 3.21, 5.21),
    _metal("Ti", "hcp", 2.95, 4.68),
    _metal("Zn", "hcp", 2.66, 4.95),
    _cubic("C", "diamond", 3.57, "covalent"),
    _cubic("Si", "diamond", 5.43, "covalent"),
    _cubic("SiC", "zincblende", 4.36, "covalent"),
    _cubic("GaAs", "zincblende", 5.65, "covalent"),
    _cubic("LiF", "rocksalt", 4.03, "halides"),
    _cubic("NaCl", "rocksalt", 5.64, "halides"),
    _cubic("CsCl", "cesiumchloride", 4.12, "halides"),
    _cubic("CaF2", "fluorite", 5.46, "halides"),
    _cubic("MgO", "rocksalt", 4.21, "oxides"),
    _group("TiO2", {"Ti": (0, 0, 0), "O": (0.305, 0.305, 0)}, 136, (4.59, 4.59, 2.96, 90, 90, 90)),
    _group("SrTiO3", {"Sr": (0, 0, 0), "Ti": (0.5, 0.5, 0.5), "O": (0.5, 0.5, 0)}, 221, (3.91,) * 3 + (90,) * 3),
    _group("SiO2", {"Si": (0.470, 0, 2 / 3), "O": (0.413, 0.267, 2 / 3 + 0.119)}, 154, (4.91, 4.91, 5.41, 90, 90, 120)),
    _group("Al2O3", {"Al": (0, 0, 0.352), "O": (0.306, 0, 0.25)}, 167, (4.76, 4.76, 12.99, 90, 90, 120)),
    _group("ZnO", {"Zn": (1 / 3, 2 / 3, 0), "O": (1 / 3, 2 / 3, 0.382)}, 186, (3.25, 3.25, 5.21, 90, 90, 120)),
    _cubic("TiC", "rocksalt", 4.33, "metallic compounds"),
    _cubic("NiAl", "cesiumchloride", 2.89, "metallic compounds"),
)
"""The built-in set. Lattice constants are rounded from R. W. G. Wyckoff, *Crystal Structures* (1963); they only have to
be near a minimum, since nothing is compared with them."""


def forgetting_frames(elements: Collection[str] | None = None, *, exclude: Collection[str] = ()) -> list[Atoms]:
    """Return the built-in set: each crystal compressed, sheared and expanded, with displaced atoms, without labels.

    ``config_type`` is the family of the crystal and ``group`` its formula. A frame is the same whichever crystals are
    left out.

    :param elements: only crystals of these elements; None: all of them.
    :param exclude: no crystals with any of these elements, e.g. those that were trained.
    """
    frames = []
    for number, crystal in enumerate(CRYSTALS):
        ideal = crystal.build()
        symbols = set(ideal.get_chemical_symbols())
        if (elements is not None and not symbols <= set(elements)) or symbols & set(exclude):
            continue
        frames += [_frame(ideal, crystal, number, state) for state in range(len(STRAINS))]
    return frames


def _frame(ideal: Atoms, crystal: Crystal, number: int, state: int) -> Atoms:
    rng = np.random.default_rng([SEED, number, state])
    random = rng.uniform(-RANDOM_STRAIN, RANDOM_STRAIN, size=(3, 3))
    strain = STRAINS[state] * np.eye(3) + (random + random.T) / 2
    atoms = Atoms(ideal.numbers, ideal.positions, cell=ideal.cell, pbc=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += rng.normal(scale=RATTLE, size=atoms.positions.shape)
    atoms.info = {CONFIG_TYPE: crystal.family, GROUP: crystal.name}
    return atoms


def drift(frames: Sequence[Atoms], reference: Predictions, new: Predictions) -> dict[str, Any]:
    """Return how far predictions moved from those of the reference potential.

    Energies are compared per atom after the mean over the frames of the same ``group`` has been taken off, for each
    potential by itself. These frames have the same composition, so whatever E0s a training chose drops out, and what
    is left is the change of the energy surface. Changes of one crystal against another are not seen in this number;
    ``energy_shift`` has them, mixed with the E0s.

    :param frames: with ``config_type`` and ``group``, as from :func:`forgetting_frames`.
    :param reference: predictions of the potential before the training, in the order of the frames.
    :param new: predictions of the potential after it.
    :return: ``{"all": cell, "families": {config_type: cell}}``. A cell has ``frames``, ``atoms``, ``energy_rmse`` and
        ``energy_shift`` (mean change of the total energy) [eV/atom], ``forces_rmse`` and ``forces_max`` (largest
        change of a component) [eV/Å], ``forces_relative`` (``forces_rmse`` over the root mean square force of the
        reference; None where that is 0), and ``stress_rmse`` [eV/Å^3] (None where there are no stresses).
    :raises ValueError: where there are no frames, a group has a single one or another composition, or the numbers of
        predictions differ.
    """
    if not len(frames) == len(reference) == len(new):
        raise ValueError(f"{len(reference)} and {len(new)} predictions for {len(frames)} frames: give one for each")
    if not frames:
        raise ValueError("frames is empty: the potential has the elements of no crystal of the set")
    energies = _relative_energies(frames, new) - _relative_energies(frames, reference)
    families: dict[str, list[int]] = {}
    for index, atoms in enumerate(frames):
        families.setdefault(str(atoms.info[CONFIG_TYPE]), []).append(index)
    return {
        "all": _cell(range(len(frames)), frames, energies, reference, new),
        "families": {name: _cell(chosen, frames, energies, reference, new) for name, chosen in families.items()},
    }


def _relative_energies(frames: Sequence[Atoms], predictions: Predictions) -> FloatArray:
    """Return energies per atom [eV] relative to the mean of the group, shape (frames,)."""
    groups: dict[str, list[int]] = {}
    for index, atoms in enumerate(frames):
        groups.setdefault(str(atoms.info[GROUP]), []).append(index)
    energies: FloatArray = predictions.energies / np.array([len(atoms) for atoms in frames])
    for name, chosen in groups.items():
        formulas = {frames[index].get_chemical_formula(empirical=True) for index in chosen}
        if len(chosen) < 2 or len(formulas) > 1:
            raise ValueError(
                f"group {name!r} has {len(chosen)} frames of {', '.join(sorted(formulas))}: "
                "relative energies need at least two frames of one composition"
            )
        energies[chosen] -= energies[chosen].mean()
    return energies


def _cell(
    chosen: Sequence[int], frames: Sequence[Atoms], energies: FloatArray, reference: Predictions, new: Predictions
) -> dict[str, Any]:
    index = np.array(chosen)
    sizes = np.array([len(frames[i]) for i in chosen])
    before = np.concatenate([reference.forces[i].ravel() for i in chosen])
    change = np.concatenate([(new.forces[i] - reference.forces[i]).ravel() for i in chosen])
    stress = (new.stresses - reference.stresses)[index]
    stress = stress[np.isfinite(stress).all(axis=1)]
    forces_rmse, size = _rms(change), _rms(before)
    return {
        "frames": len(chosen),
        "atoms": int(sizes.sum()),
        "energy_rmse": _rms(energies[index]),
        "energy_shift": float(np.mean((new.energies - reference.energies)[index] / sizes)),
        "forces_rmse": forces_rmse,
        "forces_max": float(np.abs(change).max()),
        "forces_relative": forces_rmse / size if size > 0 else None,
        "stress_rmse": _rms(stress.ravel()) if len(stress) else None,
    }


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
