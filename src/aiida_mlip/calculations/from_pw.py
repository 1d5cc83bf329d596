"""A data set from finished pw.x calculations of the database, linked to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.pw_labels import ARRAYS, Which, frames_from_pw
from aiida_mlip.science.keys import CONFIG_TYPE, DEFAULT_CONFIG_TYPE, GROUP, SOURCE

PW_PROCESS_TYPE = "aiida.calculations:quantumespresso.pw"

NO_LABEL = {
    "nscf": "a band calculation at fixed density has no total energy",
    "bands": "a band calculation at fixed density has no total energy",
    "vc-md": "its plane waves were chosen for the first cell, and there is no final scf",
}
"""Values of ``calculation`` that give no label, and why."""

IONS_NOT_CONVERGED = (500, 501, 502)
"""Exit codes of PwCalculation after which the atoms could move further, but every energy and force is converged."""

VARIABLE_CELL = ("vc-relax", "vc-md")


@calcfunction
def dataset_from_pw(settings: orm.Dict, **calculations: Mapping[str, orm.Data]) -> DatasetData:
    """Return one data set from the outputs of many pw.x calculations.

    Use :func:`import_pw`, which checks the calculations and collects the inputs.

    :param settings: ``which`` (``last`` or ``all``), ``level_of_theory`` (text) and ``labels``: by input name, the
        ``config_type``, ``group`` and whether the cell is variable.
    :param calculations: for each calculation ``parameters`` (its ``output_parameters``), ``trajectory`` (its
        ``output_trajectory``) and ``structure`` (its input structure).
    """
    options = settings.get_dict()
    frames: list[Atoms] = []
    for name in sorted(calculations):
        frames += _frames(calculations[name], options["labels"][name], options["which"])
    return DatasetData(frames, level_of_theory=options["level_of_theory"])


def _frames(nodes: Mapping[str, Any], label: Mapping[str, Any], which: Which) -> list[Atoms]:
    """Return the frames of one calculation with their bookkeeping."""
    trajectory = nodes["trajectory"]
    kinds = {kind.name: kind.symbol for kind in nodes["structure"].kinds}
    frames = frames_from_pw(
        nodes["parameters"].get_dict(),
        {name: trajectory.get_array(name) for name in ARRAYS if name in trajectory.get_arraynames()},
        [kinds[name] for name in trajectory.symbols],
        pbc=nodes["structure"].pbc,
        variable_cell=label["variable_cell"],
        which=which,
    )
    for atoms in frames:
        atoms.info |= {CONFIG_TYPE: label["config_type"], GROUP: label["group"]}
        atoms.info[SOURCE] = nodes["parameters"].creator.uuid
    return frames


def import_pw(
    nodes: Sequence[orm.ProcessNode],
    *,
    which: Which = "last",
    config_types: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> DatasetData:
    """Return a stored data set from finished pw.x calculations, or from work chains that ran them.

    :param nodes: PwCalculations, or work chains (PwBaseWorkChain, PwRelaxWorkChain): of those the last PwCalculation.
    :param which: ``last`` frame of each calculation, or ``all``.
    :param config_types: one for each node; ``default`` otherwise.
    :param groups: one for each node; its own uuid otherwise, so that frames of one run stay together.
    :raises ValueError: naming the calculation, what is wrong and the remedy.
    """
    if not nodes:
        raise ValueError("nodes is empty: give the pk of at least one finished pw.x calculation")
    for name, values in (("config_types", config_types), ("groups", groups)):
        if values is not None and len(values) != len(nodes):
            raise ValueError(f"{name} has {len(values)} entries for {len(nodes)} calculations: give one for each")
    calculations = [pw_calculation(node) for node in nodes]
    for calculation in calculations:
        check_calculation(calculation)
    inputs, labels = {}, {}
    for index, calculation in enumerate(calculations):
        name = f"pw_{index:06d}"
        inputs[name] = {
            "parameters": calculation.outputs.output_parameters,
            "trajectory": calculation.outputs.output_trajectory,
            "structure": calculation.inputs.structure,
        }
        labels[name] = {
            "config_type": config_types[index] if config_types else DEFAULT_CONFIG_TYPE,
            "group": groups[index] if groups else calculation.uuid,
            "variable_cell": _calculation_type(calculation) in VARIABLE_CELL,
        }
        _try_frames(calculation, inputs[name], labels[name], which)
    settings = {"which": which, "labels": labels, "level_of_theory": level_of_theory(calculations)}
    dataset: DatasetData = dataset_from_pw(orm.Dict(settings), **inputs)
    return dataset


def _try_frames(node: orm.CalcJobNode, inputs: Mapping[str, orm.Data], label: Mapping[str, Any], which: Which) -> None:
    """Convert once before the calcfunction does, so that a refusal leaves no failed process in the graph."""
    try:
        _frames(inputs, label, which)
    except ValueError as error:
        raise ValueError(f"PwCalculation {node.pk}: {error}") from error


def pw_calculation(node: orm.ProcessNode) -> orm.CalcJobNode:
    """Return the node itself if it is a PwCalculation, or the last one that a work chain ran.

    :raises ValueError: if there is none.
    """
    candidates = [node] if isinstance(node, orm.CalcJobNode) else node.called_descendants
    found = [item for item in candidates if item.process_type == PW_PROCESS_TYPE]
    if not found:
        raise ValueError(
            f"node {node.pk} is a {node.process_label or type(node).__name__}, no PwCalculation and no work chain that "
            "ran one: give the pk of a pw.x calculation"
        )
    return max(found, key=lambda item: item.ctime)


def check_calculation(node: orm.CalcJobNode) -> None:
    """Refuse a pw.x calculation that has no trustworthy label.

    :raises ValueError: naming the calculation, what is wrong and the remedy.
    """
    kind = _calculation_type(node)
    if not node.is_finished:
        state = node.process_state.value if node.process_state else "not started"
        raise ValueError(f"PwCalculation {node.pk} is {state}: wait until it has finished")
    if kind in NO_LABEL:
        raise ValueError(f"PwCalculation {node.pk}: calculation = {kind!r}: {NO_LABEL[kind]}; run an scf instead")
    tolerated = IONS_NOT_CONVERGED if kind == "relax" else ()
    if node.exit_status and node.exit_status not in tolerated:
        raise ValueError(
            f"PwCalculation {node.pk} failed with exit status {node.exit_status} ({node.exit_message}): "
            "repeat it, or leave it out"
        )
    for name in ("output_parameters", "output_trajectory"):
        if name not in node.outputs:
            raise ValueError(f"PwCalculation {node.pk} has no {name}: parse it again with aiida-quantumespresso >= 4")


def level_of_theory(calculations: Sequence[orm.CalcJobNode]) -> str:
    """Return functional, cut-off and pseudopotentials in words.

    :raises ValueError: if the calculations differ in one of them: their energies have no common zero.
    """
    found: dict[str, list[int]] = {}
    for node in calculations:
        output = node.outputs.output_parameters
        functional = output.get("dft_exchange_correlation", "unknown functional")
        cutoff = _dict_input(node, "parameters").get("SYSTEM", {}).get("ecutwfc", float("nan"))
        found.setdefault(theory_of_pw(str(functional), float(cutoff)), []).append(node.pk)
    if len(found) > 1:
        examples = "; ".join(f"{text} (e.g. {pks[0]})" for text, pks in found.items())
        raise ValueError(f"the calculations mix levels of theory: {examples}. import each of them on its own")
    pseudos: dict[str, dict[str, int]] = {}
    for node in calculations:
        for pseudo in node.inputs.pseudos.values():
            pseudos.setdefault(pseudo.element, {}).setdefault(pseudo.md5, node.pk)
    for element, by_md5 in pseudos.items():
        if len(by_md5) > 1:
            raise ValueError(
                f"the calculations use {len(by_md5)} pseudopotentials of {element}: {by_md5} (md5: a calculation). "
                "Their energies have no common zero: import each set on its own"
            )
    return with_pseudos(next(iter(found)), {element: next(iter(by_md5)) for element, by_md5 in pseudos.items()})


def theory_of_pw(functional: str, cutoff: float) -> str:
    """Return functional and plane-wave cut-off [Ry] in words."""
    return f"pw.x, {functional}, {cutoff:g} Ry"


def with_pseudos(theory: str, pseudos: Mapping[str, str]) -> str:
    """Return a level of theory with its pseudopotentials: element -> md5."""
    files = ", ".join(f"{element} {md5[:8]}" for element, md5 in sorted(pseudos.items()))
    return f"{theory}, pseudopotentials (md5) {files}"


def _calculation_type(node: orm.CalcJobNode) -> str:
    return str(_dict_input(node, "parameters").get("CONTROL", {}).get("calculation", "scf"))


def _dict_input(node: orm.CalcJobNode, name: str) -> dict[str, Any]:
    return dict(node.inputs[name].get_dict()) if name in node.inputs else {}
