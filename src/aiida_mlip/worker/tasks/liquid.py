"""Read trajectories of a liquid, each once, and let all checks see every frame."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.liquid import FINDINGS_FOLDER, LiquidSettings, WalkerFacts, WalkerFindings
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.dynamics.series import read_series
from aiida_mlip.science.keys import CONFIG_TYPE, GROUP
from aiida_mlip.science.liquids.checks import Run
from aiida_mlip.science.liquids.findings import Event
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.reading import Reading, chosen_checks, read, select_frames
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.origin import Origin, set_origin
from aiida_mlip.science.trajectory import TrajectoryError, read_trajectory
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.dynamics.streams import postponed_signals
from aiida_mlip.worker.given import frames_of
from aiida_mlip.worker.runner import write_atomically
from aiida_mlip.worker.settings import parse_settings

TAIL = 65536
"""Bytes at the end of a trajectory that stand for it when a restart asks whether it is the same."""


class Finished(StrictModel):
    """Findings of a trajectory, and the digest of all that they depend on."""

    key: str
    findings: WalkerFindings


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``structures`` (extended XYZ in canonical form), ``trajectory_<walker>`` of each walker of the settings,
    ``series_<walker>`` where there is a time series, and ``restart``: the folder that holds ``findings`` of an earlier
    job, whose trajectories are not read again. Writes ``findings/<walker>.json``, ``.npz`` (curves) and ``.xyz``
    (evenly spaced frames, config_type ``frame_<walker>``, and those of events, config_type ``event_<walker>``).

    :return: ``walkers``: name -> :class:`aiida_mlip.schema.liquid.WalkerFindings`.
    :raises TaskError: of kind ``input`` where files are missing or damaged, or do not fit the settings. Trajectories
        that can be read are read all the same.
    """
    settings = parse_settings(LiquidSettings, context.job.settings)
    context.reporter.stage("load")
    starts = _starts(context, settings)
    _take_over(context)
    found: dict[str, Any] = {}
    wrong: list[str] = []
    for name in settings.walkers:
        try:
            _check_files(context, name)
            findings = _kept(context, settings, starts[name], name) or _read(context, settings, starts[name], name)
        except (TrajectoryError, UnicodeDecodeError) as error:
            wrong.append(f"walkers.{name}: {error}.")
            continue
        found[name] = findings.model_dump(mode="json")
        context.partial["walkers"] = dict(found)
    if wrong:
        raise TaskError(
            ErrorKind.INPUT, " ".join(wrong), "Correct the index of the structure, or run the dynamics again."
        )
    return {"walkers": found}


def _starts(context: Context, settings: LiquidSettings) -> dict[str, Atoms]:
    """Return walker -> first configuration."""
    frames = frames_of(context, "structures")
    for name, facts in settings.walkers.items():
        if facts.structure >= len(frames):
            raise TaskError(
                ErrorKind.INPUT,
                f"walkers.{name}.structure = {facts.structure}: there are {len(frames)} structures.",
                f"Use an index from 0 to {len(frames) - 1}.",
            )
    return {name: frames[facts.structure] for name, facts in settings.walkers.items()}


def _check_files(context: Context, name: str) -> None:
    """Refuse a walker whose files are not there: links into a folder of the dynamics that was cleaned lead nowhere."""
    roles = [role for role in (f"trajectory_{name}", f"series_{name}") if role in context.job.files]
    missing = [context.job.files[role] for role in roles if not (context.directory / context.job.files[role]).exists()]
    if missing:
        raise TrajectoryError(f"{', '.join(missing)} does not exist; was the folder of the dynamics cleaned?")
    if f"trajectory_{name}" not in roles:
        raise TrajectoryError(f"files['trajectory_{name}'] is required")


def _take_over(context: Context) -> None:
    """Move what an earlier job found to where this one writes; what this job has already comes first."""
    folder = context.directory / FINDINGS_FOLDER
    if not folder.exists() and "restart" in context.job.files:
        earlier = context.path("restart") / FINDINGS_FOLDER
        if earlier.is_dir():
            shutil.move(earlier, folder)
    folder.mkdir(exist_ok=True)


def _kept(context: Context, settings: LiquidSettings, start: Atoms, name: str) -> WalkerFindings | None:
    """Return the findings of an earlier job of the same trajectory with the same settings, or None."""
    path = _file(context, name, "json")
    if not path.exists():
        return None
    finished = Finished.model_validate_json(path.read_text(encoding="utf-8"))
    return finished.findings if finished.key == _key(context, settings, start, name) else None


