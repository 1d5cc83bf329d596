"""What the training was asked to do, and the proof that it was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject, results


def collect(subject: Subject) -> Content:
    """Return, for each training, every check with what was asked and found, and what changed in the model."""
    members = []
    for name, node in subject.trainings.items():
        found: Mapping[str, Any] = results(node)
        if found.get("proof"):
            members.append(
                {
                    "name": name.replace("_", " "),
                    "checks": found["proof"],
                    "failed": sum(not check["ok"] for check in found["proof"]),
                    "parameters": found.get("counts", {}).get("parameters", {}),
                    "changes": found.get("changes", {}),
                    "e0s": {head: e0s for head, e0s in found.get("e0s", {}).items() if e0s},
                    "warnings": found.get("warnings", []),
                }
            )
    return {"members": members} if members else {}


SECTION = Section("Strategy", collect, applies=lambda subject: bool(subject.trainings))
