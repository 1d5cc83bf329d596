"""The audit: a registry of checks over a data set, and the report of what they found."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from aiida_mlip.science.datasets.audit import coverage as _coverage
from aiida_mlip.science.datasets.audit import energies as _energies
from aiida_mlip.science.datasets.audit import energy_outliers as _energy_outliers
from aiida_mlip.science.datasets.audit import forces as _forces
from aiida_mlip.science.datasets.audit import geometry as _geometry
from aiida_mlip.science.datasets.audit import isolated as _isolated
from aiida_mlip.science.datasets.audit import labels as _labels
from aiida_mlip.science.datasets.audit import repeats as _repeats
from aiida_mlip.science.datasets.audit import stresses as _stresses
from aiida_mlip.science.datasets.audit import units as _units
from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import CHECKS
from aiida_mlip.science.datasets.audit.report import AuditReport, Finding, Severity
from aiida_mlip.science.datasets.audit.settings import AuditSettings
from aiida_mlip.science.datasets.baseline import Baseline
from aiida_mlip.science.datasets.canonical import canonical
from aiida_mlip.science.datasets.errors import DatasetError

_MODULES = (_labels, _geometry, _forces, _energy_outliers, _energies, _units, _stresses, _repeats, _isolated, _coverage)
"""Importing these registers the checks."""

_ORDER = {severity.value: position for position, severity in enumerate(Severity)}


def audit(
    frames: Sequence[Atoms],
    *,
    settings: AuditSettings | None = None,
    baseline: Baseline | None = None,
    against: Sequence[Atoms] | None = None,
    only: Sequence[str] | None = None,
) -> AuditReport:
    """Return what is wrong with a data set, which frames, why, and what to do.

    :param frames: labelled configurations with canonical keys.
    :param settings: the limits.
    :param baseline: predictions of a potential for these frames; with it, offsets, units and signs are judged more
        surely than with the internal fit that is used otherwise.
    :param against: another set that must share nothing with this one, e.g. the test set.
    :param only: names of the checks to run; all where not given.
    :raises DatasetError: if there are no frames, the baseline is of other frames, or a check is unknown.
    """
    clean = [canonical(atoms) for atoms in frames]
    if not clean:
        raise DatasetError("frames is empty: there is nothing to audit")
    if baseline is not None:
        baseline.check([len(atoms) for atoms in clean])
    if unknown := set(only or ()) - set(CHECKS):
        raise DatasetError(f"check {sorted(unknown)} unknown: use some of {', '.join(CHECKS)}")
    context = Context(clean, settings or AuditSettings(), baseline, against)
    names = [name for name in CHECKS if only is None or name in only]
    findings = [finding for name in names for finding in CHECKS[name](context)]
    return AuditReport(
        num_frames=len(clean),
        findings=tuple(sorted(findings, key=lambda item: _ORDER[item.severity])),
        checks=tuple(names),
        not_judged=context.not_judged,
        settings=context.settings,
    )


__all__ = ["CHECKS", "AuditReport", "AuditSettings", "Baseline", "Finding", "Severity", "audit"]
