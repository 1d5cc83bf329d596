"""What labels of the probes say of a potential: errors by part, volume scans, dimers, and checks of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.keys import ENERGY
from aiida_mlip.science.liquids.decomposition import rigid_virial
from aiida_mlip.science.liquids.dimers import REPULSIVE, Curve, check_attraction, check_holes, find_hole
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.force_errors import (
    ErrorTable,
    Quantity,
    Sample,
    error_table,
    largest_net,
    sample,
)
from aiida_mlip.science.liquids.force_plan import DimerPlan, ForceTestPlan, ScanPlan
from aiida_mlip.science.liquids.force_results import DimerResult, ForceTestResult
from aiida_mlip.science.liquids.volume_scan import Scan, ScanLimits, check_scan, scan_result
from aiida_mlip.science.origin import read_origin
from aiida_mlip.science.uncertainty.calibration import rank_correlation

Array = NDArray[np.float64]
Labels = Mapping[int, Atoms]
"""Probe -> labelled configuration."""

FEW = 3
"""Fewer configurations have no spread of energies to compare an error with."""


@dataclass(frozen=True)
class ForceLimits(ScanLimits):
    """Limits of the checks; fields of ``ForceTestSettings`` of the same names say what they are."""

    max_inter_relative: float = 0.3
    max_net_force: float = 0.01


@dataclass(frozen=True)
class Reference:
    """What predictions are compared with.

    :param labels: probe -> labelled configuration.
    :param level_of_theory: in words.
    :param complete: probes of all kinds were to be labelled; otherwise only the configurations as wholes were.
    :param failed: probes without a label, where all were to have one.
    """

    labels: Labels
    level_of_theory: str
    complete: bool = True
    failed: int = 0


def labels_by_probe(labelled: Sequence[Atoms], failed: Sequence[int], *, asked: int, probes: int) -> dict[int, Atoms]:
    """Return probe -> labelled configuration from a set in the order of the probes without those that failed.

    :param failed: indices without a label.
    :param asked: how many were to be labelled: the probes, and perhaps free atoms after them, which are left out.
    :raises ValueError: where the numbers do not agree, so that the set is of other probes.
    """
    lost = set(failed)
    kept = [index for index in range(asked) if index not in lost]
    if len(kept) != len(labelled) or asked < probes:
        raise ValueError(
            f"labels: {len(labelled)} for {asked} asked and {len(lost)} failed, of {probes} probes; "
            "give the labels of these probes, and the report that came with them"
        )
    return {index: atoms for index, atoms in zip(kept, labelled, strict=True) if index < probes}


def score(
    plan: ForceTestPlan, predicted: Labels, reference: Reference | None, limits: ForceLimits
) -> tuple[ForceTestResult, dict[str, Array]]:
    """Return what the labels say, and curves for figures.

    :param predicted: labels of the potential.
    :param reference: None: only what needs none is tested.
    :return: the result, and name -> array: ``parity_<part>_<quantity>_predicted|true``,
        ``scan_<name>_density|predicted|true`` [g/cm^3, eV/molecule], ``dimer_<n>_shift|distance|contact`` and
        ``dimer_<n>_predicted|true`` [eV]; NaN where there is no label.
    """
    truth = None if reference is None else reference.labels
    complete = reference is not None and reference.complete
    samples = _samples(plan, predicted, reference)
    table = error_table(samples)
    scans = [_scan(item, predicted, truth if complete else None) for item in plan.scans]
    dimers = [_dimer(item, predicted, truth if complete else None) for item in plan.dimers]
    checks = [
        *_error_checks(table, samples, reference, limits.max_inter_relative),
        *_momentum(plan, predicted, limits.max_net_force),
        *(check for scan in scans for check in check_scan(scan, limits)),
        *(found for check in (check_holes, check_attraction) if (found := check(dimers)) is not None),
    ]
    result = ForceTestResult(
        checks=tuple(checks),
        errors=tuple(table.errors),
        scans=tuple(map(scan_result, scans)),
        dimers=tuple(_dimer_result(*pair) for pair in enumerate(zip(plan.dimers, dimers, strict=True))),
        level_of_theory=reference.level_of_theory if reference else "none",
        probes=plan.probes,
        failed_predicted=plan.probes - len(predicted),
        failed_true=reference.failed if reference and reference.complete else None,
        configurations=len(plan.configurations),
        with_ions=sum(any(part.charged for part in item.molecules) for item in plan.configurations),
        sigma_correlation=_sigma_correlation(samples),
        notes=tuple(_notes(plan, samples, reference)),
    )
    return result, _curves(plan, table, scans, dimers)


def _samples(plan: ForceTestPlan, predicted: Labels, reference: Reference | None) -> list[Sample]:
    if reference is None:
        return []
    found = [sample(item, predicted, reference.labels, with_parts=reference.complete) for item in plan.configurations]
    return [item for item in found if item is not None]


def _error_checks(
    table: ErrorTable, samples: Sequence[Sample], reference: Reference | None, limit: float
) -> list[CheckResult]:
    """Return the checks of intermolecular forces and energies; none without a reference that has molecules alone."""
    if reference is None or not reference.complete or not samples:
        return []
    rows: tuple[tuple[str, Quantity], ...] = (("forces_inter", "forces"), ("energies_inter", "energy"))
    return [_error_check(name, quantity, table, limit) for name, quantity in rows]


def _error_check(name: str, quantity: Quantity, table: ErrorTable, limit: float) -> CheckResult:
    row = table.get("inter", quantity)
    words = f"relative error of the {'forces' if quantity == 'forces' else 'energies'} between molecules"
    status: Status = "inconclusive"
    if row is None or row.relative is None or (quantity == "energy" and row.count < FEW):
        count = 0 if row is None else row.count
        missing = f"{FEW} configurations labelled with all their molecules alone" if quantity == "energy" else "labels"
        reason = f"{count} {'energies' if quantity == 'energy' else 'forces'} to compare, or none that differ"
        return CheckResult(
            check=name, status=status, aspect="accuracy", quantity=words, limit=limit, reason=reason, missing=missing
        )
    status = "pass" if row.relative < limit else "fail"
    unit = "meV/atom" if quantity == "energy" else "eV/Å"
    reason = f"RMSE {row.rmse:.3g} {unit} where the reference varies by {row.std:.3g} {unit} ({row.relative:.0%})"
    numbers: dict[str, float | int | str | None] = {"rmse": row.rmse, "std": row.std, "count": row.count}
    return CheckResult(
        check=name,
        status=status,
        aspect="accuracy",
        quantity=words,
        value=row.relative,
        limit=limit,
        reason=reason,
        numbers=numbers,
    )


def _momentum(plan: ForceTestPlan, predicted: Labels, limit: float) -> list[CheckResult]:
    """Return whether molecules in vacuum are free of net force and torque."""
    probes = {part.probe for item in plan.configurations for part in item.molecules}
    probes |= {probe for scan in plan.scans for probe in scan.molecules}
    probes |= {probe for dimer in plan.dimers for probe in dimer.molecules}
    value = largest_net(predicted, sorted(probes))
    if value is None:
        return []
    status: Status = "pass" if value <= limit else "fail"
    reason = f"the largest net force or torque on a molecule in vacuum is {value:.2g} eV/Å or eV"
    if status == "fail":
        reason += ": the forces are not those of an energy that is the same when a molecule is moved or turned"
    return [
        CheckResult(
            check="momentum",
            status=status,
            quantity="net force and torque on molecules in vacuum",
            value=value,
            limit=limit,
            unit="eV/Å, eV",
            reason=reason,
            numbers={"molecules": len(probes)},
        )
    ]


def _energies(labels: Labels, probes: Sequence[int]) -> Array:
    return np.array([float(labels[probe].info[ENERGY]) if probe in labels else np.nan for probe in probes])


def _scan(plan: ScanPlan, predicted: Labels, truth: Labels | None) -> Scan:
    probes, number = [point.probe for point in plan.points], len(plan.molecules)

    def curve(labels: Labels) -> Array:
        energies = _energies(labels, probes)
        zero = energies[0] if plan.charged else _energies(labels, plan.molecules).sum()
        return np.asarray((energies - zero) / number)

    return Scan(
        name=plan.name,
        molecules=number,
        densities=np.array([point.density for point in plan.points]),
        predicted=curve(predicted),
        true=None if truth is None else curve(truth),
        slopes=np.array([_slope(plan, predicted.get(probe)) for probe in probes]) / number,
        ions=plan.charged,
        box_density=plan.density,
    )


def _slope(plan: ScanPlan, labelled: Atoms | None) -> float:
    """Return the derivative of the energy by the logarithm of the volume, molecules rigid [eV]; NaN without a label."""
    return float("nan") if labelled is None else float(np.trace(rigid_virial(labelled, plan.atoms))) / 3


def _dimer(plan: DimerPlan, predicted: Labels, truth: Labels | None) -> Curve:
    probes = [point.probe for point in plan.points]

    def curve(labels: Labels) -> Array:
        energies = _energies(labels, probes)
        known = energies[np.isfinite(energies)]
        furthest = known[-1] if len(known) else np.nan
        return np.asarray(energies - (furthest if plan.charged else _energies(labels, plan.molecules).sum()))

    return Curve(
        shifts=np.array([point.shift for point in plan.points]),
        contacts=np.array([point.contact for point in plan.points]),
        predicted=curve(predicted),
        true=None if truth is None else curve(truth),
    )


def _dimer_result(number: int, pair: tuple[DimerPlan, Curve]) -> DimerResult:
    plan, curve = pair
    rmse = None
    if curve.true is not None:
        both = np.isfinite(curve.predicted) & np.isfinite(curve.true) & (np.nan_to_num(curve.true) < 5 * REPULSIVE)
        rmse = float(np.sqrt(np.mean((curve.predicted - curve.true)[both] ** 2))) if both.any() else None
    return DimerResult(
        number=number,
        kinds=plan.kinds,
        formulas=plan.formulas,
        hole=find_hole(curve),
        depth=_depth(curve.predicted),
        depth_true=None if curve.true is None else _depth(curve.true),
        rmse=rmse,
    )


def _depth(energies: Array) -> float | None:
    return float(-np.nanmin(energies)) if np.isfinite(energies).any() else None


def _sigma_correlation(samples: Sequence[Sample]) -> float | None:
    """Return the rank correlation of the largest force uncertainty of a frame, where it carries one, and its error."""
    sigmas, errors = [], []
    for item in samples:
        origin = read_origin(item.labelled)
        if origin is not None and origin.max_forces_sigma is not None:
            sigmas.append(origin.max_forces_sigma)
            errors.append(float(np.linalg.norm(item.predicted.forces - item.true.forces, axis=1).max()))
    return rank_correlation(np.array(sigmas), np.array(errors))


def _notes(plan: ForceTestPlan, samples: Sequence[Sample], reference: Reference | None) -> list[str]:
    notes = list(plan.notes)
    if plan.configurations and reference is None:
        notes.append("there is no reference: only what needs none is tested")
    if reference is not None and not reference.complete:
        notes.append(
            "the reference labels are those that the configurations carry: molecules alone have none, so that errors "
            "within and between molecules are not known; volume scans and dimers have no reference"
        )
    if reference is not None and len(samples) < len(plan.configurations):
        notes.append(f"{len(plan.configurations) - len(samples)} configurations lack a label on either side")
    if any(part.charged for item in plan.configurations for part in item.molecules):
        notes.append(
            "ions and radicals are neutral when alone: a constant for each kind is removed from energies between "
            "molecules, and forces on molecular ions are compared in total only"
        )
    return notes


def _curves(plan: ForceTestPlan, table: ErrorTable, scans: Sequence[Scan], dimers: Sequence[Curve]) -> dict[str, Array]:
    curves: dict[str, Array] = {}
    for (part, quantity), pairs in table.pairs.items():
        name = f"parity_{part}_{'energies' if quantity == 'energy' else quantity}"
        curves |= {f"{name}_predicted": pairs.predicted, f"{name}_true": pairs.true}
    for scan in scans:
        curves |= {f"scan_{scan.name}_density": scan.densities, f"scan_{scan.name}_predicted": scan.predicted}
        if scan.true is not None:
            curves[f"scan_{scan.name}_true"] = scan.true
    for number, (item, curve) in enumerate(zip(plan.dimers, dimers, strict=True)):
        curves[f"dimer_{number}_shift"] = curve.shifts
        curves[f"dimer_{number}_distance"] = np.array([point.distance for point in item.points])
        curves |= {f"dimer_{number}_contact": curve.contacts, f"dimer_{number}_predicted": curve.predicted}
        if curve.true is not None:
            curves[f"dimer_{number}_true"] = curve.true
    return curves
