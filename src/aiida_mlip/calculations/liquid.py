"""``mlip.liquid``: read trajectories of a liquid where they are, and let all checks see every frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import ArrayData, CalcJobNode, Computer, Dict, RemoteData

from aiida_mlip.calculations.base import FileNode, MlipCalculation
from aiida_mlip.calculations.checks import liquid as checks
from aiida_mlip.calculations.checks.sets import check_finite
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.schema.dynamics import WALKERS_FOLDER, MDSettings
from aiida_mlip.schema.job import Task
from aiida_mlip.schema.liquid import FINDINGS_FOLDER, LiquidSettings
from aiida_mlip.science.dynamics import series
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.trajectory import TRAJECTORY_FILE


class LiquidCalculation(MlipCalculation):
    """Say of each trajectory what the checks of liquids find in it.

    With ``md_folder`` the files of the dynamics are linked, not copied: the job runs on the same computer. Each
    trajectory is read once. A check that fails is inconclusive, with its reason, and takes no other down.
    """

    TASK: ClassVar[Task] = "liquid"
    SETTINGS: ClassVar[type[StrictModel]] = LiquidSettings
    LARGE_FILES: ClassVar[tuple[str, ...]] = tuple(f"{FINDINGS_FOLDER}/*.{kind}" for kind in ("json", "npz", "xyz"))
    RESTART_FILES: ClassVar[tuple[str, ...]] = (FINDINGS_FOLDER,)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input(
            "structures",
            valid_type=DatasetData,
            help="Configurations that the walkers started from: the molecules are those of step 0.",
        )
        spec.input(
            "md_folder",
            valid_type=RemoteData,
            required=False,
            help="Folder of the last mlip.md job, on the same computer; its trajectories are read there.",
        )
        spec.input_namespace(
            "trajectories",
            valid_type=MDTrajectoryData,
            dynamic=True,
            required=False,
            help="Walker -> trajectory, uploaded; instead of md_folder.",
        )
        spec.input_namespace(
            "series",
            valid_type=ArrayData,
            dynamic=True,
            required=False,
            help="Walker -> time series of mlip.md, uploaded; without, checks of energies are left inconclusive.",
        )
        spec.input(
            "restart_folder",
            valid_type=RemoteData,
            required=False,
            help="Folder of an earlier job that ran out of time; trajectories that it finished are not read again.",
        )
        spec.output("results", valid_type=Dict, required=False, help="WalkerFindings of each, versions, timings.")
        spec.output_namespace(
            "curves", valid_type=ArrayData, dynamic=True, required=False, help="Walker -> curves of the checks."
        )
        spec.output(
            "frames",
            valid_type=DatasetData,
            required=False,
            help="Evenly spaced frames (config_type frame_<walker>), and those of events (event_<walker>).",
        )
        spec.default_output_node = "results"

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write uploaded series as files, and link what is read in place."""
        for name, node in self.inputs.get("series", {}).items():
            with folder.open(f"series_{name}.csv", "w", encoding="utf-8") as handle:
                handle.write(_series_text(node))
        info = super().prepare_for_submission(folder)
        remote: RemoteData | None = self.inputs.get("md_folder")
        if remote is not None:
            root = f"{remote.get_remote_path()}/{WALKERS_FOLDER}"
            info.remote_symlink_list = [
                (remote.computer.uuid, f"{root}/{name}/{source}", f"{kind}_{name}{suffix}")
                for name in self.inputs.settings["walkers"]
                for kind, source, suffix in _LINKED
            ]
        return info

    def _files(self) -> dict[str, tuple[FileNode, str]]:
        files: dict[str, tuple[FileNode, str]] = {"structures": (self.inputs.structures, "structures.xyz")}
        for name, trajectory in self.inputs.get("trajectories", {}).items():
            files[f"trajectory_{name}"] = (trajectory, f"trajectory_{name}.xyz")
        return files

    def _other_files(self) -> dict[str, str]:
        linked = {
            f"{kind}_{name}": f"{kind}_{name}{suffix}"
            for name in (self.inputs.settings["walkers"] if "md_folder" in self.inputs else ())
            for kind, _, suffix in _LINKED
        }
        uploaded = {f"series_{name}": f"series_{name}.csv" for name in self.inputs.get("series", {})}
        return {**super()._other_files(), **linked, **uploaded}

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
        folder: RemoteData | None = inputs.get("md_folder")
        trajectories: Mapping[str, MDTrajectoryData] = inputs.get("trajectories", {})
        structures: DatasetData | None = inputs.get("structures")
        settings: Dict | None = inputs.get("settings")
        if "md_folder" in ctx:
            yield from checks.check_source(folder is not None, trajectories)
        if folder is not None and (computer := _computer(inputs)) is not None:
            yield from checks.check_folder(folder.computer.label, computer.label)
        yield from check_finite({"structures": structures})
        if settings is None:
            return
        typed = LiquidSettings(**settings.get_dict())
        yield from checks.check_names(typed.walkers, inputs.get("series", {}), "series", all_of_them=False)
        if folder is not None and (dynamics := _dynamics(folder)) is not None:
            yield from checks.check_names(typed.walkers, dynamics.walkers, "md_folder")
            yield from checks.check_conditions(typed, dynamics)
        elif folder is None and trajectories:
            yield from checks.check_names(typed.walkers, trajectories, "trajectories")
        if structures is not None:
            frames = list(structures.frames())
            yield from checks.check_structures(typed, frames)
            yield from checks.check_atoms(typed, frames, trajectories)


_LINKED = (("trajectory", TRAJECTORY_FILE, ".xyz"), ("series", series.SERIES_FILE, ".csv"))
"""Role of a file, its name in the folder of a walker, and how its name ends in the job."""


def _computer(inputs: Mapping[str, Any]) -> Computer | None:
    found: Computer | None = inputs.get("metadata", {}).get("computer")
    return found or (inputs["code"].computer if "code" in inputs else None)


def _dynamics(folder: RemoteData) -> MDSettings | None:
    """Return the settings of the job that made a folder, or None where it is not known to be mlip.md."""
    creator = folder.creator
    if not isinstance(creator, CalcJobNode) or creator.process_type != "aiida.calculations:mlip.md":
        return None
    return MDSettings(**creator.inputs.settings.get_dict())


def _series_text(node: ArrayData) -> str:
    """Return a time series as the file that mlip.md wrote."""
    columns = {name: node.get_array(name) for name in node.get_arraynames() if name in series.COLUMNS}
    rows = zip(*(np.asarray(values, dtype=float).tolist() for values in columns.values()), strict=True)
    return series.header() + "".join(series.row(dict(zip(columns, row, strict=True))) for row in rows)
