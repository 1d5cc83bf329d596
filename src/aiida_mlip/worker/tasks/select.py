"""Choose the frames of trajectories that are worth a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.selection import SelectionCounts, SelectionResult, SelectionSettings
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.selection import SAME, Budget, Candidate, Chosen, Described, Level, choose
from aiida_mlip.science.selection.describe import outcome, selected_frame
from aiida_mlip.science.selection.sift import Sifted, sift, thinned, uncertain_atoms
from aiida_mlip.science.trajectory import TrajectoryError, read_trajectory
from aiida_mlip.worker.backends import Potential
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.descriptors import describe, source_of
from aiida_mlip.worker.given import frames_of, potential_of
from aiida_mlip.worker.settings import parse_settings

PREFIX = "trajectory_"
"""Role of a trajectory in the job: this and the name of its walker."""

SELECTED_FILE = "selected.xyz"


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``potential``, ``trajectory_<walker>`` for each walker, and ``known``, where something is known. Writes
    ``selected.xyz`` where frames were selected; the uuid of the trajectory is not known here and left out.

    :return: :class:`~aiida_mlip.schema.selection.SelectionResult`.
    :raises TaskError: of kind ``input`` where a file is damaged, a frame has no uncertainty, or more atoms than
        ``max_label_atoms``.
    """
    settings = parse_settings(SelectionSettings, context.job.settings)
    context.reporter.stage("read")
    sifted = {walker: _sift(context, walker, settings) for walker in _walkers(context)}
    candidates = thinned([item for walker in sifted.values() for item in walker.candidates], settings.max_candidates)
    chosen, source = Chosen((), np.zeros(0), None), "none"
    if candidates:
        chosen, source = _choose(context, settings, candidates)
    frames = [
        selected_frame(
            candidates[choice.candidate],
            choice,
            lower=settings.levels.lower,
            upper=settings.levels.upper,
            unit=chosen.unit,
            generation=settings.generation,
        )
        for choice in chosen.choices
    ]
    if frames:
        with (context.directory / SELECTED_FILE).open("w", encoding="utf-8") as handle:
            write_extxyz(frames, handle)
    return _result(settings, sifted, candidates, chosen, source).model_dump(mode="json")


def _walkers(context: Context) -> list[str]:
    walkers = sorted(role.removeprefix(PREFIX) for role in context.job.files if role.startswith(PREFIX))
    if not walkers:
        raise TaskError(ErrorKind.INPUT, "files: there is no trajectory.", f"Name at least one {PREFIX}<walker>.")
    return walkers


def _sift(context: Context, walker: str, settings: SelectionSettings) -> Sifted:
    context.check_time()
    levels = settings.levels
    try:
        with context.path(f"{PREFIX}{walker}").open(encoding="utf-8") as handle:
            found = sift(
                walker,
                read_trajectory(handle),
                lower=levels.lower,
                upper=levels.upper,
                filters=settings.filters.model_dump(),
            )
    except (TrajectoryError, UnicodeDecodeError) as error:
        raise TaskError(ErrorKind.INPUT, f"trajectories.{walker}: {error}.", "Run the dynamics again.") from error
    except ValueError as error:
        raise TaskError(
            ErrorKind.INPUT, f"{error}.", "Run the dynamics with a committee of potentials, or with an uncertainty."
        ) from error
    largest = max((len(candidate.atoms) for candidate in found.candidates), default=0)
    if largest > settings.max_label_atoms:
        raise TaskError(
            ErrorKind.INPUT,
            f"trajectories.{walker} has {largest} atoms, more than max_label_atoms = {settings.max_label_atoms}.",
            "Start the dynamics from a smaller cell, or raise the limit if the labeller can do it.",
        )
    return found


