"""What the audit of the data found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.datasets.audit.report import describe_frames

WHOLE = "dataset"
"""Name of the set that was split into the others."""

SEVERITIES = ("error", "warning", "info")
"""Most severe first."""


def collect(subject: Subject) -> Content:
    """Return the findings of all audits, each once, the most severe first."""
    if not subject.audits:
        return {}
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for report in subject.audits.values():
        for finding in report.get("findings", ()):
            found.setdefault(_key(finding), _finding(finding))
    sizes: Mapping[str, int] = next((report["sets"] for report in subject.audits.values() if "sets" in report), {})
    findings = sorted(found.values(), key=lambda item: SEVERITIES.index(item["severity"]))
    not_judged = {
        (name, check): reason
        for report in subject.audits.values()
        for name, reasons in report.get("not_judged", {}).items()
        for check, reason in reasons.items()
    }
    return {"findings": findings, "sets": sizes, "not_judged": not_judged}


def _key(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the same for findings of one check on the same frames, whichever set they were counted in."""
    frames = finding.get("dataset_frames", finding.get("frames") or ())
    whole = "dataset_frames" in finding or finding.get("set") == WHOLE
    return finding.get("check"), tuple(sorted(frames)), None if whole and frames else finding.get("set")


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    severity = str(finding.get("severity", "warning"))
    numbers, of = finding.get("frames") or (), str(finding.get("set", ""))
    if "dataset_frames" in finding or of == WHOLE:
        numbers, of = finding.get("dataset_frames", numbers), "the data set"
    return {
        "severity": severity if severity in SEVERITIES else "warning",
        "set": finding.get("set", ""),
        "name": str(finding.get("check", "")).replace("_", " "),
        "message": finding.get("message", ""),
        "remedy": finding.get("remedy", ""),
        "frames": f"{describe_frames(numbers)} of {of}" if numbers else "",
    }


SECTION = Section("Data audit", collect)
