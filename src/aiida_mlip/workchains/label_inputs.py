"""Inputs of ``mlip.label``: defaults, validation before submission, addresses, and the builder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiida import orm
from aiida.plugins import GroupFactory
from pydantic import ValidationError

from aiida_mlip.calculations import checks, labelling
from aiida_mlip.calculations.checks.label import check_batch, check_pseudos, check_pw_parameters
from aiida_mlip.computers.defaults import max_concurrent
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.labelling import LabelSettings
from aiida_mlip.science.labelling.address import geometry_digest, pw_address, pw_method
from aiida_mlip.science.models import explain
from aiida_mlip.workchains.label_builder import label_builder, pw_inputs
from aiida_mlip.workchains.label_sources import cores_of

MOST_IN_FLIGHT = 50
"""Runs at a time where the queue of a computer takes care of the rest: each holds two slots of AiiDA's daemon."""

KPOINTS = {"kpoints": "kpoints", "distance": "kpoints_distance", "parity": "kpoints_force_parity"}
"""Name in the calculation that prepares pw.x -> input of ``pw``."""


class Planned(NamedTuple):
    """The address of one label, and the names of what pw.x gets for it (empty in a batch)."""

    address: str
    mesh_name: str = ""
    parameters_name: str = ""


def complete_settings(values: Any) -> orm.Dict:
    """Return the settings as a node that holds every field; wrong settings are kept for the validator."""
    if isinstance(values, orm.Dict):
        return values
    try:
        return orm.Dict(LabelSettings(**dict(values)).model_dump(mode="json"))
    except ValidationError:
        return orm.Dict(dict(values))


def elements_of(configurations: DatasetData, settings: LabelSettings) -> tuple[str, ...]:
    """Return the elements of the configurations and of the isolated atoms."""
    return tuple(sorted({*configurations.elements, *settings.isolated_atoms}))


def pseudos_of(pw: Mapping[str, Any], elements: Sequence[str]) -> dict[str, Any]:
    """Return element -> pseudopotential.

    :param pw: the namespace ``pw``.
    :raises ValueError: where the family is not installed or lacks an element.
    """
    if "pseudo_family" in pw:
        return dict(pseudo_family(pw["pseudo_family"].value).get_pseudos(elements=list(elements)))
    return {element: pw["pw"]["pseudos"][element] for element in elements}


def pseudo_family(label: str) -> Any:
    """Return an installed family of pseudopotentials.

    :raises ValueError: where there is none of this label.
    """
    family = GroupFactory("pseudo.family")
    found = orm.QueryBuilder().append(family, filters={"label": label}).first(flat=True)
    if found is None:
        known = orm.QueryBuilder().append(family, project="label").all(flat=True)
        raise ValueError(f"it is not installed (installed: {', '.join(sorted(known)) or 'none'})")
    return found


def kpoints_of(pw: Mapping[str, Any]) -> dict[str, orm.Data]:
    """Return the inputs that decide the k-points; one mesh for all counts more than a distance."""
    given = {name: pw[key] for name, key in KPOINTS.items() if key in pw}
    return {"kpoints": given["kpoints"]} if "kpoints" in given else given


def plan(inputs: Mapping[str, Any], settings: LabelSettings) -> list[Planned]:
    """Return the address of the label of each configuration, those of isolated atoms last."""
    configurations: DatasetData = inputs["configurations"]
    if "batch" in inputs:
        frames = labelling.frames_to_label(configurations, settings, plane_waves=False)
        return [Planned(geometry_digest(atoms)) for atoms in frames]
    pw = inputs["pw"]
    frames = labelling.frames_to_label(configurations, settings, plane_waves=True)
    pseudos = pseudos_of(pw, elements_of(configurations, settings))
    md5 = {element: node.md5 for element, node in pseudos.items()}
    valences = {element: float(node.z_valence) for element, node in pseudos.items()}
    plugin = pw["pw"]["settings"].get_dict() if "settings" in pw["pw"] else {}
    files = {name: pw["pw"][name].base.caching.get_hash() for name in ("vdw_table", "hubbard_file") if name in pw["pw"]}
    parameters = pw["pw"]["parameters"].get_dict()
    kpoints = kpoints_of(pw)
    rule = labelling.rule_of(*(kpoints.get(name) for name in KPOINTS))
    planned = []
    runs = labelling.pw_runs(
        frames, settings, given=len(configurations), parameters=parameters, kpoints=rule, valences=valences
    )
    for run in runs:
        method = pw_method(run.parameters, md5, settings=plugin, files=files)
        address = pw_address(run.atoms, method, run.mesh.numbers, run.mesh.offset)
        planned.append(Planned(address, run.mesh.name, run.parameters_name))
    return planned


def theory_of(inputs: Mapping[str, Any], settings: LabelSettings) -> dict[str, Any]:
    """Return ``cutoff`` [Ry] and ``pseudos`` (element -> md5) of the runs of pw.x."""
    pw = inputs["pw"]
    pseudos = pseudos_of(pw, elements_of(inputs["configurations"], settings))
    cutoff = pw["pw"]["parameters"].get_dict()["SYSTEM"]["ecutwfc"]
    return {"cutoff": float(cutoff), "pseudos": {element: node.md5 for element, node in pseudos.items()}}


