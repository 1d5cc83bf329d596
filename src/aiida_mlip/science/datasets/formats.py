"""The file formats a data set can come in: one reader each, and how a file is recognised."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import ase.db
import ase.io
from ase import Atoms
from ase.io.formats import open_with_compression

from aiida_mlip.science.datasets.comment import TEXT_KEYS, parse_comment
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.qe_xml import read_qe_xml

Reader = Callable[[Path, frozenset[str]], Iterator[Atoms]]


@dataclass(frozen=True)
class Format:
    """One file format.

    ``read`` takes the path and the names whose values are text. ``matches`` takes the lower-case file name, without a
    compression suffix, and the first 4 KiB. ``by_calculator``: labels are a calculator's results, so that names need
    not be guessed and the energy is the free energy.
    """

    name: str
    description: str
    read: Reader
    matches: Callable[[str, bytes], bool]
    by_calculator: bool = True


_UNREADABLE = (ValueError, LookupError, OSError, StopIteration, TypeError, AttributeError, RuntimeError, AssertionError)
"""What ASE's reader raises on files that are cut short or not of its form."""


def _read_xyz(path: Path, text_keys: frozenset[str]) -> Iterator[Atoms]:
    names = TEXT_KEYS | text_keys
    with open_with_compression(str(path), "r") as handle:
        yield from _xyz_frames(handle, path, names)


def _xyz_frames(handle: TextIO, path: Path, text_keys: frozenset[str]) -> Iterator[Atoms]:
    from ase.io.extxyz import _read_xyz_frame  # noqa: PLC0415  the frame reader behind ase.io.iread, without its index

    number = 0
    while line := handle.readline():
        line = line.removeprefix("\ufeff")
        if not line.strip():
            continue
        try:
            n_atoms = int(line)
            yield _read_xyz_frame(handle, n_atoms, lambda text: _standard_names(parse_comment(text, text_keys)))
        except _UNREADABLE as error:
            raise DatasetError(
                f"{path}, frame {number}: not readable as extended XYZ ({type(error).__name__}: {error}): each frame "
                "is a line with the number of atoms, a comment line with Properties=..., and one line for each atom"
            ) from error
        number += 1


def _standard_names(info: dict[str, object]) -> dict[str, object]:
    """Return the values with ``lattice``, ``properties`` and ``PBC`` in the spelling of the format."""
    standard = {name.lower(): name for name in ("Lattice", "Properties", "pbc")}
    return {standard.get(key.lower(), key): value for key, value in info.items()}


def _read_db(path: Path, text_keys: frozenset[str]) -> Iterator[Atoms]:
    """Yield the rows of an ASE database; key-value pairs and scalar data become ``info``."""
    del text_keys
    with ase.db.connect(str(path)) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info.update(row.key_value_pairs)
            atoms.info.update({key: value for key, value in row.data.items() if key not in atoms.info})
            yield atoms


def _outcar_frames(path: Path) -> Iterator[Atoms]:
    """Yield the ionic steps of an OUTCAR; unlike ``ase.io``, without reading a CONTCAR or POSCAR beside it."""
    from ase.io.vasp_parsers.vasp_outcar_parsers import OutcarHeaderParser, outcarchunks  # noqa: PLC0415

    with open_with_compression(str(path), "r") as handle:
        for chunk in outcarchunks(handle, header_parser=OutcarHeaderParser(workdir=None)):
            yield chunk.build()


def _ase_reader(name: str, frames: Callable[[Path], Iterator[Atoms]] | None = None) -> Reader:
    """Return a reader that says in words what ASE cannot read; ``frames`` where ``ase.io.iread`` is not to be used."""

    def read(path: Path, text_keys: frozenset[str]) -> Iterator[Atoms]:
        del text_keys
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield from frames(path) if frames else ase.io.iread(str(path), index=":", format=name)
        except DatasetError:
            raise
        except Exception as error:
            raise DatasetError(
                f"{path}: not readable as {name} ({type(error).__name__}: {error}): the file may be cut short, or of "
                "another format: give it with --format"
            ) from error

    return read


def _ends(*suffixes: str) -> Callable[[str, bytes], bool]:
    return lambda name, _: name.endswith(suffixes)


def _contains(pattern: bytes) -> Callable[[str, bytes], bool]:
    return lambda _, head: re.search(pattern, head) is not None


def _is_outcar(name: str, head: bytes) -> bool:
    return "outcar" in name or re.match(rb"\s*vasp\.\d", head) is not None


def _is_xyz(name: str, head: bytes) -> bool:
    return name.endswith((".xyz", ".extxyz", ".exyz")) or re.match(rb"\s*\d+\s*\n[^\n]*Properties=", head) is not None


FORMATS = {
    item.name: item
    for item in (
        Format("qe-xml", "Quantum ESPRESSO data-file-schema.xml", read_qe_xml, _contains(rb"<(qes:)?espresso\b")),
        Format("vasp-xml", "VASP vasprun.xml", _ase_reader("vasp-xml"), _contains(rb"<modeling>")),
        Format("espresso-out", "pw.x output text", _ase_reader("espresso-out"), _contains(rb"Program PWSCF")),
        Format("vasp-out", "VASP OUTCAR", _ase_reader("vasp-out", _outcar_frames), _is_outcar),
        Format("traj", "ASE trajectory", _ase_reader("traj"), _ends(".traj")),
        Format("db", "ASE database", _read_db, _ends(".db"), by_calculator=False),
        Format("extxyz", "extended XYZ", _read_xyz, _is_xyz, by_calculator=False),
    )
}
"""The formats in the order in which they are tried."""


def find_format(path: Path, name: str | None) -> Format:
    """Return the format of a file: the one named, or the first that recognises it.

    :param path: an existing file.
    :param name: a name in :data:`FORMATS`, any other format that ASE reads, or ``None``.
    :raises DatasetError: if the name is unknown or no format recognises the file.
    """
    known = "; ".join(f"{item.name} ({item.description})" for item in FORMATS.values())
    if name is not None:
        if name in FORMATS:
            return FORMATS[name]
        if name not in ase.io.formats.ioformats:
            raise DatasetError(f"format {name!r} is unknown: use one of {known}, or a name of a format that ASE reads")
        return Format(name, f"ASE's {name}", _ase_reader(name), _ends())
    with open_with_compression(str(path), "rb") as handle:
        head = handle.read(4096)
    plain_name = re.sub(r"\.(gz|bz2|xz)$", "", path.name.lower())
    for item in FORMATS.values():
        if item.matches(plain_name, head):
            return item
    raise DatasetError(f"{path}: format not recognised: give --format, one of {known}, or a name that ASE reads")
