"""The way of one configuration into a data set: who labelled it, and which dynamics asked for it and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.exceptions import NotExistent
from ase import Atoms
from ase.geometry import find_mic

from aiida_mlip.provenance.ancestry import Ancestry, Row, ancestry, rows
from aiida_mlip.provenance.describe import facts, software
from aiida_mlip.provenance.lineage import DATASET, label_nodes_of_frames, trained_from
from aiida_mlip.science import keys
from aiida_mlip.science.origin import Origin, origin_of

SELECT = "aiida.calculations:mlip.select"

_EARLIER = ("training_set", "dataset", "given")
"""Labels of the inputs that carry on a set: what a larger or smaller set was made from."""


@dataclass(frozen=True)
class Driver:
    """A potential that drove the dynamics, and the sets it was trained on."""

    name: str
    potential: Row
    training_sets: tuple[tuple[str, Row], ...]


@dataclass(frozen=True)
class EarlierSet:
    """A set that was there before the frame was asked for, and the number of label calculations its frames name."""

    row: Row
    labels: int


@dataclass(frozen=True)
class FrameWay:
    """One configuration of a data set, and what led to it; None and empty where the database does not know.

    :param label: the process that made the label; ``known``: whether it is in the ancestry of the data set.
    :param apart: largest distance between an atom here and in the frame of the trajectory [Å].
    :param dynamics: the job that made the trajectory; ``selection``: the one that chose the frame.
    :param earlier: sets before the frame, the newest first.
    """

    dataset: Row
    index: int
    atoms: Atoms
    source: str
    origin: Origin | None
    label: Row | None = None
    known: bool = False
    trajectory: Row | None = None
    apart: float | None = None
    dynamics: Row | None = None
    selection: Row | None = None
    drivers: tuple[Driver, ...] = ()
    uncertainty: Row | None = None
    earlier: tuple[EarlierSet, ...] = ()


def frame_way(dataset: orm.Data, index: int) -> FrameWay:
    """Return the way of configuration ``index`` of a data set.

    :param dataset: a stored ``DatasetData``.
    :param index: negative ones count from the end.
    :raises ValueError: where the node is no data set, or has no such configuration.
    """
    if not dataset.node_type.startswith(DATASET):
        raise ValueError(f"node {dataset.pk} is a {type(dataset).__name__}: --frame needs a data set")
    number = len(dataset)
    if not -number <= index < number:
        raise ValueError(f"--frame {index}: data set {dataset.pk} has {number} configurations, 0 to {number - 1}")
    graph, place = ancestry(dataset), index % number
    atoms = next(atoms for position, atoms in enumerate(dataset.frames()) if position == place)
    source, origin = str(atoms.info.get(keys.SOURCE, "")), origin_of(atoms)
    label = row_of(source)
    return FrameWay(
        dataset=graph.rows[dataset.pk],
        index=place,
        atoms=atoms,
        source=source,
        origin=origin,
        label=label,
        known=label is not None and label.pk in graph.rows,
        **(_way_of(atoms, origin, graph) if origin is not None else {}),
    )


def row_of(uuid: str) -> Row | None:
    """Return the row of a node by its uuid, None where it is not in this database."""
    try:
        pk = orm.load_node(uuid).pk if uuid else None
    except NotExistent:
        return None
    return rows([pk])[pk] if pk is not None else None


def _way_of(atoms: Atoms, origin: Origin, graph: Ancestry) -> dict[str, Any]:
    """Return the part of a way that the origin of a frame leads to."""
    trajectory = row_of(origin.trajectory)
    if trajectory is None:
        return {}
    node = orm.load_node(trajectory.pk)
    before = ancestry(node)
    dynamics = before.creator(trajectory.pk)
    inputs = before.inputs(dynamics.pk) if dynamics is not None else ()
    drivers = tuple(
        Driver(label.removeprefix("potentials__"), row, trained_from(before, row.pk)[0].training_sets)
        for label, row in inputs
        if label.startswith("potentials__")
    )
    first = next((row for driver in drivers for name, row in driver.training_sets if name == "training_set"), None)
    return {
        "trajectory": trajectory,
        "apart": _apart(atoms, node, origin.step),
        "dynamics": dynamics,
        "selection": _selection(graph, trajectory.pk),
        "drivers": drivers,
        "uncertainty": next((row for label, row in inputs if label == "uncertainty"), None),
        "earlier": tuple(_earlier(before, first)) if first is not None else (),
    }


def _apart(atoms: Atoms, trajectory: orm.Data, step: int | None) -> float | None:
    """Return how far the frame is from that of the trajectory [Å], None where the trajectory has no such frame."""
    found = next((frame for frame in trajectory.frames() if frame.info["step"] == step), None)
    if found is None or not np.array_equal(found.numbers, atoms.numbers):
        return None
    moved = atoms.positions - found.positions
    if atoms.cell.rank == 3 and atoms.pbc.any():
        moved = find_mic(moved, atoms.cell, atoms.pbc)[0]
    return float(np.linalg.norm(moved, axis=1).max())


def _selection(graph: Ancestry, trajectory: int) -> Row | None:
    """Return the first selection in the ancestry of a data set that looked at a trajectory."""
    found = (graph.rows[edge.target] for edge in graph.children.get(trajectory, ()))
    return next((row for row in found if row.process_type == SELECT), None)


def _earlier(graph: Ancestry, start: Row) -> Iterator[EarlierSet]:
    """Yield a set and those that it was made from."""
    row: Row | None = start
    while row is not None:
        counts = label_nodes_of_frames(orm.load_node(row.pk))
        yield EarlierSet(row, sum(bool(source) for source in counts))
        creator = graph.creator(row.pk)
        inputs = dict(graph.inputs(creator.pk)) if creator is not None else {}
        row = next((inputs[label] for label in _EARLIER if label in inputs), None)


def way_lines(way: FrameWay) -> list[tuple[str, str]]:
    """Return the way in words: (what, sentence), from the frame back to the sets before it."""
    kind = str(way.atoms.info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE))
    lines = [("frame", f"{way.index} of {_named(way.dataset)}: {way.atoms.get_chemical_formula()}, {kind}")]
    lines.append(("label", _label(way)))
    if way.origin is None:
        return [*lines, ("origin", "not recorded: the configuration was given")]
    lines += list(_origin(way.origin))
    if way.selection is not None:
        lines.append(("chosen by", _named(way.selection)))
    if way.origin.trajectory and way.trajectory is None:
        lines.append(("trajectory", f"{way.origin.trajectory} (not in this database)"))
    if way.trajectory is not None:
        agrees = "" if way.apart is None else f"; its geometry is that of the frame to {max(way.apart, 1e-15):.0e} Å"
        lines.append(("trajectory", f"{_named(way.trajectory)}{agrees}"))
    if way.dynamics is not None:
        lines.append(("dynamics", _named(way.dynamics)))
    for driver in way.drivers:
        sets = ", ".join(f"{name.removesuffix('_set')} {row.pk}" for name, row in driver.training_sets)
        lines.append(("driven by", f"{driver.name}: {_named(driver.potential)}{f'; sets: {sets}' if sets else ''}"))
    if way.uncertainty is not None:
        lines.append(("uncertainty", _named(way.uncertainty)))
    lines += [("set before", f"{_named(item.row)}; {_number(item.labels)}") for item in way.earlier]
    return lines


def _number(labels: int) -> str:
    return f"{labels} label calculation{'' if labels == 1 else 's'}"


def _label(way: FrameWay) -> str:
    if way.label is None:
        return f"{way.source} (not in this database)" if way.source else "none, or given with the configuration"
    program = software([way.label])
    loose = "" if way.known else " (not in the ancestry of this data set)"
    return f"{_named(way.label)}{f', {program}' if program else ''}{loose}"


def _origin(origin: Origin) -> Iterator[tuple[str, str]]:
    sigma, energy = origin.max_forces_sigma, origin.energy_sigma
    parts = [f"generation {origin.generation}" if origin.generation else "", origin.reason]
    parts.append(f"largest force uncertainty {sigma:.3g} eV/Å" if sigma is not None else "")
    parts.append(f"energy uncertainty {energy * 1e3:.3g} meV/atom" if energy is not None else "")
    text = "; ".join(part for part in parts if part)
    yield "asked for" if origin.kind == "md" else "made by", text if origin.kind == "md" else _joined(origin.kind, text)
    if origin.kind == "md":
        where = [f"walker {origin.walker}", f"step {origin.step}"]
        where.append(f"{origin.temperature:.0f} K" if origin.temperature is not None else "")
        where.append(f"{origin.pressure:.3g} GPa" if origin.pressure is not None else "")
        yield "at", ", ".join(part for part in where if part)


def _joined(kind: str, text: str) -> str:
    return f"{kind.replace('_', ' ')}{f': {text}' if text else ''}"


def _named(row: Row) -> str:
    """Return class, pk, beginning of the uuid and facts of a node."""
    text = facts(row)
    return f"{row.class_name} {row.pk} · {row.uuid[:8]}{f' ({text})' if text else ''}"


def way_document(way: FrameWay) -> Mapping[str, Any]:
    """Return the way as plain values, nodes by their uuid."""
    return {
        "dataset": way.dataset.uuid,
        "frame": way.index,
        "formula": way.atoms.get_chemical_formula(),
        "config_type": str(way.atoms.info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE)),
        "label": way.source or None,
        "label_in_ancestry": way.known,
        "origin": way.origin.model_dump(mode="json", exclude_none=True) if way.origin is not None else None,
        "selection": _uuid(way.selection),
        "trajectory": _uuid(way.trajectory),
        "largest_displacement": way.apart,
        "dynamics": _uuid(way.dynamics),
        "potentials": {driver.name: driver.potential.uuid for driver in way.drivers},
        "uncertainty": _uuid(way.uncertainty),
        "earlier_sets": [
            {"dataset": item.row.uuid, "frames": item.row.facts.get("num_frames"), "label_calculations": item.labels}
            for item in way.earlier
        ],
    }


def _uuid(row: Row | None) -> str | None:
    return row.uuid if row is not None else None
