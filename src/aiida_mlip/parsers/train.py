"""Parser of ``mlip.train``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aiida.orm import ArrayData
from pydantic import ValidationError

from aiida_mlip.calculations.train import POTENTIAL_FILE
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.parsers.base import MlipParser, ParsingError, find_file, results_node, storable
from aiida_mlip.schema.job import Failure, Result
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.training import NEW_HEAD
from aiida_mlip.science.models import explain


class TrainParser(MlipParser):
    """Turn the trained model, its errors and its learning curve into nodes."""

    def _attach(self, result: Result, folder: Path) -> None:
        self._attach_curve(result)
        self.out("potential", self._potential(result, folder))

    def _attach_partial(self, result: Result) -> None:
        self._attach_curve(result)

    def _has_checkpoint(self, error: Failure) -> bool:
        return bool(error.details.get("checkpoint"))

    def _attach_curve(self, result: Result) -> None:
        history = result.payload.get("history", {})
        results = results_node(result, "history", "potential")
        results["initial"] = storable(history.get("initial", {}))
        epochs = history.get("epoch", [])
        results["epochs"] = {"first": min(epochs), "last": max(epochs)} if epochs else {}
        self.out("results", results)
        if epochs:
            self.out("history", history_node(history))

    def _potential(self, result: Result, folder: Path) -> PotentialData:
        """Return the trained potential, described by the worker and by the data it was trained on."""
        path = find_file(folder, POTENTIAL_FILE)
        try:
            info = PotentialInfo(**result.payload["potential"])
        except KeyError as error:
            raise ParsingError(
                "ERROR_UNREADABLE_RESULT", "result.payload.potential is required and was not given. Update the worker."
            ) from error
        except ValidationError as error:
            what = "result.payload.potential"
            raise ParsingError("ERROR_UNREADABLE_RESULT", explain(error, what=what, model=PotentialInfo)) from error
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if info.sha256 != found:
            raise ParsingError(
                "ERROR_MISSING_FILE",
                f"{POTENTIAL_FILE} has the sha256 {found}, and the worker wrote {info.sha256}: it was damaged on the "
                "way. Submit again.",
            )
        return PotentialData(path, info.model_copy(update=self._described(info)))

    def _described(self, info: PotentialInfo) -> dict[str, Any]:
        """Return what the inputs say of the new potential: its level of theory is that of the labels."""
        inputs = self.node.inputs
        theory = inputs.training_set.level_of_theory
        changes: dict[str, Any] = {"name": self._name(info)}
        if theory != "unknown":
            changes["level_of_theory"] = theory
        if info.licence == "unknown" and "potential" in inputs:
            changes["licence"] = inputs.potential.info.licence
        return changes

    def _name(self, info: PotentialInfo) -> str:
        """Return what the new potential is called: where it came from, and how it was trained."""
        inputs = self.node.inputs
        origin = inputs.potential.info.name or inputs.potential.label if "potential" in inputs else ""
        return ", ".join(part for part in (origin, str(info.extra.get("strategy", "trained"))) if part)


def history_node(history: Mapping[str, Any]) -> ArrayData:
    """Return the learning curve as a node: one array for each quantity, in order of the epochs; NaN where unknown.

    Arrays: ``epoch``, ``train_loss``, ``seconds``; on the validation set ``valid_loss``, ``valid_rmse_energy``
    [eV/atom], ``valid_rmse_forces`` [eV/Å], ``valid_rmse_stress`` [eV/Å^3] and the same with ``mae``, for the head of
    the new data; of another head, as of replay data, ``valid_<head>_loss`` and so on.
    """
    columns = {name: history[name] for name in ("epoch", "train_loss", "seconds")}
    for head, metrics in history["valid"].items():
        prefix = "valid_" if head == NEW_HEAD else f"valid_{head}_"
        columns |= {f"{prefix}{name}": values for name, values in metrics.items()}
    node = ArrayData()
    for name, values in columns.items():
        node.set_array(name, np.array([np.nan if value is None else value for value in values]))
    return node
