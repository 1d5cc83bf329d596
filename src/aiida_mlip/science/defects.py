"""Properties of defects that start from a potential's own crystal: what is asked for, and what came out.

The crystal comes first: ``eos`` gives the lattice constant, ``elastic`` the elastic constants. The settings of every
further property are completed with them. A *case* is one potential with one element.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiida_mlip.science import properties
from aiida_mlip.science.properties import PropertyRecord
from aiida_mlip.science.properties._stiffness import CubicStiffness, UnstableConstants, why_unstable
from aiida_mlip.science.reference import Curve, Reference, ReferenceSet
from aiida_mlip.science.tolerances import grade

Inputs = Mapping[str, Any]
"""Fields of one property's inputs; ``property`` names the kind where the name in the workflow is another one."""

BULK = ("eos", "elastic")
"""Properties of the perfect crystal, which everything else starts from."""

BULK_JOB = "bulk"
"""Name of the job that computes the perfect crystal."""

LATTICE_DECIMALS = 5
"""Lattice constants are passed on to 1e-5 Å, so that noise of the last digits makes no new inputs."""

ELASTIC_DECIMALS = 2
"""Elastic constants are passed on to 0.01 GPa."""

Reason = dict[str, str]
"""Why there is no result: ``type`` (a class of error) and ``message``."""

_NO_FIELD = "without a stable crystal there is no elastic field of a dislocation to start from"

JOB_FAILED: Reason = {"type": "JobFailed", "message": "its job left no result"}
"""Of a property whose job left nothing; why, is known to the job alone."""


def kind_of(name: str, inputs: Inputs) -> str:
    """Return the name in the registry of a property of the workflow."""
    return str(inputs.get("property", name))


def job_of(name: str) -> str:
    """Return the name of the job that computes a property of the workflow."""
    return BULK_JOB if name in BULK else name


def bulk_of(asked: Mapping[str, Inputs], element: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the perfect crystal of ``element``, by name."""
    return {name: {**inputs, "element": element} for name, inputs in asked.items() if name in BULK}


def further(asked: Mapping[str, Inputs]) -> tuple[str, ...]:
    """Return the names of the properties that need the perfect crystal first."""
    return tuple(name for name in asked if name not in BULK)


def complete_from_bulk(
    asked: Mapping[str, Inputs], bulk: Mapping[str, PropertyRecord], element: str
) -> tuple[dict[str, dict[str, Any]], dict[str, Reason]]:
    """Return the inputs of the further properties of one case, and why some of them are not attempted.

    Where a property has the fields, ``lattice_constant`` [Å] and ``elastic_constants`` (c11, c12, c44 [GPa]) are those
    of the potential itself; a value that the user gave stays.

    :param asked: name -> inputs, without element.
    :param bulk: records of the perfect crystal that have a result.
    """
    inputs: dict[str, dict[str, Any]] = {}
    skipped: dict[str, Reason] = {}
    for name in further(asked):
        fields = properties.get(kind_of(name, asked[name])).inputs.model_fields
        values = {**asked[name], "element": element}
        elastic = "elastic_constants" in fields and values.get("elastic_constants") is None
        reason = _why_not(bulk, elastic=elastic)
        if reason:
            skipped[name] = reason
            continue
        if "lattice_constant" in fields and values.get("lattice_constant") is None:
            values["lattice_constant"] = round(_result(bulk, "eos")["lattice_constant"], LATTICE_DECIMALS)
        if elastic:
            found = _result(bulk, "elastic")
            values["elastic_constants"] = {key: round(found[key], ELASTIC_DECIMALS) for key in ("c11", "c12", "c44")}
        inputs[name] = values
    return inputs, skipped


def _result(bulk: Mapping[str, PropertyRecord], name: str) -> dict[str, Any]:
    return bulk[name].result or {}


def _why_not(bulk: Mapping[str, PropertyRecord], *, elastic: bool) -> Reason | None:
    if "eos" not in bulk:
        return {"type": "NoBulk", "message": "there is no lattice constant: the equation of state failed"}
    if not elastic:
        return None
    if "elastic" not in bulk:
        return {"type": "NoElasticConstants", "message": "there are no elastic constants: their computation failed"}
    found = _result(bulk, "elastic")
    unstable = why_unstable(CubicStiffness(c11=found["c11"], c12=found["c12"], c44=found["c44"]))
    return {"type": UnstableConstants.__name__, "message": f"{unstable}; {_NO_FIELD}"} if unstable else None


def quantities(records: Mapping[str, PropertyRecord]) -> dict[str, tuple[float, str, bool]]:
    """Return key -> (value, unit, whether it may be used) of one case; the first record with a key counts."""
    found: dict[str, tuple[float, str, bool]] = {}
    for record in records.values():
        for item in record.quantities:
            found.setdefault(item.key, (item.value, item.unit, record.usable()))
    return found


def deviations(records: Mapping[str, PropertyRecord], element: str, known: ReferenceSet) -> dict[str, dict[str, Any]]:
    """Return the numbers of one case beside the reference data, for those that have any, in the same unit.

    :return: key -> ``value``, ``reference``, ``unit``, ``deviation``, ``relative`` (None where the reference is 0) and
        ``grade`` (None where there is no tolerance, or a flag forbids the use of the number).
    """
    table = {}
    for key, (value, unit, usable) in quantities(records).items():
        reference = known.get(element, key)
        if reference is None or reference.unit != unit:
            continue
        table[key] = {
            "value": value,
            "reference": reference.value,
            "unit": unit,
            "deviation": value - reference.value,
            "relative": value / reference.value - 1 if reference.value else None,
            "grade": grade(key, value, reference.value, unit) if usable else None,
        }
    return table


def reference_document(known: ReferenceSet, elements: Iterable[str]) -> dict[str, Any]:
    """Return what is known of each element as plain values: ``values`` and ``curves`` by key."""

    def plain(entry: Reference | Curve | None) -> dict[str, Any]:
        return {} if entry is None else entry.model_dump(mode="json")

    return {
        element: {
            "values": {key: plain(known.get(element, key)) for key in known.keys(element)},
            "curves": {key: plain(known.curve(element, key)) for key in known.curve_keys(element)},
        }
        for element in elements
    }


def summarize_case(
    asked: Mapping[str, Inputs], element: str, results: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, PropertyRecord], dict[str, Reason]]:
    """Return what is known of one case: the records that have a result, and why the others have none.

    :param asked: name -> inputs, without element.
    :param results: job -> its ``properties`` and ``failed``; the job ``bulk`` has those of the perfect crystal.
    """
    records: dict[str, PropertyRecord] = {}
    failed: dict[str, Reason] = {}
    for result in results.values():
        records |= {name: PropertyRecord.model_validate(item) for name, item in result.get("properties", {}).items()}
        failed |= {name: dict(item["error"]) for name, item in result.get("failed", {}).items()}
    _, skipped = complete_from_bulk(asked, {name: records[name] for name in BULK if name in records}, element)
    for name in asked:
        if name in records or name in failed:
            continue
        failed[name] = skipped.get(name, JOB_FAILED)
    return {name: records[name] for name in (*BULK, *further(asked)) if name in records}, failed
