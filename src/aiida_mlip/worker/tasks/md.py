"""Molecular dynamics of several walkers with one potential or a committee, one walker after the other."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from typing import Any

from ase import Atoms
from pydantic import TypeAdapter

from aiida_mlip.schema.dynamics import WALKERS_FILE, WALKERS_FOLDER, MDSettings, WalkerProgress, WalkerResult
from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.science.dynamics.observables import is_bulk
from aiida_mlip.science.dynamics.stop_rules import needs_uncertainty
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.trajectory import KEPT_FILE, TRAJECTORY_FILE, thin
from aiida_mlip.worker.backends import refuse_unknown_elements, sha256_of
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.dynamics.checkpoint import Checkpoint, read_checkpoint
from aiida_mlip.worker.dynamics.streams import postponed_signals
from aiida_mlip.worker.dynamics.walker import Plan, WalkerRun
from aiida_mlip.worker.given import frames_of
from aiida_mlip.worker.runner import write_atomically
from aiida_mlip.worker.settings import parse_settings
from aiida_mlip.worker.uncertainty import Estimator
from aiida_mlip.worker.uncertainty.load import load_estimator

RESULT = "result.json"
"""File of a walker that is done, in its folder."""


class Finished(StrictModel):
    """A walker that is done, and the digest of all that its numbers depend on."""

    key: str
    result: WalkerResult


_PROGRESS = TypeAdapter(dict[str, WalkerProgress])


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``potential_<member>`` and ``uncertainty`` as :func:`aiida_mlip.worker.uncertainty.load.load_estimator` reads
    them, ``structures`` (extended XYZ in canonical form), and ``restart``: the folder that holds ``walkers`` of an
    earlier job. Writes ``walkers.json`` and for each walker ``walkers/<name>/trajectory.xyz``, ``series.csv``, and
    ``checkpoint.npz`` or ``result.json``; with a ``keep_stride`` above 1 also ``kept.xyz``, where the walker is done.
    Where the job itself is started again in its folder, it goes on as well.

    :return: ``walkers``: name -> :class:`aiida_mlip.schema.dynamics.WalkerResult`. A walker that is stopped, also by an
        exception of its potential, does not take the others down.
    :raises TaskError: of kind ``input`` where settings, structures and potentials do not fit each other, or the earlier
        job was another one.
    """
    settings = parse_settings(MDSettings, context.job.settings)
    context.reporter.stage("load")
    plans = _plans(context, settings, _starts(context, settings))
    _take_over(context)
    checkpoints = {plan.name: _checkpoint(plan) for plan in plans}
    progress = {plan.name: _progress_of(plan, checkpoints[plan.name]) for plan in plans}
    _write_progress(context, progress)
    estimator = load_estimator(context, device=settings.device, dtype=settings.dtype, head=settings.head)
    _check(settings, plans, estimator)
    results: dict[str, WalkerResult] = {}
    for plan in plans:
        done = _result_of(plan)
        results[plan.name] = done or _run(context, plan, estimator, checkpoints[plan.name], progress)
        _keep(plan)
        context.partial["walkers"] = {name: result.model_dump(mode="json") for name, result in results.items()}
    return dict(context.partial)


def _starts(context: Context, settings: MDSettings) -> dict[str, Atoms]:
    """Return walker -> first configuration."""
    frames = frames_of(context, "structures")
    found = {}
    for name, walker in settings.walkers.items():
        if walker.structure >= len(frames):
            raise TaskError(
                ErrorKind.INPUT,
                f"walkers.{name}.structure = {walker.structure}: there are {len(frames)} structures.",
                f"Use an index from 0 to {len(frames) - 1}.",
            )
        found[name] = frames[walker.structure]
        if len(found[name]) < 2:
            raise TaskError(
                ErrorKind.INPUT,
                f"walkers.{name}.structure = {walker.structure}: one atom alone has no dynamics.",
                "Use a structure of at least two atoms.",
            )
        if settings.ensemble.kind == "npt" and not is_bulk(found[name]):
            raise TaskError(
                ErrorKind.INPUT,
                f"ensemble = 'npt': structure {walker.structure} of walkers.{name} has no volume.",
                "Use constant volume for what is not periodic in three directions.",
            )
    return found


