"""Potentials that are an ASE calculator with parameters; the model file is a small JSON document.

``{"architecture": "emt", "elements": ["Cu", "Ni"], "r_max": 5.0, "parameters": {...}}``: the parameters go to the
calculator as they are. These potentials are analytic, so they serve for tests of logic and as a fast baseline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import Device, Dtype, PotentialInfo
from aiida_mlip.science.predictions import Predictions
from aiida_mlip.worker.backends import ProgressCallback, refuse_unknown_elements


class CalculatorPotential:
    """A potential that is applied frame by frame with an ASE calculator."""

    def __init__(self, info: PotentialInfo, make: Callable[[], Calculator]) -> None:
        self.info = info
        self._make = make

    def calculator(self) -> Calculator:
        """Return a new calculator."""
        return self._make()

    def evaluate(
        self,
        frames: Sequence[Atoms],
        *,
        batch_size: int = 8,
        stress: bool = True,
        descriptors: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> Predictions:
        """See :class:`aiida_mlip.worker.backends.Potential`; there are no descriptors."""
        if descriptors:
            raise TaskError(
                ErrorKind.INPUT,
                f"descriptors = True: the architecture {self.info.architecture!r} has none.",
                "Set it to False.",
            )
        refuse_unknown_elements(frames, self.info.elements)
        energies, forces = np.zeros(len(frames)), []
        stresses = np.full((len(frames), 6), np.nan)
        calculator = self._make()
        for index, frame in enumerate(frames):
            atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
            atoms.calc = calculator
            energies[index] = atoms.get_potential_energy(force_consistent=True)
            forces.append(np.array(atoms.get_forces(), dtype=float))
            if stress and atoms.pbc.all():
                stresses[index] = atoms.get_stress(voigt=True)
            if on_progress and ((index + 1) % batch_size == 0 or index + 1 == len(frames)):
                on_progress(index + 1)
        return Predictions(energies, forces, stresses)


class CalculatorBackend:
    """A backend around one ASE calculator class."""

    architecture = ""
    calculator = ""
    """``module:class`` of the calculator."""
    r_max = 5.0
    """Cut-off [Å] where the model file names none."""

    def inspect(self, path: Path) -> PotentialInfo:
        """See :class:`aiida_mlip.worker.backends.Backend`."""
        document = self._read(path)
        return PotentialInfo(
            architecture=self.architecture,
            elements=tuple(document["elements"]),
            r_max=float(document.get("r_max", self.r_max)),
            dtype="float64",
            num_parameters=0,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            level_of_theory=self.architecture,
            licence="LGPL-2.1-or-later",
        )

    def load(
        self,
        path: Path,
        *,
        info: PotentialInfo | None = None,
        device: Device = "cpu",
        dtype: Dtype = "float64",  # noqa: ARG002 - always float64
        head: str | None = None,
    ) -> CalculatorPotential:
        """See :class:`aiida_mlip.worker.backends.Backend`."""
        described = info or self.inspect(path)
        if device != "cpu":
            raise TaskError(ErrorKind.DEVICE, f"device = {device!r}: {self.architecture!r} runs on cpu.", "Use cpu.")
        if head is not None and head not in described.heads:
            raise TaskError(
                ErrorKind.INPUT,
                f"head = {head!r} is not in the potential.",
                f"Its heads are: {', '.join(described.heads)}.",
            )
        module, name = self.calculator.split(":")
        parameters: dict[str, Any] = dict(self._read(path).get("parameters", {}))
        return CalculatorPotential(described, lambda: getattr(import_module(module), name)(**parameters))

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["architecture"] == self.architecture and document["elements"]:
                return dict(document)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise TaskError(
            ErrorKind.INPUT,
            f"{path.name} is not a potential of architecture {self.architecture!r}.",
            'It has to be a JSON object with "architecture" and "elements".',
        )


class EmtBackend(CalculatorBackend):
    """Effective medium theory for Al, Cu, Ag, Au, Ni, Pd, Pt (ASE)."""

    architecture = "emt"
    calculator = "ase.calculators.emt:EMT"


class LennardJonesBackend(CalculatorBackend):
    """Lennard-Jones with one set of parameters for all elements (ASE)."""

    architecture = "lj"
    calculator = "ase.calculators.lj:LennardJones"
