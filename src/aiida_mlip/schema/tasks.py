"""Settings of the tasks that use a potential rather than make one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.models import StrictModel

PARTIAL_FILE = "partial.json"
"""File of the task ``property``: what is done so far, written as the worker goes; a restart continues from it."""


class EvaluateSettings(StrictModel):
    """How a potential is applied to data sets."""

    device: Device = "cpu"
    dtype: Dtype = "float64"
    batch_size: int = Field(default=8, gt=0)
    head: str | None = Field(default=None, description="head to evaluate; None: the potential's own")
    stress: bool = Field(default=True, description="compute stresses of periodic configurations")
    descriptors: bool = Field(default=False, description="invariant descriptors, averaged over the atoms of a frame")
    align_on: str | None = Field(
        default=None,
        description="data set on which one energy shift per element is fitted before energy errors are computed; "
        "for potentials of another level of theory, whose energies have another zero",
    )
    labelled: bool = Field(default=False, description="also return the frames with the predictions as labels")


class PropertySettings(StrictModel):
    """Which properties are computed with a potential, and with what parameters."""

    properties: dict[str, dict[str, Any]] = Field(
        description="name in the registry -> its input fields; an optional field 'property' names the kind",
        min_length=1,
    )
    device: Device = "cpu"
    dtype: Dtype = "float64"
    head: str | None = None
