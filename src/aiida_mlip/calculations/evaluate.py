"""``mlip.evaluate``: apply a potential to data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import ArrayData, Dict

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.base import MlipCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.job import Task
from aiida_mlip.schema.tasks import EvaluateSettings
from aiida_mlip.science.models import StrictModel


class EvaluateCalculation(MlipCalculation):
    """Predict energies, forces, stresses and descriptors, and compare them with the labels there are."""

    TASK: ClassVar[Task] = "evaluate"
    SETTINGS: ClassVar[type[StrictModel]] = EvaluateSettings
    LARGE_FILES: ClassVar[tuple[str, ...]] = ("predictions_*.npz", "labelled_*.xyz")

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input("potential", valid_type=PotentialData, help="The potential to apply.")
        spec.input_namespace("datasets", valid_type=DatasetData, dynamic=True, help="Name -> configurations.")
        spec.output("results", valid_type=Dict, required=False, help="Errors for each set, versions, timings.")
        spec.output_namespace(
            "predictions", valid_type=ArrayData, dynamic=True, required=False, help="Name -> arrays of predictions."
        )
        spec.output_namespace(
            "labelled",
            valid_type=DatasetData,
            dynamic=True,
            required=False,
            help="Name -> the configurations with the predictions as labels, where settings.labelled asks for them.",
        )
        spec.default_output_node = "results"

    def _files(self) -> dict[str, tuple[PotentialData | DatasetData, str]]:
        sets = {f"set_{name}": (data, f"set_{name}.xyz") for name, data in self.inputs.datasets.items()}
        return {"potential": (self.inputs.potential, "potential.model"), **sets}

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
        datasets = inputs.get("datasets", {})
        if "datasets" in ctx and not datasets:
            yield checks.refusal("datasets", {}, "there is nothing to evaluate", "Give at least one data set")
        potential: PotentialData | None = inputs.get("potential")
        settings: Dict | None = inputs.get("settings")
        if settings is not None and "datasets" in ctx:
            yield from checks.check_alignment(settings.get("align_on"), datasets)
        if potential is None:
            return
        yield from checks.check_potential(potential.info, {f"datasets.{name}": data for name, data in datasets.items()})
        if settings is not None:
            yield from checks.check_head("settings.head", settings.get("head"), potential.info)
