"""Parser of ``mlip.md``."""

from __future__ import annotations

import json
from pathlib import Path

from aiida.engine import ExitCode
from aiida.orm import ArrayData

from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.parsers.base import MlipParser, ParsingError, find_file, results_node
from aiida_mlip.schema.dynamics import WALKERS_FILE, WALKERS_FOLDER
from aiida_mlip.schema.job import Failure, Result
from aiida_mlip.science.dynamics.series import SERIES_FILE, read_series
from aiida_mlip.science.trajectory import KEPT_FILE, TRAJECTORY_FILE


class MDParser(MlipParser):
    """Turn the files of the walkers into nodes; a walker without one finite frame has no trajectory."""

    def _has_checkpoint(self, error: Failure) -> bool:  # noqa: ARG002 - the file says it
        names = self.retrieved.base.repository.list_object_names()
        if WALKERS_FILE not in names:
            return False
        progress = json.loads(self.retrieved.base.repository.get_object_content(WALKERS_FILE))
        return any(walker["steps"] > 0 or walker["done"] for walker in progress.values())

    def _attach(self, result: Result, folder: Path) -> None:
        self.out("results", results_node(result))
        file = TRAJECTORY_FILE if self.node.inputs.settings.get("keep_stride", 1) == 1 else KEPT_FILE
        for name, walker in result.payload["walkers"].items():
            if walker["frames"]:
                self.out(f"trajectories.{name}", _trajectory(folder, name, file))
            self.out(f"series.{name}", _series(folder, name))

    def _verdict(self, result: Result) -> ExitCode:
        walkers = result.payload["walkers"]
        if any(walker["stable_steps"] > 0 for walker in walkers.values()):
            return ExitCode(0)
        reasons = (f"{name}: {walker['stopped_by']}, {walker['message']}" for name, walker in walkers.items())
        return self._exit("ERROR_NO_STABLE_STEP", "; ".join(reasons))


def _trajectory(folder: Path, walker: str, file: str) -> MDTrajectoryData:
    path = find_file(folder, f"{WALKERS_FOLDER}/{walker}/{file}")
    try:
        return MDTrajectoryData(path, label=walker)
    except ValueError as error:
        raise ParsingError(
            "ERROR_MISSING_FILE", f"{path.name} of {walker} is damaged ({error}). Submit again."
        ) from error


def _series(folder: Path, walker: str) -> ArrayData:
    path = find_file(folder, f"{WALKERS_FOLDER}/{walker}/{SERIES_FILE}")
    try:
        with path.open(encoding="utf-8") as handle:
            arrays = read_series(handle)
    except ValueError as error:
        raise ParsingError(
            "ERROR_MISSING_FILE", f"{path.name} of {walker} is damaged ({error}). Submit again."
        ) from error
    node = ArrayData(label=walker)
    for name, values in arrays.items():
        node.set_array(name, values)
    return node
