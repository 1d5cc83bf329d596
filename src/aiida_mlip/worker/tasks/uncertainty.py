"""Make the uncertainty of a potential or a committee, and calibrate it on labels that were not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.uncertainty import (
    CALIBRATION_FILE,
    Calibration,
    Deep,
    Shallow,
    UncertaintyResult,
    UncertaintySettings,
)
from aiida_mlip.science.isolated_atoms import is_isolated
from aiida_mlip.science.keys import FORCES
from aiida_mlip.science.uncertainty.calibration import Calibrated, warnings_of
from aiida_mlip.science.uncertainty.model import UNCERTAINTY_FILE, UncertaintyModel
from aiida_mlip.science.uncertainty.pairs import Pairs, Quality, assess, pairs_of
from aiida_mlip.worker.backends import Potential, sha256_of
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.given import frames_of
from aiida_mlip.worker.settings import parse_settings
from aiida_mlip.worker.uncertainty import Estimate
from aiida_mlip.worker.uncertainty.dispersion import bare, without_dispersion
from aiida_mlip.worker.uncertainty.fit import Owner, deep_estimates, fit_deep, fit_last_layer
from aiida_mlip.worker.uncertainty.load import estimator_of, load_members, member_files


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``potential_<member>`` for each member, ``calibration_set``, and ``training_set`` for the kinds on the last
    layer, as extended XYZ in canonical form. Isolated atoms are left out: their forces are zero. Writes
    ``uncertainty.npz`` (:class:`aiida_mlip.science.uncertainty.model.UncertaintyModel`) and ``calibration.npz``
    (:meth:`aiida_mlip.science.uncertainty.pairs.Pairs.arrays`).

    :return: :class:`aiida_mlip.schema.uncertainty.UncertaintyResult`, and ``regularisation`` where there is one.
    :raises TaskError: of kind ``input`` where a set lacks labels, or the kind does not fit the potentials.
    """
    settings = parse_settings(UncertaintySettings, context.job.settings)
    context.reporter.stage("load")
    calibration = _frames(context, "calibration_set")
    members = load_members(context, device=settings.device, dtype=settings.dtype, head=settings.head)
    _check_members(settings, members)
    owner = Owner(
        tuple(sha256_of(path) for path in member_files(context).values()), next(iter(members.values())).info.head
    )
    if isinstance(settings.method, Deep):
        extra: dict[str, Any] = {}
        model, estimates = _deep(context, settings, owner, list(members.values()), calibration)
        degrees = size = len(members)
    else:
        model, estimates, extra = _last_layer(context, settings, owner, next(iter(members.values())), calibration)
        size = settings.method.members if isinstance(settings.method, Shallow) else settings.method.samples
        degrees = len(model.arrays["directions"]) + 1
    context.reporter.stage("calibrate")
    pairs = pairs_of(calibration, [_numbers(estimate) for estimate in estimates])
    quality = assess(
        pairs, energy_members=None if settings.method.kind == "last_layer_bayes" else size, forces_members=degrees
    )
    if quality.forces is None:
        raise TaskError(
            ErrorKind.INPUT,
            "calibration_set: there is no force error to calibrate on: no label, or all uncertainties are zero.",
            "Give labelled configurations that were not trained on, and members that differ.",
        )
    _write(context, model, quality, pairs)
    warnings = warnings_of(len(calibration), forces=quality.forces, energy=quality.energy)
    result = UncertaintyResult(
        kind=settings.method.kind,
        members=size,
        forces=_calibration(quality.forces),
        energy=_calibration(quality.energy) if quality.energy else None,
        max_force=_calibration(quality.max_force) if quality.max_force else None,
        median_max_forces_sigma=quality.median_max_forces_sigma,
        warnings=tuple(warnings),
    )
    return {**result.model_dump(mode="json"), **extra}


def _frames(context: Context, role: str) -> list[Atoms]:
    """Return the configurations of a set without its isolated atoms."""
    frames = [atoms for atoms in frames_of(context, role) if not is_isolated(atoms)]
    if not any(FORCES in atoms.arrays for atoms in frames):
        raise TaskError(
            ErrorKind.INPUT,
            f"files[{role!r}] has no configuration with {FORCES} that is more than an isolated atom.",
            "Give labelled configurations.",
        )
    return frames


def _check_members(settings: UncertaintySettings, members: dict[str, Potential]) -> None:
    kind, deep = settings.method.kind, isinstance(settings.method, Deep)
    if (deep and len(members) < 2) or (not deep and len(members) != 1):
        raise TaskError(
            ErrorKind.INPUT,
            f"settings.method.kind = {kind!r} with {len(members)} potentials.",
            "Give at least two potentials." if deep else "Give one potential, or use kind 'deep'.",
        )


def _deep(
    context: Context, settings: UncertaintySettings, owner: Owner, members: Sequence[Potential], frames: list[Atoms]
) -> tuple[UncertaintyModel, list[Estimate]]:
    predictions = []
    for index, member in enumerate(members):
        progress = _stage(context)(f"evaluate member {index + 1} of {len(members)}", len(frames))
        predictions.append(member.evaluate(frames, batch_size=settings.batch_size, stress=False, on_progress=progress))
    model = fit_deep(owner, frames, predictions)
    return model, deep_estimates(model, frames, predictions)


def _last_layer(
    context: Context, settings: UncertaintySettings, owner: Owner, potential: Potential, frames: list[Atoms]
) -> tuple[UncertaintyModel, list[Estimate], dict[str, Any]]:
    assert not isinstance(settings.method, Deep)
    sets = {"training": _frames(context, "training_set"), "calibration": frames}
    (alone,), d3 = bare([potential])
    if d3 is not None:
        sets = {name: without_dispersion(labelled, d3) for name, labelled in sets.items()}
    model, strength = fit_last_layer(
        owner, alone, settings.method, sets, batch_size=settings.batch_size, stage=_stage(context)
    )
    estimator = estimator_of([potential], model)
    progress = _stage(context)("evaluate calibration set", len(frames))
    estimates = []
    for index, atoms in enumerate(frames):
        estimates.append(estimator.estimate(atoms, forces_sigma=True))
        progress(index + 1)
    return model, estimates, {"regularisation": strength}


def _stage(context: Context) -> Callable[[str, int], Callable[[int], None]]:
    """Return what begins a stage of the job, and returns what reports its frames."""

    def begin(name: str, total: int) -> Callable[[int], None]:
        context.check_time()
        context.reporter.stage(name, total)

        def done(count: int) -> None:
            context.check_time()
            context.reporter.update(count)

        return done

    return begin


def _numbers(estimate: Estimate) -> tuple[float, Any, float, Any]:
    assert estimate.energy_sigma is not None
    return estimate.energy, estimate.forces, estimate.energy_sigma, estimate.forces_sigma


def _calibration(found: Calibrated) -> Calibration:
    return Calibration(**asdict(found))


def _write(context: Context, model: UncertaintyModel, quality: Quality, pairs: Pairs) -> None:
    header = model.header.model_copy(
        update={"energy_scale": quality.energy_scale, "forces_scale": quality.forces_scale}
    )
    replace(model, header=header).write(context.directory / UNCERTAINTY_FILE)
    arrays = pairs.arrays(energy_scale=quality.energy_scale, forces_scale=quality.forces_scale)
    np.savez_compressed(context.directory / CALIBRATION_FILE, **arrays)
