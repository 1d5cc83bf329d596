"""``mlip.md``: molecular dynamics of several walkers with a potential or a committee."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import ArrayData, Dict, ProcessNode, RemoteData

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.base import FileNode, MlipCalculation
from aiida_mlip.calculations.checks.md import check_members_known, check_uncertainty, check_walkers
from aiida_mlip.calculations.checks.sets import check_finite
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.data.uncertainty import UncertaintyData
from aiida_mlip.schema.dynamics import WALKERS_FILE, WALKERS_FOLDER, MDSettings
from aiida_mlip.schema.job import Task
from aiida_mlip.science.dynamics.series import SERIES_FILE
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.trajectory import KEPT_FILE, TRAJECTORY_FILE
from aiida_mlip.science.uncertainty.model import UNCERTAINTY_FILE


class MDCalculation(MlipCalculation):
    """Let each walker go until its schedule ends or a stop rule is broken.

    A walker that was stopped is a finished one: why, and after how many steps, is in the results.
    """

    TASK: ClassVar[Task] = "md"
    SETTINGS: ClassVar[type[StrictModel]] = MDSettings
    LOG_FILES: ClassVar[tuple[str, ...]] = (WALKERS_FILE,)
    RESTART_FILES: ClassVar[tuple[str, ...]] = (WALKERS_FOLDER,)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input_namespace(
            "potentials",
            valid_type=PotentialData,
            dynamic=True,
            help="Member -> potential, e.g. member_00; the forces are the mean of the members.",
        )
        spec.input(
            "uncertainty",
            valid_type=UncertaintyData,
            required=False,
            help="Calibrated uncertainty of the potentials; None: several potentials have the raw one of a committee.",
        )
        spec.input("structures", valid_type=DatasetData, help="Configurations that the walkers start from.")
        spec.input(
            "restart_folder",
            valid_type=RemoteData,
            required=False,
            help="Folder of an earlier job that ran out of time; its walkers go on from their last step.",
        )
        spec.output("results", valid_type=Dict, required=False, help="WalkerResult of each, versions, timings.")
        spec.output_namespace(
            "trajectories",
            valid_type=MDTrajectoryData,
            dynamic=True,
            required=False,
            help="Walker -> its frames from the start, those of earlier jobs included; every keep_stride-th of them.",
        )
        spec.output_namespace(
            "series",
            valid_type=ArrayData,
            dynamic=True,
            required=False,
            help="Walker -> temperature, energy, pressure and so on, one array for each column.",
        )
        spec.default_output_node = "results"
        spec.exit_code(
            420, "ERROR_NO_STABLE_STEP", message="No walker made one stable step: {message}", invalidates_cache=False
        )

    @classmethod
    def is_valid_cache(cls, node: ProcessNode) -> bool:
        """Return whether a job may stand for another one: not where a potential raised, as a busy device lets it."""
        if not super().is_valid_cache(node):
            return False
        walkers = node.outputs.results["walkers"] if "results" in node.outputs else {}
        return all(walker["stopped_by"] != "calculator_error" for walker in walkers.values())

    def _files(self) -> dict[str, tuple[FileNode, str]]:
        files: dict[str, tuple[FileNode, str]] = {
            f"potential_{name}": (node, f"potential_{name}.model") for name, node in self.inputs.potentials.items()
        }
        files["structures"] = (self.inputs.structures, "structures.xyz")
        if "uncertainty" in self.inputs:
            files["uncertainty"] = (self.inputs.uncertainty, UNCERTAINTY_FILE)
        return files

    def _large_files(self) -> tuple[str, ...]:
        frames = TRAJECTORY_FILE if self.inputs.settings.get("keep_stride", 1) == 1 else KEPT_FILE
        return tuple(f"{WALKERS_FOLDER}/*/{name}" for name in (frames, SERIES_FILE))

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
        potentials: Mapping[str, PotentialData] = inputs.get("potentials", {})
        if "potentials" in ctx and not potentials:
            yield checks.refusal("potentials", {}, "there is nothing to run with", "Give at least one potential")
        settings: Dict | None = inputs.get("settings")
        if settings is None:
            return
        typed = MDSettings(**settings.get_dict())
        infos = {name: node.info for name, node in potentials.items()}
        structures: DatasetData | None = inputs.get("structures")
        if structures is not None:
            yield from check_finite({"structures": structures})
            yield from check_members_known(infos, structures.elements, typed.head)
            yield from check_walkers(typed, list(structures.frames()))
        if infos:
            uncertainty: UncertaintyData | None = inputs.get("uncertainty")
            yield from check_uncertainty(typed, infos, None if uncertainty is None else uncertainty.header)
