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

_OF_TORCH = ("mace", "chgnet", "sevennet")
"""Architectures whose files torch.save writes."""

_TORCH_STARTS = (b"PK\x03\x04", b"\x80")
"""First bytes of what torch.save writes: a zip archive, or a pickle in its old format."""


class PotentialData(SinglefileData):
    """A model file with its :class:`~aiida_mlip.schema.potential.PotentialInfo`.

    The node's hash is that of the file and of what changes a prediction (architecture, head, dtype, dispersion that is
    added, ...), so that two names for one file are one potential to the cache.

    :param file: path of the model file, or an open binary stream.
    :param info: the description; ``sha256`` is filled in, and compared where it is given.
    :param trusted: whether the user vouched for a file whose checksum nobody published.
    :raises ValueError: if the file is missing, empty, not a model, or not the one described, or ``info`` is wrong.
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
        "dispersion_statement",
    )

    def __init__(
        self, file: str | Path | BinaryIO, info: PotentialInfo | dict[str, Any], *, trusted: bool = False, **kwargs: Any
    ) -> None:
        if isinstance(info, dict):
            try:
                info = PotentialInfo(**info)
            except ValidationError as error:
                raise ValueError(explain(error, what="info", model=PotentialInfo)) from error
        super().__init__(_readable(file), filename=kwargs.pop("filename", self.FILENAME), **kwargs)
        self._refuse_other_files(info.architecture)
        found = self._file_sha256()
        if info.sha256 and info.sha256 != found:
            raise ValueError(
                f"info.sha256 = {info.sha256} but the file's is {found}: "
                "the file is damaged or not the one described; get it again"
            )
        facts = info.model_dump(mode="json")
        if info.dispersion is None:
            del facts["dispersion"]  # so that it hashes like the nodes from before there was this field
        self.base.attributes.set_many({**facts, "sha256": found, "trusted": trusted})
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

    def _refuse_other_files(self, architecture: str) -> None:
        with self.open(mode="rb") as handle:
            start = handle.read(64)
        if not start:
            raise ValueError("file is empty: get it again")
        if architecture in _OF_TORCH and not start.startswith(_TORCH_STARTS):
            raise ValueError(
                f"file starts with {start[:16]!r}, which no file of torch does: it is damaged or something else "
                "(a web page, a Git LFS pointer); get it again"
            )

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


def _readable(file: str | Path | BinaryIO) -> str | BinaryIO:
    """Return an absolute path or the stream itself.

    :raises ValueError: if there is no such file.
    """
    if not isinstance(file, str | Path):
        return file
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        raise ValueError(
            f"file = {str(file)!r} does not exist: check the path, or `aiida-mlip foundation install NAME`"
        )
    return str(path)
