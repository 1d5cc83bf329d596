"""Calcfunctions of ``mlip.label``: what pw.x gets for each configuration, and the labelled set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mlip.calculations.from_pw import theory_of_pw, with_pseudos
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.pw_labels import ARRAYS, frames_from_pw
from aiida_mlip.schema.labelling import LabelFailure, LabelReport, LabelSettings
from aiida_mlip.science.isolated_atoms import is_isolated
from aiida_mlip.science.keys import ENERGY, FORCES, SOURCE, STRESS
from aiida_mlip.science.labelling.address import firsts, geometry_digest
from aiida_mlip.science.labelling.cells import boxed, mesh_of
from aiida_mlip.science.labelling.checks import refusal_of
from aiida_mlip.science.labelling.isolated import atom_parameters, missing_atoms

FRAME = "frame_{:06d}"
"""Name of a configuration in the graph, by its index."""

Label: TypeAlias = Atoms | tuple[str, str]
"""A configuration with its label, or why there is none and the uuid of the process."""

NO_SHIFT = (0.0, 0.0, 0.0)


class Mesh(NamedTuple):
    """K-points: numbers along each axis, and the offset in units of the step."""

    numbers: tuple[int, int, int]
    offset: tuple[float, float, float] = NO_SHIFT

    @property
    def name(self) -> str:
        """Return a name in the graph."""
        shift = "".join("s" if value else "" for value in self.offset)
        return "kpoints_" + "_".join(map(str, self.numbers)) + (f"_{shift}" if shift else "")


class PwRun(NamedTuple):
    """What pw.x gets for one configuration; the name of the parameters is the same where they are."""

    atoms: Atoms
    mesh: Mesh
    parameters: dict[str, dict[str, Any]]
    parameters_name: str


def frames_to_label(configurations: DatasetData, settings: LabelSettings, *, plane_waves: bool) -> list[Atoms]:
    """Return the configurations, and after them the isolated atoms that are asked for and not among them.

    :param plane_waves: isolated atoms are in a box.
    """
    frames = list(configurations.frames())
    box = settings.atom_box if plane_waves else None
    return [*frames, *missing_atoms(settings.isolated_atoms, frames, box)]


def pw_runs(
    frames: Sequence[Atoms],
    settings: LabelSettings,
    *,
    given: int,
    parameters: Mapping[str, Mapping[str, Any]],
    kpoints: Mesh | tuple[float, bool],
    valences: Mapping[str, float],
) -> Iterator[PwRun]:
    """Yield what pw.x gets for each configuration.

    :param given: the first so many are not the isolated atoms of the settings.
    :param kpoints: one mesh for all, or the distance [1/Å] and whether numbers are made even.
    :param valences: element -> valence electrons of its pseudopotential.
    :raises ValueError: where a cell is none.
    """
    for index, frame in enumerate(frames):
        if np.linalg.matrix_rank(frame.cell.array[frame.pbc]) < frame.pbc.sum():
            raise ValueError(
                f"configuration {index}: its periodic cell vectors are not independent; correct the cell or `pbc`"
            )
        atoms = boxed(frame, settings.vacuum)
        name, own = f"parameters_{len(atoms)}", {key: dict(values) for key, values in parameters.items()}
        own, left_out = _of_the_elements_present(own, frame)
        name += "_" + "".join(sorted(set(frame.get_chemical_symbols()))) if left_out else ""
        stress = bool(frame.pbc.all())
        if index >= given:
            (element,) = frame.get_chemical_symbols()
            own = atom_parameters(own, element, valences[element], settings.atom_degauss)
            name, stress, mesh = f"parameters_isolated_{element}", False, Mesh((1, 1, 1))
        elif isinstance(kpoints, Mesh):
            mesh = _without_points_across_vacuum(kpoints, frame)
        else:
            mesh = Mesh(mesh_of(atoms, kpoints[0], even=kpoints[1]))
        own["CONTROL"] = {**own.get("CONTROL", {}), "calculation": "scf", "tprnfor": True, "tstress": stress}
        if settings.conv_thr_per_atom is not None:
            own["ELECTRONS"] = {**own.get("ELECTRONS", {}), "conv_thr": settings.conv_thr_per_atom * len(atoms)}
        yield PwRun(atoms, mesh, own, name if stress or index >= given else f"{name}_cluster")


def _of_the_elements_present(
    parameters: dict[str, dict[str, Any]], atoms: Atoms
) -> tuple[dict[str, dict[str, Any]], bool]:
    """Return the parameters without values of elements that are not there, which the plugin refuses, and if any was."""
    present = set(atoms.get_chemical_symbols())
    kept: dict[str, dict[str, Any]] = {}
    left_out = False
    for namelist, values in parameters.items():
        kept[namelist] = {}
        for key, value in values.items():
            if not isinstance(value, Mapping):
                kept[namelist][key] = value
                continue
            there = {element: number for element, number in value.items() if element in present}
            left_out |= len(there) < len(value)
            if not there and key == "starting_magnetization":  # pw.x asks for one where nspin = 2
                there = dict.fromkeys(sorted(present), 0.0)
            if there:
                kept[namelist][key] = there
    return kept, left_out


def _without_points_across_vacuum(mesh: Mesh, atoms: Atoms) -> Mesh:
    numbers = [number if periodic else 1 for number, periodic in zip(mesh.numbers, atoms.pbc, strict=True)]
    offset = [value if periodic else 0.0 for value, periodic in zip(mesh.offset, atoms.pbc, strict=True)]
    return Mesh((numbers[0], numbers[1], numbers[2]), (offset[0], offset[1], offset[2]))


def mesh_from(kpoints: orm.KpointsData) -> Mesh:
    """Return the mesh of a node.

    :raises AttributeError: where it is a list of points.
    """
    numbers, offset = kpoints.get_kpoints_mesh()
    return Mesh((numbers[0], numbers[1], numbers[2]), (offset[0], offset[1], offset[2]))


def rule_of(kpoints: orm.KpointsData | None, distance: orm.Float | None, parity: orm.Bool | None) -> Any:
    """Return the ``kpoints`` of :func:`pw_runs` that inputs of pw.x stand for."""
    if kpoints is not None:
        return mesh_from(kpoints)
    assert distance is not None
    return (distance.value, parity is not None and parity.value)


@calcfunction
def prepare_pw(
    configurations: DatasetData,
    settings: orm.Dict,
    parameters: orm.Dict,
    indices: orm.List,
    **sources: Mapping[str, Any],
) -> dict[str, orm.Data]:
    """Return structures, k-points and parameters of pw.x for those configurations that need a label.

    :param indices: which configurations.
    :param sources: ``pseudos``: element -> pseudopotential; ``kpoints``: ``kpoints``, or ``distance`` and perhaps
        ``parity``.
    :return: ``frame_<index>`` the structure of each, ``kpoints_<mesh>`` and ``parameters_<atoms>``, each once.
    """
    options = LabelSettings(**settings.get_dict())
    frames = frames_to_label(configurations, options, plane_waves=True)
    rule = rule_of(*(sources["kpoints"].get(name) for name in ("kpoints", "distance", "parity")))
    valences = {element: float(pseudo.z_valence) for element, pseudo in sources["pseudos"].items()}
    wanted = set(indices.get_list())
    nodes: dict[str, orm.Data] = {}
    runs = pw_runs(
        frames,
        options,
        given=len(configurations),
        parameters=parameters.get_dict(),
        kpoints=rule,
        valences=valences,
    )
    for index, run in enumerate(runs):
        if index not in wanted:
            continue
        name = FRAME.format(index)
        nodes[name] = orm.StructureData(ase=run.atoms)
        nodes[name].label = f"{frames[index].info.get('config_type', '')} {index}".strip()
        if run.mesh.name not in nodes:
            points = orm.KpointsData()
            points.set_kpoints_mesh(list(run.mesh.numbers), offset=list(run.mesh.offset))
            nodes[run.mesh.name] = points
        if run.parameters_name not in nodes:
            nodes[run.parameters_name] = orm.Dict(run.parameters)
    return nodes


@calcfunction
def pick_frames(configurations: DatasetData, settings: orm.Dict, indices: orm.List) -> DatasetData:
    """Return those configurations that need a label, isolated atoms included."""
    frames = frames_to_label(configurations, LabelSettings(**settings.get_dict()), plane_waves=False)
    return DatasetData([frames[index] for index in indices.get_list()], level_of_theory=configurations.level_of_theory)


@calcfunction
def collect_labels(
    configurations: DatasetData, settings: orm.Dict, outcome: orm.Dict, **sources: Any
) -> dict[str, orm.Data]:
    """Return the labelled configurations in the order of the input, and a report of what became of each.

    Configurations that are alike share one label.

    :param outcome: ``plane_waves``; ``failed`` (index -> reason and uuid of the process); ``reused`` (indices);
        ``pseudos`` (element -> md5), ``cutoff`` [Ry]; ``core_seconds``; ``wall_seconds``.
    :param sources: ``frame_<index>`` with ``parameters`` and ``trajectory`` of pw.x, or ``batch_<n>``: labelled sets.
    :return: ``report``, and ``labelled`` where there is any.
    """
    options, known = LabelSettings(**settings.get_dict()), outcome.get_dict()
    frames = frames_to_label(configurations, options, plane_waves=known["plane_waves"])
    digests = [geometry_digest(atoms) for atoms in frames]
    found = _from_pw(frames, sources) if known["plane_waves"] else _from_batches(digests, sources)
    reasons = {int(index): (reason, process) for index, (reason, process) in known["failed"].items()}
    labelled, failed, reused = [], [], 0
    for index, first in enumerate(firsts(digests)):
        label: Label = found.get(first, reasons.get(first, ("the calculation left no label", "")))
        if isinstance(label, Atoms) and (problem := refusal_of(label, options.max_force)):
            label = (problem, str(label.info.get(SOURCE, "")))
        if not isinstance(label, Atoms):
            failed.append(LabelFailure(index=index, reason=label[0], process=label[1]))
            continue
        labelled.append(_with_label(frames[index], label))
        reused += first in known["reused"]
    theory = _theory(sources, known)
    report = LabelReport(
        asked=len(frames),
        labelled=len(labelled),
        reused=reused,
        failed=tuple(failed),
        level_of_theory=theory,
        core_seconds=known["core_seconds"],
        wall_seconds=known["wall_seconds"],
    )
    nodes: dict[str, orm.Data] = {"report": orm.Dict(report.model_dump(mode="json"))}
    if labelled:
        nodes["labelled"] = DatasetData(labelled, level_of_theory=theory)
    return nodes


def _from_pw(frames: Sequence[Atoms], sources: Mapping[str, Any]) -> dict[int, Label]:
    """Return index -> configuration with the label of its run of pw.x, or why that is none and the run."""
    found: dict[int, Label] = {}
    for name, nodes in sources.items():
        index = int(name.removeprefix("frame_"))
        source = nodes["parameters"].creator.uuid
        trajectory = nodes["trajectory"]
        there = trajectory.get_arraynames()
        symbols = frames[index].get_chemical_symbols()
        try:
            arrays = {key: trajectory.get_array(key) for key in ARRAYS if key in there}
            (atoms,) = frames_from_pw(nodes["parameters"].get_dict(), arrays, symbols)
        except ValueError as error:
            found[index] = (str(error), source)
            continue
        if not frames[index].pbc.all() or is_isolated(frames[index]):
            atoms.info.pop(STRESS, None)
        atoms.info[SOURCE] = source
        found[index] = atoms
    return found


def _from_batches(digests: Sequence[str], sources: Mapping[str, DatasetData]) -> dict[int, Label]:
    """Return index -> configuration with the label of a batch."""
    labels = {geometry_digest(atoms): atoms for node in sources.values() for atoms in node.frames()}
    return {index: labels[digest] for index, digest in enumerate(digests) if digest in labels}


def _with_label(frame: Atoms, label: Atoms) -> Atoms:
    """Return the configuration as it was given, with the label; what it carried before is replaced."""
    atoms = frame.copy()
    for key in (ENERGY, STRESS, SOURCE):
        atoms.info.pop(key, None)
        if key in label.info:
            atoms.info[key] = label.info[key]
    atoms.arrays[FORCES] = np.array(label.arrays[FORCES], dtype=float)
    return atoms


def _theory(sources: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    for node in sources.values():
        if isinstance(node, DatasetData):
            return node.level_of_theory
        functional = str(node["parameters"].get_dict().get("dft_exchange_correlation", "unknown functional"))
        return with_pseudos(theory_of_pw(functional, float(known["cutoff"])), known["pseudos"])
    return "unknown"
