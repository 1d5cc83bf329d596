"""``DatasetData``: labelled configurations as one extended XYZ file in the repository."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from aiida.common import exceptions
from aiida.orm import Data
from aiida.orm.nodes.caching import NodeCaching
from ase import Atoms

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.canonical import canonical, read_extxyz, write_extxyz
from aiida_mlip.science.isolated_atoms import nearest_image
from aiida_mlip.science.labelling.address import geometry_digest

_SHORTEST_CUTOFF = 3.0
"""No potential has a shorter cut-off [Å]: a single atom whose images are nearer has neighbours."""

_ALONE = 6.0
"""A single atom whose images are further apart [Å] is taken for an isolated atom where no cut-off is known."""


_FINGERPRINTS: dict[str, dict[str, int]] = {}
"""Digest of a data set -> its fingerprints: inputs are validated several times before a job is submitted."""

_MAX_FINGERPRINTS = 16


class _ContentCaching(NodeCaching):
    """Hashes the physical content: not where a label or a geometry came from, and not in what words it is described."""

    def get_objects_to_hash(self) -> dict[str, Any]:
        """Return the class and the digest of the configurations without their sources."""
        return {"class": str(self._node.__class__), "content": self._node.base.attributes.get(DatasetData.DIGEST, None)}


class DatasetData(Data):
    """Configurations with the canonical labels of :mod:`aiida_mlip.science.keys`.

    The hash is that of geometries, labels, types and groups. Two data sets that differ only in the ``source`` of
    their labels, the ``origin`` of their geometries, or in the words for the level of theory, are one to the cache.
    Frames may lack labels (a replay set before it is labelled); what is there is counted in the attributes.

    :param frames: configurations; anything but canonical keys is dropped.
    :param level_of_theory: what the labels were computed with, in words.
    :raises ValueError: if there is no frame, or something that is not an ``Atoms`` object.
    """

    FILENAME = "configurations.xyz"
    DIGEST = "content_sha256"
    _CLS_NODE_CACHING = _ContentCaching

    def __init__(self, frames: Iterable[Atoms], *, level_of_theory: str = "unknown", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        counted = [canonical(atoms) for atoms in _atoms_only(frames)]
        if not counted:
            raise ValueError("frames is empty: a data set needs at least one configuration")
        text = _text(counted)
        self.base.repository.put_object_from_filelike(io.BytesIO(text.encode()), self.FILENAME)
        self.base.attributes.set_many(
            {
                **_counts(counted),
                self.DIGEST: _digest(counted),
                "file_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "level_of_theory": level_of_theory,
            }
        )

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
    def labels(self) -> dict[str, int]:
        """Return for each label key of :mod:`aiida_mlip.science.keys` the number of configurations that carry it."""
        return dict(self.base.attributes.get("labels"))

    def isolated_atoms(self, cutoff: float) -> list[tuple[str, bool]]:
        """Return element, and whether it has an energy, of each frame that is one atom without neighbours.

        :param cutoff: distance [Å] within which no periodic image may be; at least 3.
        """
        single = self.base.attributes.get("single_atoms")
        return [(atom["element"], atom["energy"]) for atom in single if (atom["distance"] or np.inf) > cutoff]

    @property
    def max_force(self) -> float | None:
        """Return the largest force component in absolute value [eV/Å], None without forces."""
        value = self.base.attributes.get("max_force")
        return None if value is None else float(value)

    @property
    def not_finite(self) -> list[int]:
        """Return the indices of the first 10 configurations with a label or position that is NaN or infinite."""
        return list(self.base.attributes.get("not_finite")["first"])

    @property
    def level_of_theory(self) -> str:
        """Return what the labels were computed with."""
        return str(self.base.attributes.get("level_of_theory", "unknown"))

    @property
    def content(self) -> str:
        """Return the extended XYZ text."""
        return str(self.base.repository.get_object_content(self.FILENAME))

    def fingerprints(self) -> dict[str, int]:
        """Return the digest of each geometry and the index of the first configuration that has it.

        Two geometries have one digest where species, cell, periodicity and positions agree to 1e-6 Å. Single atoms
        without a neighbour are left out: they are alike in every set. Computed once for each content in a process.
        """
        digest = str(self.base.attributes.get(self.DIGEST))
        if digest not in _FINGERPRINTS:
            while len(_FINGERPRINTS) >= _MAX_FINGERPRINTS:
                _FINGERPRINTS.pop(next(iter(_FINGERPRINTS)))
            _FINGERPRINTS[digest] = self._read_fingerprints()
        return dict(_FINGERPRINTS[digest])

    def _read_fingerprints(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for index, atoms in enumerate(self.frames()):
            if len(atoms) > 1 or nearest_image(atoms) < _ALONE:
                found.setdefault(geometry_digest(atoms)[:16], index)
        return found

    def _validate(self) -> bool:
        super()._validate()
        if self.FILENAME not in self.base.repository.list_object_names():
            raise exceptions.ValidationError(f"{self.FILENAME} is missing: make the node from frames")
        with self.base.repository.open(self.FILENAME, "rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if self.base.attributes.get("file_sha256", None) != found:
            raise exceptions.ValidationError(
                f"{self.FILENAME} is not what the attributes describe: make the node from frames, and do not edit it"
            )
        return True


def _atoms_only(frames: Iterable[Atoms]) -> Iterator[Atoms]:
    for index, atoms in enumerate([frames] if isinstance(frames, Atoms) else frames):
        if not isinstance(atoms, Atoms):
            raise ValueError(  # noqa: TRY004 - one kind of error for bad input
                f"frames[{index}] = {atoms!r} is not an ase.Atoms: read the file with ase.io.read(FILE, ':') first"
            )
        yield atoms


def _text(frames: list[Atoms]) -> str:
    text = io.StringIO()
    write_extxyz(frames, text)
    return text.getvalue()


def _digest(frames: list[Atoms]) -> str:
    """Return the sha256 of the configurations without the sources of their labels and the origins of their atoms."""
    bare = []
    for atoms in frames:
        copy = atoms.copy()
        copy.info.pop(keys.SOURCE, None)
        copy.info.pop(keys.ORIGIN, None)
        bare.append(copy)
    return hashlib.sha256(_text(bare).encode()).hexdigest()


def _counts(frames: list[Atoms]) -> dict[str, Any]:
    """Return what is queried most: sizes, elements, types, and how many frames carry each label."""
    forces = [np.abs(atoms.arrays[keys.FORCES]).max() for atoms in frames if keys.FORCES in atoms.arrays]
    finite = [force for force in forces if np.isfinite(force)]
    damaged = [index for index, atoms in enumerate(frames) if not _is_finite(atoms)]
    single = [(atoms, nearest_image(atoms)) for atoms in frames if len(atoms) == 1]
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
        "single_atoms": [
            {
                "element": atoms.symbols[0],
                "energy": keys.ENERGY in atoms.info,
                "distance": distance if np.isfinite(distance) else None,
            }
            for atoms, distance in single
            if distance > _SHORTEST_CUTOFF
        ],
        "not_finite": {"count": len(damaged), "first": damaged[:10]},
        "max_force": float(max(finite)) if finite else None,
    }


def _is_finite(atoms: Atoms) -> bool:
    """Return whether positions and all labels that are there are finite numbers."""
    labels = [atoms.info.get(keys.ENERGY, 0.0), atoms.info.get(keys.STRESS, 0.0), atoms.arrays.get(keys.FORCES, 0.0)]
    return all(np.isfinite(part).all() for part in (atoms.positions, *labels))


def _config_type(atoms: Atoms) -> str:
    return str(atoms.info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE))
