"""What a data set contains, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.units import _amu

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.environments import environments
from aiida_mlip.science.datasets.fingerprints import usable
from aiida_mlip.science.isolated_atoms import is_isolated

_LABELS = (keys.ENERGY, keys.FORCES, keys.STRESS)


def has_volume(atoms: Atoms) -> bool:
    """Return whether a configuration is periodic in all directions and its cell has a volume."""
    return bool(atoms.pbc.all()) and abs(float(np.linalg.det(atoms.cell.array))) > 1e-6


def labels_of(atoms: Atoms) -> dict[str, bool]:
    """Return for each label whether a configuration has it, and all of it is finite."""
    energy, stress = atoms.info.get(keys.ENERGY), atoms.info.get(keys.STRESS)
    forces = atoms.arrays.get(keys.FORCES)
    values = dict(zip(_LABELS, (energy, forces, stress), strict=True))
    return {key: value is not None and bool(np.isfinite(value).all()) for key, value in values.items()}


def summarize(frames: Iterable[Atoms], closest: Mapping[int, float] | None = None) -> dict[str, Any]:
    """Return counts and ranges of a data set as plain numbers, texts, lists and dictionaries.

    Ranges are ``{"min", "mean", "max"}``, or ``None`` where nothing has the quantity: ``energy_per_atom`` [eV],
    ``max_force`` [eV/Å] (largest of each configuration), ``pressure`` [GPa], ``density`` [g/cm^3] and
    ``volume_per_atom`` [Å^3] (of configurations periodic in three directions), ``min_distance`` [Å], ``num_atoms``.

    :param frames: canonical configurations; read once, one at a time.
    :param closest: smallest distance [Å] of each configuration, where it is known already.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("labels", "types", "groups", "elements", "pbc")}
    values: dict[str, list[float]] = {name: [] for name in _RANGES}
    n_frames = n_isolated = 0
    for index, atoms in enumerate(frames):
        n_frames += 1
        n_isolated += is_isolated(atoms)
        counts["labels"].update(key for key, there in labels_of(atoms).items() if there)
        counts["types"][str(atoms.info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE))] += 1
        counts["elements"].update(atoms.get_chemical_symbols())
        counts["pbc"]["".join("T" if flag else "F" for flag in atoms.pbc)] += 1
        if group := str(atoms.info.get(keys.GROUP, "")):
            counts["groups"][group] += 1
        for name, value in _measure(atoms, None if closest is None else closest.get(index, np.inf)).items():
            values[name].append(value)
    return {
        "num_frames": n_frames,
        "num_isolated_atoms": n_isolated,
        "elements": sorted(counts["elements"]),
        "atoms_of_element": dict(sorted(counts["elements"].items())),
        "config_types": dict(sorted(counts["types"].items())),
        "periodicity": dict(sorted(counts["pbc"].items())),
        "labels": {key: counts["labels"][key] for key in _LABELS},
        "num_groups": len(counts["groups"]),
        "frames_in_groups": sum(counts["groups"].values()),
        **{name: _range(values[name]) for name in _RANGES},
        "total_atoms": int(sum(values["num_atoms"])),
    }


_RANGES = ("num_atoms", "energy_per_atom", "max_force", "pressure", "density", "volume_per_atom", "min_distance")


def _measure(atoms: Atoms, closest: float | None) -> dict[str, float]:
    there = labels_of(atoms)
    found: dict[str, float] = {"num_atoms": float(len(atoms))}
    if there[keys.ENERGY] and len(atoms):
        found["energy_per_atom"] = atoms.info[keys.ENERGY] / len(atoms)
    if there[keys.FORCES] and len(atoms):
        found["max_force"] = float(np.linalg.norm(atoms.arrays[keys.FORCES], axis=1).max())
    if there[keys.STRESS]:
        found["pressure"] = -float(np.mean(atoms.info[keys.STRESS][:3])) * keys.EV_PER_ANGSTROM3_IN_GPA
    if has_volume(atoms) and len(atoms):
        volume = abs(float(np.linalg.det(atoms.cell.array)))
        found["volume_per_atom"] = volume / len(atoms)
        found["density"] = float(atomic_masses[atoms.numbers].sum()) * _amu * 1e3 / (volume * 1e-24)
    if closest is None and usable(atoms):
        pair = environments(atoms).closest
        closest = pair[0] if pair else None
    if closest is not None and np.isfinite(closest):
        found["min_distance"] = closest
    return found


def _range(values: list[float]) -> dict[str, float] | None:
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return None
    return {"min": float(finite.min()), "mean": float(finite.mean()), "max": float(finite.max())}
