"""Inputs of ``mlip.defects``: defaults, validation before submission, and the builder made from a protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from ase.data import atomic_numbers
from pydantic import ValidationError

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.checks.wording import listed
from aiida_mlip.computers.defaults import PROPERTY, find_worker
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.defects import DefectSettings
from aiida_mlip.schema.tasks import PropertySettings
from aiida_mlip.science import properties as registry
from aiida_mlip.science import reference
from aiida_mlip.science.defects import BULK, BULK_JOB, kind_of
from aiida_mlip.science.models import explain
from aiida_mlip.workchains.protocols import protocol_inputs

_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")
"""Names in the graph: letters, digits and single underscores."""


def complete_properties(values: Any) -> orm.Dict:
    """Return the properties as a node; those of the perfect crystal, which all others start from, come first."""
    given = values.get_dict() if isinstance(values, orm.Dict) else dict(values)
    full = {**{name: {} for name in BULK if name not in given}, **given}
    if isinstance(values, orm.Dict) and full == given:
        return values
    return orm.Dict({name: full[name] for name in (*BULK, *(key for key in full if key not in BULK))})


def complete_settings(values: Any) -> orm.Dict:
    """Return the settings as a node that holds every field; wrong settings are kept for the validator."""
    if isinstance(values, orm.Dict):
        return values
    try:
        return orm.Dict(DefectSettings(**dict(values)).model_dump(mode="json"))
    except ValidationError:
        return orm.Dict(dict(values))


def validate_defects(inputs: Mapping[str, Any] | None, _port: Any) -> str | None:
    """Return what is wrong with the inputs as a whole, or None."""
    if not inputs:
        return None
    messages = [message for check in _CHECKS for message in check(inputs)]
    return "; ".join(messages) or None


def _check_potentials(inputs: Mapping[str, Any]) -> Iterator[str]:
    potentials = inputs.get("potentials") or {}
    if not potentials:
        yield checks.refusal("potentials", {}, "there is nothing to evaluate", "Give at least one potential")
    for name in potentials:
        if not _NAME.fullmatch(name):
            remedy = "Use letters, digits and single underscores, beginning with a letter"
            yield checks.refusal(f"potentials.{name}", name, "it cannot be a name in the graph", remedy)


def _check_elements(inputs: Mapping[str, Any]) -> Iterator[str]:
    elements = _elements(inputs)
    if not elements or len(set(elements)) != len(elements):
        yield checks.refusal("elements", elements, "need one or more different elements", "E.g. ['W', 'Mo', 'Nb']")
    unknown = [element for element in elements if atomic_numbers.get(element, 0) < 1]
    if unknown:
        yield checks.refusal(
            "elements", elements, f"{listed(map(str, unknown))}: no chemical symbol", "Write it like 'W'"
        )
    for name, potential in (inputs.get("potentials") or {}).items():
        missing = [element for element in elements if element not in unknown and element not in potential.elements]
        if missing:
            known = potential.elements
            many = f"{len(known)} elements"
            yield checks.refusal(
                f"potentials.{name}",
                potential.label or f"<potential of {many}>",
                f"it lacks {listed(missing)} (it knows {listed(known) if len(known) <= 12 else many})",
                f"Leave out {listed(missing)} of `elements`, or this potential",
            )


def _check_properties(inputs: Mapping[str, Any]) -> Iterator[str]:
    if "properties" not in inputs:
        return
    elements = [element for element in _elements(inputs) if atomic_numbers.get(element, 0) > 0][:1] or ["W"]
    for name, fields in inputs["properties"].get_dict().items():
        where = f"properties.{name}"
        if not isinstance(fields, Mapping):
            yield checks.refusal(
                where, fields, "it is no mapping", "Write the fields of its inputs, or {} for all defaults"
            )
        elif "element" in fields:
            yield checks.refusal(f"{where}.element", fields["element"], "the workflow fills it in", "Use `elements`")
        elif name == BULK_JOB or not _NAME.fullmatch(name):
            remedy = "Use another name, of letters, digits and single underscores, and say `property: KIND`"
            yield checks.refusal(where, name, "it cannot be the name of a property", remedy)
        elif name in BULK and kind_of(name, fields) != name:
            remedy = f"Give it another name, and leave {name!r} to the property that everything starts from"
            yield checks.refusal(f"{where}.property", fields["property"], "it is of another kind", remedy)
        else:
            settings = PropertySettings(properties={name: {**fields, "element": elements[0]}})
            yield from (message.removeprefix("settings.") for message in checks.check_properties(settings))


def _check_settings(inputs: Mapping[str, Any]) -> Iterator[str]:
    if "settings" not in inputs:
        return
    try:
        settings = DefectSettings(**inputs["settings"].get_dict())
    except ValidationError as error:
        yield explain(error, what="settings", model=DefectSettings)
        return
    for code in _codes(inputs):
        if code.computer is not None:
            gpus = (code.computer.get_property(PROPERTY, None) or {}).get("gpus")
            yield from checks.check_device(settings.device, code.computer.label, gpus)


def _check_codes(inputs: Mapping[str, Any]) -> Iterator[str]:
    used = {potential.info.architecture for potential in (inputs.get("potentials") or {}).values()}
    for architecture, code in (inputs.get("codes") or {}).items():
        where = f"codes.{architecture}"
        if architecture not in used:
            remedy = f"Leave it out; the potentials are of: {listed(sorted(used))}"
            yield checks.refusal(where, code.label, "no potential is of this architecture", remedy)
        executable = str(code.filepath_executable) if isinstance(code, orm.PortableCode) else None
        yield from (message.replace("code =", f"{where} =", 1) for message in checks.check_code(code.label, executable))


def _check_reference(inputs: Mapping[str, Any]) -> Iterator[str]:
    if "reference" in inputs:
        try:
            reference.parse(inputs["reference"].get_dict(), "reference")
        except ValueError as error:
            yield str(error)


def _check_window(inputs: Mapping[str, Any]) -> Iterator[str]:
    window = inputs.get("max_concurrent")
    if window is not None and window.value < 1:
        yield checks.refusal("max_concurrent", window.value, "no job could run", "Use 1 or more")


_CHECKS: tuple[Callable[[Mapping[str, Any]], Iterator[str]], ...] = (
    _check_potentials,
    _check_elements,
    _check_properties,
    _check_settings,
    _check_codes,
    _check_reference,
    _check_window,
)


def _elements(inputs: Mapping[str, Any]) -> list[Any]:
    return list(inputs["elements"].get_list()) if "elements" in inputs else []


def _codes(inputs: Mapping[str, Any]) -> list[orm.AbstractCode]:
    main = inputs.get("property", {}).get("property", {}).get("code")
    return [code for code in (main, *(inputs.get("codes") or {}).values()) if code is not None]


def property_inputs(protocol: str | None = None, names: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return the inputs of properties, without element, as the protocol of ``mlip.defects`` has them.

    :param names: properties; None: all of the protocol. One of the registry that no protocol has gets its defaults.
    :raises ValueError: for an unknown protocol or property.
    """
    known = _asked(protocol_inputs("defects", protocol))
    for name in names or ():
        if name not in known:
            registry.get(name)
    return {name: known.get(name, {}) for name in (known if names is None else names)}


