"""``PotentialData``: a machine-learned interatomic potential, one model file and what is known of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

from aiida.common import exceptions
from aiida.orm import SinglefileData
from pydantic import ValidationError

from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.models import explain


class PotentialData(SinglefileData):  # type: ignore[misc]
    """A model file with its :class:`~aiida_mlip.schema.potential.PotentialInfo`.

    The node's hash is that of the file and of what changes a prediction (architecture, head, dtype, ...), so that two
    names for one file are one potential to the cache.

    :param file: path of the model file, or an open binary stream.
    :param info: the description; ``sha256`` is filled in, and compared where it is given.
    :param trusted: whether the user vouched for a file whose checksum nobody published.
    """

    FILENAME = "potential.model"

    _hash_ignored_attributes = (
        *SinglefileData._hash_ignored_attributes,
        "name",
        "licence",
        "level_of_theory",
        "backend_version",
        "extra",
        "trusted",
    )

    def __init__(
        self, file: str | Path | BinaryIO, info: PotentialInfo | dict[str, Any], *, trusted: bool = False, **kwargs: Any
    ) -> None:
        if isinstance(info, dict):
            try:
                info = PotentialInfo(**info)
            except ValidationError as error:
                raise ValueError(explain(error, what="info", model=PotentialInfo)) from error
        super().__init__(file, filename=kwargs.pop("filename", self.FILENAME), **kwargs)
        found = self._file_sha256()
        if info.sha256 and info.sha256 != found:
            raise ValueError(
                f"info.sha256 = {info.sha256} but the file's is {found}: "
                "the file is damaged or not the one described; get it again"
            )
        self.base.attributes.set_many({**info.model_dump(mode="json"), "sha256": found, "trusted": trusted})
        if info.name:
            self.label = info.name

    @property
    def info(self) -> PotentialInfo:
        """Return what is known of the potential."""
        attributes = self.base.attributes.all
        return PotentialInfo(**{name: attributes[name] for name in PotentialInfo.model_fields if name in attributes})

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the chemical symbols the potential knows."""
        return tuple(self.base.attributes.get("elements"))

    @property
    def trusted(self) -> bool:
        """Return whether the user vouched for a file of unknown checksum."""
        return bool(self.base.attributes.get("trusted", False))

    def _file_sha256(self) -> str:
        with self.open(mode="rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def _validate(self) -> bool:
        super()._validate()
        try:
            info = self.info
        except (ValidationError, KeyError) as error:
            raise exceptions.ValidationError(f"the description of the potential is not valid: {error}") from error
        if info.head not in info.heads:
            raise exceptions.ValidationError(f"head = {info.head!r} is not among the heads {list(info.heads)}")
        return True
