"""What the Python environment of a compute node must have, and what is wrong with one that was looked at."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from pydantic import Field

from aiida_mlip.science.models import StrictModel

DISTRIBUTION = "aiida-mlip-workchains"
MARK = "MLIP-PROBE "

MODULES = {
    "ase": "ase",
    "mace-torch": "mace",
    "matscipy": "matscipy",
    "numpy": "numpy",
    "pydantic": "pydantic",
    "scipy": "scipy",
    "spglib": "spglib",
    "torch": "torch",
}
"""Distribution -> module that the worker imports."""

INSTALL = "pip install mace-torch==0.3.16 matscipy spglib pydantic"


class NodeReport(StrictModel):
    """What :mod:`aiida_mlip.computers.probe_node` found."""

    node: str
    executable: str
    python: str
    versions: dict[str, str] = Field(default_factory=dict)
    import_errors: dict[str, str] = Field(default_factory=dict)
    gpus: list[str] = Field(default_factory=list)

    def summary(self) -> str:
        """Return the environment in one line."""
        versions = ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items()))
        devices = ", ".join(self.gpus) or "no GPU"
        return f"{self.node}: Python {self.python} ({self.executable}); {versions}; {devices}"


def parse_report(output: str) -> NodeReport:
    """Read the report out of what a shell printed.

    :raises ValueError: if there is none.
    """
    for line in output.splitlines():
        if line.startswith(MARK):
            fields: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return NodeReport.model_validate(fields)
    raise ValueError(f"python3 printed no report; it said: {output.strip()[-500:] or 'nothing'}")


def requirements() -> dict[str, SpecifierSet]:
    """Return the versions that the worker needs, as this package's own metadata states them."""
    declared = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    return {item.name: item.specifier for item in declared if item.name in MODULES and item.marker is None}


def problems(report: NodeReport, *, needs_gpu: bool) -> list[str]:
    """Return what has to be changed on the computer before jobs can run there; empty means nothing.

    :param needs_gpu: whether the report comes from a place where a GPU must be visible.
    """
    if Version(report.python) < Version("3.11"):
        return [f"python3 is {report.python} ({report.executable}) and 3.11 or newer is needed: see worker.activate"]
    found = []
    for name, specifier in sorted(requirements().items()):
        version = report.versions.get(name)
        if version is None:
            found.append(f"{name}{specifier} is not installed for {report.executable}: {INSTALL}")
        elif not specifier.contains(version, prereleases=True):
            found.append(f"{name} is {version} and {name}{specifier} is needed: pip install '{name}{specifier}'")
    found += [f"importing {module} fails: {error}" for module, error in sorted(report.import_errors.items())]
    if needs_gpu and not report.gpus:
        found.append(
            "torch sees no GPU in a job, and jobs.device is 'cuda': check jobs.gpu_request, and that torch is a "
            "build for the CUDA version of the driver"
        )
    return found