def _plans(context: Context, settings: MDSettings, starts: dict[str, Atoms]) -> list[Plan]:
    """Return what each walker is to do, with the digest of all that its numbers depend on."""
    roles = sorted(role for role in context.job.files if role not in {"structures", "restart"})
    files = {role: sha256_of(context.path(role)) for role in roles}
    shared = settings.model_dump(mode="json", exclude={"walkers", "device", "checkpoint_stride", "keep_stride"})
    plans = []
    for name, atoms in starts.items():
        walker = settings.walkers[name].model_dump(mode="json")
        start = [atoms.numbers.tolist(), atoms.positions.tolist(), atoms.cell.tolist(), atoms.pbc.tolist()]
        text = json.dumps([shared, walker, files, start], sort_keys=True)
        folder = context.directory / WALKERS_FOLDER / name
        plans.append(Plan(name, settings, atoms, hashlib.sha256(text.encode()).hexdigest(), folder))
    return plans


def _take_over(context: Context) -> None:
    """Move what an earlier job left to where this one goes on with it; what this job has already comes first."""
    walkers = context.directory / WALKERS_FOLDER
    if not walkers.exists() and "restart" in context.job.files:
        earlier = context.path("restart") / WALKERS_FOLDER
        if earlier.is_dir():
            shutil.move(earlier, walkers)
    walkers.mkdir(exist_ok=True)


def _checkpoint(plan: Plan) -> Checkpoint | None:
    plan.folder.mkdir(exist_ok=True)
    try:
        found = read_checkpoint(plan.folder)
    except ValueError as error:
        raise TaskError(ErrorKind.INPUT, f"{error}.", "Start without the earlier job.") from error
    if found is not None:
        _check_key(plan, found.header.key)
    return found


def _result_of(plan: Plan) -> WalkerResult | None:
    """Return the result of a walker that is done."""
    path = plan.folder / RESULT
    if not path.exists():
        return None
    finished = Finished.model_validate_json(path.read_text(encoding="utf-8"))
    _check_key(plan, finished.key)
    return finished.result


def _keep(plan: Plan) -> None:
    """Write the copy of the trajectory that is retrieved; the whole one stays where it is."""
    if plan.settings.keep_stride == 1:
        return
    path = plan.folder / KEPT_FILE
    temporary = path.with_name(path.name + ".tmp")
    with (
        (plan.folder / TRAJECTORY_FILE).open(encoding="utf-8") as source,
        temporary.open("w", encoding="utf-8") as target,
    ):
        thin(source, target, plan.settings.keep_stride)
    temporary.replace(path)


def _check_key(plan: Plan, key: str) -> None:
    if key != plan.key:
        raise TaskError(
            ErrorKind.INPUT,
            f"walkers.{plan.name}: the earlier job ran it with other settings, structures or potentials.",
            "Start without restart_folder, or give the walker another name.",
        )


def _progress_of(plan: Plan, checkpoint: Checkpoint | None) -> WalkerProgress:
    asked = plan.schedule.steps
    if (result := _result_of(plan)) is not None:
        return WalkerProgress(steps=result.steps, asked_steps=asked, done=True)
    return WalkerProgress(steps=checkpoint.header.step if checkpoint else 0, asked_steps=asked)


def _write_progress(context: Context, progress: dict[str, WalkerProgress]) -> None:
    write_atomically(context.directory / WALKERS_FILE, _PROGRESS.dump_json(progress).decode())


def _check(settings: MDSettings, plans: Sequence[Plan], estimator: Estimator) -> None:
    """Refuse what the potential cannot do."""
    refuse_unknown_elements([plan.start for plan in plans], estimator.info.elements)
    needs = needs_uncertainty(settings.stop) + (["hal"] if settings.hal else [])
    if needs and not estimator.has_uncertainty:
        raise TaskError(
            ErrorKind.INPUT,
            f"{', '.join(needs)}: needs an uncertainty, and one potential alone has none.",
            "Give a committee or the output of mlip.uncertainty, or leave it out.",
        )


def _run(
    context: Context,
    plan: Plan,
    estimator: Estimator,
    checkpoint: Checkpoint | None,
    progress: dict[str, WalkerProgress],
) -> WalkerResult:
    steps = checkpoint.header.step if checkpoint else 0
    context.reporter.stage(f"walker {plan.name}", plan.schedule.steps, done=steps)

    def report(state: WalkerProgress, temperature: float) -> None:
        progress[plan.name] = state
        _write_progress(context, progress)
        context.reporter.update(state.steps, {"temperature": temperature})

    with postponed_signals() as deliver:

        def pause() -> None:
            deliver()
            context.check_time()

        try:
            walker = WalkerRun(plan, estimator, report, checkpoint)
        except ValueError as error:
            message = f"walkers.{plan.name}: {error}, and cannot go on from its checkpoint."
            raise TaskError(ErrorKind.INPUT, message, "Start without the earlier job.") from error
        result = walker.run(pause)
        write_atomically(plan.folder / RESULT, Finished(key=plan.key, result=result).model_dump_json())
    return result
