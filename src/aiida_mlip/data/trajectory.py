"""``MDTrajectoryData``: the frames of one walker of a molecular dynamics run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from aiida.common import exceptions
from aiida.orm import SinglefileData
from ase import Atoms

from aiida_mlip.science.trajectory import TRAJECTORY_FILE, Summary, read_trajectory, summary_of


class MDTrajectoryData(SinglefileData):
    """A trajectory in the form of :mod:`aiida_mlip.science.trajectory`, stable prefix and breaking frame alike.

    The node's hash is that of the frames. What is queried most is in the attributes: ``num_frames``, ``num_atoms``,
    ``formula``, ``elements``, ``last_step``, ``stopped``, ``max_forces_sigma`` (None without an uncertainty), and
    ``pbc``.

    :param file: path of the file, or an open binary stream.
    :raises ValueError: if the file is missing, has no frame, or is damaged.
    """

    FILENAME = TRAJECTORY_FILE

    def __init__(self, file: str | Path | BinaryIO, **kwargs: Any) -> None:
        source = str(Path(file).absolute()) if isinstance(file, str | Path) else file
        super().__init__(source, filename=kwargs.pop("filename", self.FILENAME), **kwargs)
        with self.open(mode="r") as handle:
            found = summary_of(handle)
        self.base.attributes.set_many({**_attributes(found), "sha256": self._file_sha256()})

    def frames(self) -> Iterator[Atoms]:
        """Yield the frames in order, reading as it goes."""
        with self.open(mode="r") as handle:
            yield from read_trajectory(handle)

    def __len__(self) -> int:
        """Return the number of frames."""
        return int(self.base.attributes.get("num_frames"))

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the chemical symbols present, in alphabetical order."""
        return tuple(self.base.attributes.get("elements"))

    @property
    def num_atoms(self) -> int:
        """Return the number of atoms of a frame."""
        return int(self.base.attributes.get("num_atoms"))

    @property
    def max_forces_sigma(self) -> float | None:
        """Return the largest uncertainty of a force [eV/Å], None without an uncertainty."""
        value = self.base.attributes.get("max_forces_sigma")
        return None if value is None else float(value)

    @property
    def stopped(self) -> bool:
        """Return whether the last frame broke a stop rule."""
        return bool(self.base.attributes.get("stopped"))

    def _file_sha256(self) -> str:
        with self.open(mode="rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def _validate(self) -> bool:
        super()._validate()
        if self.base.attributes.get("sha256", None) != self._file_sha256():
            raise exceptions.ValidationError(
                f"{self.filename} is not what the attributes describe: make the node from a file, and do not edit it"
            )
        return True


def _attributes(found: Summary) -> dict[str, Any]:
    last = found.last
    if last is None:
        raise ValueError("file has no frames: a trajectory has at least its first configuration")
    return {
        "num_frames": found.frames,
        "num_atoms": len(last),
        "formula": last.get_chemical_formula(),
        "elements": sorted(set(last.get_chemical_symbols())),
        "pbc": [bool(flag) for flag in last.pbc],
        "last_step": last.info["step"],
        "stopped": last.info["stopped"],
        "max_forces_sigma": found.max_forces_sigma,
    }
