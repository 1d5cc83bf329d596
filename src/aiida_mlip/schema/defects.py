"""Settings of the workflow that evaluates defects."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.models import StrictModel


class DefectSettings(StrictModel):
    """How a potential is applied, the same for every property."""

    device: Device = "cpu"
    dtype: Dtype = Field(default="float64", description="defect energies are small differences of large numbers")
