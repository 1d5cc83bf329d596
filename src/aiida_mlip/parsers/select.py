"""Parser of ``mlip.select``."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.parsers.base import MlipParser, ParsingError, dataset_of, results_node
from aiida_mlip.schema.job import Result
from aiida_mlip.science.keys import GROUP
from aiida_mlip.science.origin import origin_of, set_origin

SELECTED_FILE = "selected.xyz"


class SelectParser(MlipParser):
    """Turn the selected frames into a data set; which trajectory a frame is of is known here only."""

    def _attach(self, result: Result, folder: Path) -> None:
        self.out("results", results_node(result))
        expected = result.payload["counts"]["selected"]
        if not expected:
            return
        selected = dataset_of(folder, SELECTED_FILE, "none")
        if len(selected) != expected:
            raise ParsingError(
                "ERROR_MISSING_FILE",
                f"{SELECTED_FILE} has {len(selected)} frames, and {expected} were selected. Submit again.",
            )
        frames = DatasetData([self._traced(atoms) for atoms in selected.frames()], level_of_theory="none")
        frames.label = "selected"
        self.out("selected", frames)

    def _traced(self, atoms: Atoms) -> Atoms:
        """Return a frame that knows its trajectory; frames of one trajectory are one group.

        :raises ParsingError: where a frame is of no walker of this job.
        """
        origin = origin_of(atoms)
        trajectories = self.node.inputs.trajectories
        if origin is None or origin.walker not in trajectories:
            raise ParsingError(
                "ERROR_MISSING_FILE", f"{SELECTED_FILE} has a frame of no walker of this job. Submit again."
            )
        trajectory = trajectories[origin.walker]
        traced = set_origin(atoms, origin.model_copy(update={"trajectory": str(trajectory.uuid)}))
        traced.info[GROUP] = trajectory.base.attributes.get("sha256")[:8]  # the same whenever it is run again
        return traced
