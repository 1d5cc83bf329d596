"""``UncertaintyData``: the calibrated uncertainty of a potential or a committee, for jobs that ask for it."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from aiida.common import exceptions
from aiida.orm import SinglefileData
from aiida.orm.nodes.caching import NodeCaching

from aiida_mlip.science.uncertainty.model import UNCERTAINTY_FILE, UncertaintyHeader, UncertaintyModel


class _ContentCaching(NodeCaching):
    """Hashes header and arrays: the bytes of an npz file hold the time it was written at."""

    def get_objects_to_hash(self) -> dict[str, Any]:
        """Return the class and the digest of the content."""
        return {"class": str(self._node.__class__), "content": self._node.base.attributes.get("content_sha256", None)}


class UncertaintyData(SinglefileData):
    """One npz file with an :class:`~aiida_mlip.science.uncertainty.model.UncertaintyModel`.

    The attributes are those of its header: kind, scales, elements, and the sha256 of the potentials it belongs to.

    :param file: path of the npz file, or an open binary stream.
    :raises ValueError: where the file is missing, damaged or something else.
    """

    FILENAME = UNCERTAINTY_FILE
    _CLS_NODE_CACHING = _ContentCaching

    def __init__(self, file: str | Path | BinaryIO, **kwargs: Any) -> None:
        content = _read(file)
        model = UncertaintyModel.read(io.BytesIO(content))
        super().__init__(io.BytesIO(content), filename=kwargs.pop("filename", self.FILENAME), **kwargs)
        attributes = {**model.header.model_dump(mode="json"), "content_sha256": _digest(model)}
        self.base.attributes.set_many(attributes)

    @property
    def header(self) -> UncertaintyHeader:
        """Return what kind it is, its scales, and the potentials it belongs to."""
        attributes = self.base.attributes.all
        return UncertaintyHeader(**{name: attributes[name] for name in UncertaintyHeader.model_fields})

    @property
    def kind(self) -> str:
        """Return ``deep``, ``shallow`` or ``last_layer_bayes``."""
        return str(self.base.attributes.get("kind"))

    @property
    def potentials_sha256(self) -> tuple[str, ...]:
        """Return the checksums of the potentials it belongs to, in the order of their names."""
        return tuple(self.base.attributes.get("sha256"))

    def model(self) -> UncertaintyModel:
        """Return header and arrays."""
        with self.open(mode="rb") as handle:
            return UncertaintyModel.read(io.BytesIO(handle.read()))

    def _validate(self) -> bool:
        super()._validate()
        try:
            found = _digest(self.model())
        except ValueError as error:
            raise exceptions.ValidationError(str(error)) from error
        if self.base.attributes.get("content_sha256", None) != found:
            raise exceptions.ValidationError(
                f"{self.FILENAME} is not what the attributes describe: make the node again"
            )
        return True


def _read(file: str | Path | BinaryIO) -> bytes:
    if not isinstance(file, str | Path):
        return file.read()
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"file = {str(file)!r} does not exist: give the {UNCERTAINTY_FILE} of mlip.uncertainty")
    return path.read_bytes()


def _digest(model: UncertaintyModel) -> str:
    digest = hashlib.sha256(model.header.model_dump_json().encode())
    for name in sorted(model.arrays):
        array = np.ascontiguousarray(model.arrays[name])
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
