"""What an earlier run of ``mlip.iterative_training`` left, also one that was killed: found in its graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiida import orm
from aiida.common.links import LinkType

from aiida_mlip.schema.iterative import GenerationRecord, History
from aiida_mlip.workchains.iterative_steps import generation_step

_HISTORY = re.compile(r"start_history|continue_history|g\d+_(label_)?record")
"""Calls that return a history, whole up to then."""


def previous_run(node: orm.WorkChainNode, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the inputs ``previous`` of a run that goes on from an earlier one.

    A run that was killed has no outputs; what its steps made is in the graph all the same. Of a generation that was cut
    short, members that were trained, their uncertainty and finished dynamics are taken over where the settings that
    made them are still asked for; labels are found by the labelling itself.

    :param node: the earlier run, ended in whatever way.
    :param inputs: of the run that goes on; None: those of the earlier one.
    :raises ValueError: if it is no such run, still runs, or made no first set.
    """
    if node.process_label != "IterativeTrainingWorkChain":
        raise ValueError(f"previous = {node.process_label}<{node.pk}>: it is not a run of mlip.iterative_training")
    if not node.is_terminated:
        raise ValueError(f"previous = <{node.pk}> has not ended: wait for it, or kill it (`verdi process kill`)")
    steps = steps_of(node)
    earlier = _inputs_of(node, "previous")
    histories = [step for label, step in steps.items() if _HISTORY.fullmatch(label) and _made(step)]
    if not histories:
        raise ValueError(
            f"previous = <{node.pk}> ended before it had a first set: submit it again as it was; labels that it made "
            "are found and not made again"
        )
    last = max(histories, key=lambda step: step.pk)
    found: dict[str, Any] = {"history": _made(last)["result"]}
    history = History(**found["history"].get_dict())
    done = len(history.generations)
    found["training_set"] = _training_set(steps, earlier, history)
    if (holdout := _holdout(node, steps, earlier)) is not None:
        found["holdout"] = holdout
    if (selected := _selected(steps, earlier, history)) is not None:
        found["selected"] = selected
    if members := _members(steps, done) or dict(earlier.get("potentials", {})):
        found["potentials"] = members
    if unfinished := _unfinished(node, steps, _taken_over(earlier, done), inputs):
        found["unfinished"] = unfinished
    return found


def steps_of(node: orm.WorkChainNode) -> dict[str, orm.ProcessNode]:
    """Return label of the call -> process, of all that a work chain called, in the order of the calls."""
    kinds = (LinkType.CALL_CALC, LinkType.CALL_WORK)
    links = [link for kind in kinds for link in node.base.links.get_outgoing(link_type=kind).all()]
    return {link.link_label: link.node for link in sorted(links, key=lambda link: link.node.pk)}


def _made(step: orm.ProcessNode) -> dict[str, Any]:
    """Return the outputs of a process that finished well; none of another one."""
    if not step.is_finished_ok:
        return {}
    return {name: step.outputs[name] for name in step.outputs}


def _input(node: orm.ProcessNode, name: str) -> Any:
    return node.inputs[name] if name in node.inputs else None  # noqa: SIM401 - a links manager has no get


def _inputs_of(node: orm.ProcessNode, namespace: str) -> Mapping[str, Any]:
    return dict(_input(node, namespace) or {})


def _training_set(steps: Mapping[str, orm.ProcessNode], earlier: Mapping[str, Any], history: History) -> Any:
    """Return the set with all labels that the history knows of; a later one would be extended a second time."""
    labelled = [record.generation for record in history.generations if _has_labels(record)]
    for generation in reversed(labelled):
        step = steps.get(f"{generation_step(generation)}_extend_set")
        if step is not None:
            return _made(step)["result"]
    start = steps.get("start_sets")
    return earlier["training_set"] if start is None else _made(start)["training_set"]


def _holdout(node: orm.ProcessNode, steps: Mapping[str, orm.ProcessNode], earlier: Mapping[str, Any]) -> Any:
    start = steps.get("start_sets")
    if start is not None and "holdout" in (made := _made(start)):
        return made["holdout"]
    return earlier["holdout"] if "holdout" in earlier else _input(node, "holdout")


