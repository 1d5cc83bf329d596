"""Reference data: published numbers and curves, each with unit, source and citation.

A file has this form, and a user's own has the same:

.. code-block:: yaml

    format: 1
    citations:
      me2026: "A. Author, J. Journal 1, 2 (2026)"
    elements:
      W:
        values:
          C11: { value: 520.0, unit: GPa, source: DFT, citation: me2026 }
        curves:
          eos_BCC: { x: [...], y: [...], x_unit: "angstrom^3/atom", y_unit: "eV/atom", source: DFT, citation: me2026 }

The keys of the values are those of :class:`aiida_mlip.science.properties.Quantity`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from ase.data import chemical_symbols
from pydantic import Field, ValidationError, field_validator, model_validator

from aiida_mlip.science.models import StrictModel, explain

BUILT_IN = ("bcc_metals.yaml",)
"""Files of this package."""

Unit = Literal[
    "1", "angstrom", "angstrom^3/atom", "GPa", "eV", "eV/atom", "eV per b", "J/m^2", "path length",
    "a sqrt(3) / 2 along [111]",
]  # fmt: skip


class Reference(StrictModel):
    """One published number."""

    value: float
    unit: Unit
    source: str = Field(min_length=1, description="how it was obtained, e.g. 'DFT'")
    citation: str = Field(min_length=1, description="key in the file's citations; in a loaded set, the full text")
    note: str = ""


class Curve(StrictModel):
    """One published curve."""

    x: tuple[float, ...] = Field(min_length=2)
    y: tuple[float, ...] = Field(min_length=2)
    x_unit: Unit
    y_unit: Unit
    source: str = Field(min_length=1, description="how it was obtained, e.g. 'DFT'")
    citation: str = Field(min_length=1, description="key in the file's citations; in a loaded set, the full text")
    note: str = ""

    @model_validator(mode="after")
    def _same_length(self) -> Curve:
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} points and y {len(self.y)}: give one y for each x")
        return self


class ElementReferences(StrictModel):
    """What is known of one element."""

    values: dict[str, Reference] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)


class ReferenceFile(StrictModel):
    """The content of one file."""

    format: Literal[1] = Field(description="version of this form")
    citations: dict[str, str] = Field(description="short key -> full citation")
    elements: dict[str, ElementReferences] = Field(description="chemical symbol -> its values and curves")

    @field_validator("elements")
    @classmethod
    def _symbols(cls, value: dict[str, ElementReferences]) -> dict[str, ElementReferences]:
        for symbol in value:
            if symbol not in chemical_symbols[1:]:
                raise ValueError(f"{symbol!r} is not a chemical symbol: write it like 'W'")
        return value

    @model_validator(mode="after")
    def _cited(self) -> ReferenceFile:
        for symbol, known in self.elements.items():
            entries: dict[str, Reference | Curve] = {**known.values, **known.curves}
            for key, entry in entries.items():
                if entry.citation not in self.citations:
                    raise ValueError(
                        f"elements.{symbol}.{key} cites {entry.citation!r}, which is not among the citations: add it"
                    )
        return self


class ReferenceSet:
    """Values and curves of several files; where two have the same, the later file counts.

    :param files: in order of growing precedence.
    """

    def __init__(self, *files: ReferenceFile) -> None:
        self._values: dict[tuple[str, str], Reference] = {}
        self._curves: dict[tuple[str, str], Curve] = {}
        for file in files:
            for element, known in file.elements.items():
                self._values |= {(element, key): _with_text(entry, file) for key, entry in known.values.items()}
                self._curves |= {(element, key): _with_text(entry, file) for key, entry in known.curves.items()}

    @property
    def elements(self) -> tuple[str, ...]:
        """The elements of which anything is known, in alphabetical order."""
        return tuple(sorted({element for element, _ in (*self._values, *self._curves)}))

    def keys(self, element: str) -> tuple[str, ...]:
        """Return the keys of the values of ``element``."""
        return tuple(key for symbol, key in self._values if symbol == element)

    def curve_keys(self, element: str) -> tuple[str, ...]:
        """Return the keys of the curves of ``element``."""
        return tuple(key for symbol, key in self._curves if symbol == element)

    def get(self, element: str, key: str) -> Reference | None:
        """Return the value called ``key`` of ``element``, or None."""
        return self._values.get((element, key))

    def curve(self, element: str, key: str) -> Curve | None:
        """Return the curve called ``key`` of ``element``, or None."""
        return self._curves.get((element, key))


_Entry = TypeVar("_Entry", Reference, Curve)


def _with_text(entry: _Entry, file: ReferenceFile) -> _Entry:
    return entry.model_copy(update={"citation": file.citations[entry.citation]})


def parse(document: Mapping[str, Any], name: str) -> ReferenceFile:
    """Return a reference file from plain values.

    :param name: of the file, for messages.
    :raises ValueError: naming each wrong field, its value and what would be right.
    """
    try:
        return ReferenceFile.model_validate(document)
    except ValidationError as error:
        raise ValueError(explain(error, what=name, model=ReferenceFile)) from error


def load(*paths: str | Path, built_in: bool = True, documents: Iterable[Mapping[str, Any]] = ()) -> ReferenceSet:
    """Return the reference data of this package and of the files given.

    :param paths: a user's own files, in order of growing precedence; they count more than the built-in data.
    :param built_in: also take the data of this package.
    :param documents: contents of further files as plain values; they count most.
    :raises ValueError: where a file is not of the form that the module describes.
    """
    files = []
    if built_in:
        package = resources.files(__name__)
        files += [_read(package.joinpath(name).read_text(encoding="utf-8"), name) for name in BUILT_IN]
    files += [parse(read_document(path), Path(path).name) for path in paths]
    files += [parse(document, "reference") for document in documents]
    return ReferenceSet(*files)


def read_document(path: str | Path) -> dict[str, Any]:
    """Return the content of a user's reference file as plain values; :func:`parse` says whether it is right.

    :raises ValueError: where it cannot be read, or is no YAML mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"reference file {path} cannot be read: {error.strerror}; check the path") from error
    return _document(text, Path(path).name)


def _read(text: str, name: str) -> ReferenceFile:
    return parse(_document(text, name), name)


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 - a wrong file, not a wrong argument
            f"{name} holds a {type(document).__name__}: it needs format, citations and elements"
        )
    return document
