"""Calcfunctions of ``mlip.defects``: the settings of each job, and the summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.calculations.checks.settings import with_property_defaults
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.tasks import PropertySettings
from aiida_mlip.science import defects
from aiida_mlip.science.properties import PropertyRecord
from aiida_mlip.science.reference import load as load_reference


@calcfunction
def bulk_settings(properties: orm.Dict, settings: orm.Dict, elements: orm.List) -> dict[str, orm.Dict]:
    """Return element -> settings of the job that computes the perfect crystal."""
    asked = properties.get_dict()
    return {element: _settings(settings, defects.bulk_of(asked, element)) for element in elements.get_list()}


@calcfunction
def defect_settings(properties: orm.Dict, settings: orm.Dict, bulk: orm.Dict) -> dict[str, orm.Dict]:
    """Return name -> settings of the job of each further property of one case; those not to be attempted are left out.

    :param bulk: results of the job that computed the perfect crystal.
    """
    inputs, _ = attempted(properties.get_dict(), bulk.get_dict())
    return {name: _settings(settings, {name: values}) for name, values in inputs.items()}


def attempted(
    asked: Mapping[str, Any], bulk: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, defects.Reason]]:
    """Return the inputs of the further properties of a case, and why some are not attempted.

    :param bulk: results of the job that computed the perfect crystal.
    """
    records = {name: PropertyRecord.model_validate(item) for name, item in bulk["properties"].items()}
    element = next(iter(records.values())).inputs["element"]
    return defects.complete_from_bulk(asked, records, element)


@calcfunction
def summarize_defects(
    elements: orm.List,
    properties: orm.Dict,
    reference: orm.Dict | None = None,
    **nodes: Any,
) -> orm.Dict:
    """Return what is known of every case, beside the reference data.

    :param nodes: ``potentials``: name -> potential; ``results``: potential -> element -> job -> results of
        ``mlip.property``, of all jobs that left some.
    :param reference: content of a reference file that counts more than the data of this package.
    """
    known = load_reference(documents=[reference.get_dict()] if reference is not None else [])
    cases: dict[str, Any] = {}
    deviations: dict[str, Any] = {}
    for name in nodes["potentials"]:
        cases[name], deviations[name] = {}, {}
        for element in elements.get_list():
            done: Mapping[str, orm.Dict] = nodes.get("results", {}).get(name, {}).get(element, {})
            records, failed = defects.summarize_case(
                properties.get_dict(), element, {job: node.get_dict() for job, node in done.items()}
            )
            cases[name][element] = {
                "records": {key: record.model_dump(mode="json") for key, record in records.items()},
                "failed": failed,
                **_jobs(list(properties.get_dict()), done),
            }
            deviations[name][element] = defects.deviations(records, element, known)
    return orm.Dict(
        {
            "elements": elements.get_list(),
            "potentials": {name: _describe(node) for name, node in nodes["potentials"].items()},
            "cases": cases,
            "reference": defects.reference_document(known, elements.get_list()),
            "deviations": deviations,
        }
    )


def _settings(settings: orm.Dict, inputs: Mapping[str, Any]) -> orm.Dict:
    return orm.Dict(with_property_defaults(PropertySettings(**settings.get_dict(), properties=dict(inputs))))


def _jobs(names: list[str], done: Mapping[str, orm.Dict]) -> dict[str, Any]:
    """Return property -> uuid of the job that left its results, and the properties whose job came from the cache."""
    jobs, cached = {}, []
    for name in names:
        job = defects.job_of(name)
        if job in done:
            creator = done[job].creator
            jobs[name] = str(creator.uuid)
            if creator.base.caching.is_created_from_cache:
                cached.append(name)
    return {"jobs": jobs, "cached": cached}


def _describe(potential: PotentialData) -> dict[str, str]:
    info = potential.info
    return {
        "uuid": potential.uuid,
        "label": potential.label or info.name,
        "architecture": info.architecture,
        "level_of_theory": info.level_of_theory,
    }
