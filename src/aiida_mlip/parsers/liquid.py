"""Parser of ``mlip.liquid``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aiida.engine import ExitCode
from aiida.orm import Dict
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.parsers.base import MlipParser, ParsingError, arrays_of, dataset_of, results_node, storable
from aiida_mlip.schema.job import Failure, Result
from aiida_mlip.schema.liquid import FINDINGS_FOLDER
from aiida_mlip.science.origin import origin_of, set_origin


class LiquidParser(MlipParser):
    """Turn findings, curves and frames into nodes; those of a job that did not come to its end too."""

    _folder = Path("/nonexistent")

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse; the findings of a job that ran out of time are kept too."""
        self._folder = Path(kwargs.get("retrieved_temporary_folder") or self._folder)
        return super().parse(**kwargs)

    def _attach(self, result: Result, folder: Path) -> None:
        self.out("results", results_node(result))
        self._attach_files(result.payload["walkers"], folder)

    def _attach_partial(self, result: Result) -> None:
        self._attach(result, self._folder)

    def _without_result(self) -> ExitCode | None:
        """Keep what a killed job had found."""
        found = {path.stem: _findings(path) for path in sorted(self._folder.glob(f"{FINDINGS_FOLDER}/*.json"))}
        if found:
            self.out("results", Dict({"walkers": storable(found)}))
            self._attach_files(found, self._folder)
        return super()._without_result()

    def _has_checkpoint(self, error: Failure) -> bool:  # noqa: ARG002 - the payload says it
        return "results" in self.outputs

    def _attach_files(self, walkers: Iterable[str], folder: Path) -> None:
        frames: list[Atoms] = []
        for name in walkers:
            curves = arrays_of(folder, f"{FINDINGS_FOLDER}/{name}.npz")
            if curves.get_arraynames():
                curves.label = name
                self.out(f"curves.{name}", curves)
            frames += self._traced(name, dataset_of(folder, f"{FINDINGS_FOLDER}/{name}.xyz", "none"))
        if frames:
            node = DatasetData(frames, level_of_theory="none")
            node.label = "frames"
            self.out("frames", node)

    def _traced(self, name: str, frames: DatasetData) -> Iterator[Atoms]:
        """Yield frames that know the node of their trajectory, where there is one."""
        trajectories = self.node.inputs.trajectories if "trajectories" in self.node.inputs else {}
        uuid = str(trajectories[name].uuid) if name in trajectories else ""
        for atoms in frames.frames():
            origin = origin_of(atoms)
            if origin is None or origin.walker != name:
                raise ParsingError("ERROR_MISSING_FILE", f"{name}.xyz has a frame of another walker. Submit again.")
            yield set_origin(atoms, origin.model_copy(update={"trajectory": uuid})) if uuid else atoms


def _findings(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["findings"]
    return found
