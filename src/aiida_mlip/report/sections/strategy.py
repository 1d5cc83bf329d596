"""What the training was asked to do, and the proof that it was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.report.numbers import brief, plain
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject, results, settings_of


def collect(subject: Subject) -> Content:
    """Return, for each training, every check with what was asked and found, and what changed in the model."""
    members = []
    for name, node in subject.trainings.items():
        found: Mapping[str, Any] = results(node)
        if found.get("proof"):
            members.append(
                {
                    "name": name.replace("_", " "),
                    "asked": list(_asked(settings_of(node))),
                    "checks": found["proof"],
                    "failed": sum(not check["ok"] for check in found["proof"]),
                    "parameters": found.get("counts", {}).get("parameters", {}),
                    "changes": found.get("changes", {}),
                    "e0s": {head: e0s for head, e0s in found.get("e0s", {}).items() if e0s},
                    "warnings": found.get("warnings", []),
                }
            )
    return {"members": members} if members else {}


def _asked(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what decides a training most, as (name, value)."""
    for name in ("strategy", "e0_policy"):
        choice = dict(settings.get(name, {}))
        kind = str(choice.pop("kind", ""))
        details = ", ".join(f"{key} {brief(item)}" for key, item in choice.items() if item)
        if kind:
            yield name.replace("_policy", "s").replace("e0s", "E0s"), f"{kind} ({details})" if details else kind
    for name in ("learning_rate", "max_epochs", "batch_size", "dtype", "seed"):
        if name in settings:
            yield name.replace("_", " "), plain(settings[name])


SECTION = Section("Strategy", collect, applies=lambda subject: bool(subject.trainings))
