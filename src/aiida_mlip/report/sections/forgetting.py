"""What moved on crystals of elements that were not trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return the drift of the member that counts, by family of crystals, and of the other members."""
    drifts: Mapping[str, Any] = subject.summary.get("forgetting") or {}
    drift = drifts.get(subject.best or "")
    if not drift:
        return {}
    families = dict(sorted(drift["families"].items(), key=lambda item: -item[1]["forces_rmse"]))
    return {
        "total": drift["all"],
        "families": families,
        "largest": max(cell["forces_rmse"] for cell in families.values()) or 1.0,
    }


SECTION = Section("Forgetting", collect)
