"""What is known of a potential, whatever file it is kept in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from aiida_mlip.schema.dispersion import Dispersion, DispersionStatement
from aiida_mlip.science.models import StrictModel

Dtype = Literal["float32", "float64"]
Device = Literal["cpu", "cuda"]


DEFAULT_HEAD = "Default"
"""The head of a model that has one and names none, and of newly trained data; mace names it so."""


class PotentialInfo(StrictModel):
    """The description that travels with a model file.

    A trained model gets it from the worker that made it, a foundation model from inspecting the file.
    """

    architecture: str = Field(description="name of the backend that can load the file, e.g. 'mace'")
    elements: tuple[str, ...] = Field(description="chemical symbols in order of atomic number", min_length=1)
    r_max: float = Field(gt=0, description="cut-off radius of one message-passing layer [Å]")
    num_interactions: int = Field(
        default=1, ge=1, description="layers; the receptive field is num_interactions * r_max"
    )
    heads: tuple[str, ...] = Field(default=(DEFAULT_HEAD,), min_length=1, description="heads in the file, in order")
    head: str = Field(default=DEFAULT_HEAD, description="the head that is meant when nothing else is said")
    dtype: Dtype = Field(description="floating-point type of the stored parameters")
    num_parameters: int = Field(ge=0, description="number of learnable scalars")
    e0s: dict[str, dict[str, float]] = Field(default_factory=dict, description="head -> symbol -> E0 [eV]")
    sha256: str = Field(default="", description="checksum of the file")
    level_of_theory: str = Field(default="unknown", description="what the labels were computed with")
    licence: str = Field(default="unknown", description="licence of the weights")
    backend_version: str = Field(default="", description="version of the package that wrote or inspected the file")
    name: str = Field(default="", description="name in the foundation registry, or what the user calls it")
    extra: dict[str, float | int | str | bool] = Field(default_factory=dict, description="backend-specific facts")
    dispersion: Dispersion | None = Field(default=None, description="what is added to the model; None: nothing")
    dispersion_statement: DispersionStatement = Field(
        default="unknown", description="whether energies have dispersion; 'added' where ``dispersion`` is given"
    )

    @property
    def dispersion_words(self) -> str:
        """Return in a few words whether the energies have dispersion, e.g. ``D3(BJ)-PBE added`` or ``none``."""
        return f"{self.dispersion.title} added" if self.dispersion else self.dispersion_statement

    @model_validator(mode="after")
    def _statement_fits(self) -> PotentialInfo:
        if (self.dispersion is not None) != (self.dispersion_statement == "added"):
            raise ValueError(
                f"dispersion_statement = {self.dispersion_statement!r} with dispersion = {self.dispersion!r}: "
                "'added' and the settings of what is added belong together"
            )
        return self
