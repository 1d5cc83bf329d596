"""How far predictions are from labels, over all frames, per configuration type and per element.

Energies are compared per atom [eV/atom], forces component by component [eV/Å], stresses component by component in
Voigt order [eV/Å^3]. What a frame has no label for, or a potential no prediction, is left out and not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip.science.keys import CONFIG_TYPE, DEFAULT_CONFIG_TYPE, ENERGY, FORCES, STRESS
from aiida_mlip.science.predictions import FloatArray, Predictions

QUANTITIES = ("energy", "forces", "stress")
ERROR_UNITS = {"energy": "eV/atom", "forces": "eV/angstrom", "stress": "eV/angstrom^3"}


def error_table(frames: Sequence[Atoms], predictions: Predictions) -> dict[str, Any]:
    """Return the errors of predictions against the labels of the frames.

    :param frames: configurations with labels under the names in :mod:`aiida_mlip.science.keys`.
    :param predictions: of the same frames, in the same order.
    :return: ``{"all": cell, "config_types": {type: cell}, "elements": {symbol: cell}}``. A cell maps ``energy``,
        ``forces`` and ``stress`` to ``{"mae", "rmse", "max", "n"}``, where ``n`` counts the numbers compared, and
        ``frames`` to the number of frames; a quantity without labels is absent. Elements have forces only.
    :raises ValueError: if the numbers of frames, or of atoms in a frame, differ.
    """
    if len(frames) != len(predictions):
        raise ValueError(f"predictions: {len(predictions)} for {len(frames)} frames; give one for each")
    rows = [_residuals(atoms, predictions, index) for index, atoms in enumerate(frames)]
    types: dict[str, list[int]] = {}
    for index, atoms in enumerate(frames):
        types.setdefault(str(atoms.info.get(CONFIG_TYPE, DEFAULT_CONFIG_TYPE)), []).append(index)
    return {
        "all": _cell(rows),
        "config_types": {name: _cell([rows[i] for i in chosen]) for name, chosen in sorted(types.items())},
        "elements": _by_element(frames, rows),
    }


def _residuals(atoms: Atoms, predictions: Predictions, index: int) -> dict[str, FloatArray]:
    """Return quantity -> prediction minus label of one frame; absent where there is nothing to compare."""
    found: dict[str, FloatArray] = {}
    if ENERGY in atoms.info:
        found["energy"] = np.array([(predictions.energies[index] - float(atoms.info[ENERGY])) / len(atoms)])
    if FORCES in atoms.arrays:
        forces = predictions.forces[index]
        if forces.shape != atoms.arrays[FORCES].shape:
            raise ValueError(
                f"predictions.forces[{index}] has shape {forces.shape}, the labels {atoms.arrays[FORCES].shape}"
            )
        found["forces"] = forces - atoms.arrays[FORCES]
    if STRESS in atoms.info:
        found["stress"] = predictions.stresses[index] - np.asarray(atoms.info[STRESS], dtype=float)
    return {name: values for name, values in found.items() if np.isfinite(values).all()}


def _cell(rows: Sequence[dict[str, FloatArray]]) -> dict[str, Any]:
    cell: dict[str, Any] = {"frames": len(rows)}
    for quantity in QUANTITIES:
        values = [row[quantity].ravel() for row in rows if quantity in row]
        if values:
            cell[quantity] = _statistics(np.concatenate(values))
    return cell


def _by_element(frames: Sequence[Atoms], rows: Sequence[dict[str, FloatArray]]) -> dict[str, Any]:
    values: dict[str, list[FloatArray]] = {}
    counts: dict[str, int] = {}
    for atoms, row in zip(frames, rows, strict=True):
        if "forces" not in row:
            continue
        symbols = np.array(atoms.get_chemical_symbols())
        for symbol in sorted(set(symbols)):
            values.setdefault(symbol, []).append(row["forces"][symbols == symbol].ravel())
            counts[symbol] = counts.get(symbol, 0) + 1
    return {
        symbol: {"frames": counts[symbol], "forces": _statistics(np.concatenate(parts))}
        for symbol, parts in sorted(values.items())
    }


def _statistics(differences: FloatArray) -> dict[str, float | int]:
    sizes = np.abs(differences)
    return {
        "mae": float(sizes.mean()),
        "rmse": float(np.sqrt(np.mean(differences**2))),
        "max": float(sizes.max()),
        "n": int(sizes.size),
    }
