"""Apply a potential to data sets: errors, predictions side by side with the labels, and labels made by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.tasks import EvaluateSettings
from aiida_mlip.science.composition import composition_energy, element_energies
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.errors import error_table
from aiida_mlip.science.keys import ENERGY
from aiida_mlip.science.parity import labelled_frames, parity_arrays
from aiida_mlip.science.predictions import FloatArray, Predictions
from aiida_mlip.worker.backends import Potential
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.given import frames_of, potential_of
from aiida_mlip.worker.settings import parse_settings

PREFIX = "set_"
"""Role of a data set in the job: this and its name."""


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``potential`` and ``set_<name>`` for each data set, as extended XYZ in canonical form. Writes
    ``predictions_<name>.npz`` (see :func:`aiida_mlip.science.parity.parity_arrays`) and, where ``labelled`` asks for
    it, ``labelled_<name>.xyz``.

    :return: ``errors`` (set -> table of :func:`aiida_mlip.science.errors.error_table`), ``shifts`` (symbol -> energy
        [eV] taken off the predictions before energies were compared; empty without ``align_on``), ``counts`` (set ->
        ``frames``, ``atoms`` and ``not_finite``, the frames with a prediction that is NaN or infinite), and ``head``.
    :raises TaskError: of kind ``input`` where a set is missing, damaged or has elements that the potential lacks.
    """
    settings = parse_settings(EvaluateSettings, context.job.settings)
    context.reporter.stage("load")
    sets = _read_sets(context)
    _check_alignment(sets, settings.align_on)
    potential = potential_of(context, settings)
    predictions = {name: _predict(context, name, frames, potential, settings) for name, frames in sets.items()}
    shifts = _fit_shifts(sets, predictions, settings.align_on)
    payload: dict[str, Any] = {"errors": {}, "shifts": shifts, "counts": {}, "head": potential.info.head}
    context.reporter.stage("write")
    for name, frames in sets.items():
        corrections = _corrections(frames, shifts)
        _write(context, name, frames, predictions[name], corrections, labelled=settings.labelled)
        payload["errors"][name] = error_table(frames, _shifted(predictions[name], corrections))
        payload["counts"][name] = _counts(frames, predictions[name])
    return payload


def _read_sets(context: Context) -> dict[str, list[Atoms]]:
    roles = sorted(role for role in context.job.files if role.startswith(PREFIX))
    if not roles:
        raise TaskError(ErrorKind.INPUT, "files: there is no data set.", f"Name at least one {PREFIX}<name>.")
    sets = {}
    for role in roles:
        frames = frames_of(context, role)
        if not frames:
            raise TaskError(ErrorKind.INPUT, f"files[{role!r}] has no frames.", "Give at least one configuration.")
        sets[role.removeprefix(PREFIX)] = frames
    return sets


def _check_alignment(sets: dict[str, list[Atoms]], name: str | None) -> None:
    if name is None:
        return
    if name not in sets:
        raise TaskError(
            ErrorKind.INPUT, f"align_on = {name!r} is not a data set.", f"Given are: {', '.join(sorted(sets))}."
        )
    if not any(ENERGY in atoms.info for atoms in sets[name]):
        raise TaskError(
            ErrorKind.INPUT,
            f"align_on = {name!r}: no frame of this set has an energy.",
            "Align on a set with energies, or set align_on to None.",
        )


def _predict(
    context: Context, name: str, frames: list[Atoms], potential: Potential, settings: EvaluateSettings
) -> Predictions:
    context.check_time()
    context.reporter.stage(f"evaluate {name}", len(frames))
    return potential.evaluate(
        frames,
        batch_size=settings.batch_size,
        stress=settings.stress,
        descriptors=settings.descriptors,
        on_progress=context.reporter.update,
    )


def _fit_shifts(
    sets: dict[str, list[Atoms]], predictions: dict[str, Predictions], name: str | None
) -> dict[str, float]:
    """Return symbol -> energy [eV] that predictions are too high by, fitted on one set."""
    if name is None:
        return {}
    frames = sets[name]
    labels = np.array([float(atoms.info.get(ENERGY, np.nan)) for atoms in frames])
    return element_energies(frames, predictions[name].energies - labels)


def _corrections(frames: list[Atoms], shifts: dict[str, float]) -> FloatArray:
    """Return the energy to take off each prediction [eV]; NaN where an element was not in the set of the fit."""
    if not shifts:
        return np.zeros(len(frames))
    known = [set(atoms.get_chemical_symbols()) <= set(shifts) for atoms in frames]
    return np.array([composition_energy(a, shifts) if fit else np.nan for a, fit in zip(frames, known, strict=True)])


def _shifted(predictions: Predictions, corrections: FloatArray) -> Predictions:
    return Predictions(predictions.energies - corrections, predictions.forces, predictions.stresses)


def _write(
    context: Context,
    name: str,
    frames: list[Atoms],
    predictions: Predictions,
    corrections: FloatArray,
    *,
    labelled: bool,
) -> None:
    arrays = parity_arrays(frames, predictions, corrections)
    np.savez_compressed(context.directory / f"predictions_{name}.npz", **arrays)  # type: ignore[arg-type]
    if labelled:
        with (context.directory / f"labelled_{name}.xyz").open("w", encoding="utf-8") as handle:
            write_extxyz(labelled_frames(frames, predictions), handle)


def _counts(frames: list[Atoms], predictions: Predictions) -> dict[str, int]:
    bad = [
        not (np.isfinite(energy) and np.isfinite(forces).all())
        for energy, forces in zip(predictions.energies, predictions.forces, strict=True)
    ]
    return {"frames": len(frames), "atoms": sum(map(len, frames)), "not_finite": sum(bad)}
