"""All that a walker needs to go on as if nothing had happened, in one file that is there whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, ValidationError

from aiida_mlip.science.hal import HalState
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.worker.uncertainty import Estimate

CHECKPOINT_FILE = "checkpoint.npz"


class Header(StrictModel):
    """What a checkpoint holds besides arrays."""

    format: Literal[1] = 1
    key: str = Field(description="digest of all that the walker's numbers depend on")
    step: int = Field(ge=0)
    rng: dict[str, Any] = Field(description="state of numpy's bit generator")
    trajectory_bytes: int = Field(ge=0, description="size of the trajectory at this step")
    series_bytes: int = Field(ge=0, description="size of the time series at this step")
    frames: int = Field(ge=0)
    force_calls: int = Field(ge=0)
    seconds: float = Field(ge=0)
    max_forces_sigma: float | None = None
    uncertainty_checked: int = Field(default=0, ge=0, description="last step whose uncertainty was within its limits")
    hal: HalState | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A header, and arrays by group: atoms, integrator, estimate and results of the calculator."""

    header: Header
    atoms: Mapping[str, FloatArray]
    integrator: Mapping[str, FloatArray]
    estimate: Mapping[str, FloatArray]
    results: Mapping[str, FloatArray] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the file of a folder, so that a reader sees the old file or the new one."""
        arrays = {f"{group}/{name}": values for group in _GROUPS for name, values in getattr(self, group).items()}
        content = io.BytesIO()
        np.savez(content, header=np.array(self.header.model_dump_json()), **arrays)
        path = folder / CHECKPOINT_FILE
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as handle:
            handle.write(content.getvalue())
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)


_GROUPS = tuple(item.name for item in fields(Checkpoint) if item.name != "header")


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of a folder, or None where there is none.

    :raises ValueError: where the file is not one that is known here.
    """
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as content:
            header = Header.model_validate_json(str(content["header"]))
            groups: dict[str, dict[str, FloatArray]] = {group: {} for group in _GROUPS}
            for key in content.files:
                group, _, name = key.partition("/")
                if name:
                    groups[group][name] = content[key]
    except (ValidationError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path.parent.name}/{path.name} cannot be read: {error}") from error
    return Checkpoint(header, **groups)


def arrays_of(estimate: Estimate) -> dict[str, FloatArray]:
    """Return what an estimate has, as arrays."""
    named = {item.name: getattr(estimate, item.name) for item in fields(Estimate)}
    return {name: np.asarray(value, dtype=float) for name, value in named.items() if value is not None}


def estimate_of(arrays: Mapping[str, FloatArray]) -> Estimate:
    """Return the estimate of :func:`arrays_of`."""
    return Estimate(**{name: values if values.ndim else float(values) for name, values in arrays.items()})  # type: ignore[arg-type]
