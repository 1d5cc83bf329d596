"""Calcfunctions that change the settings of a training between two jobs, so that every settings node has a creator."""

from __future__ import annotations

from typing import Any

from aiida.engine import calcfunction
from aiida.orm import Dict

LEARNING_RATE_FACTOR = 0.1
"""Factor on the learning rate after a divergence. What diverges does so by a learning rate that is too large by about
an order of magnitude: fine-tuning at 0.01 ends at 188 eV/atom where 0.001 is stable."""

BATCH_DIVISOR = 2
"""Divisor of the batch size after running out of memory, which grows about linearly with it."""


@calcfunction
def first_slice(asked: Dict) -> Dict:
    """Return settings that end after the first slice of epochs of ``early_stopping``."""
    settings = asked.get_dict()
    epochs = min(settings["early_stopping"]["slice_epochs"], settings["max_epochs"])
    return Dict({**settings, "max_epochs": epochs})


@calcfunction
def next_slice(current: Dict, asked: Dict) -> Dict:
    """Return settings that end one slice later than ``current``, and never later than ``asked``."""
    settings = current.get_dict()
    epochs = min(settings["max_epochs"] + asked["early_stopping"]["slice_epochs"], asked["max_epochs"])
    return Dict({**settings, "max_epochs": epochs})


@calcfunction
def with_smaller_batch(current: Dict) -> Dict:
    """Return settings with smaller batches of both training and validation."""
    settings = current.get_dict()
    names = ("batch_size", "valid_batch_size")
    return Dict({**settings, **{name: max(settings[name] // BATCH_DIVISOR, 1) for name in names}})


@calcfunction
def with_lower_learning_rate(current: Dict) -> Dict:
    """Return settings with a lower learning rate."""
    settings = current.get_dict()
    return Dict({**settings, "learning_rate": settings["learning_rate"] * LEARNING_RATE_FACTOR})


@calcfunction
def chain_results(asked: Dict, used: Dict, last: Dict, **earlier: Dict) -> Dict:
    """Return the results of the last job of a chain, with what is to be known of the jobs before it.

    :param asked: the settings that the user gave.
    :param used: the settings of the last job.
    :param earlier: results of the jobs before, as far as they have any, named in order.
    """
    nodes = [*(earlier[name] for name in sorted(earlier)), last]
    timings: dict[str, float] = {}
    for node in nodes:
        for stage, seconds in node["timings"].items():
            timings[stage] = timings.get(stage, 0.0) + seconds
    jobs = [{"epochs": node.get("epochs", {}), "seconds": node["timings"].get("total", 0.0)} for node in nodes]
    changed = _changes(asked.get_dict(), used.get_dict())
    warnings = [*last.get("warnings", []), *(f"{name}: {text}" for name, text in _remarks(changed).items())]
    return Dict({**last.get_dict(), "timings": timings, "chain": jobs, "changed": changed, "warnings": warnings})


def _changes(asked: dict[str, Any], used: dict[str, Any]) -> dict[str, dict[str, Any]]:
    names = ("learning_rate", "batch_size", "valid_batch_size")
    return {name: {"asked": asked[name], "used": used[name]} for name in names if asked[name] != used[name]}


def _remarks(changed: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return for each changed field what the change means."""
    meanings = {
        "learning_rate": "lowered after the training diverged",
        "batch_size": "lowered for lack of memory; mace does not accumulate gradients, so each step sees fewer "
        "configurations than asked for",
    }
    return {
        name: f"{change['asked']} was {meanings[name]}; the last job used {change['used']}"
        for name, change in changed.items()
        if name in meanings
    }
