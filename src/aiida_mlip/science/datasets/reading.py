"""Reading labelled configurations from files: any names, units and formats to the one canonical form."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.formats import string2index
from pydantic import ValidationError

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.canonical import canonical
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.formats import Format, find_format
from aiida_mlip.science.datasets.keymap import Inventory, KeyMap, find, resolve
from aiida_mlip.science.datasets.units import ENERGY_UNITS, FORCES_UNITS, STRESS_UNITS, LabelUnits, voigt
from aiida_mlip.science.models import explain
from aiida_mlip.science.origin import read_origin, set_origin

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Paths = str | Path | Sequence[str | Path]


def read_labelled(
    path: Paths,
    *,
    format: str | None = None,  # noqa: A002  the name ASE uses
    keys: KeyMap = KeyMap(),  # noqa: B008  immutable
    index: str | int = ":",
    config_type: str | None = None,
    group: str | None = None,
    energy_unit: str = "eV",
    forces_unit: str = "eV/angstrom",
    stress_unit: str = "eV/angstrom^3",
    stress_sign: int = 1,
) -> Iterator[Atoms]:
    """Yield the configurations of one file or several in canonical form, one at a time.

    Names that ``keys`` leaves open are detected from a first pass over each file. Where a file has both a free energy
    and an energy, the free energy is taken: it is what the forces are the derivative of. A virial becomes a stress by
    stress = -virial / volume. Stresses of frames without periodicity or volume have no meaning and are left out.
    Frames without some label are yielded without it; the audit reports them.

    :param path: a file, or several files that are read one after the other, each with its own names.
    :param format: name of the format; recognised from name and content where not given.
    :param keys: names of the labels in the file.
    :param index: which frames of each file, as in ASE: ``":"``, ``"::10"``, ``-1``.
    :param config_type: given to every frame, instead of what the file says.
    :param group: given to every frame, instead of what the file says.
    :param energy_unit: unit of energy and virial in the file; results of VASP, QE and ASE files are in eV already.
    :param forces_unit: unit of the forces in the file.
    :param stress_unit: unit of the stress in the file.
    :param stress_sign: -1 where the file's stress (or virial) has the opposite of the sign above.
    :raises DatasetError: if a file is not readable, names are missing or ambiguous, or a label has a wrong shape. It
        is raised when the first frame is asked for.
    """
    try:
        units = LabelUnits(energy=energy_unit, forces=forces_unit, stress=stress_unit, stress_sign=stress_sign)
    except ValidationError as error:
        raise DatasetError(explain(error, what="units", model=LabelUnits)) from None
    overrides = {"config_type": config_type, "group": group}
    for file in _files(path):
        yield from _read_file(file, find_format(file, format), keys, index, units=units, overrides=overrides)


def list_keys(path: str | Path, *, format: str | None = None) -> str:  # noqa: A002
    """Return the names found in a file, at each place, with shapes and counts, as text."""
    (file,) = _files(path)
    return _take_inventory(file, find_format(file, format), KeyMap()).describe()


def _files(path: Paths) -> list[Path]:
    files = [Path(path)] if isinstance(path, str | Path) else [Path(item) for item in path]
    if not files:
        raise DatasetError("path: no file was given")
    for file in files:
        if not file.exists():
            raise DatasetError(f"{file}: no such file")
        if file.is_dir():
            raise DatasetError(f"{file} is a folder: give the files in it, e.g. {file}/OUTCAR")
    return files


def _read_file(
    file: Path, fmt: Format, given: KeyMap, index: str | int, *, units: LabelUnits, overrides: dict[str, str | None]
) -> Iterator[Atoms]:
    inventory = _take_inventory(file, fmt, given)
    if inventory.frames == 0:
        raise DatasetError(f"{file}: no configuration in it (read as {fmt.name})")
    try:
        names = resolve(inventory, _calculator_names(fmt, given, inventory))
    except DatasetError as error:
        raise DatasetError(f"{file}: {error}") from None
    if names.energy is None and names.forces is None:
        raise DatasetError(
            f"{file}: no energy and no forces found. Found are {inventory.describe()}. "
            "Name them with --energy-key and --forces-key."
        )
    frames = fmt.read(file, _text_names(names))
    for number, atoms in _select(frames, index):
        try:
            yield _label(atoms, names, units, overrides)
        except DatasetError as error:
            raise DatasetError(f"{file}, frame {number}: {error}") from None


def _take_inventory(file: Path, fmt: Format, given: KeyMap) -> Inventory:
    inventory = Inventory()
    for atoms in fmt.read(file, _text_names(given)):
        inventory.add(atoms)
    return inventory


def _text_names(names: KeyMap) -> frozenset[str]:
    return frozenset(name for name in (names.config_type, names.group) if name)


def _calculator_names(fmt: Format, given: KeyMap, inventory: Inventory) -> KeyMap:
    """Return ``given``, completed by the fixed names of a calculator's results where the format has such."""
    if not fmt.by_calculator or any((given.energy, given.forces, given.stress, given.virial)):
        return given
    energy = next((name for name in ("free_energy", "energy") if inventory.count(name)), None)
    present = {name: name for name in ("forces", "stress") if inventory.count(name)}
    return given.model_copy(update={"energy": energy, **present} if energy else present)


