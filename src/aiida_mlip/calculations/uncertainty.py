"""``mlip.uncertainty``: make and calibrate the uncertainty of a potential or a committee."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import ArrayData, Dict

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.base import FileNode, MlipCalculation
from aiida_mlip.calculations.checks.uncertainty import check_members, check_uncertainty_sets
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.uncertainty import UncertaintyData
from aiida_mlip.schema.job import Task
from aiida_mlip.schema.uncertainty import CALIBRATION_FILE, UncertaintySettings
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.uncertainty.model import UNCERTAINTY_FILE


class UncertaintyCalculation(MlipCalculation):
    """Fit what the kind needs, then scale it such that it explains the errors on labels that were not trained on."""

    TASK: ClassVar[Task] = "uncertainty"
    SETTINGS: ClassVar[type[StrictModel]] = UncertaintySettings
    LARGE_FILES: ClassVar[tuple[str, ...]] = (UNCERTAINTY_FILE, CALIBRATION_FILE)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input_namespace(
            "potentials", valid_type=PotentialData, dynamic=True, help="Member -> potential, e.g. member_00."
        )
        spec.input(
            "training_set",
            valid_type=DatasetData,
            required=False,
            help="What the potential was trained on; for kinds 'shallow' and 'last_layer_bayes'.",
        )
        spec.input("calibration_set", valid_type=DatasetData, help="Labelled configurations that were not trained on.")
        spec.output("uncertainty", valid_type=UncertaintyData, required=False, help="For jobs with these potentials.")
        spec.output("results", valid_type=Dict, required=False, help="UncertaintyResult, versions, timings.")
        spec.output(
            "calibration",
            valid_type=ArrayData,
            required=False,
            help="Uncertainties and errors on the calibration set, for each atom and for each frame.",
        )
        spec.default_output_node = "results"

    def _files(self) -> dict[str, tuple[FileNode, str]]:
        files: dict[str, tuple[FileNode, str]] = {
            f"potential_{name}": (node, f"potential_{name}.model") for name, node in self.inputs.potentials.items()
        }
        for name in ("training_set", "calibration_set"):
            if name in self.inputs:
                files[name] = (self.inputs[name], f"{name}.xyz")
        return files

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
        settings: Dict | None = inputs.get("settings")
        potentials: Mapping[str, PotentialData] = inputs.get("potentials", {})
        training, calibration = inputs.get("training_set"), inputs.get("calibration_set")
        for name, potential in potentials.items():
            sets = {"training_set": training, "calibration_set": calibration}
            for message in checks.check_potential(potential.info, sets):
                yield message.replace("potential =", f"potentials.{name} =", 1)
        if settings is None:
            return
        typed = UncertaintySettings(**settings.get_dict())
        complete = "potentials" in ctx
        if complete or potentials:
            yield from check_members(typed, {name: potential.info for name, potential in potentials.items()})
        complete = "training_set" in ctx
        yield from check_uncertainty_sets(typed, training, calibration, complete=complete)
