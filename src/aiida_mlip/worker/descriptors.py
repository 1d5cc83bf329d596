"""Descriptors of each atom: the potential's own where it has some, else of the geometry alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

from ase import Atoms

from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.science.selection import geometric_descriptors
from aiida_mlip.worker.backends import Potential, refuse_unknown_elements

Source = Literal["potential", "geometry"]


@runtime_checkable
class Describes(Protocol):
    """A potential that has invariant descriptors of atoms."""

    def atomic_descriptors(self, frames: Sequence[Atoms], *, batch_size: int = 8) -> Iterator[FloatArray]:
        """Yield for each frame the invariant descriptors of its atoms, shape (atoms, features).

        :param batch_size: frames in one call of the model.
        :raises TaskError: of kind ``input`` where the potential lacks an element.
        """


def source_of(potential: Potential) -> Source:
    """Return whose descriptors :func:`describe` gives."""
    return "potential" if isinstance(potential, Describes) else "geometry"


def describe(
    potential: Potential, frames: Sequence[Atoms], elements: Sequence[str], *, batch_size: int = 8
) -> Iterator[FloatArray]:
    """Yield for each frame the descriptors of its atoms, shape (atoms, features).

    :param elements: chemical symbols of all frames that are compared, in this call and in others.
    :raises TaskError: of kind ``input`` where the potential lacks an element.
    """
    if isinstance(potential, Describes):
        yield from potential.atomic_descriptors(frames, batch_size=batch_size)
        return
    refuse_unknown_elements(frames, potential.info.elements)
    for atoms in frames:
        yield geometric_descriptors(atoms, elements)