def _select(frames: Iterable[Atoms], index: str | int) -> Iterator[tuple[int, Atoms]]:
    """Yield number and frame of those that an index selects; only an index from the end keeps frames in memory."""
    try:
        chosen = string2index(index) if isinstance(index, str) else index
    except ValueError:
        chosen = None
    if not isinstance(chosen, int | slice):
        raise DatasetError(f"index = {index!r} is no index of frames: use e.g. ':', '0', '-1', '10:20' or '::5'")
    if isinstance(chosen, int):
        chosen = slice(chosen, chosen + 1 or None)
    numbered = enumerate(frames)
    if any(bound is not None and bound < 0 for bound in (chosen.start, chosen.stop, chosen.step)):
        yield from list(numbered)[chosen]
    else:
        yield from itertools.islice(numbered, chosen.start, chosen.stop, chosen.step)


def _label(atoms: Atoms, names: KeyMap, units: LabelUnits, overrides: dict[str, str | None]) -> Atoms:
    """Return the canonical form of a frame whose labels are under other names and in other units."""
    labelled = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    energy, forces = find(atoms, names.energy), find(atoms, names.forces)
    if energy is not None:
        labelled.info[keys.ENERGY] = _number(energy, names.energy) * ENERGY_UNITS[units.energy]
    if forces is not None:
        labelled.arrays[keys.FORCES] = _forces(forces, len(atoms), names.forces) * FORCES_UNITS[units.forces]
    if (stress := _stress(atoms, names, units)) is not None:
        labelled.info[keys.STRESS] = stress
    for key, name, override in (
        (keys.CONFIG_TYPE, names.config_type, overrides["config_type"]),
        (keys.GROUP, names.group, overrides["group"]),
    ):
        text = override if override is not None else find(atoms, name)
        if text is not None:
            labelled.info[key] = str(text)
    if _UUID.fullmatch(source := str(atoms.info.get(keys.SOURCE, ""))):
        labelled.info[keys.SOURCE] = source
    if (origin := read_origin(atoms)) is not None:
        labelled = set_origin(labelled, origin)
    return canonical(labelled)


def _stress(atoms: Atoms, names: KeyMap, units: LabelUnits) -> Any:
    """Return the stress [eV/Å^3] from a stress or a virial, ``None`` where there is none or it has no meaning."""
    volume = abs(float(np.linalg.det(atoms.cell.array)))
    stress, virial = find(atoms, names.stress), find(atoms, names.virial)
    if not atoms.pbc.any() or volume < 1e-6:
        return None
    from_virial = None
    if virial is not None:
        from_virial = -voigt(virial, what=str(names.virial)) * ENERGY_UNITS[units.energy] / volume
    if stress is None:
        return None if from_virial is None else units.stress_sign * from_virial
    direct = voigt(stress, what=str(names.stress)) * STRESS_UNITS[units.stress] * units.stress_sign
    if from_virial is not None and np.isfinite(direct).all():
        difference, size = np.abs(direct - from_virial).max(), np.abs(direct).max()
        if difference > 1e-2 * size + 1e-4:
            raise DatasetError(
                f"{names.stress} and {names.virial} contradict each other: pressures "
                f"{-direct[:3].mean():.6g} and {-from_virial[:3].mean():.6g} eV/Å^3 (stress = -virial / volume): "
                "give the one to use with --stress-key or --virial-key, and its unit with --stress-unit"
            )
    return direct


def _number(value: Any, name: str | None) -> float:
    array = np.asarray(value)
    if array.size == 1 and array.dtype.kind in "iuf":
        return float(array.reshape(()))
    try:
        return float(str(value))
    except ValueError:
        raise DatasetError(f"{name} = {value!r} is not one number: it should be the total energy of the cell") from None


def _forces(value: Any, n_atoms: int, name: str | None) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.size != 3 * n_atoms:
        raise DatasetError(f"{name} has shape {array.shape}: forces have shape ({n_atoms}, 3)")
    return array.astype(np.float64).reshape(n_atoms, 3)
