"""Calcfunctions of the force tests: what needs labels, and what the labels say."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.electrolyte import ForceTestSettings
from aiida_mlip.schema.labelling import LabelReport
from aiida_mlip.science.keys import FORCES
from aiida_mlip.science.liquids.force_plan import ForceTestPlan
from aiida_mlip.science.liquids.force_probes import Wanted, plan_probes
from aiida_mlip.science.liquids.force_scores import ForceLimits, Labels, Reference, labels_by_probe, score


@calcfunction
def probe_frames(
    configurations: DatasetData | None = None, settings: orm.Dict | None = None, **boxes: DatasetData
) -> dict[str, orm.Data]:
    """Return the configurations that must be labelled, each geometry once, and how they belong together.

    :param configurations: are decomposed; those that are periodic are scanned where there are no boxes. None: the
        boxes are decomposed.
    :param settings: of :class:`~aiida_mlip.schema.electrolyte.ForceTestSettings`; None: all as they come.
    :param boxes: name -> set whose first frame is scanned and gives pairs of molecules.
    :return: ``probes`` without labels, and ``plan``, fields of
        :class:`~aiida_mlip.science.liquids.force_plan.ForceTestPlan`.
    """
    given = list(configurations.frames()) if configurations is not None else []
    named = {name: next(box.frames()) for name, box in sorted(boxes.items())}
    options = ForceTestSettings(**(settings.get_dict() if settings is not None else {}))
    frames, plan = plan_probes(given, named, _wanted(options))
    probes = DatasetData(frames, level_of_theory="none")
    probes.label = "probes"
    return {"probes": probes, "plan": orm.Dict(plan.model_dump(mode="json"))}


def _wanted(settings: ForceTestSettings) -> Wanted:
    scan, dimers = settings.volume_scan, settings.dimers
    return Wanted(
        configurations=settings.configurations,
        densities=scan.densities if scan else (),
        scans=scan.configurations if scan else 0,
        pairs=dimers.pairs if dimers else 0,
        shifts=dimers.shifts if dimers else (),
        min_contact=dimers.min_contact if dimers else 1.0,
        seed=settings.seed,
    )


@calcfunction
def score_forces(  # noqa: PLR0917 - calcfunctions are called by position
    plan: orm.Dict,
    settings: orm.Dict,
    predicted: DatasetData,
    predicted_report: orm.Dict,
    truth: DatasetData | None = None,
    truth_report: orm.Dict | None = None,
) -> dict[str, orm.Data]:
    """Return what the labels of a potential say.

    :param plan: of :func:`probe_frames`.
    :param settings: of :class:`~aiida_mlip.schema.electrolyte.ForceTestSettings`.
    :param predicted: labels of the probes by the potential, and ``predicted_report`` that ``mlip.label`` wrote of
        them; probes that failed are left out and counted.
    :param truth: labels of the probes by the reference, with ``truth_report``. Without that report, the configurations
        that were given to :func:`probe_frames`, with the labels they carry. None: there is no reference.
    :return: ``results``, fields of :class:`~aiida_mlip.science.liquids.force_results.ForceTestResult`, and
        ``curves``.
    """
    options = ForceTestSettings(**settings.get_dict())
    known = ForceTestPlan(**plan.get_dict())
    limits = ForceLimits(**{item.name: getattr(options, item.name) for item in fields(ForceLimits)})
    labels, _ = _labels(known, predicted, predicted_report)
    result, curves = score(known, labels, _reference(known, truth, truth_report), limits)
    return {"results": orm.Dict(result.model_dump(mode="json")), "curves": _array(curves)}


def _labels(plan: ForceTestPlan, labelled: DatasetData, report: orm.Dict) -> tuple[Labels, int]:
    """Return probe -> labelled configuration, and how many probes have no label."""
    told = LabelReport(**report.get_dict())
    failed = [item.index for item in told.failed]
    found = labels_by_probe(list(labelled.frames()), failed, asked=told.asked, probes=plan.probes)
    return found, plan.probes - len(found)


def _reference(plan: ForceTestPlan, truth: DatasetData | None, report: orm.Dict | None) -> Reference | None:
    if truth is None:
        return None
    if report is not None:
        labels, failed = _labels(plan, truth, report)
        return Reference(labels, truth.level_of_theory, complete=True, failed=failed)
    frames = list(truth.frames())
    carried = {item.probe: frames[item.source] for item in plan.configurations if FORCES in frames[item.source].arrays}
    return Reference(carried, truth.level_of_theory, complete=False) if carried else None


def _array(curves: dict[str, Any]) -> orm.ArrayData:
    node = orm.ArrayData()
    for name, values in curves.items():
        node.set_array(name, values)
    return node
