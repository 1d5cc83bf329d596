"""The file that `aiida-mlip launch electrolyte` reads."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from aiida_mlip.cli._launch_file import Identifier, LaunchFile, PwFile
from aiida_mlip.schema.boxes import BoxSettings, Composition
from aiida_mlip.schema.dispersion import Dispersion, DispersionStatement
from aiida_mlip.science.models import StrictModel

START_DENSITY = 1.1
"""Of boxes that name none [g/cm^3]: near that of EC:EMC 1:2 (CAMMLS 2025); the barostat finds the potential's own."""


class BoxFile(StrictModel):
    """A box that is packed."""

    composition: Composition = Field(min_length=1, description="e.g. {EC: 4, EMC: 8}; names or SMILES")
    density: float = Field(default=START_DENSITY, gt=0, le=25, description="to begin with [g/cm^3]")
    seed: int = Field(default=1, ge=0)


class ElectrolyteFile(LaunchFile):
    """A look at electrolytes: where, with which potentials, what is in the boxes, and at which conditions."""

    potentials: dict[str, Identifier] = Field(
        min_length=1, description="name, as it is to be printed -> potential: pk, uuid or label"
    )
    dispersion: dict[str, DispersionStatement | Dispersion] = Field(
        default_factory=dict, description="potential -> included, none or unknown, or D3 that is added"
    )
    boxes: dict[str, BoxFile] = Field(default_factory=dict, description="name -> box that is packed")
    imported: dict[str, Identifier] = Field(
        default_factory=dict, description="name -> data set of one configuration: a box of your own"
    )
    temperatures: tuple[float, ...] | None = Field(default=None, description="the first is the target [K]")
    pressures: tuple[float, ...] | None = Field(
        default=None, description="[GPa], the first is the target, 1 bar is 1e-4; []: constant density only"
    )
    walkers: int | None = Field(default=None, gt=0, description="trajectories of each condition")
    labelled: Identifier | None = Field(default=None, description="labelled configurations for the tests of forces")
    reference: Identifier | None = Field(default=None, description="potential or ASE calculator that labels the probes")
    pw: PwFile | None = Field(default=None, description="or pw.x")
    reference_densities: dict[str, float] | None = Field(default=None, description="box -> density [g/cm^3]")
    max_concurrent: int | None = Field(default=None, gt=0, description="jobs at a time; none: that of the computer")

    @model_validator(mode="after")
    def _one_reference(self) -> ElectrolyteFile:
        if self.reference is not None and self.pw is not None:
            raise ValueError("give `reference` or `pw`, one of the two: what the tests of forces compare with")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """Return what the fields say of the settings of the workflow; what is not given is the protocol's."""
        dynamics: dict[str, Any] = {}
        for name in ("temperatures", "pressures", "walkers"):
            if (value := getattr(self, name)) is not None:
                dynamics[name] = value
        if self.pressures == ():
            dynamics["npt_steps"] = 0
        settings: dict[str, Any] = {"dynamics": dynamics} if dynamics else {}
        if self.reference_densities is not None:
            settings["reference_densities"] = self.reference_densities
        return settings

    @property
    def said(self) -> dict[str, str | dict[str, Any]]:
        """Return potential -> what is said of its dispersion, or the settings of what is added."""
        return {
            name: said if isinstance(said, str) else said.model_dump(mode="json")
            for name, said in self.dispersion.items()
        }

    @property
    def packed(self) -> dict[str, dict[str, Any]] | None:
        """Return the boxes that are packed instead of those of the protocol; None: these."""
        if not self.boxes:
            return None
        return {name: BoxSettings(**box.model_dump()).model_dump() for name, box in self.boxes.items()}
