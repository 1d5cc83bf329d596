"""The builder of ``mlip.iterative_training`` made from a protocol, anew or to go on from an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.iterative_inputs import MODELS, complete
from aiida_mlip.workchains.iterative_resume import previous_run
from aiida_mlip.workchains.protocols import merge, no_mapping, protocol_inputs


def iterative_builder(
    cls: Any,
    *,
    code: orm.PortableCode,
    structures: DatasetData | None = None,
    potential: PotentialData | None = None,
    training_set: DatasetData | None = None,
    holdout: DatasetData | None = None,
    teacher: PotentialData | None = None,
    pw: Mapping[str, Any] | None = None,
    previous: orm.WorkChainNode | None = None,
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ProcessBuilder:
    """Return a builder with the inputs of a protocol, or with those of an earlier run from which to go on.

    :param code: the worker on the computer where all jobs run.
    :param structures: where the walkers start, and what is augmented.
    :param potential: the foundation model; None: random weights, for strategy ``scratch``.
    :param training_set: labelled configurations to begin with.
    :param holdout: labelled configurations to measure errors on; without them a part of the first set is held out.
    :param teacher: potential, or any ASE calculator, that makes the labels; or give ``pw``.
    :param pw: inputs of the namespace ``pw`` of ``mlip.label``: what pw.x labels with.
    :param previous: an earlier run, ended in whatever way, from which to go on. Its inputs take the place of a
        protocol's; ``overrides`` change them, and what is not given is as it was.
    :param options: ``metadata.options`` of every job of the worker (resources, queue, walltime).
    :param protocol: ``fast``, ``balanced`` or ``stringent``.
    :param overrides: nested changes to the inputs, e.g. ``{"settings": {"max_generations": 8}}``.
    :raises ValueError: for an unknown protocol or key, where it is not said what makes the labels, or where an earlier
        run cannot be continued.
    """
    given = {"structures": structures, "potential": potential, "training_set": training_set, "holdout": holdout}
    if previous is not None:
        if unused := sorted(name for name, value in {**given, "protocol": protocol}.items() if value is not None):
            raise ValueError(f"{', '.join(unused)}: given with previous, whose own inputs are taken: leave them out")
        return _continued(previous, code=code, teacher=teacher, pw=pw, options=options, overrides=overrides or {})
    if (teacher is None) == (pw is None):
        raise ValueError("teacher, pw: give one of the two, what labels are made with")
    inputs = protocol_inputs("iterative", protocol, overrides)
    builder = cls.get_builder()
    for name, node in given.items():
        if node is not None:
            builder[name] = node
    job = {"options": dict(options or {})}
    device = inputs["training"]["device"]
    builder.settings = complete("settings", inputs["settings"])
    for name in ("evaluation", "uncertainty", "selection", "md"):
        inputs[name] = {"device": device, **inputs[name]}
    for path, name in SETTINGS.items():
        _set(builder, path, inputs[name])
    _set_runtime(builder, code, job)
    _set_labeller(builder, code=code, teacher=teacher, pw=pw, batch={"device": "cpu", **inputs["batch"]}, job=job)
    return builder


SETTINGS: Mapping[str, str] = {
    "training.train.settings": "training",
    "evaluation.settings": "evaluation",
    "uncertainty.settings": "uncertainty",
    "md.settings": "md",
    "selection.settings": "selection",
    "label.settings": "label",
}
"""Input -> its name in a protocol and in overrides."""

JOBS = ("training.train", "evaluation", "uncertainty", "md.md", "selection")
"""Namespaces of the jobs of the worker."""


def _continued(
    previous: orm.WorkChainNode,
    *,
    code: orm.PortableCode,
    teacher: PotentialData | None,
    pw: Mapping[str, Any] | None,
    options: Mapping[str, Any] | None,
    overrides: Mapping[str, Any],
) -> ProcessBuilder:
    """Return the inputs of an earlier run with changes on top, and what it left."""
    if previous.process_label != "IterativeTrainingWorkChain":
        raise ValueError(f"previous = {previous.process_label}<{previous.pk}>: it is no run of mlip.iterative_training")
    builder = previous.get_builder_restart()
    for name in ("training_set", "holdout", "previous"):
        builder.pop(name, None)
    known = {"settings": "settings", **{name: path for path, name in SETTINGS.items()}, "batch": "label.batch.settings"}
    if unknown := sorted(set(overrides) - set(known)):
        raise ValueError(f"overrides.{unknown[0]} is not a known input: known here are {', '.join(sorted(known))}")
    if problem := no_mapping({name: {} for name in known}, overrides):
        raise ValueError(problem)
    for name, changes in overrides.items():
        _set(builder, known[name], merge(_get(builder, known[name]).get_dict(), changes))
    job = {"options": dict(options)} if options is not None else None
    _set_runtime(builder, code, job)
    if teacher is not None or pw is not None:
        old = builder.label.batch.get("settings") if "batch" in builder.label else None
        batch = {} if old is None else old.get_dict()
        _set_labeller(builder, code=code, teacher=teacher, pw=pw, batch=batch, job=job or {})
    elif builder.label.get("batch"):
        builder.label.batch.code = code
    builder.previous = previous_run(previous, builder)
    return builder


def _set_runtime(builder: ProcessBuilder, code: orm.PortableCode, job: Mapping[str, Any] | None) -> None:
    for path in JOBS:
        namespace = _get(builder, path)
        namespace.code = code
        if job is not None:
            namespace.metadata = dict(job)


def _set_labeller(
    builder: ProcessBuilder,
    *,
    code: orm.PortableCode,
    teacher: PotentialData | None,
    pw: Mapping[str, Any] | None,
    batch: Mapping[str, Any],
    job: Mapping[str, Any],
) -> None:
    """Set what makes the labels: a teacher, or pw.x."""
    if teacher is None:
        builder.label.pop("batch", None)
        builder.label.pw = dict(pw or {})
        return
    builder.label.pop("pw", None)
    builder.label.batch = {"code": code, "potential": teacher, "settings": dict(batch), "metadata": dict(job)}


def _get(builder: ProcessBuilder, path: str) -> Any:
    found: Any = builder
    for name in path.split("."):
        found = found[name]
    return found


def _set(builder: ProcessBuilder, path: str, values: Mapping[str, Any]) -> None:
    namespace, _, name = path.rpartition(".")
    target = _get(builder, namespace) if namespace else builder
    target[name] = complete(path, values) if path in MODELS else dict(values)
