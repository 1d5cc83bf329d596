"""``DatasetData``: labelled configurations as one extended XYZ file in the repository."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from aiida.common import exceptions
from aiida.orm import Data
from ase import Atoms

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.canonical import canonical, read_extxyz, write_extxyz


class DatasetData(Data):  # type: ignore[misc]
    """Configurations with the canonical labels of :mod:`aiida_mlip.science.keys`.

    Equal content is written as equal bytes and so has an equal hash. Frames may lack labels (a replay set before it
    is labelled); what is there is counted in the attributes.

    :param frames: configurations; anything but canonical keys is dropped.
    :param level_of_theory: what the labels were computed with, in words.
    :raises ValueError: if there is no frame.
    """

    FILENAME = "configurations.xyz"

    _hash_ignored_attributes = (*Data._hash_ignored_attributes, "level_of_theory")

    def __init__(self, frames: Iterable[Atoms], *, level_of_theory: str = "unknown", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        counted: list[Atoms] = [canonical(atoms) for atoms in frames]
        if not counted:
            raise ValueError("frames is empty: a data set needs at least one configuration")
        text = io.StringIO()
        write_extxyz(counted, text)
        self.base.repository.put_object_from_filelike(io.BytesIO(text.getvalue().encode()), self.FILENAME)
        self.base.attributes.set_many({**_counts(counted), "level_of_theory": level_of_theory})

    def frames(self) -> Iterator[Atoms]:
        """Yield the configurations in order, reading as it goes."""
        with self.base.repository.open(self.FILENAME, "r") as handle:
            yield from read_extxyz(handle)

    def __len__(self) -> int:
        """Return the number of configurations."""
        return int(self.base.attributes.get("num_frames"))

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the chemical symbols present, in alphabetical order."""
        return tuple(self.base.attributes.get("elements"))

    @property
    def config_types(self) -> dict[str, int]:
        """Return the number of configurations of each type."""
        return dict(self.base.attributes.get("config_types"))

    @property
    def level_of_theory(self) -> str:
        """Return what the labels were computed with."""
        return str(self.base.attributes.get("level_of_theory", "unknown"))

    @property
    def content(self) -> str:
        """Return the extended XYZ text."""
        return str(self.base.repository.get_object_content(self.FILENAME))

    def _validate(self) -> bool:
        super()._validate()
        if self.FILENAME not in self.base.repository.list_object_names():
            raise exceptions.ValidationError(f"{self.FILENAME} is missing: make the node from frames")
        return True


def _counts(frames: list[Atoms]) -> dict[str, Any]:
    """Return what is queried most: sizes, elements, types, and how many frames carry each label."""
    return {
        "num_frames": len(frames),
        "num_atoms": sum(len(atoms) for atoms in frames),
        "elements": sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()}),
        "config_types": dict(sorted(Counter(_config_type(atoms) for atoms in frames).items())),
        "labels": {
            keys.ENERGY: sum(keys.ENERGY in atoms.info for atoms in frames),
            keys.FORCES: sum(keys.FORCES in atoms.arrays for atoms in frames),
            keys.STRESS: sum(keys.STRESS in atoms.info for atoms in frames),
        },
    }


def _config_type(atoms: Atoms) -> str:
    return str(atoms.info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE))
