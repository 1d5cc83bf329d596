"""When a training has stopped improving."""

from __future__ import annotations

from collections.abc import Sequence

from aiida_mlip.schema.training import EarlyStopping


def slices_without_improvement(losses: Sequence[float], options: EarlyStopping) -> int:
    """Return how many of the last slices of epochs were no better than the best before them.

    :param losses: validation loss of each epoch, in order.
    :param options: a slice improves where its lowest loss is below ``1 - min_delta`` times the lowest before.
    """
    size = options.slice_epochs
    lowest = [min(losses[start : start + size]) for start in range(0, len(losses), size)]
    best, waited = float("inf"), 0
    for loss in lowest:
        if loss < best * (1 - options.min_delta):
            best, waited = loss, 0
        else:
            waited += 1
    return waited


def should_stop(losses: Sequence[float], options: EarlyStopping) -> bool:
    """Return whether ``patience`` slices in a row brought no improvement."""
    return slices_without_improvement(losses, options) >= options.patience
