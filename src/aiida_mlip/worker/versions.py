"""What code and hardware made a result."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

from aiida_mlip import __version__

DISTRIBUTIONS = ("torch", "mace-torch", "e3nn", "ase", "matscipy", "spglib", "numpy", "scipy", "pydantic")


def versions(settings: dict[str, Any] | None = None) -> dict[str, str]:
    """Return name -> version of the worker, Python and the libraries, and the names of host and device.

    :param settings: settings of the job; where their ``device`` is ``cuda`` and torch is loaded, the GPU is named.
    """
    found = {"worker": __version__, "python": platform.python_version(), "host": platform.node()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["device"] = _device_name(str((settings or {}).get("device", "cpu")))
    return found


def _device_name(device: str) -> str:
    torch = sys.modules.get("torch")
    if device == "cuda" and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"cpu: {platform.processor() or platform.machine()}"
