"""What code and hardware made a result."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

from aiida_mlip import __version__

DISTRIBUTIONS = ("torch", "e3nn", "ase", "matscipy", "spglib", "numpy", "scipy", "pydantic")
"""Libraries that results depend on, whatever the potential."""

ARCHITECTURES = {"mace": ("mace-torch",), "chgnet": ("chgnet", "pymatgen"), "sevennet": ("sevenn", "torch-geometric")}
"""Architecture -> the distributions that compute with it."""

DISPERSION = ("dftd3",)
"""The distributions that compute dispersion, where it is added to the potential."""


def versions(settings: dict[str, Any] | None = None, potential: dict[str, Any] | None = None) -> dict[str, str]:
    """Return name -> version of the worker, Python and the libraries, and the names of host and device.

    :param settings: settings of the job; where their ``device`` is ``cuda`` and torch is loaded, the GPU is named.
    :param potential: description of the job's potential; what computes with it is added.
    """
    found = {"worker": __version__, "python": platform.python_version(), "host": platform.node()}
    for name in (*DISTRIBUTIONS, *_of_potential(potential or {})):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["device"] = _device_name(str((settings or {}).get("device", "cpu")))
    return found


def _of_potential(potential: dict[str, Any]) -> tuple[str, ...]:
    """Return the distributions that compute with a potential; mace's where nothing is known of it."""
    added = DISPERSION if potential.get("dispersion") else ()
    calculator = (potential.get("extra") or {}).get("calculator")
    if calculator is not None:
        module = str(calculator).split(":")[0].split(".")[0]
        return (*dict.fromkeys(metadata.packages_distributions().get(module, [])), *added)
    return (*ARCHITECTURES.get(str(potential.get("architecture", "mace")), ()), *added)


def _device_name(device: str) -> str:
    torch = sys.modules.get("torch")
    if device == "cuda" and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"cpu: {platform.processor() or platform.machine()}"
