"""Trajectories as text: one extended XYZ frame after the other, lossless, readable while it grows.

A frame has numbers, positions, cell and periodicity, and what the dynamics knew of it. Read back, that is in
``atoms.info`` and ``atoms.arrays`` under these names:

=============================  =======================================================================
``step``, ``stage``            steps of the dynamics since its start, and index of the stage (both int)
``time_fs``                    time since the start [fs]
``temperature``                target temperature [K]
``pressure``                   target pressure [GPa]; absent where there is none
``instantaneous_temperature``  of the momenta [K]
``energy``                     total energy of the cell [eV]
``energy_sigma``               its uncertainty [eV]; absent where there is none
``max_forces_sigma``           largest uncertainty of an atom's force [eV/Å]; absent where there is none
``stopped``                    whether this frame broke the rule that ended the run (bool)
``forces``                     array, [eV/Å], shape (n, 3)
``forces_sigma``               array, uncertainty of each atom's force [eV/Å], shape (n,); absent where there is none
``velocities``                 array, [Å/fs], shape (n, 3); absent where they were not kept
=============================  =======================================================================

ASE reads the files too, but makes a calculator of ``energy`` and ``forces``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from aiida_mlip.science.datasets.comment import split_pairs
from aiida_mlip.science.predictions import FloatArray

TRAJECTORY_FILE = "trajectory.xyz"

KEPT_FILE = "kept.xyz"
"""Copy of a trajectory with fewer frames, of :func:`thin`."""

_COLUMNS: Mapping[str, int] = {"forces": 3, "forces_sigma": 1, "velocities": 3}
"""Array of a frame -> numbers for each atom, in the order in which they are written."""

_NUMBERS = ("time_fs", "temperature", "pressure", "instantaneous_temperature", "energy", "energy_sigma")
_DERIVED = "max_forces_sigma"
_LARGEST = re.compile(rf"\b{_DERIVED}=(\S+)")
_STARTS = ("Lattice=", "Properties=")


class TrajectoryError(ValueError):
    """A frame that cannot be written, or a text that is not a trajectory."""


@dataclass(frozen=True)
class Moment:
    """What the dynamics knew of one of its frames; units as in the module's table.

    :param pressure: None where there is no target pressure.
    :param energy_sigma: None where it is not known; likewise ``forces_sigma`` and ``velocities``.
    """

    step: int
    time_fs: float
    stage: int
    temperature: float
    instantaneous_temperature: float
    energy: float
    forces: FloatArray
    pressure: float | None = None
    energy_sigma: float | None = None
    forces_sigma: FloatArray | None = None
    velocities: FloatArray | None = None
    stopped: bool = False


def write_frame(handle: TextIO, atoms: Atoms, moment: Moment) -> None:
    """Append one frame; nothing is written where it raises.

    :param handle: open for writing text; flushing is left to the caller.
    :param atoms: numbers, positions, cell and periodicity are written, as they are.
    :raises TrajectoryError: where a number is NaN or infinite, or an array has another number of atoms.
    """
    handle.write(_frame_text(atoms, moment))


def read_trajectory(handle: TextIO) -> Iterator[Atoms]:
    """Yield the frames of what :func:`write_frame` wrote, one at a time.

    :param handle: open for reading text.
    :raises TrajectoryError: where the text is damaged or ends within a frame; the message has the line.
    """
    number = 0
    while line := handle.readline():
        number += 1
        try:
            n_atoms = int(line)
            pairs = split_pairs(handle.readline())
            atoms = _frame(pairs, [handle.readline() for _ in range(n_atoms)])
        except (ValueError, KeyError, IndexError) as error:
            raise TrajectoryError(f"line {number}: not a frame of a trajectory ({error!s})") from None
        number += 1 + n_atoms
        yield atoms


@dataclass(frozen=True)
class Summary:
    """What a trajectory holds; the last frame is whole, and names elements, cell and step.

    :param frames: how many there are.
    :param last: the last one; None where there is no frame.
    :param max_forces_sigma: largest uncertainty of an atom's force in any frame [eV/Å]; None where there is none.
    """

    frames: int
    last: Atoms | None
    max_forces_sigma: float | None


def summary_of(handle: TextIO) -> Summary:
    """Return what a trajectory holds; numbers of atoms are read in the last frame only, so that long ones are cheap.

    :param handle: open for reading text.
    :raises TrajectoryError: where the text is damaged or ends within a frame; the message has the line.
    """
    start, number, count, largest = 0, 1, 0, None
    comment, rows = "", list[str]()
    while line := handle.readline():
        start = number
        try:
            comment, rows = _pieces(handle, int(line))
            if found := _LARGEST.search(comment):
                largest = max(largest or 0.0, float(found[1]))
        except ValueError as error:
            raise TrajectoryError(f"line {start}: not a frame of a trajectory ({error!s})") from None
        count, number = count + 1, number + 2 + len(rows)
    if not count:
        return Summary(0, None, None)
    try:
        return Summary(count, _frame(split_pairs(comment), rows), largest)
    except (ValueError, KeyError, IndexError) as error:
        raise TrajectoryError(f"line {start}: not a frame of a trajectory ({error!s})") from None


def thin(source: TextIO, target: TextIO, stride: int) -> int:
    """Copy every ``stride``-th frame of a trajectory, beginning with the first, and the last one; return how many.

    The frame that broke a rule is the last one. Frames are copied as text, one at a time.

    :param source: open for reading text.
    :param target: open for writing text.
    :raises TrajectoryError: where the text is damaged or ends within a frame; the message has the line.
    """
    number, count, written, left = 1, 0, 0, ""
    while line := source.readline():
        try:
            comment, rows = _pieces(source, int(line))
        except ValueError as error:
            raise TrajectoryError(f"line {number}: not a frame of a trajectory ({error!s})") from None
        left = "".join((line, comment, *rows))
        if count % stride == 0:
            target.write(left)
            written, left = written + 1, ""
        count, number = count + 1, number + 2 + len(rows)
    target.write(left)
    return written + bool(left)


def _pieces(handle: TextIO, n_atoms: int) -> tuple[str, list[str]]:
    """Return the comment and the lines of the atoms of one frame."""
    comment = handle.readline()
    rows = list(islice(handle, n_atoms))
    if len(rows) != n_atoms or not rows or not rows[-1].endswith("\n"):
        raise ValueError("it ends within a frame")
    if not comment.startswith(_STARTS):
        raise ValueError("its second line names no Properties")
    return comment, rows


def _frame_text(atoms: Atoms, moment: Moment) -> str:
    arrays = {name: getattr(moment, name) for name in _COLUMNS if getattr(moment, name) is not None}
    columns = [atoms.positions]
    for name, values in arrays.items():
        if len(values) != len(atoms):
            raise TrajectoryError(f"{name} is of {len(values)} atoms: the frame has {len(atoms)}")
        columns.append(np.asarray(values, dtype=float).reshape(len(atoms), _COLUMNS[name]))
    numbers = {name: float(getattr(moment, name)) for name in _NUMBERS if getattr(moment, name) is not None}
    if moment.forces_sigma is not None:
        numbers[_DERIVED] = float(np.max(moment.forces_sigma))
    table = np.hstack(columns)
    if not (np.isfinite(table).all() and np.isfinite(list(numbers.values())).all() and np.isfinite(atoms.cell).all()):
        raise TrajectoryError(f"step {moment.step}: a number is NaN or infinite")
    pairs = [f'Lattice="{_text(atoms.cell.array.ravel())}"'] if atoms.cell.array.any() else []
    kinds = "".join(f":{name}:R:{_COLUMNS[name]}" for name in arrays)
    pairs.append(f"Properties=species:S:1:pos:R:3{kinds}")
    pairs += [f"step={int(moment.step)}", f"stage={int(moment.stage)}"]
    pairs += [f"{name}={value!r}" for name, value in numbers.items()]
    pairs.append(f"stopped={'T' if moment.stopped else 'F'}")
    pairs.append(f'pbc="{" ".join("T" if flag else "F" for flag in atoms.pbc)}"')
    rows = [
        f"{chemical_symbols[number]} {' '.join(map(repr, row))}"
        for number, row in zip(atoms.numbers.tolist(), table.tolist(), strict=True)
    ]
    return "\n".join([str(len(atoms)), " ".join(pairs), *rows]) + "\n"


def _text(values: FloatArray) -> str:
    return " ".join(map(repr, values.tolist()))


def _frame(pairs: Mapping[str, str], lines: list[str]) -> Atoms:
    if not lines or not lines[-1].endswith("\n"):
        raise ValueError("it ends within a frame")
    symbols, _, values = zip(*(line.partition(" ") for line in lines), strict=True)
    start, *names = pairs["Properties"].removeprefix("species:S:1:").split(":R:")
    if start != "pos":
        raise ValueError(f"Properties={pairs['Properties']}")
    # "pos", "3:forces", "3:forces_sigma", "1:velocities", "3" -> the arrays that are there
    given = [part.split(":", maxsplit=1)[1] for part in names if ":" in part]
    width = 3 + sum(_COLUMNS[name] for name in given)
    table = _floats(" ".join(values)).reshape(len(lines), width)
    atoms = Atoms(
        numbers=[atomic_numbers[symbol] for symbol in symbols],
        positions=table[:, :3],
        cell=_floats(pairs["Lattice"]).reshape(3, 3) if "Lattice" in pairs else None,
        pbc=[flag == "T" for flag in pairs["pbc"].split()],
    )
    column = 3
    for name in given:
        array = table[:, column : column + _COLUMNS[name]].copy()
        atoms.arrays[name] = array[:, 0] if _COLUMNS[name] == 1 else array
        column += _COLUMNS[name]
    atoms.info["step"], atoms.info["stage"] = int(pairs["step"]), int(pairs["stage"])
    atoms.info |= {name: float(pairs[name]) for name in (*_NUMBERS, _DERIVED) if name in pairs}
    atoms.info["stopped"] = pairs["stopped"] == "T"
    return atoms


def _floats(text: str) -> FloatArray:
    return np.array([float(item) for item in text.split()])
