"""Calcfunctions that keep the history of ``mlip.iterative_training``: what each generation did, and how good it was."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.calculations.datasets import predictions_of
from aiida_mlip.schema.iterative import Ended, GenerationRecord, History, IterativeSettings, Survival
from aiida_mlip.schema.selection import SelectionCounts
from aiida_mlip.science.errors import error_table
from aiida_mlip.science.iterative.convergence import Limits, Observation, condition_converged, missing
from aiida_mlip.science.iterative.ladder import condition_of, rungs_to_run
from aiida_mlip.science.iterative.outliers import training_outliers
from aiida_mlip.science.predictions import Predictions

COMMITTEE = "committee"
"""Name of the mean of all members among errors."""

HOLDOUT, TRAINING = "holdout", "training"
"""Names of the sets that members are evaluated on."""

SETS = (TRAINING, "validation", HOLDOUT)


@calcfunction
def start_history(**nodes: Any) -> orm.Dict:
    """Return a history without generations.

    :param nodes: ``labels``: report of the labelling of the first set, where it was labelled.
    """
    report = nodes["labels"].get_dict() if "labels" in nodes else {}
    return orm.Dict(History(start=report, labels_used=int(report.get("asked", 0))).model_dump(mode="json"))


@calcfunction
def add_generation(history: orm.Dict, settings: orm.Dict, **nodes: Any) -> orm.Dict:
    """Return the history with one more generation, not yet labelled.

    What is still to be done, or why the loop ends, is decided here (see :func:`why_ended`).

    :param nodes: ``potential_<member>``, ``trained_<member>`` (results of its training), ``evaluation_<member>``
        (results), ``predictions_<member>_holdout`` and ``predictions_<member>_training``, ``training_set`` (the
        whole), the sets of :data:`SETS`, the results ``uncertainty``, ``md`` and ``md_settings``, ``selection`` and
        ``selection_settings``, and ``selected``, the frames that are asked for, where there are any.
    """
    options, past = IterativeSettings(**settings.get_dict()), History(**history.get_dict())
    selection = nodes["selection"].get_dict() if "selection" in nodes else {}
    levels = nodes["selection_settings"]["levels"] if "selection_settings" in nodes else {}
    counts = selection.get("by_walker", {})
    record = GenerationRecord(
        generation=len(past.generations) + 1,
        potentials={name: node.uuid for name, node in _of("potential", nodes).items()},
        training_set=nodes["training_set"].uuid,
        frames={name: len(nodes[name]) for name in SETS if name in nodes},
        errors=_errors(nodes),
        uncertainty=_plain(nodes, "uncertainty"),
        levels={name: float(levels[name]) for name in ("lower", "upper") if name in levels},
        survival=_survival(nodes),
        selection=selection.get("counts"),
        candidate_fraction=selection.get("candidate_fraction"),
        by_condition=_by_condition({name: SelectionCounts(**values) for name, values in counts.items()}),
        cost=_cost(nodes),
        processes=_processes(nodes, len(past.generations) + 1),
        warnings=tuple(_warnings(nodes)),
    )
    reasons = missing([observe(item) for item in (*past.generations, record)], limits_of(options))
    judged = record.model_copy(update={"converged": not reasons, "reasons": tuple(reasons)})
    new = past.model_copy(update={"generations": (*past.generations, judged)})
    ended = why_ended(options, new, asked="selected" in nodes)
    return orm.Dict(new.model_copy(update={"ended": ended}).model_dump(mode="json"))


@calcfunction
def add_labels(history: orm.Dict, labels: orm.Dict) -> orm.Dict:
    """Return the history with the labels of its last generation."""
    past, report = History(**history.get_dict()), labels.get_dict()
    last = past.generations[-1]
    seconds = {
        "labelling": float(report.get("wall_seconds", 0.0)),
        "label_core_seconds": float(report.get("core_seconds", 0.0)),
    }
    warnings = (*last.warnings, *_label_warnings(report))
    changes = {"labels": report, "cost": {**last.cost, **seconds}, "warnings": warnings}
    changed = last.model_copy(update=changes)
    asked = past.labels_used + int(report.get("asked", 0))
    new = past.model_copy(update={"generations": (*past.generations[:-1], changed), "labels_used": asked})
    return orm.Dict(new.model_dump(mode="json"))


@calcfunction
def end_failed(history: orm.Dict) -> orm.Dict:
    """Return the history of a run that a failed step ended."""
    return orm.Dict({**history.get_dict(), "ended": "failed"})


@calcfunction
def continue_history(history: orm.Dict) -> orm.Dict:
    """Return the history of an earlier run as that of one that goes on."""
    return orm.Dict({**history.get_dict(), "ended": ""})


def why_ended(settings: IterativeSettings, history: History, *, asked: bool) -> Ended:
    """Return why the loop ends after its last generation; empty where it goes on.

    :param asked: whether frames were selected to be labelled. Without any there is nothing to learn from, and the loop
        goes on only where the ladder has a further rung to climb.
    """
    last = history.generations[-1]
    if last.converged:
        return "converged"
    if len(history.generations) >= settings.max_generations:
        return "max_generations"
    if not asked:
        climbs = rungs_of(settings, history) > len({item.condition for item in last.survival})
        return "" if climbs else "no_candidates"
    used_up = settings.label_budget is not None and history.labels_used >= settings.label_budget
    return "label_budget" if used_up else ""


def left_open(settings: IterativeSettings, record: GenerationRecord) -> bool:
    """Return whether a generation that asked for nothing met what it could not learn from.

    That are uncertain frames without one to label, frames that a geometry filter refused, an uncertainty of zero, and
    walkers that broke down: a potential that explodes at once leaves nothing that is worth a label.
    """
    counts = record.selection
    unsure = _is_blind(record) or (counts is not None and counts.candidate + counts.failed + counts.filtered > 0)
    return unsure or (settings.convergence.stable and any(item.stopped_by is not None for item in record.survival))


def limits_of(settings: IterativeSettings) -> Limits:
    """Return what is asked of a generation."""
    return settings.convergence.limits(len(settings.conditions))


def observe(record: GenerationRecord) -> Observation:
    """Return what convergence is judged by."""
    return Observation(
        candidate_fraction=record.candidate_fraction,
        forces_rmse=forces_error(record.errors),
        stopped=tuple(item.walker for item in record.survival if item.stopped_by is not None),
        rungs=len({item.condition for item in record.survival}),
        explored=bool(record.selection is not None and record.selection.frames > record.selection.filtered),
        blind=_is_blind(record),
    )


def _is_blind(record: GenerationRecord) -> bool:
    """Return whether the uncertainty is zero on most calibration frames: nothing it calls accurate is known to be."""
    return record.uncertainty.get("median_max_forces_sigma") == 0.0


def forces_error(errors: Mapping[str, Any]) -> float | None:
    """Return the held-out root-mean-square force error [eV/Å] of the committee, or of the only member."""
    table = errors.get(COMMITTEE) or (next(iter(errors.values())) if len(errors) == 1 else {})
    value = table.get("all", {}).get("forces", {}).get("rmse")
    return None if value is None else float(value)


def rungs_of(settings: IterativeSettings, history: History) -> int:
    """Return how many rungs of the ladder the next generation runs."""
    before = rungs_converged(settings, history.generations[-1]) if history.generations else None
    return rungs_to_run(settings.ladder, len(settings.conditions), before)


def rungs_converged(settings: IterativeSettings, record: GenerationRecord) -> list[bool]:
    """Return for each rung that a generation ran, in the order of the ladder, whether it was converged."""
    stopped: dict[str, list[str]] = defaultdict(list)
    for item in record.survival:
        if item.stopped_by is not None:
            stopped[item.condition].append(item.walker)
    run = {item.condition for item in record.survival}
    return [
        not _is_blind(record)
        and condition_converged(_fraction(record.by_condition.get(rung.name)), stopped[rung.name], limits_of(settings))
        for rung in settings.conditions
        if rung.name in run
    ]


def _fraction(counts: SelectionCounts | None) -> float | None:
    looked = counts.frames - counts.filtered if counts is not None else 0
    return (counts.candidate + counts.failed) / looked if counts is not None and looked else None


def _of(prefix: str, nodes: Mapping[str, Any]) -> dict[str, Any]:
    start = f"{prefix}_"
    return {name.removeprefix(start): node for name, node in sorted(nodes.items()) if name.startswith(start)}


def _plain(nodes: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return results without what does not belong into a record."""
    found = nodes[name].get_dict() if name in nodes else {}
    return {key: value for key, value in found.items() if key not in {"versions", "timings"}}


