"""``mlip.select``: choose the frames of trajectories that are worth a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import Dict

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.base import FileNode, MlipCalculation
from aiida_mlip.calculations.checks.select import check_trajectories
from aiida_mlip.calculations.checks.sets import check_finite
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.schema.job import Task
from aiida_mlip.schema.selection import SelectionSettings
from aiida_mlip.science.models import StrictModel


class SelectCalculation(MlipCalculation):
    """Sort frames into accurate, candidate and failed, and choose those that are newest to the known set."""

    TASK: ClassVar[Task] = "select"
    SETTINGS: ClassVar[type[StrictModel]] = SelectionSettings
    LARGE_FILES: ClassVar[tuple[str, ...]] = ("selected.xyz",)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input(
            "potential", valid_type=PotentialData, help="Its descriptors measure how new a frame is; a member will do."
        )
        spec.input_namespace(
            "trajectories", valid_type=MDTrajectoryData, dynamic=True, help="Walker -> its trajectory, of mlip.md."
        )
        spec.input(
            "known",
            valid_type=DatasetData,
            required=False,
            help="Configurations that are in the set already, labelled or not; None: nothing is known.",
        )
        spec.output("results", valid_type=Dict, required=False, help="Counts, why, versions, timings.")
        spec.output(
            "selected",
            valid_type=DatasetData,
            required=False,
            help="Frames to label, each with its origin; absent where nothing was selected.",
        )
        spec.default_output_node = "results"

    def _files(self) -> dict[str, tuple[FileNode, str]]:
        files: dict[str, tuple[FileNode, str]] = {"potential": (self.inputs.potential, "potential.model")}
        for walker, trajectory in self.inputs.trajectories.items():
            files[f"trajectory_{walker}"] = (trajectory, f"trajectory_{walker}.xyz")
        if "known" in self.inputs:
            files["known"] = (self.inputs.known, "known.xyz")
        return files

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
        trajectories = inputs.get("trajectories", {})
        if "trajectories" in ctx and not trajectories:
            yield checks.refusal("trajectories", {}, "there is nothing to select from", "Give at least one trajectory")
        potential: PotentialData | None = inputs.get("potential")
        settings: Dict | None = inputs.get("settings")
        info = potential.info if potential is not None else None
        largest = settings.get("max_label_atoms") if settings is not None else None
        yield from check_trajectories(trajectories, largest, info)
        yield from check_finite({"known": inputs.get("known")})
        if info is not None:
            yield from checks.check_potential(info, {"known": inputs.get("known")})
            if settings is not None:
                yield from checks.check_head("settings.head", settings.get("head"), info)
