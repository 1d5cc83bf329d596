"""Which names in a file hold energy, forces, stress, virial, configuration type and group.

Names are looked up in ``atoms.info``, ``atoms.arrays`` and the results of an attached calculator. What the user names
is taken as it is; what is not named is detected from common spellings, and only where that is unambiguous.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.models import StrictModel

Quantity = Literal["energy", "forces", "stress", "virial", "config_type", "group"]


class KeyMap(StrictModel):
    """Names of the labels in a file; ``None`` means: detect the name."""

    energy: str | None = Field(default=None, description="total energy of the cell, force-consistent")
    forces: str | None = Field(default=None, description="force on each atom")
    stress: str | None = Field(default=None, description="stress: 6 (Voigt), 9 or 3x3 numbers")
    virial: str | None = Field(default=None, description="virial = -volume * stress: 6 (Voigt), 9 or 3x3 numbers")
    config_type: str | None = Field(default=None, description="kind of configuration")
    group: str | None = Field(default=None, description="frames that belong together, e.g. one trajectory")


_NOT_A_LABEL = frozenset(
    {
        "mace",
        "gap",
        "ace",
        "snap",
        "sevennet",
        "nequip",
        "allegro",
        "chgnet",
        "m3gnet",
        "mattersim",
        "orb",
        "uma",
        "ml",
        "mlip",
        "nn",
        "nnp",
        "pred",
        "predicted",
        "prediction",
        "predict",
        "model",
        "committee",
        "kinetic",
        "ekin",
        "kin",
        "temperature",
        "formation",
        "cohesive",
        "binding",
        "adsorption",
        "atomization",
        "vdw",
        "dispersion",
        "d2",
        "d3",
        "d4",
        "correction",
        "per",
        "peratom",
        "atom",
        "atomic",
        "error",
        "err",
        "std",
        "var",
        "variance",
        "mean",
        "min",
        "max",
        "weight",
        "weights",
        "unit",
        "units",
        "shift",
        "offset",
        "zpe",
        "elec",
        "electronic",
        "entropy",
        "fermi",
        "band",
        "hull",
        "local",
        "noise",
        "uncertainty",
        "sigma",
        "tolerance",
        "tol",
        "delta",
        "representation",
        "format",
        "key",
        "name",
        "type",
        "diff",
        "difference",
        "constraint",
        "bias",
    }
)
"""Words in a name that say: this is a model's prediction, a part of the quantity, or not the quantity at all."""

_WORDS: Mapping[str, frozenset[str]] = {
    "energy": frozenset({"energy", "energies", "toten", "totenergy", "etot", "e"}),
    "forces": frozenset({"forces", "force", "f"}),
    "stress": frozenset({"stress", "stresses"}),
    "virial": frozenset({"virial", "virials"}),
    "config_type": frozenset({"config_type", "configtype", "configuration_type", "config"}),
    "group": frozenset({"group", "group_id", "groups", "traj_id", "trajectory_id"}),
}
_CANONICAL: Mapping[str, str] = {
    "energy": keys.ENERGY,
    "forces": keys.FORCES,
    "stress": keys.STRESS,
    "config_type": keys.CONFIG_TYPE,
    "group": keys.GROUP,
}
_OPTIONS: Mapping[str, str] = {
    "energy": "--energy-key",
    "forces": "--forces-key",
    "stress": "--stress-key",
    "virial": "--virial-key",
    "config_type": "--config-type-key",
    "group": "--group-key",
}


class Inventory:
    """Every name found in the frames of a file: where, with which shapes, and how often."""

    def __init__(self) -> None:
        self.frames = 0
        self._counts: dict[str, Counter[str]] = {"info": Counter(), "arrays": Counter(), "results": Counter()}
        self._shapes: dict[tuple[str, str], str] = {}

    def add(self, atoms: Atoms) -> None:
        """Count the names of one frame."""
        self.frames += 1
        for place, name, value in entries(atoms):
            self._counts[place][name] += 1
            self._shapes.setdefault((place, name), _shape(value, len(atoms), place))

    @property
    def names(self) -> dict[str, str]:
        """Return name -> shape of everything found."""
        return {name: shape for (_, name), shape in self._shapes.items()}

    def count(self, name: str) -> int:
        """Return in how many frames a name occurs."""
        return max(counter[name] for counter in self._counts.values())

    def describe(self) -> str:
        """Return the names found at each place, with shapes and counts, as one line of text."""
        places = []
        for place, counter in self._counts.items():
            listed = [f"{name} {self._shapes[place, name]} in {n} frames" for name, n in sorted(counter.items())]
            places.append(f"{place}: {', '.join(listed) or 'nothing'}")
        return "; ".join(places)


def entries(atoms: Atoms) -> Iterator[tuple[str, str, Any]]:
    """Yield place, name and value of everything attached to a frame except numbers and positions."""
    for name, value in atoms.info.items():
        yield "info", str(name), value
    for name, value in atoms.arrays.items():
        if name not in ("numbers", "positions"):
            yield "arrays", name, value
    for name, value in (getattr(atoms.calc, "results", None) or {}).items():
        if value is not None:
            yield "results", name, value


