"""What an audit found."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from aiida_mlip.science.datasets.audit.settings import AuditSettings
from aiida_mlip.science.models import StrictModel


class Severity(StrEnum):
    """How bad a finding is: errors block a strict training, warnings are recorded, info explains."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(StrictModel):
    """One thing the audit found."""

    check: str = Field(description="name of the check")
    severity: Severity
    frames: tuple[int, ...] = Field(description="indices of the frames concerned; empty: the set as a whole")
    message: str = Field(description="what was found and why it is taken for wrong, with numbers and units")
    remedy: str = Field(description="what to do")


class AuditReport(StrictModel):
    """The findings of all checks, most severe first."""

    num_frames: int
    findings: tuple[Finding, ...]
    checks: tuple[str, ...] = Field(description="checks that ran")
    not_judged: dict[str, str] = Field(
        default_factory=dict, description="check -> why it could not judge all or part of the data"
    )
    settings: AuditSettings

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return the findings that block a strict training."""
        return self._of(Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Return the findings that are recorded but block nothing."""
        return self._of(Severity.WARNING)

    def ok(self, strict: bool = True) -> bool:
        """Return whether the data may be trained on: strict means without any error."""
        return not strict or not self.errors

    def frames(self, check: str) -> tuple[int, ...]:
        """Return the sorted frames that a check named, of any severity."""
        return tuple(sorted({index for item in self.findings if item.check == check for index in item.frames}))

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(item for item in self.findings if item.severity == severity)

    def text(self, width: int = 100) -> str:
        """Return the report as text for a terminal."""
        return "\n".join(_lines(self, width))


def _lines(report: AuditReport, width: int) -> Iterable[str]:
    import textwrap  # noqa: PLC0415

    counts = ", ".join(f"{len(report._of(severity))} {severity.value}" for severity in Severity)
    yield f"Audit of {report.num_frames} frames, {len(report.checks)} checks: {counts}"
    for item in report.findings:
        yield ""
        yield f"{Severity(item.severity).value.upper():8}{item.check}  [{describe_frames(item.frames)}]"
        for text in (item.message, f"What to do: {item.remedy}"):
            yield textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ")
    for check, reason in report.not_judged.items():
        yield ""
        yield textwrap.fill(f"{check} not judged: {reason}", width, subsequent_indent="    ")


def describe_frames(frames: Iterable[int], most: int = 12) -> str:
    """Return indices as ranges, e.g. ``frames 0-3, 7``; the rest is counted where there are many."""
    indices = sorted(frames)
    if not indices:
        return "whole set"
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    shown = [f"{a}" if a == b else f"{a}-{b}" for a, b in ranges[:most]]
    hidden = sum(b - a + 1 for a, b in ranges[most:])
    more = f" and {hidden} more" if hidden else ""
    return f"frame{'s' if len(indices) > 1 else ''} {', '.join(shown)}{more}"
