"""Settings and results of labelling."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.models import StrictModel


class BatchLabelSettings(StrictModel):
    """How one job labels many configurations with a potential or any ASE calculator; one that fails is left out."""

    device: Device = "cpu"
    dtype: Dtype = "float64"
    head: str | None = None
    stress: bool = Field(default=True, description="label stresses of periodic configurations")


class LabelSettings(StrictModel):
    """What counts as a label, whoever makes it, and how many may fail."""

    max_force: float | None = Field(
        default=50.0, gt=0, description="a label with a larger force on an atom [eV/Å] is refused as an outlier"
    )
    max_failed_fraction: float = Field(default=0.5, ge=0, le=1, description="more failures than this end the workflow")
    isolated_atoms: tuple[str, ...] = Field(default=(), description="elements whose free atom is labelled too")
    atom_box: float = Field(default=12.0, gt=3, description="edge of the box of a free atom [Å]")
    reuse: bool = Field(default=True, description="take labels of the same configuration and settings that exist")
    max_concurrent: int | None = Field(default=None, gt=0, description="pw.x jobs at a time; None: the computer's")


class LabelFailure(StrictModel):
    """A configuration without a label, and why."""

    index: int = Field(ge=0, description="in the set that was to be labelled")
    reason: str
    process: str = Field(default="", description="uuid of the process that failed")


class LabelReport(StrictModel):
    """What became of the configurations that were to be labelled."""

    asked: int = Field(ge=0)
    labelled: int = Field(ge=0, description="those in the set that comes out")
    reused: int = Field(ge=0, description="of these, labels that were in the database")
    failed: tuple[LabelFailure, ...] = ()
    level_of_theory: str = "unknown"
    core_seconds: float = Field(default=0.0, ge=0, description="wall time times cores of the labelling codes [s]")
    wall_seconds: float = Field(default=0.0, ge=0, description="from the first submission to the last result [s]")
