"""The one form in which labelled configurations are kept, and its text: equal content is written as equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.comment import quote, split_pairs
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.units import voigt

Array = NDArray[np.float64]

_TEXT_KEYS = (keys.CONFIG_TYPE, keys.GROUP, keys.SOURCE, keys.ORIGIN)


def canonical(atoms: Atoms) -> Atoms:
    """Return a copy that has numbers, positions, cell, periodicity and the canonical labels, and nothing else.

    Positions are neither wrapped nor reordered. ``config_type`` is always there (``default`` where it was not given);
    energy, forces, stress, ``group``, ``source``, ``origin`` only where they are known. A calculator and its results
    are dropped: :func:`~aiida_mlip.science.datasets.reading.read_labelled` is what turns results into labels.

    :param atoms: a configuration with labels under the names of :mod:`aiida_mlip.science.keys`.
    :raises DatasetError: if a label has a shape that it cannot have, or an atom is not a chemical element.
    """
    if (atoms.numbers <= 0).any():
        raise DatasetError("an atom of species X (number 0) is no element: remove dummy atoms before importing")
    clean = Atoms(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64) + 0.0,
        cell=np.array(atoms.cell.array, dtype=np.float64) + 0.0,
        pbc=np.array(atoms.pbc, dtype=bool),
    )
    if atoms.info.get(keys.ENERGY) is not None:
        clean.info[keys.ENERGY] = _scalar(atoms.info[keys.ENERGY], keys.ENERGY)
    if atoms.info.get(keys.STRESS) is not None:
        clean.info[keys.STRESS] = voigt(atoms.info[keys.STRESS], what=keys.STRESS) + 0.0
    if keys.FORCES in atoms.arrays:
        clean.arrays[keys.FORCES] = _forces(atoms.arrays[keys.FORCES], len(atoms))
    for key in _TEXT_KEYS:
        text = str(atoms.info.get(key, "")).strip()
        if text or key == keys.CONFIG_TYPE:
            clean.info[key] = text or keys.DEFAULT_CONFIG_TYPE
    return clean


def _scalar(value: Any, what: str) -> float:
    try:
        return float(np.asarray(value, dtype=np.float64).reshape(())) + 0.0
    except (TypeError, ValueError):
        raise DatasetError(f"{what} = {value!r} is not one number: give the total energy of the cell [eV]") from None


def _forces(value: Any, n_atoms: int) -> Array:
    array = np.array(value, dtype=np.float64) + 0.0
    if array.shape != (n_atoms, 3):
        raise DatasetError(f"{keys.FORCES} has shape {array.shape}: forces have shape ({n_atoms}, 3)")
    return array


def write_extxyz(frames: Iterable[Atoms], fileobj: TextIO) -> int:
    """Write frames as extended XYZ; reading them back gives the same numbers to the last bit.

    Numbers are written with the fewest digits that identify them, keys in a fixed order, so that the same content has
    the same bytes on every machine. ASE and MACE read the result.

    :param frames: configurations; each is made canonical first.
    :param fileobj: open for writing text.
    :return: how many frames were written.
    """
    count = 0
    for atoms in frames:
        fileobj.write(_frame_text(canonical(atoms)))
        count += 1
    return count


def _frame_text(atoms: Atoms) -> str:
    columns = [atoms.positions]
    properties = "species:S:1:pos:R:3"
    if keys.FORCES in atoms.arrays:
        columns.append(atoms.arrays[keys.FORCES])
        properties += f":{keys.FORCES}:R:3"
    pairs = [f"Lattice={_numbers(atoms.cell.array.ravel())}"] if atoms.cell.array.any() or atoms.pbc.any() else []
    pairs.append(f"Properties={properties}")
    if keys.ENERGY in atoms.info:
        pairs.append(f"{keys.ENERGY}={atoms.info[keys.ENERGY]!r}")
    if keys.STRESS in atoms.info:
        pairs.append(f"{keys.STRESS}={_numbers(atoms.info[keys.STRESS])}")
    pairs += [f"{key}={quote(atoms.info[key])}" for key in _TEXT_KEYS if key in atoms.info]
    pairs.append(f'pbc="{" ".join("T" if flag else "F" for flag in atoms.pbc)}"')
    rows = [
        f"{chemical_symbols[number]} {' '.join(map(repr, row))}"
        for number, row in zip(atoms.numbers.tolist(), np.hstack(columns).tolist(), strict=True)
    ]
    return "\n".join([str(len(atoms)), " ".join(pairs), *rows]) + "\n"


def _numbers(values: Array) -> str:
    return '"' + " ".join(map(repr, values.tolist())) + '"'


def read_extxyz(fileobj: TextIO) -> Iterator[Atoms]:
    """Yield the frames of a file that :func:`write_extxyz` wrote, one at a time.

    :param fileobj: open for reading text.
    :raises DatasetError: if the file is not of this form; the message has the line.
    """
    line_number = 0
    while line := fileobj.readline():
        line_number += 1
        if not line.strip():
            continue
        try:
            n_atoms = int(line)
            pairs = split_pairs(fileobj.readline())
            rows = [fileobj.readline().split() for _ in range(n_atoms)]
            atoms = _frame(pairs, rows)
        except (ValueError, KeyError, IndexError) as error:
            raise DatasetError(
                f"line {line_number}: not a frame of a canonical data set ({error!s}): "
                "import the file with 'aiida-mlip dataset import' or read_labelled() instead"
            ) from None
        line_number += 1 + n_atoms
        yield atoms


def _frame(pairs: Mapping[str, str], rows: list[list[str]]) -> Atoms:
    has_forces = pairs["Properties"] == f"species:S:1:pos:R:3:{keys.FORCES}:R:3"
    if not has_forces and pairs["Properties"] != "species:S:1:pos:R:3":
        raise ValueError(f"Properties={pairs['Properties']}")
    values = np.array([[float(item) for item in row[1:]] for row in rows]).reshape(len(rows), 6 if has_forces else 3)
    atoms = Atoms(
        numbers=[atomic_numbers[row[0]] for row in rows],
        positions=values[:, :3],
        cell=_floats(pairs["Lattice"]).reshape(3, 3) if "Lattice" in pairs else None,
        pbc=[flag == "T" for flag in pairs["pbc"].split()],
    )
    if has_forces:
        atoms.arrays[keys.FORCES] = values[:, 3:].copy()
    if keys.ENERGY in pairs:
        atoms.info[keys.ENERGY] = float(pairs[keys.ENERGY])
    if keys.STRESS in pairs:
        atoms.info[keys.STRESS] = _floats(pairs[keys.STRESS]).reshape(6)
    atoms.info |= {key: pairs[key] for key in _TEXT_KEYS if key in pairs}
    return atoms


def _floats(text: str) -> Array:
    return np.array([float(item) for item in text.split()])