def _choose(context: Context, settings: SelectionSettings, candidates: Sequence[Candidate]) -> tuple[Chosen, str]:
    context.reporter.stage("load")
    known = _known(context)
    potential = potential_of(context, settings)
    asked = [uncertain_atoms(candidate.atoms, settings.levels.lower) for candidate in candidates]
    frames = [candidate.atoms for candidate in candidates]
    elements = sorted({symbol for atoms in (*frames, *known) for symbol in atoms.get_chemical_symbols()})
    every = [np.ones(len(atoms), dtype=bool) for atoms in known]
    described = _describe(context, settings, (potential, elements), frames, asked)
    familiar = _describe(context, settings, (potential, elements), known, every)
    context.reporter.stage("choose")
    chosen = choose(
        candidates,
        described,
        familiar,
        Budget(settings.budget, settings.budget_per_temperature, settings.temperature_bin),
        min_novelty=settings.min_novelty,
        include_failed=settings.include_failed,
        seed=settings.seed,
    )
    return chosen, source_of(potential)


def _known(context: Context) -> list[Atoms]:
    return frames_of(context, "known") if "known" in context.job.files else []


def _describe(
    context: Context,
    settings: SelectionSettings,
    by: tuple[Potential, Sequence[str]],
    frames: Sequence[Atoms],
    asked: Sequence[Any],
) -> list[Described]:
    """Return the environments of frames; ``by``: the potential, and the elements of all frames that are compared."""
    potential, elements = by
    context.reporter.stage("describe", len(frames))
    found: list[Described] = []
    for features in describe(potential, frames, elements, batch_size=settings.batch_size):
        index = len(found)
        found.append(Described(frames[index].numbers, features, asked[index]))
        context.reporter.update(len(found))
        context.check_time()
    return found


def _result(
    settings: SelectionSettings,
    sifted: Mapping[str, Sifted],
    candidates: Sequence[Candidate],
    chosen: Chosen,
    source: str,
) -> SelectionResult:
    least = max(settings.min_novelty, SAME)
    may = [item.level == Level.CANDIDATE or settings.include_failed for item in candidates]
    fresh = [allowed and value >= least for allowed, value in zip(may, chosen.novelties.tolist(), strict=True)]
    old = [item.walker for item, allowed, new in zip(candidates, may, fresh, strict=True) if allowed and not new]
    taken = [candidates[choice.candidate].walker for choice in chosen.choices]
    by_walker = {walker: _counts(found, old.count(walker), taken.count(walker)) for walker, found in sifted.items()}
    total = {name: sum(getattr(counts, name) for counts in by_walker.values()) for name in SelectionCounts.model_fields}
    counts = SelectionCounts(**total)
    refused: dict[str, int] = {}
    for found in sifted.values():
        for name, count in sorted(found.filtered.items()):
            refused[name] = refused.get(name, 0) + count
    passed = counts.frames - counts.filtered
    return SelectionResult(
        counts=counts,
        by_walker=by_walker,
        filtered_by=refused,
        candidate_fraction=(counts.candidate + counts.failed) / passed if passed else 0.0,
        message=outcome(
            sifted,
            list(candidates),
            chosen,
            new=sum(fresh),
            lower=settings.levels.lower,
            failed=settings.include_failed,
        ),
        descriptors=source,
        novelty_unit=chosen.unit,
        warnings=tuple(_warnings(settings, counts, len(candidates))),
    )


def _counts(found: Sifted, known: int, selected: int) -> SelectionCounts:
    return SelectionCounts(
        frames=found.frames,
        filtered=sum(found.filtered.values()),
        accurate=found.levels[Level.ACCURATE],
        candidate=found.levels[Level.CANDIDATE],
        failed=found.levels[Level.FAILED],
        known=known,
        selected=selected,
    )


def _warnings(settings: SelectionSettings, counts: SelectionCounts, looked_at: int) -> list[str]:
    found = []
    if counts.filtered > 0.5 * counts.frames:
        found.append(
            f"The geometry filters refused {counts.filtered} of {counts.frames} frames: the dynamics runs into "
            "configurations that are not worth a label. Stop walkers earlier, or start at a gentler condition."
        )
    passed = counts.frames - counts.filtered
    if counts.failed > 0.5 * passed:
        found.append(
            f"{counts.failed} of {passed} frames are at or above the upper level of {settings.levels.upper:.3g} eV/Å: "
            "the potential is far from what it knows. Start at a gentler condition, or give a larger first set."
        )
    if looked_at < counts.candidate + counts.failed:
        found.append(
            f"Of {counts.candidate + counts.failed} frames at or above the lower level, {looked_at} were compared "
            f"(max_candidates = {settings.max_candidates})."
        )
    return found
