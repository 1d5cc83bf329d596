"""``mlip.property``: compute properties of materials with a potential."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from aiida.engine import CalcJobProcessSpec
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import Dict, RemoteData

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.base import MlipCalculation
from aiida_mlip.calculations.checks.settings import with_property_defaults
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.job import Task
from aiida_mlip.schema.tasks import PARTIAL_FILE, PropertySettings
from aiida_mlip.science.models import StrictModel


class PropertyCalculation(MlipCalculation):
    """Compute any number of properties of the registry in one job."""

    TASK: ClassVar[Task] = "property"
    SETTINGS: ClassVar[type[StrictModel]] = PropertySettings
    LOG_FILES: ClassVar[tuple[str, ...]] = (PARTIAL_FILE,)
    LARGE_FILES: ClassVar[tuple[str, ...]] = ("structures_*.xyz",)
    RESTART_FILES: ClassVar[tuple[str, ...]] = (PARTIAL_FILE,)

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs and outputs."""
        super().define(spec)
        spec.input("potential", valid_type=PotentialData, help="The potential to apply.")
        spec.input(
            "restart_folder",
            valid_type=RemoteData,
            required=False,
            help="Folder of an earlier job that ran out of time; what it finished is not computed again.",
        )
        spec.output("results", valid_type=Dict, required=False, help="Name -> inputs, result, quantities and flags.")
        spec.output_namespace(
            "structures", valid_type=DatasetData, dynamic=True, required=False, help="Name -> structures worth keeping."
        )
        spec.default_output_node = "results"
        spec.exit_code(
            710,
            "WARNING_NO_PROPERTY",
            message="Finished, but every property failed: {message}",
            invalidates_cache=True,
        )

    def _files(self) -> dict[str, tuple[PotentialData | DatasetData, str]]:
        return {"potential": (self.inputs.potential, "potential.model")}

    @classmethod
    def _complete(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return with_property_defaults(PropertySettings(**super()._complete(values)))

    @classmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:  # noqa: ARG003
        settings: Dict | None = inputs.get("settings")
        if settings is None:
            return
        typed = PropertySettings(**settings.get_dict())
        potential: PotentialData | None = inputs.get("potential")
        info = potential.info if potential is not None else None
        yield from checks.check_properties(typed, info)
        if info is not None:
            yield from checks.check_head("settings.head", typed.head, info)