def _selected(steps: Mapping[str, orm.ProcessNode], earlier: Mapping[str, Any], history: History) -> Any:
    """Return the frames that the last generation asked for and of which none was labelled."""
    if not history.generations or _has_labels(history.generations[-1]):
        return None
    step = steps.get(f"{generation_step(len(history.generations))}_select")
    return earlier.get("selected") if step is None else _made(step).get("selected")


def _has_labels(record: GenerationRecord) -> bool:
    return bool(record.labels.get("labelled"))


def _members(steps: Mapping[str, orm.ProcessNode], generation: int) -> dict[str, Any]:
    """Return the members that a generation trained."""
    start = f"{generation_step(generation)}_train_"
    jobs = {label.removeprefix(start): step for label, step in steps.items() if label.startswith(start)}
    made = {number: _made(step) for number, step in jobs.items()}
    return {f"member_{number}": outputs["potential"] for number, outputs in made.items() if "potential" in outputs}


class _Earlier(NamedTuple):
    """What a run had itself taken over of the generation that it did not finish."""

    generation: int
    potentials: dict[str, Any]
    trained: dict[str, Any]
    measured: dict[str, Any]


def _taken_over(earlier: Mapping[str, Any], done: int) -> _Earlier:
    """Return what an interrupted run went on from, as long as it has not finished that generation.

    :param earlier: its inputs ``previous``.
    :param done: generations in its history.
    """
    found = dict(earlier.get("unfinished", {}))
    if not found or len(earlier["history"]["generations"]) != done:
        return _Earlier(done + 1, {}, {}, {})
    potentials, trained = dict(found.pop("potentials", {})), dict(found.pop("trained", {}))
    return _Earlier(done + 1, potentials, trained, found)


def _unfinished(
    node: orm.ProcessNode, steps: Mapping[str, orm.ProcessNode], taken: _Earlier, inputs: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what was finished of a generation that was cut short, as far as the settings that made it still hold."""
    start, made = generation_step(taken.generation), _members(steps, taken.generation)
    members = taken.potentials | made
    asked = ("training.train.settings", *(f"settings.{name}" for name in _OF_THE_MEMBERS))
    if not members or not _same(node, inputs, asked):
        return {}
    trained = {name: _made(steps[f"{start}_train_{name[-2:]}"])["results"] for name in made}
    found: dict[str, Any] = {"potentials": members, "trained": taken.trained | trained}
    measured = ({} if made else taken.measured) | _measured(steps, start)
    if "uncertainty" not in measured or not _same(node, inputs, ("uncertainty.settings",)):
        return found
    found |= {name: measured[name] for name in ("uncertainty", "doubts")}
    asked = ("md.settings", "settings.conditions", "settings.ladder", "settings.walkers", "settings.levels")
    if "md" in measured and _same(node, inputs, asked):
        found |= {name: measured[name] for name in ("md", "md_settings", "trajectories")}
    return found


_OF_THE_MEMBERS = ("committee", "start_from", "validation_fraction", "seed")
"""Settings that decide what members are trained on, and how; the last two part training from validation."""


def _measured(steps: Mapping[str, orm.ProcessNode], start: str) -> dict[str, Any]:
    """Return the uncertainty of the members of a generation and its dynamics, where they were finished."""
    found: dict[str, Any] = {}
    if f"{start}_uncertainty" in steps and "uncertainty" in (doubts := _made(steps[f"{start}_uncertainty"])):
        found |= {"uncertainty": doubts["uncertainty"], "doubts": doubts["results"]}
    if f"{start}_md" in steps and "trajectories" in (dynamics := _made(steps[f"{start}_md"])):
        settings = steps[f"{start}_md"].inputs["md"]["settings"]
        trajectories = dict(dynamics["trajectories"])
        found |= {"md": dynamics["results"], "md_settings": settings, "trajectories": trajectories}
    return found


def _same(node: orm.ProcessNode, inputs: Mapping[str, Any] | None, paths: tuple[str, ...]) -> bool:
    return inputs is None or all(_value(node.inputs, path) == _value(inputs, path) for path in paths)


def _value(inputs: Any, path: str) -> Any:
    """Return a field of a settings node: ``settings.committee`` is the field ``committee`` of the node ``settings``."""
    found = inputs
    for name in path.split("."):
        found = found[name]
    return found.get_dict() if isinstance(found, orm.Dict) else found
