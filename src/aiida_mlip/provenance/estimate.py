"""How long a process will still take, as far as its own history tells."""

from __future__ import annotations

from collections.abc import Mapping

from aiida_mlip.provenance.status import State

REPEATED: Mapping[str, str] = {"baseline_evaluation": "evaluation_", "baseline_properties": "properties_"}
"""Step of a fine-tuning -> beginning of the steps that repeat the same work for each trained potential."""

TRAINING = "train_"


def time_left(state: State) -> float | None:
    """Return the seconds left, or None where nothing tells.

    A job says for itself how long its stage takes. A work chain takes as long as the slowest of its running children;
    a fine-tuning in addition as long as the measurements that were made before the training and come again after it.
    """
    if not state.active:
        return 0.0
    if not state.children:
        return state.progress.eta if state.progress else None
    running = [time_left(child) for child in state.children if child.active]
    known = [value for value in running if value is not None]
    if not known:
        return None
    return max(known) + _to_come(state)


def _to_come(state: State) -> float:
    """Return the seconds of the steps that have not begun: side by side, so the longest counts."""
    begun = {child.step for child in state.children}
    if not any(step.startswith(TRAINING) for step in begun):
        return 0.0
    waiting = [
        child.elapsed
        for child in state.children
        for before, after in REPEATED.items()
        if child.step == before and not child.active and not any(step.startswith(after) for step in begun)
    ]
    return max(waiting, default=0.0)
