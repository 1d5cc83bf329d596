"""What is in a box of a liquid."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip.science.models import StrictModel

Composition = dict[str, int]
"""Component (a known name such as 'EC', 'Li+', or a SMILES) -> number of molecules."""


class BoxSettings(StrictModel):
    """One box of a liquid."""

    composition: Composition = Field(min_length=1, description="component -> number; charges must be balanced")
    density: float = Field(gt=0, le=25, description="[g/cm^3]")
    tolerance: float = Field(default=2.0, gt=0.5, le=5, description="smallest distance of two molecules' atoms [Å]")
    seed: int = Field(default=1, ge=0)
