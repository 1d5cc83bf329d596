"""What the Python environment of a compute node must have, and what is wrong with one that was looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    "matscipy": "matscipy",
    "numpy": "numpy",
    "pydantic": "pydantic",
    "scipy": "scipy",
    "spglib": "spglib",
}
"""Distribution -> module that the worker imports whatever the potential."""

BACKENDS: dict[str, dict[str, str]] = {
    "ase": {},
    "chgnet": {"chgnet": "chgnet", "torch": "torch"},
    "emt": {},
    "finnis_sinclair": {},
    "lj": {},
    "mace": {"mace-torch": "mace", "torch": "torch"},
    "sevennet": {"sevenn": "sevenn", "torch": "torch"},
}
"""Architecture of potentials -> what the worker imports for them besides: distribution -> module."""

OTHER_VERSIONS = {"chgnet": "~=0.4.2", "sevenn": "~=0.13.0"}
"""Versions of what this package does not itself depend on; double precision reaches into both, so they are narrow."""


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


def modules(architectures: Sequence[str] = ("mace",)) -> dict[str, str]:
    """Return distribution -> module, of all that the worker imports for potentials of these architectures."""
    found = dict(MODULES)
    for architecture in architectures:
        found |= BACKENDS[architecture]
    return found


def requirements(architectures: Sequence[str] = ("mace",)) -> dict[str, SpecifierSet]:
    """Return the versions that the worker needs, as this package's own metadata states them, and those of others."""
    declared = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    versions = {name: SpecifierSet(text) for name, text in OTHER_VERSIONS.items()}
    versions |= {item.name: item.specifier for item in declared if item.marker is None}
    return {name: versions[name] for name in modules(architectures)}


def problems(report: NodeReport, *, needs_gpu: bool, architectures: Sequence[str] = ("mace",)) -> list[str]:
    """Return what has to be changed on the computer before jobs can run there; empty means nothing.

    :param needs_gpu: whether the report comes from a place where a GPU must be visible.
    :param architectures: of the potentials that the environment is for.
    """
    needed = requirements(architectures)
    if Version(report.python) < Version("3.11"):
        return [f"python3 is {report.python} ({report.executable}) and 3.11 or newer is needed: see worker.activate"]
    found = []
    for name, specifier in sorted(needed.items()):
        version = report.versions.get(name)
        if version is None:
            found.append(f"{name}{specifier} is not installed for {report.executable}: {_install(needed)}")
        elif not specifier.contains(version, prereleases=True):
            found.append(f"{name} is {version} and {name}{specifier} is needed: pip install '{name}{specifier}'")
    found += [f"importing {module} fails: {error}" for module, error in sorted(report.import_errors.items())]
    if needs_gpu and not report.gpus:
        found.append(
            "torch sees no GPU in a job, and jobs.device is 'cuda': check jobs.gpu_request, and that torch is a "
            "build for the CUDA version of the driver"
        )
    return found


def _install(needed: Mapping[str, SpecifierSet]) -> str:
    """Return the command that installs all; numpy, scipy, torch and ASE come with the packages of the potentials."""
    brought = {"ase", "numpy", "scipy", "torch"} if "torch" in needed else set()
    wanted = [f"'{name}{needed[name]}'" for name in sorted(needed.keys() - brought)]
    return f"pip install {' '.join(wanted)}"