def _asked(inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of a protocol's inputs, without those that are switched off."""
    return {name: fields for name, fields in inputs["properties"].items() if fields is not None}


def with_protocol(asked: Mapping[str, Mapping[str, Any]], protocol: str | None) -> dict[str, dict[str, Any]]:
    """Return properties of another workflow with what the protocol of ``mlip.defects`` says where they leave it open.

    Its numbers are for bcc crystals: properties of another structure are returned as they are.
    """
    known = _asked(protocol_inputs("defects", protocol))
    return {
        name: {**(known.get(kind_of(name, fields), {}) if fields.get("structure", "bcc") == "bcc" else {}), **fields}
        for name, fields in asked.items()
    }


def defects_builder(
    cls: Any,
    *,
    code: orm.PortableCode,
    potentials: Mapping[str, PotentialData],
    elements: Sequence[str],
    properties: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    codes: Mapping[str, orm.PortableCode] | None = None,
    reference_data: Mapping[str, Any] | None = None,
    max_concurrent: int | None = None,
) -> ProcessBuilder:
    """Return a builder with the inputs of a protocol.

    :param code: the worker on the computer where the jobs run.
    :param potentials: name, as it is to be printed -> potential.
    :param elements: chemical symbols.
    :param properties: a choice of properties; None: all of the protocol. ``eos`` and ``elastic`` are always computed.
    :param options: ``metadata.options`` of every job (resources, queue, walltime).
    :param protocol: ``fast``, ``balanced`` or ``stringent``.
    :param overrides: nested changes to the protocol's inputs, e.g. ``{"properties": {"vacancy": {"sizes": [4]}}}``;
        a property that is None is left out.
    :param codes: architecture -> worker, for potentials that need another Python environment.
    :param reference_data: content of a reference file that counts more than the data of this package.
    :param max_concurrent: jobs at a time; None: what the computer's file says.
    :raises ValueError: for an unknown protocol or property, or an unknown key in ``overrides``.
    """
    inputs = protocol_inputs("defects", protocol, overrides)
    asked = _asked(inputs)
    if properties is not None:
        changed = [name for name in (overrides or {}).get("properties", {}) if name in asked]
        known = property_inputs(protocol, properties) | asked
        asked = {name: known[name] for name in dict.fromkeys((*BULK, *properties, *changed))}
    builder = cls.get_builder()
    builder.potentials = dict(potentials)
    builder.elements = orm.List(list(elements))
    builder.properties = asked
    builder.settings = inputs["settings"]
    builder.property.property.code = code
    builder.property.property.metadata = {"options": dict(options or {})}
    if codes:
        builder.codes = dict(codes)
    if reference_data is not None:
        builder.reference = orm.Dict(dict(reference_data))
    if max_concurrent is not None:
        builder.max_concurrent = max_concurrent
    return builder


def special_workers(computer: orm.Computer, potentials: Mapping[str, PotentialData]) -> dict[str, orm.PortableCode]:
    """Return architecture -> worker, of those potentials that have a Python environment of their own on a computer.

    :raises ValueError: where the computer has no worker at all.
    """
    main = find_worker(computer)
    found = {name: find_worker(computer, name) for name in {item.info.architecture for item in potentials.values()}}
    return {name: code for name, code in found.items() if code.uuid != main.uuid}


def graph_name(text: str) -> str:
    """Return a text, such as a label, as a name that can stand in the graph: ``mace-omat-0`` -> ``mace_omat_0``."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return name if name[:1].isalpha() else f"p_{name}".rstrip("_")
