"""What the backends that use torch share: types and devices."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import metadata

import torch

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import Device, Dtype

TORCH_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def require_device(device: Device) -> None:
    """Raise where torch cannot use the device.

    :raises TaskError: of kind ``device``.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise TaskError(
            ErrorKind.DEVICE,
            "device = 'cuda': torch sees no GPU on this node.",
            "Ask the scheduler for a GPU and install a CUDA build of torch, or set device = 'cpu'.",
        )


@contextmanager
def default_dtype(dtype: Dtype) -> Iterator[None]:
    """Set torch's default floating-point type for a while; libraries make their tensors in it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(TORCH_DTYPES[dtype])
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def package_version(name: str) -> str:
    """Return ``name version`` of a distribution; empty where it is not installed."""
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return ""


@contextmanager
def silent() -> Iterator[None]:
    """Keep what a package prints, and its warnings, out of the output of the job."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
