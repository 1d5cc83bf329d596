"""The configurations that an iterative training asked labels for: where they came from, and how wrong the model was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.report.loop import Loop, label_report, stored
from aiida_mlip.report.subject import has_output
from aiida_mlip.science import keys
from aiida_mlip.science.origin import Origin, origin_of
from aiida_mlip.science.trajectory import read_trajectory

Array = NDArray[np.float64]

Place = tuple[str, str, int | None]
"""Trajectory, walker and step: what tells one frame of dynamics from all others."""

WAITING = "not labelled yet"
"""What became of a frame whose labelling has not ended."""


@dataclass(frozen=True)
class Asked:
    """One configuration that was asked for.

    :param generation: that asked for it; 0 for a selection by itself.
    :param labelled: the configuration with its label; None where there is none.
    :param predicted: the frame of the trajectory, with the forces of the model that drove it; None where the
        trajectory is not in this database.
    :param fate: empty for a labelled one; else why it has no label.
    """

    generation: int
    atoms: Atoms
    origin: Origin
    labelled: Atoms | None
    predicted: Atoms | None
    fate: str

    @property
    def source(self) -> str:
        """Return the uuid of the process that made the label."""
        return str(self.labelled.info.get(keys.SOURCE, "")) if self.labelled is not None else ""

    @cached_property
    def forces_error(self) -> Array | None:
        """Return ``|prediction - label|`` of the force on each atom [eV/Å], shape (n,); None where one is not known."""
        if self.labelled is None or self.predicted is None or keys.FORCES not in self.labelled.arrays:
            return None
        forces = self.predicted.arrays.get("forces")
        if forces is None or forces.shape != self.labelled.arrays[keys.FORCES].shape:
            return None
        return np.asarray(np.linalg.norm(forces - self.labelled.arrays[keys.FORCES], axis=1), dtype=float)

    @property
    def forces_sigma(self) -> Array | None:
        """Return the uncertainty of the force on each atom [eV/Å], shape (n,), as it was when the frame was chosen."""
        found = self.predicted.arrays.get("forces_sigma") if self.predicted is not None else None
        return None if found is None else np.asarray(found, dtype=float)


def asked_by_loop(loop: Loop) -> tuple[Asked, ...]:
    """Return what all generations asked for, in order; those whose selection is not in this database are left out."""
    found: list[Asked] = []
    for item in loop.generations:
        select = item.steps.get("select")
        if select is not None:
            found += asked_by(select, item.steps.get("label"), item.number)
    return tuple(found)


def asked_by(select: orm.ProcessNode, label: orm.ProcessNode | None = None, generation: int = 0) -> tuple[Asked, ...]:
    """Return what a selection asked for, and what became of it.

    :param select: an ``mlip.select``.
    :param label: the process that labelled what was selected, or None.
    """
    if not has_output(select, "selected"):
        return ()
    wanted = list(_configurations(label) or select.outputs.selected.frames())
    origins = [origin_of(atoms) or Origin(kind="given") for atoms in wanted]
    labels = _labelled(label)
    fates = _fates(label)
    predicted = frames_of(origins)
    return tuple(
        Asked(
            generation=origin.generation or generation,
            atoms=atoms,
            origin=origin,
            labelled=(known := labels.get(place_of(origin))),
            predicted=predicted.get(place_of(origin)),
            fate="" if known is not None else fates.get(index, WAITING),
        )
        for index, (atoms, origin) in enumerate(zip(wanted, origins, strict=True))
    )


def place_of(origin: Origin) -> Place:
    """Return trajectory, walker and step."""
    return origin.trajectory, origin.walker, origin.step


def frames_of(origins: Iterable[Origin]) -> dict[Place, Atoms]:
    """Return the frames of dynamics that these origins name, each trajectory read once and no further than needed."""
    wanted: dict[str, dict[int, Place]] = defaultdict(dict)
    for origin in origins:
        if origin.trajectory and origin.step is not None:
            wanted[origin.trajectory][origin.step] = place_of(origin)
    found: dict[Place, Atoms] = {}
    for uuid, steps in wanted.items():
        node = stored(uuid)
        if node is None:
            continue
        left = set(steps)
        with node.open(mode="r") as handle:
            for atoms in read_trajectory(handle):
                step = int(atoms.info["step"])
                if step in left:
                    found[steps[step]] = atoms
                    left.discard(step)
                if not left:
                    break
    return found


def _configurations(label: orm.ProcessNode | None) -> list[Atoms]:
    """Return what was sent to be labelled: a budget may have left out some of what was selected."""
    links = label.base.links.get_incoming(link_label_filter="configurations").all() if label is not None else []
    return list(links[0].node.frames()) if links else []


def _labelled(label: orm.ProcessNode | None) -> Mapping[Place, Atoms]:
    if label is None or not has_output(label, "labelled"):
        return {}
    pairs = ((origin_of(atoms), atoms) for atoms in label.outputs.labelled.frames())
    return {place_of(origin): atoms for origin, atoms in pairs if origin is not None}


def _fates(label: orm.ProcessNode | None) -> Mapping[int, str]:
    if label is None or not has_output(label, "report"):
        return {}
    report = label_report(label.outputs.report.get_dict())
    return {failure.index: failure.reason for failure in report.failed} if report is not None else {}


def compared(items: Sequence[Asked]) -> Iterator[tuple[Asked, float, float]]:
    """Yield frame, largest force uncertainty when it was chosen, and largest force error of that model [eV/Å]."""
    for item in items:
        error, sigma = item.forces_error, item.origin.max_forces_sigma
        if error is not None and sigma is not None:
            yield item, float(sigma), float(error.max())


def row(item: Asked) -> Mapping[str, Any]:
    """Return what a table shows of one configuration."""
    error, origin, source = item.forces_error, item.origin, stored(item.source)
    return {
        "generation": item.generation,
        "walker": origin.walker,
        "step": origin.step,
        "temperature": origin.temperature,
        "pressure": origin.pressure,
        "type": str(item.atoms.info.get(keys.CONFIG_TYPE, "")),
        "formula": item.atoms.get_chemical_formula(empirical=False),
        "sigma": origin.max_forces_sigma,
        "energy_sigma": origin.energy_sigma,
        "error": None if error is None else float(error.max()),
        "rms": None if error is None else float(np.sqrt(np.mean(error**2))),
        "reason": origin.reason,
        "fate": item.fate,
        "source": f"{source.process_label} {source.pk}" if source is not None else "",
    }
