"""Checkpoints of the best and of the last epoch, over the whole history of a training, restarts included.

mace itself forgets at a restart which epoch was best, may overwrite it with a worse one, and repeats the epoch that it
loads. So the choice is made here: every checkpoint that mace finishes is taken into a folder of our own, and all but
the best and the last are removed while mace runs. The folder and the state file in it are all a restart needs.
With ema, mace saves the averaged weights, and these are what a restart goes on from.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.worker.training.curve import EpochRecord

STATE_FILE = "state.json"


class TrainingState(BaseModel):
    """What a restart has to know; kept beside the checkpoints."""

    strategy: dict[str, Any]
    dtype: str
    heads: list[str]
    elements: list[str]
    e0s: dict[str, float] = Field(description="symbol -> E0 [eV] of the head of the new data")
    learning_rate: float
    initial: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="head -> metric -> value on the validation set before the first epoch"
    )
    history: list[EpochRecord] = Field(default_factory=list)
    best: int | None = None
    last: int | None = None
    diverged: bool = False

    @property
    def first_loss(self) -> float | None:
        """Validation loss of the new data before the first epoch."""
        return self.initial.get(self.heads[-1], {}).get("loss")

    def loss(self, epoch: int) -> float:
        """Return the validation loss of the new data after an epoch."""
        record = next(record for record in self.history if record.epoch == epoch)
        return record.valid[self.heads[-1]]["loss"]


def checkpoint_name(epoch: int) -> str:
    """Return the name of the checkpoint of an epoch in our folder."""
    return f"epoch-{epoch:06d}.pt"


class CheckpointKeeper:
    """Take over the checkpoints that mace writes.

    :param source: the folder that mace writes to.
    :param target: the folder that is kept.
    :param tag: prefix of mace's files.
    """

    def __init__(self, source: Path, target: Path, tag: str, state: TrainingState) -> None:
        self._source, self._target, self._tag = source, target, tag
        self._resumed: Path | None = None
        self.state = state
        target.mkdir(parents=True, exist_ok=True)
        source.mkdir(parents=True, exist_ok=True)

    def path(self, epoch: int) -> Path:
        """Return our checkpoint of an epoch."""
        return self._target / checkpoint_name(epoch)

    def _mace_path(self, epoch: int) -> Path:
        return self._source / f"{self._tag}_epoch-{epoch}.pt"

    def resume(self, epoch: int, *, learning_rate: float) -> None:
        """Let mace go on after ``epoch``, whose checkpoint is in our folder.

        mace repeats the epoch in the name of the file that it loads, so the copy bears the next number. The
        learning rate of the checkpoint would win over the one asked for: it is scaled where they differ.
        """
        self._resumed = self._mace_path(epoch + 1)
        shutil.copyfile(self.path(epoch), self._resumed)
        if learning_rate != self.state.learning_rate:
            _scale_learning_rate(self._resumed, learning_rate / self.state.learning_rate)
            self.state.learning_rate = learning_rate
        os.utime(self._resumed, (0, 0))

    def take(self, record: EpochRecord) -> bool:
        """Take the checkpoint of a finished epoch; return False where mace has not written it yet."""
        path = self._mace_path(record.epoch)
        if not path.exists() or path.stat().st_mtime == 0 or not zipfile.is_zipfile(path):
            return False
        _link_or_copy(path, self.path(record.epoch))
        self.state.history.append(record)
        self.state.last = record.epoch
        if self.state.best is None or self.state.loss(record.epoch) < self.state.loss(self.state.best):
            self.state.best = record.epoch
        self.save()
        self._prune(record.epoch)
        return True

    def save(self) -> None:
        """Write the state file."""
        temporary = self._target / (STATE_FILE + ".tmp")
        temporary.write_text(self.state.model_dump_json(), encoding="utf-8")
        temporary.replace(self._target / STATE_FILE)

    def _prune(self, newest: int) -> None:
        kept = {checkpoint_name(epoch) for epoch in (self.state.best, self.state.last) if epoch is not None}
        for path in self._target.glob("epoch-*.pt"):
            if path.name not in kept:
                path.unlink()
        for path in self._source.glob(f"{self._tag}_epoch-*.pt"):
            # mace loads the newest one at its end
            if int(path.stem.rsplit("-", 1)[1]) < newest:
                path.unlink()


def load_restart(folder: Path, target: Path) -> TrainingState | None:
    """Copy the checkpoints of an earlier job and return their state; None where that job had finished no epoch.

    :param folder: the folder of checkpoints of the earlier job, or the job's folder itself; it is not changed.
    :raises TaskError: of kind ``input`` where the state or a checkpoint is not readable.
    """
    source = next((path for path in (folder, folder / "checkpoints") if (path / STATE_FILE).exists()), None)
    if source is None:
        return None
    try:
        state = TrainingState.model_validate(json.loads((source / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise TaskError(
            ErrorKind.INPUT, f"restart: {STATE_FILE} cannot be read: {error}.", "Start from the beginning."
        ) from error
    resumed = state.best if state.diverged else state.last
    if resumed is None:
        return None
    state.history = [record for record in state.history if record.epoch <= resumed]
    state.last, state.diverged = resumed, False
    target.mkdir(exist_ok=True)
    for epoch in sorted({resumed, resumed if state.best is None else state.best}):
        path = source / checkpoint_name(epoch)
        if not (path.exists() and zipfile.is_zipfile(path)):
            raise TaskError(
                ErrorKind.INPUT, f"restart: {path.name} is missing or cut short.", "Start from the beginning."
            )
        shutil.copyfile(path, target / path.name)
    return state


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _scale_learning_rate(path: Path, factor: float) -> None:
    import torch

    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    for group in checkpoint["optimizer"]["param_groups"]:
        group["lr"] *= factor
    scheduler = checkpoint["lr_scheduler"]
    if "_last_lr" in scheduler:
        scheduler["_last_lr"] = [value * factor for value in scheduler["_last_lr"]]
    torch.save(checkpoint, path)
