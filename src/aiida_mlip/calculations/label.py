"""``mlip.label``: label configurations with a potential or any ASE calculator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import Dict, RemoteData

from aiida_mlip.calculations.base import MlipCalculation
from aiida_mlip.calculations.checks.label import check_batch
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.job import Task
from aiida_mlip.schema.labelling import LABELS_FILE, BatchLabelSettings
from aiida_mlip.science.models import StrictModel


class LabelCalculation(MlipCalculation):
    """Label many configurations in one job; those that fail are left out, with their reason."""

    TASK: ClassVar[Task] = "label"
    SETTINGS: ClassVar[type[StrictModel]] = BatchLabelSettings
    LARGE_FILES: ClassVar[tuple[str, ...]] = (LABELS_FILE,)
    RESTART_FILES: ClassVar[tuple[str, ...]] = (LABELS_FILE,)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input("potential", valid_type=PotentialData, help="The teacher; architecture `ase`: any ASE calculator.")
        spec.input("configurations", valid_type=DatasetData, help="What is to be labelled; labels in it do not count.")
        spec.input(
            "restart_folder",
            valid_type=RemoteData,
            required=False,
            help="Folder of an earlier job that ran out of time; what it labelled is not computed again.",
        )
        spec.output(
            "labelled",
            valid_type=DatasetData,
            required=False,
            help="Configurations with labels in the order of the input, without those that failed.",
        )
        spec.output("results", valid_type=Dict, required=False, help="Failures, counts, versions, timings.")
        spec.default_output_node = "results"
        spec.exit_code(
            411,
            "ERROR_NO_LABEL",
            message="Not one configuration could be labelled: {message}",
            invalidates_cache=True,
        )

    def _files(self) -> dict[str, tuple[PotentialData | DatasetData, str]]:
        return {
            "potential": (self.inputs.potential, "potential.model"),
            "configurations": (self.inputs.configurations, "configurations.xyz"),
        }

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:  # noqa: ARG003
        settings: Dict | None = inputs.get("settings")
        potential: PotentialData | None = inputs.get("potential")
        if potential is not None:
            head = settings.get("head") if settings is not None else None
            yield from check_batch(potential.info, {"configurations": inputs.get("configurations")}, head)
