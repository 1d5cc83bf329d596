"""Where the geometry of a configuration came from, and why it was asked for; it travels with the frame as JSON."""

from __future__ import annotations

from typing import Literal

from ase import Atoms
from pydantic import Field, ValidationError

from aiida_mlip.science.keys import ORIGIN
from aiida_mlip.science.models import StrictModel


class Origin(StrictModel):
    """One configuration's way into a data set."""

    kind: Literal["md", "augmentation", "given", "isolated_atom"] = Field(description="what made the geometry")
    generation: int = Field(default=0, ge=0, description="generation of an iterative training; 0: its first set")
    trajectory: str = Field(default="", description="uuid of the trajectory node")
    walker: str = Field(default="", description="name of the walker in its job")
    step: int | None = Field(default=None, ge=0, description="step of the dynamics")
    temperature: float | None = Field(default=None, ge=0, description="target temperature at that step [K]")
    pressure: float | None = Field(default=None, description="target pressure at that step [GPa]")
    max_forces_sigma: float | None = Field(
        default=None, ge=0, description="largest calibrated uncertainty of an atom's force [eV/Å]"
    )
    energy_sigma: float | None = Field(default=None, ge=0, description="calibrated uncertainty of the energy [eV/atom]")
    reason: str = Field(default="", description="why it was asked for, in words")


def set_origin(atoms: Atoms, origin: Origin) -> Atoms:
    """Return a copy of ``atoms`` that carries its origin."""
    copy = atoms.copy()
    copy.info[ORIGIN] = origin.model_dump_json(exclude_defaults=True)
    return copy


def origin_of(atoms: Atoms) -> Origin | None:
    """Return the origin a configuration carries, or None.

    :raises ValidationError: where it carries something else under this name.
    """
    text = atoms.info.get(ORIGIN)
    return Origin.model_validate_json(str(text)) if text else None


def read_origin(atoms: Atoms) -> Origin | None:
    """Return the origin in a file of unknown making, or None where what is there under this name is something else."""
    try:
        return origin_of(atoms)
    except ValidationError:
        return None
