"""The numbers that make a potential or a committee say how unsure it is, as one file.

The uncertainty of the energy is that of an energy without its offset for each element: members differ by constants
that no force feels, and these would hide what they disagree on.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from pydantic import Field, ValidationError

from aiida_mlip.science.models import StrictModel, explain
from aiida_mlip.science.predictions import FloatArray

UNCERTAINTY_FILE = "uncertainty.npz"
"""Name of the file in a job and in a node."""

Kind = Literal["deep", "shallow", "last_layer_bayes"]

ARRAYS: Mapping[str, tuple[str, ...]] = {
    "deep": ("shifts",),
    "shallow": ("centres", "factor", "directions"),
    "last_layer_bayes": ("centres", "factor", "directions"),
}
"""Kind -> names of its arrays."""


class UncertaintyHeader(StrictModel):
    """What an uncertainty is, and which potentials it belongs to."""

    format: Literal[1] = 1
    kind: Kind
    sha256: tuple[str, ...] = Field(
        min_length=1, description="checksums of the members' files, in order of their names"
    )
    head: str = Field(description="the head it was made for")
    elements: tuple[str, ...] = Field(min_length=1, description="chemical symbols, in the order of the arrays' rows")
    energy_scale: float = Field(gt=0, description="calibrated over raw uncertainty of the energy")
    forces_scale: float = Field(gt=0, description="calibrated over raw uncertainty of a force")


@dataclass(frozen=True)
class UncertaintyModel:
    """An uncertainty and its arrays.

    :param header: kind, scales, and what it belongs to.
    :param arrays: ``deep``: ``shifts`` [eV], shape (members, elements), taken off the members' energies for each atom.
        ``shallow`` and ``last_layer_bayes``: ``centres``, shape (elements, features), taken off the features for each
        atom; ``factor``, shape (rows, features), so that ``sigma_E = |factor f|`` [eV]; ``directions``, shape
        (directions, features), so that ``sigma_F,i^2 = sum_d |d (directions_d f) / d x_i|^2``.
    """

    header: UncertaintyHeader
    arrays: dict[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = ARRAYS[self.header.kind]
        if set(self.arrays) != set(expected):
            raise ValueError(
                f"arrays = {sorted(self.arrays)}: an uncertainty of kind {self.header.kind!r} has {expected}"
            )
        for name, array in self.arrays.items():
            if array.ndim != 2 or not np.isfinite(array).all():
                raise ValueError(f"{name}: has to be a matrix of finite numbers, and has shape {array.shape}")

    def write(self, target: Path | BinaryIO) -> None:
        """Write the npz file."""
        header = np.frombuffer(self.header.model_dump_json().encode(), dtype=np.uint8)
        np.savez_compressed(target, header=header, **self.arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, source: Path | BinaryIO) -> UncertaintyModel:
        """Read the npz file.

        :raises ValueError: where the file is damaged or something else.
        """
        name = source.name if isinstance(source, Path) else UNCERTAINTY_FILE
        try:
            with np.load(source, allow_pickle=False) as content:
                text = bytes(content["header"]).decode()
                arrays = {key: np.asarray(content[key], dtype=float) for key in content.files if key != "header"}
            header = UncertaintyHeader.model_validate(json.loads(text))
        except ValidationError as error:
            raise ValueError(explain(error, what=name, model=UncertaintyHeader)) from error
        except (OSError, KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{name} is not a file of uncertainties, or damaged: {error}") from error
        return cls(header, arrays)

    def counts(self, symbols: list[str]) -> FloatArray:
        """Return the number of atoms of each element of the header, shape (elements,)."""
        return count_elements(symbols, self.header.elements)


def count_elements(symbols: Sequence[str], elements: Sequence[str]) -> FloatArray:
    """Return the number of ``symbols`` of each element, shape (elements,)."""
    found = Counter(symbols)
    return np.array([found[element] for element in elements], dtype=float)
