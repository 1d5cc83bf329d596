"""Labels and predictions side by side as plain arrays, for parity plots and for later comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.keys import CONFIG_TYPE, DEFAULT_CONFIG_TYPE, ENERGY, FORCES, GROUP, STRESS
from aiida_mlip.science.predictions import FloatArray, Predictions


def parity_arrays(
    frames: Sequence[Atoms], predictions: Predictions, shifts: FloatArray | None = None
) -> dict[str, NDArray[Any]]:
    """Return the labels of ``frames`` and the predictions, atoms of all frames one after the other.

    With n frames and m atoms in all:

    - ``num_atoms`` (n,), ``config_type`` (n,) text;
    - ``energy_reference``, ``energy_predicted`` (n,) [eV/atom], and ``energy_shift`` (n,) [eV/atom], which is to be
      taken off the prediction where energies of two levels of theory are compared, and otherwise 0;
    - ``atom_numbers``, ``atom_frame`` (m,), ``forces_reference``, ``forces_predicted`` (m, 3) [eV/Å];
    - ``stress_reference``, ``stress_predicted`` (n, 6) [eV/Å^3], ASE's sign and Voigt order;
    - ``descriptors`` (n, features), where there are any.

    What a frame has no label for is NaN.

    :param shifts: energy of each frame to take off its prediction [eV], shape (n,).
    """
    sizes = np.array([len(atoms) for atoms in frames], dtype=np.int64)
    empty = [np.zeros((0, 3))]
    arrays: dict[str, NDArray[Any]] = {
        "num_atoms": sizes,
        "config_type": np.array([str(a.info.get(CONFIG_TYPE, DEFAULT_CONFIG_TYPE)) for a in frames], dtype=np.str_),
        "energy_reference": np.array([float(a.info.get(ENERGY, np.nan)) for a in frames]) / sizes,
        "energy_predicted": predictions.energies / sizes,
        "energy_shift": np.zeros(len(frames)) if shifts is None else shifts / sizes,
        "atom_numbers": np.array([z for a in frames for z in a.numbers], dtype=np.int64),
        "atom_frame": np.repeat(np.arange(len(frames), dtype=np.int64), sizes),
        "forces_reference": np.concatenate(empty + [_forces(a) for a in frames]),
        "forces_predicted": np.concatenate(empty + predictions.forces),
        "stress_reference": np.array([_stress(a) for a in frames]).reshape(len(frames), 6),
        "stress_predicted": predictions.stresses.reshape(len(frames), 6),
    }
    if predictions.descriptors is not None:
        arrays["descriptors"] = predictions.descriptors
    return arrays


def predictions_from(arrays: Mapping[str, NDArray[Any]]) -> Predictions:
    """Return the predictions in arrays of :func:`parity_arrays`; energies are as the potential gave them."""
    sizes = np.asarray(arrays["num_atoms"], dtype=np.int64)
    forces = np.asarray(arrays["forces_predicted"], dtype=float)
    return Predictions(
        energies=np.asarray(arrays["energy_predicted"], dtype=float) * sizes,
        forces=np.split(forces, np.cumsum(sizes)[:-1]) if len(sizes) else [],
        stresses=np.asarray(arrays["stress_predicted"], dtype=float),
        descriptors=np.asarray(arrays["descriptors"], dtype=float) if "descriptors" in arrays else None,
    )


def labelled_frames(frames: Sequence[Atoms], predictions: Predictions) -> list[Atoms]:
    """Return copies of the frames with the predictions as their labels; the source is empty.

    Configuration types and groups are kept. Stresses that are NaN are left out.
    """
    made = []
    for index, atoms in enumerate(frames):
        copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        copy.info = {key: value for key, value in atoms.info.items() if key in (CONFIG_TYPE, GROUP)}
        copy.info[ENERGY] = float(predictions.energies[index])
        copy.arrays[FORCES] = np.array(predictions.forces[index], dtype=float)
        if np.isfinite(predictions.stresses[index]).all():
            copy.info[STRESS] = np.array(predictions.stresses[index], dtype=float)
        made.append(copy)
    return made


def _forces(atoms: Atoms) -> FloatArray:
    return np.asarray(atoms.arrays.get(FORCES, np.full((len(atoms), 3), np.nan)), dtype=float)


def _stress(atoms: Atoms) -> FloatArray:
    return np.asarray(atoms.info.get(STRESS, np.full(6, np.nan)), dtype=float)