def default_window(pw: Mapping[str, Any]) -> int:
    """Return how many runs of pw.x go on at a time where the settings leave it open.

    :param pw: inputs of pw.x itself.
    """
    cores = cores_of(pw.get("metadata", {}).get("options", {}).get("resources", {}))
    return max_concurrent(pw["code"].computer, cores) or MOST_IN_FLIGHT


def validate_label(inputs: Mapping[str, Any] | None, _port: Any) -> str | None:
    """Return what is wrong with the inputs as a whole, or None."""
    if not inputs:
        return None
    messages = [message for check in _CHECKS for message in check(inputs)]
    return "; ".join(messages) or None


def _check_settings(inputs: Mapping[str, Any]) -> Iterator[str]:
    if (settings := inputs.get("settings")) is None:
        return
    try:
        LabelSettings(**settings.get_dict())
    except ValidationError as error:
        yield explain(error, what="settings", model=LabelSettings)


def _check_one_labeller(inputs: Mapping[str, Any]) -> Iterator[str]:
    given = [name for name in ("pw", "batch") if inputs.get(name)]
    if len(given) != 1:
        yield checks.refusal(
            "pw, batch", given, "one of them has to be given", "Use pw for pw.x, batch for a potential"
        )


def _check_finite(inputs: Mapping[str, Any]) -> Iterator[str]:
    data: DatasetData | None = inputs.get("configurations")
    for index, atoms in enumerate(data.frames() if data is not None and data.not_finite else ()):
        if not _finite(atoms):
            yield checks.refusal("configurations", index, "its positions are not finite", "Leave it out")
            return


def _finite(atoms: Any) -> bool:
    return bool(abs(atoms.positions).max() < float("inf") and abs(atoms.cell.array).max() < float("inf"))


def _check_batch(inputs: Mapping[str, Any]) -> Iterator[str]:
    batch = inputs.get("batch") or {}
    if (potential := batch.get("potential")) is None:
        return
    head = batch["settings"].get("head") if "settings" in batch else None
    yield from check_batch(potential.info, {"configurations": inputs.get("configurations")}, head)
    asked = inputs["settings"].get("isolated_atoms", []) if "settings" in inputs else []
    if missing := sorted(set(asked) - set(potential.elements)):
        yield checks.refusal("settings.isolated_atoms", asked, f"the potential lacks {', '.join(missing)}", "Leave out")


def _check_pw(inputs: Mapping[str, Any]) -> Iterator[str]:
    pw = inputs.get("pw") or {}
    if "pw" not in pw:
        return
    if "parameters" in pw["pw"]:
        yield from check_pw_parameters(pw["pw"]["parameters"].get_dict())
    if "kpoints" not in pw and "kpoints_distance" not in pw:
        yield checks.refusal("pw.kpoints_distance", None, "there are no k-points", "Give it in 1/Å, or pw.kpoints")
    if "kpoints" in pw:
        try:
            labelling.mesh_from(pw["kpoints"])
        except AttributeError:
            yield checks.refusal("pw.kpoints", "<list of points>", "cells differ", "Give a mesh")


def _check_pseudos(inputs: Mapping[str, Any]) -> Iterator[str]:
    pw = inputs.get("pw") or {}
    data: DatasetData | None = inputs.get("configurations")
    if "pw" not in pw or data is None or "settings" not in inputs:
        return
    asked = inputs["settings"].get("isolated_atoms", [])
    needed = dict.fromkeys(asked, "settings.isolated_atoms") | dict.fromkeys(data.elements, "configurations")
    given = pw["pw"].get("pseudos") or {}
    if given and "pseudo_family" in pw:
        yield checks.refusal("pw.pseudo_family", pw["pseudo_family"].value, "pw.pw.pseudos is given too", "Use one")
    elif given:
        elements = {name: node.element for name, node in given.items()}
        yield from check_pseudos(elements, needed, "pw.pw.pseudos")
    elif "pseudo_family" in pw:
        try:
            pseudos_of(pw, list(needed))
        except ValueError as error:
            remedy = "See `aiida-pseudo list` and `aiida-pseudo install`"
            yield checks.refusal("pw.pseudo_family", pw["pseudo_family"].value, str(error), remedy)
    else:
        remedy = "Give pw.pw.pseudos (element -> UpfData) or pw.pseudo_family"
        yield checks.refusal("pw.pw.pseudos", {}, "there are no pseudopotentials", remedy)


_CHECKS: tuple[Callable[[Mapping[str, Any]], Iterator[str]], ...] = (
    _check_settings,
    _check_one_labeller,
    _check_finite,
    _check_batch,
    _check_pw,
    _check_pseudos,
)

__all__ = (
    "complete_settings",
    "default_window",
    "elements_of",
    "kpoints_of",
    "label_builder",
    "plan",
    "pseudos_of",
    "pw_inputs",
    "theory_of",
    "validate_label",
)
