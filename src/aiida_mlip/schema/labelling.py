"""Settings and results of labelling."""

from __future__ import annotations

from ase.data import atomic_numbers
from pydantic import Field, field_validator

from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.models import StrictModel

LABELS_FILE = "labels.jsonl"
"""File of the task ``label``: one line for each configuration, written as the worker goes."""

LABEL_EXTRA = "mlip_label"
"""Extra of a calculation that made labels: of pw.x the address of its label, of a job of ours that of its method."""

PROGRESS_EXTRA = "mlip_label_progress"
"""Extra of a running ``mlip.label`` work chain: how many are asked, labelled, failed, running and waiting."""


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
    atom_degauss: float = Field(default=0.002, gt=0, description="smearing of a free atom [Ry]")
    vacuum: float = Field(
        default=10.0, gt=3, description="between images where a configuration is not periodic, for plane waves [Å]"
    )
    conv_thr_per_atom: float | None = Field(
        default=None, gt=0, description="threshold of self-consistency [Ry/atom] instead of the parameters' conv_thr"
    )
    reuse: bool = Field(default=True, description="take labels of the same configuration and settings that exist")
    max_concurrent: int | None = Field(default=None, gt=0, description="pw.x jobs at a time; None: the computer's")

    @field_validator("isolated_atoms")
    @classmethod
    def _are_elements(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [symbol for symbol in symbols if atomic_numbers.get(symbol, 0) < 1]:
            raise ValueError(f"{', '.join(unknown)}: no chemical symbol. Write it like 'W'")
        return symbols


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
