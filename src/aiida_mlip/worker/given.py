"""What a job was given: its configurations and its potential."""

from __future__ import annotations

from typing import Protocol

from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.datasets.canonical import read_extxyz
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.worker.backends import Potential, load_potential
from aiida_mlip.worker.context import Context


class Arithmetic(Protocol):
    """Where and how a potential computes; the settings of every task with a potential say it."""

    @property
    def device(self) -> Device:
        """Device."""

    @property
    def dtype(self) -> Dtype:
        """Floating-point type."""

    @property
    def head(self) -> str | None:
        """Head; None: the potential's own."""


def frames_of(context: Context, role: str) -> list[Atoms]:
    """Return the configurations of a file in canonical form.

    :raises TaskError: of kind ``input`` where the file is missing or damaged.
    """
    try:
        with context.path(role).open(encoding="utf-8") as handle:
            return list(read_extxyz(handle))
    except (DatasetError, UnicodeDecodeError) as error:
        raise TaskError(ErrorKind.INPUT, f"files[{role!r}]: {error}.", "Export the data set again.") from error


def potential_of(context: Context, settings: Arithmetic) -> Potential:
    """Return the potential of the file ``potential``, in memory."""
    return load_potential(
        context.path("potential"),
        context.job.potential,
        device=settings.device,
        dtype=settings.dtype,
        head=settings.head,
    )