def _key(context: Context, settings: LiquidSettings, start: Atoms, name: str) -> str:
    """Return the digest of all that the findings of a walker depend on."""
    chosen = settings.model_dump(mode="json", exclude={"walkers"})
    facts = settings.walkers[name].model_dump(mode="json")
    geometry = [start.numbers.tolist(), start.positions.tolist(), start.cell.tolist(), start.pbc.tolist()]
    digest = hashlib.sha256(json.dumps([chosen, facts, geometry], sort_keys=True).encode())
    for role in (f"trajectory_{name}", f"series_{name}"):
        if role in context.job.files:
            size = context.path(role).stat().st_size
            with context.path(role).open("rb") as handle:
                handle.seek(max(size - TAIL, 0))
                digest.update(f"{role} {size} ".encode() + handle.read())
    return digest.hexdigest()


def _file(context: Context, name: str, kind: str) -> Path:
    return context.directory / FINDINGS_FOLDER / f"{name}.{kind}"


def _read(context: Context, settings: LiquidSettings, start: Atoms, name: str) -> WalkerFindings:
    """Read one trajectory and write what was found."""
    facts = settings.walkers[name]
    known = _run_of(context, settings, start, name)
    chosen = chosen_checks(known, settings.only, settings.checks)
    context.reporter.stage(f"walker {name}")
    offsets: list[int] = []
    with postponed_signals() as deliver, context.path(f"trajectory_{name}").open(encoding="utf-8") as handle:

        def after(frames: int) -> None:
            deliver()
            context.check_time()
            context.reporter.update(frames)

        reading = read(known, _frames(handle, offsets, start, facts.structure), chosen, after=after)
        findings = _findings(facts, start, reading)
        events = [event.step for event in findings.events]
        picked = list(select_frames(reading.steps, settings.keep_frames, events, settings.keep_events))
        kept = [
            _traced(_frame_at(handle, offsets[index]), facts, name, findings.events if event else None)
            for index, event in picked
        ]
        _write(context, name, reading, kept)
        finished = Finished(key=_key(context, settings, start, name), findings=findings)
        write_atomically(_file(context, name, "json"), finished.model_dump_json())
    return findings


def _run_of(context: Context, settings: LiquidSettings, start: Atoms, name: str) -> Run:
    facts, role = settings.walkers[name], f"series_{name}"
    series = {}
    if role in context.job.files:
        try:
            with context.path(role).open(encoding="utf-8") as handle:
                series = read_series(handle)
        except ValueError as error:
            raise TrajectoryError(f"its time series is damaged ({error})") from error
    return Run(
        start=start,
        ensemble=facts.ensemble,
        timestep=facts.timestep,
        temperature=facts.temperature,
        pressure=facts.pressure,
        series=series,
        equilibration=settings.equilibration,
        stopped_by=facts.stopped_by,
    )


def _frames(handle: TextIO, offsets: list[int], start: Atoms, structure: int) -> Iterator[Atoms]:
    """Yield the frames, and write down where each begins."""
    where = handle.tell()
    for atoms in read_trajectory(handle):
        if not offsets and not np.array_equal(atoms.numbers, start.numbers):
            raise TrajectoryError(
                f"its frames are of {atoms.get_chemical_formula()}, and structure {structure} is of "
                f"{start.get_chemical_formula()}, or has its atoms in another order"
            )
        offsets.append(where)
        yield atoms
        where = handle.tell()


def _frame_at(handle: TextIO, offset: int) -> Atoms:
    handle.seek(offset)
    return next(read_trajectory(handle))


def _findings(facts: WalkerFacts, start: Atoms, reading: Reading) -> WalkerFindings:
    kinds = Counter(molecule.kind for molecule in find_molecules(start) or ())
    return WalkerFindings(
        facts=facts,
        formula=start.get_chemical_formula(),
        frames=reading.frames,
        time_ps=reading.time_fs / 1000,
        molecules=dict(sorted(kinds.items())),
        checks=tuple(reading.finding.results),
        events=tuple(sorted(reading.finding.events, key=lambda event: event.step)),
        species=tuple(reading.finding.species),
        seconds=reading.seconds,
    )


def _traced(atoms: Atoms, facts: WalkerFacts, name: str, events: tuple[Event, ...] | None) -> Atoms:
    """Return a frame with its step, and with what happened where it shows an event."""
    step, time = int(atoms.info["step"]), float(atoms.info["time_fs"])
    words = [f"{' + '.join(event.before)} -> {' + '.join(event.after)}" for event in events or () if event.step <= step]
    origin = Origin(
        kind="md",
        walker=name,
        step=step,
        temperature=facts.temperature,
        pressure=facts.pressure,
        reason=f"{time:g} fs{': ' + words[-1] if words else ''}",
    )
    traced = set_origin(atoms, origin)
    traced.info |= {CONFIG_TYPE: f"{'frame' if events is None else 'event'}_{name}", GROUP: name}
    return traced


def _write(context: Context, name: str, reading: Reading, kept: list[Atoms]) -> None:
    np.savez(_file(context, name, "npz"), **reading.finding.curves)  # type: ignore[arg-type]
    with _file(context, name, "xyz").open("w", encoding="utf-8") as handle:
        write_extxyz(kept, handle)
