"""The learning curve, read while mace writes it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from aiida_mlip.schema.errors import ErrorKind, TaskError

METRICS = {
    "loss": "loss",
    "mae_e_per_atom": "mae_energy",
    "rmse_e_per_atom": "rmse_energy",
    "mae_f": "mae_forces",
    "rmse_f": "rmse_forces",
    "mae_stress": "mae_stress",
    "rmse_stress": "rmse_stress",
}
"""mace's name -> ours. Units: eV/atom, eV/Å, eV/Å^3; stresses over all nine components."""


class EpochRecord(BaseModel):
    """One finished epoch."""

    epoch: int
    train_loss: float = Field(description="mean over the batches of the epoch")
    valid: dict[str, dict[str, float]] = Field(description="head -> metric -> value on the validation set")
    seconds: float = Field(default=0.0, description="wall time of the epoch with its validation")


class Curve:
    """Turn the lines of ``results/<tag>_train.txt`` into epochs; stop at once where the training diverges.

    :param heads: all heads; the last one is that of the new data.
    :param factor: validation loss above this multiple of the first one counts as diverged.
    :param first_loss: the first validation loss, where an earlier job has seen it.
    """

    def __init__(self, path: Path, heads: Sequence[str], factor: float, first_loss: float | None = None) -> None:
        self._path = path
        self._heads = tuple(heads)
        self._factor = factor
        self._position = 0
        self._losses: dict[int, list[float]] = {}
        self._valid: dict[int, dict[str, dict[str, float]]] = {}
        self.first_loss = first_loss
        self.initial: dict[str, dict[str, float]] = {}
        self.batches = 0

    @property
    def has_started(self) -> bool:
        """Whether all heads were validated before the first epoch."""
        return set(self.initial) == set(self._heads)

    def read(self) -> list[EpochRecord]:
        """Return the epochs that were finished since the last call.

        :raises TaskError: of kind ``diverged`` where a loss is not finite or the validation loss is beyond the limit.
        """
        if not self._path.exists():
            return []
        with self._path.open(encoding="utf-8") as handle:
            handle.seek(self._position)
            text = handle.read()
        complete = text.rfind("\n") + 1
        self._position += len(text[:complete].encode())
        records = (self._line(json.loads(line)) for line in text[:complete].splitlines())
        return [record for record in records if record is not None]

    def _line(self, line: dict[str, Any]) -> EpochRecord | None:
        if line.get("mode") == "opt":
            self._check(line["epoch"], "training", line["loss"])
            self._losses.setdefault(line["epoch"], []).append(float(line["loss"]))
            self.batches = len(self._losses[line["epoch"]])
            return None
        if line.get("mode") != "eval":
            return None
        metrics = {
            ours: float(line[theirs])
            for theirs, ours in METRICS.items()
            if isinstance(line.get(theirs), int | float) and math.isfinite(line[theirs])
        }
        head, epoch = str(line["head"]), line["epoch"]
        self._check(epoch, f"validation ({head})", line["loss"])
        if epoch is None:
            self.initial[head] = metrics
            if head == self._heads[-1] and self.first_loss is None:
                self.first_loss = metrics["loss"]
            return None
        self._valid.setdefault(epoch, {})[head] = metrics
        if set(self._valid[epoch]) != set(self._heads):
            return None
        self._check_growth(epoch, self._valid[epoch][self._heads[-1]]["loss"])
        losses = self._losses.get(epoch, [])
        return EpochRecord(
            epoch=epoch, train_loss=sum(losses) / max(len(losses), 1), valid=self._valid[epoch], seconds=0.0
        )

    def _check(self, epoch: int | None, what: str, loss: Any) -> None:
        if not math.isfinite(float(loss)):
            raise _diverged(f"The {what} loss is {loss}", epoch)

    def _check_growth(self, epoch: int, loss: float) -> None:
        if self.first_loss is not None and loss > self._factor * self.first_loss:
            raise _diverged(
                f"The validation loss is {loss:.3g}, more than {self._factor:g} times its first value "
                f"{self.first_loss:.3g}",
                epoch,
            )


def _diverged(what: str, epoch: int | None) -> TaskError:
    when = "before the first epoch" if epoch is None else f"in epoch {epoch}"
    return TaskError(
        ErrorKind.DIVERGED,
        f"{what} {when}.",
        "Use a smaller learning_rate, and check labels and E0s of the training set.",
        details={"epoch": epoch},
    )