def _errors(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return member -> error table on the hold-out set, or on the validation set where nothing is held out."""
    on = HOLDOUT if HOLDOUT in nodes else "validation"
    tables = {name: node["errors"][on] for name, node in _of("evaluation", nodes).items()}
    predictions = [predictions_of(node) for name, node in _of("predictions", nodes).items() if name.endswith(f"_{on}")]
    if len(predictions) > 1:
        tables[COMMITTEE] = error_table(list(nodes[on].frames()), _mean(predictions))
    return tables


def _mean(members: Sequence[Predictions]) -> Predictions:
    forces = [np.mean(parts, axis=0) for parts in zip(*(member.forces for member in members), strict=True)]
    return Predictions(
        np.mean([member.energies for member in members], axis=0),
        forces,
        np.mean([member.stresses for member in members], axis=0),
    )


def _survival(nodes: Mapping[str, Any]) -> tuple[Survival, ...]:
    if "md" not in nodes:
        return ()
    timestep = float(nodes["md_settings"]["timestep"])
    return tuple(
        Survival(
            walker=name,
            condition=condition_of(name),
            structure=int(walker["structure"]),
            temperature=float(walker["temperature"]),
            asked_ps=walker["asked_steps"] * timestep * 1e-3,
            survived_ps=walker["stable_steps"] * timestep * 1e-3,
            stopped_by=walker["stopped_by"],
        )
        for name, walker in sorted(nodes["md"]["walkers"].items())
    )


def _by_condition(by_walker: Mapping[str, SelectionCounts]) -> dict[str, SelectionCounts]:
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for name, counts in by_walker.items():
        totals[condition_of(name)].update(counts.model_dump())
    return {
        name: SelectionCounts(**{key: total[key] for key in SelectionCounts.model_fields})
        for name, total in totals.items()
    }


def _cost(nodes: Mapping[str, Any]) -> dict[str, float]:
    def seconds(found: Iterable[Any]) -> float:
        return float(sum(node.get("timings", {}).get("total", 0.0) for node in found))

    cost = {name: seconds([nodes[name].get_dict()]) for name in ("uncertainty", "md", "selection") if name in nodes}
    cost["training"] = seconds(node.get_dict() for node in _of("trained", nodes).values())
    cost["evaluation"] = seconds(node.get_dict() for node in _of("evaluation", nodes).values())
    if "md" in nodes:
        cost["force_calls"] = float(sum(walker["force_calls"] for walker in nodes["md"]["walkers"].values()))
    return cost


def _processes(nodes: Mapping[str, Any], generation: int) -> dict[str, str]:
    """Return step -> uuid of the calculation that did it."""
    made = {f"train_{name[-2:]}": node for name, node in _of("potential", nodes).items()}
    made |= {f"evaluate_{name[-2:]}": node for name, node in _of("evaluation", nodes).items()}
    made |= {
        step: nodes[name]
        for step, name in (("uncertainty",) * 2, ("md",) * 2, ("select", "selection"))
        if name in nodes
    }
    return {f"g{generation:02d}_{step}": node.creator.uuid for step, node in made.items() if node.creator is not None}


def _warnings(nodes: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    frames = list(nodes[TRAINING].frames()) if TRAINING in nodes else []
    seen: set[int] = set()
    for name, node in _of("predictions", nodes).items():
        if name.endswith(f"_{TRAINING}"):
            worst = [item for item in training_outliers(frames, predictions_of(node)) if item.index not in seen]
            seen |= {item.index for item in worst}
            found += [str(item) for item in worst]
    if HOLDOUT not in nodes and "validation" in nodes:
        found.append("nothing is held out: the errors are of the validation set, by which the best epochs were chosen")
    for name in ("uncertainty", "selection"):
        found += [f"{name}: {text}" for text in (nodes[name].get("warnings", []) if name in nodes else [])]
    return found


def _label_warnings(report: Mapping[str, Any]) -> list[str]:
    failed = report.get("failed", [])
    if not failed:
        return []
    return [
        f"{len(failed)} of {report['asked']} labels failed: {'; '.join(str(item['reason']) for item in failed[:5])}"
    ]