def find(atoms: Atoms, name: str | None) -> Any:
    """Return the value of a name, from the calculator's results, the arrays or the info of a frame, or ``None``."""
    if name is None:
        return None
    results = getattr(atoms.calc, "results", None) or {}
    for place in (results, atoms.arrays, atoms.info):
        if place.get(name) is not None:
            return place[name]
    return None


def resolve(inventory: Inventory, given: KeyMap) -> KeyMap:
    """Return the names to use: those given, and those detected for the rest.

    :raises DatasetError: if a given name does not occur, or more than one name could be meant.
    """
    found: dict[str, str | None] = {}
    origin = _origin(given)
    for quantity in KeyMap.model_fields:
        name = getattr(given, quantity)
        if name is not None and inventory.count(name) == 0:
            raise DatasetError(
                f"{quantity} key {name!r} does not occur in any of {inventory.frames} frames. "
                f"Found are {inventory.describe()}. Give one of these with {_OPTIONS[quantity]}."
            )
        found[quantity] = name or _detect(inventory, quantity, origin)
    if given.stress is None and given.virial is not None:
        found["stress"] = None
    if given.virial is None and given.stress is not None:
        found["virial"] = None
    return KeyMap(**found)


def _detect(inventory: Inventory, quantity: str, origin: frozenset[str] | None) -> str | None:
    """Return the one name that fits a quantity; ``origin`` are the words that came with the names given for others."""
    names = inventory.names
    candidates = [name for name, shape in names.items() if _reads_as(name, quantity) and _fits(shape, quantity)]
    if origin is not None and quantity not in ("config_type", "group"):
        candidates = [name for name in candidates if _decoration(name) == origin] or candidates
    elif _CANONICAL.get(quantity) in names:
        return _CANONICAL[quantity]
    candidates = _prefer_free_energy(candidates) if quantity == "energy" else candidates
    if len(candidates) > 1:
        raise DatasetError(
            f"{quantity} is ambiguous: {' and '.join(repr(name) for name in sorted(candidates))} could all be "
            f"meant. Found are {inventory.describe()}. Say which with {_OPTIONS[quantity]}."
        )
    return candidates[0] if candidates else None


def _origin(given: KeyMap) -> frozenset[str] | None:
    """Return the words besides the quantity in a label name that was given, e.g. ``xtb`` of ``energy_xtb``."""
    named = [name for name in (given.energy, given.forces, given.stress, given.virial) if name is not None]
    return _decoration(named[0]) if named else None


def _reads_as(name: str, quantity: str) -> bool:
    """Return whether a name is a common spelling of a quantity and not of a prediction or a part of it."""
    lowered = name.lower().replace("-", "_")
    if quantity in ("config_type", "group"):
        return lowered in _WORDS[quantity]
    words = _words(name)
    if "".join(words) in _WORDS[quantity]:
        return True
    if len(words) > 1 and set(words) & {"e", "f"}:
        return False
    return len(set(words) & _WORDS[quantity]) == 1 and not set(words) & _NOT_A_LABEL


def _words(name: str) -> list[str]:
    """Return the lower-case words of ``snake_case``, ``camelCase``, ``dotted.names`` and ``dashed-names``."""
    return [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word]


def _decoration(name: str) -> frozenset[str]:
    quantities = frozenset().union(*_WORDS.values())
    return frozenset(_words(name)) - quantities - {"free"}


def _fits(shape: str, quantity: str) -> bool:
    """Return whether a shape can be that of a quantity."""
    if quantity == "energy":
        return shape == "scalar"
    if quantity == "forces":
        return shape == "(n, 3)"
    if quantity in ("stress", "virial"):
        return shape in ("(6,)", "(9,)", "(3, 3)")
    return shape in ("text", "scalar")


def _prefer_free_energy(candidates: Iterable[str]) -> list[str]:
    """Return the candidates without those that a free energy of the same origin replaces.

    Where a file has both, forces are the derivatives of the free energy; the other one is extrapolated to zero
    smearing. ASE writes the two as ``free_energy`` and ``energy``.
    """
    names = list(candidates)
    free = {_without_free(name): name for name in names if "free" in name.lower()}
    return [name for name in names if name in free.values() or name.lower() not in free]


def _without_free(name: str) -> str:
    return re.sub(r"free_?", "", name.lower())


def _shape(value: Any, n_atoms: int, place: str) -> str:
    try:
        array = np.asarray(value)
    except ValueError:
        return "ragged"
    if array.ndim == 0:
        return "scalar" if array.dtype.kind in "iufb" else "text"
    if array.dtype.kind not in "iufb":
        return "objects"
    per_atom = place == "arrays" or (place == "results" and array.shape[0] == n_atoms and array.shape != (6,))
    if per_atom:
        return "(n,)" if array.ndim == 1 else f"(n, {', '.join(str(k) for k in array.shape[1:])})"
    return str(array.shape)
