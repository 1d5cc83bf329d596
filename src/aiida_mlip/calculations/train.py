"""``mlip.train``: fine-tune a potential, or train one from scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import ArrayData, Dict, RemoteData

from aiida_mlip.calculations.base import MlipCalculation
from aiida_mlip.calculations.checks.training import Training, check_training
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.job import Task
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.science.models import StrictModel

POTENTIAL_FILE = "potential.model"
"""Name of the trained model in the job's folder."""


class TrainCalculation(MlipCalculation):
    """Train with ``mace_run_train``; the parser proves that what was asked for is what was done."""

    TASK: ClassVar[Task] = "train"
    SETTINGS: ClassVar[type[StrictModel]] = TrainSettings
    LOG_FILES: ClassVar[tuple[str, ...]] = ("mace.log", "mace/config.yaml")
    LARGE_FILES: ClassVar[tuple[str, ...]] = (POTENTIAL_FILE,)
    RESTART_FILES: ClassVar[tuple[str, ...]] = ("checkpoints",)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input(
            "potential",
            valid_type=PotentialData,
            required=False,
            help="The potential to start from; required by every strategy but 'scratch'.",
        )
        spec.input("training_set", valid_type=DatasetData, help="Configurations to fit.")
        spec.input("validation_set", valid_type=DatasetData, help="Configurations that choose the best epoch.")
        spec.input_namespace(
            "test_sets",
            valid_type=DatasetData,
            dynamic=True,
            required=False,
            help="Configurations to report errors for; they influence nothing.",
        )
        spec.input(
            "replay_set",
            valid_type=DatasetData,
            required=False,
            help="Configurations labelled by the foundation model, for strategy 'replay'.",
        )
        spec.input(
            "restart_folder",
            valid_type=RemoteData,
            required=False,
            help="Folder of an earlier training, whose checkpoints are continued.",
        )
        spec.output("potential", valid_type=PotentialData, required=False, help="The potential of the best epoch.")
        spec.output(
            "results", valid_type=Dict, required=False, help="Errors for each set, proof of the strategy, versions."
        )
        spec.output("history", valid_type=ArrayData, required=False, help="One array for each quantity, over epochs.")
        spec.default_output_node = "results"

    def _files(self) -> dict[str, tuple[PotentialData | DatasetData, str]]:
        files: dict[str, tuple[PotentialData | DatasetData, str]] = {
            "train": (self.inputs.training_set, "train.xyz"),
            "valid": (self.inputs.validation_set, "valid.xyz"),
        }
        if "potential" in self.inputs:
            files["potential"] = (self.inputs.potential, "foundation.model")
        if "replay_set" in self.inputs:
            files["replay"] = (self.inputs.replay_set, "replay.xyz")
        for name, data in self.inputs.get("test_sets", {}).items():
            files[f"test_{name}"] = (data, f"test_{name}.xyz")
        return files

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
        settings: Dict | None = inputs.get("settings")
        if settings is None:
            return
        potential: PotentialData | None = inputs.get("potential")
        job = Training(
            settings=TrainSettings(**settings.get_dict()),
            potential=potential.info if potential is not None else None,
            training=inputs.get("training_set"),
            validation=inputs.get("validation_set"),
            replay=inputs.get("replay_set"),
            tests=inputs.get("test_sets", {}),
        )
        yield from check_training(job, complete={"potential", "replay_set", "training_set"} <= set(ctx))
