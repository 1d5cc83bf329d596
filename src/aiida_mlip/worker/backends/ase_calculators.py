"""Potentials that are an ASE calculator, applied frame by frame; some are a small JSON document.

``{"architecture": "emt", "elements": ["Cu", "Ni"], "r_max": 5.0, "parameters": {...}}``: the parameters go to the
calculator as they are. With ``"architecture": "ase"`` the document names the calculator too, as ``module:class``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pydantic import Field, ValidationError
from typing_extensions import override

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import Device, Dtype, PotentialInfo
from aiida_mlip.science.models import StrictModel, explain
from aiida_mlip.science.predictions import Predictions
from aiida_mlip.worker.backends import Backend, ProgressCallback, refuse_unknown_elements, sha256_of


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
        """See :class:`aiida_mlip.worker.backends.Potential`; there are no descriptors.

        The stress is missing (NaN) also where the calculator has none.
        """
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
        stress = stress and "stress" in calculator.implemented_properties
        for index, frame in enumerate(frames):
            atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
            atoms.calc = calculator
            energy = atoms.get_potential_energy()
            energies[index] = calculator.results.get("free_energy", energy)  # the one that the forces belong to
            forces.append(np.array(atoms.get_forces(), dtype=float))
            if stress and atoms.pbc.all():
                stresses[index] = atoms.get_stress(voigt=True)
            if on_progress and ((index + 1) % batch_size == 0 or index + 1 == len(frames)):
                on_progress(index + 1)
        return Predictions(energies, forces, stresses)


class CalculatorFile(StrictModel):
    """The JSON document that is the model file."""

    architecture: str
    elements: tuple[str, ...] = Field(description="chemical symbols that the calculator knows", min_length=1)
    calculator: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$", description="module:class; for 'ase' only")
    parameters: dict[str, Any] = Field(default_factory=dict, description="keywords of the calculator")
    r_max: float | None = Field(default=None, gt=0, description="cut-off [Å]")
    level_of_theory: str | None = None
    licence: str | None = None


class CalculatorBackend(Backend):
    """A backend around one ASE calculator class."""

    architecture = ""
    calculator = ""
    """``module:class`` of the calculator."""
    r_max = 5.0
    """Cut-off [Å] where the model file names none."""

    @override
    def inspect(self, path: Path) -> PotentialInfo:
        document = self._read(path)
        return PotentialInfo(
            architecture=self.architecture,
            elements=document.elements,
            r_max=document.r_max or self.r_max,
            dtype="float64",
            num_parameters=0,
            sha256=sha256_of(path),
            level_of_theory=document.level_of_theory or self.architecture,
            licence=document.licence or "LGPL-2.1-or-later",
        )

    @override
    def load(
        self,
        path: Path,
        *,
        info: PotentialInfo | None = None,
        device: Device = "cpu",
        dtype: Dtype = "float64",
        head: str | None = None,
    ) -> CalculatorPotential:
        described = with_head(info or self.inspect(path), head)
        if device != "cpu":
            raise TaskError(ErrorKind.DEVICE, f"device = {device!r}: {self.architecture!r} runs on cpu.", "Use cpu.")
        document = self._read(path)
        calculator = _calculator_class(document.calculator or self.calculator)
        return CalculatorPotential(described, lambda: calculator(**document.parameters))

    def _read(self, path: Path) -> CalculatorFile:
        """Return the document of the model file.

        :raises TaskError: of kind ``input`` where it is not one of this architecture.
        """
        try:
            document = CalculatorFile.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            reason = explain(error, what="file", model=CalculatorFile)
        except (OSError, UnicodeDecodeError) as error:
            reason = str(error)
        else:
            reason = f"architecture = {document.architecture!r}" if document.architecture != self.architecture else ""
        if reason:
            raise TaskError(
                ErrorKind.INPUT,
                f"{path.name} is not a potential of architecture {self.architecture!r}: {reason}.",
                'It has to be a JSON object with "architecture" and "elements".',
            )
        return document


def with_head(info: PotentialInfo, head: str | None) -> PotentialInfo:
    """Return a description with the head that is asked for.

    :param head: None means the head of ``info``.
    :raises TaskError: of kind ``input`` where there is no such head.
    """
    wanted = head or info.head
    if wanted not in info.heads:
        raise TaskError(
            ErrorKind.INPUT, f"head = {wanted!r} is not in the potential.", f"Its heads are: {', '.join(info.heads)}."
        )
    return info.model_copy(update={"head": wanted})


def _calculator_class(target: str) -> Callable[..., Calculator]:
    """Import the class that ``module:class`` names.

    :raises ImportError: where the module cannot be imported.
    :raises TaskError: of kind ``input`` where the module has no such class.
    """
    module_name, name = target.split(":")
    module = import_module(module_name)
    if not hasattr(module, name):
        raise TaskError(
            ErrorKind.INPUT, f"calculator = {target!r}: {module_name} has no {name}.", "Write it as module:class."
        )
    found: Callable[..., Calculator] = getattr(module, name)
    return found


class AseBackend(CalculatorBackend):
    """Any ASE calculator that can be imported on the compute node; it gets device and type as parameters, if at all."""

    architecture = "ase"

    @override
    def inspect(self, path: Path) -> PotentialInfo:
        document = self._read(path)
        calculator = str(document.calculator)
        info = super().inspect(path)
        unknown = {"level_of_theory": document.level_of_theory or "unknown", "licence": document.licence or "unknown"}
        extra = {"calculator": calculator}
        return info.model_copy(update={**unknown, "backend_version": distribution_of(calculator), "extra": extra})

    @override
    def _read(self, path: Path) -> CalculatorFile:
        document = super()._read(path)
        if document.calculator is None:
            raise TaskError(
                ErrorKind.INPUT,
                f"{path.name} names no calculator.",
                'Add one as module:class, e.g. "calculator": "tblite.ase:TBLite".',
            )
        return document


def distribution_of(target: str) -> str:
    """Return ``name version`` of the distribution that holds ``module:class``; empty where it is not installed."""
    found = metadata.packages_distributions().get(target.split(":", maxsplit=1)[0].split(".", maxsplit=1)[0], [])
    return f"{found[0]} {metadata.version(found[0])}" if found else ""


class EmtBackend(CalculatorBackend):
    """Effective medium theory for Al, Cu, Ag, Au, Ni, Pd, Pt (ASE)."""

    architecture = "emt"
    calculator = "ase.calculators.emt:EMT"


class LennardJonesBackend(CalculatorBackend):
    """Lennard-Jones with one set of parameters for all elements (ASE)."""

    architecture = "lj"
    calculator = "ase.calculators.lj:LennardJones"
