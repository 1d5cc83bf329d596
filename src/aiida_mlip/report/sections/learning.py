"""Learning curves: loss and validation errors over the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_mlip.report import figures
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject, has_output, results


def collect(subject: Subject) -> Content:
    """Return the figure and, for each member, how many epochs there were and which was kept."""
    histories = {name: _arrays(node) for name, node in subject.trainings.items()}
    histories = {name: arrays for name, arrays in histories.items() if len(arrays.get("epoch", ()))}
    if not histories:
        return {}
    chosen = {name: results(subject.trainings[name]).get("chosen_epoch") for name in histories}
    rows = [
        {
            "name": name.replace("_", " ") if len(histories) > 1 else "training",
            "epochs": len(arrays["epoch"]),
            "chosen": chosen[name],
            "seconds": float(arrays["seconds"].mean()) if "seconds" in arrays else None,
            "rate": results(subject.trainings[name]).get("final_learning_rate"),
        }
        for name, arrays in histories.items()
    ]
    return {"figure": figures.learning_curves(histories, chosen), "rows": rows}


def _arrays(node: orm.ProcessNode) -> Mapping[str, Any]:
    """Return the learning curve of a training; of the last job of a chain that has not ended."""
    if has_output(node, "history"):
        history = node.outputs.history
        return {name: history.get_array(name) for name in history.get_arraynames()}
    called = [child for child in getattr(node, "called", ()) if has_output(child, "history")]
    return _arrays(called[-1]) if called else {}


SECTION = Section("Learning", collect, applies=lambda subject: bool(subject.trainings))
