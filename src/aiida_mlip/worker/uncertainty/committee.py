"""Estimators over ASE calculators: one potential without an uncertainty, and a committee of any backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.science.uncertainty.committee import energy_spread, forces_spread, spread_gradient
from aiida_mlip.science.uncertainty.model import UncertaintyModel
from aiida_mlip.worker.backends import Potential, refuse_unknown_elements
from aiida_mlip.worker.uncertainty import Estimate


@dataclass(frozen=True)
class _Prediction:
    energy: float
    forces: FloatArray
    stress: FloatArray | None


class PlainEstimator:
    """One potential, which does not know how unsure it is."""

    has_uncertainty = False

    def __init__(self, potential: Potential) -> None:
        self.info = potential.info
        self._calculator = potential.calculator()

    def estimate(
        self, atoms: Atoms, *, stress: bool = False, forces_sigma: bool = False, bias: bool = False
    ) -> Estimate:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`."""
        if forces_sigma or bias:
            raise TaskError(
                ErrorKind.INPUT,
                "uncertainty: one potential alone has none.",
                "Give a committee of at least two potentials, or the output of mlip.uncertainty.",
            )
        refuse_unknown_elements([atoms], self.info.elements)
        found = _predict(self._calculator, atoms, stress=stress)
        return Estimate(found.energy, found.forces, found.stress)

    def forget(self) -> None:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`."""
        self._calculator.reset()


class CommitteeEstimator:
    """Independent potentials; the mean is the prediction, and the spread its uncertainty.

    :param potentials: two or more members, in the order of their names.
    :param model: offsets and scales of the calibration; None: raw spreads.
    """

    has_uncertainty = True

    def __init__(self, potentials: Sequence[Potential], model: UncertaintyModel | None = None) -> None:
        self.info: PotentialInfo = potentials[0].info
        self._calculators = [potential.calculator() for potential in potentials]
        self._elements = _common_elements(potentials)
        self._model = model

    def estimate(
        self, atoms: Atoms, *, stress: bool = False, forces_sigma: bool = False, bias: bool = False
    ) -> Estimate:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`; everything here is of all members."""
        refuse_unknown_elements([atoms], self._elements, what="a member of the committee")
        found = [_predict(calculator, atoms, stress=stress) for calculator in self._calculators]
        total = np.array([one.energy for one in found])
        energies = total - self._offsets(atoms)
        forces = np.array([one.forces for one in found])
        stresses = None if any(one.stress is None for one in found) else np.array([one.stress for one in found])
        scale = self._model.header.energy_scale if self._model else 1.0
        gradient = scale * spread_gradient(energies, forces) if bias else None
        strain = scale * spread_gradient(energies, stresses) if bias and stresses is not None else None
        return Estimate(
            energy=float(total.mean()),
            forces=forces.mean(axis=0),
            stress=None if stresses is None else stresses.mean(axis=0),
            energy_sigma=scale * energy_spread(energies),
            forces_sigma=self._forces_scale * forces_spread(forces) if forces_sigma else None,
            sigma_forces=gradient,
            sigma_stress=strain,
        )

    def forget(self) -> None:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`."""
        for calculator in self._calculators:
            calculator.reset()

    @property
    def _forces_scale(self) -> float:
        return self._model.header.forces_scale if self._model else 1.0

    def _offsets(self, atoms: Atoms) -> FloatArray:
        """Return the constant of each member at this composition [eV], shape (members,)."""
        if self._model is None:
            return np.zeros(len(self._calculators))
        return self._model.arrays["shifts"] @ self._model.counts(atoms.get_chemical_symbols())


def _common_elements(potentials: Sequence[Potential]) -> list[str]:
    known = set.intersection(*(set(potential.info.elements) for potential in potentials))
    return [symbol for symbol in potentials[0].info.elements if symbol in known]


def _predict(calculator: Calculator, atoms: Atoms, *, stress: bool) -> _Prediction:
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.calc = calculator
    energy = bare.get_potential_energy()
    energy = calculator.results.get("free_energy", energy)  # the one that the forces belong to
    forces = np.array(bare.get_forces(), dtype=float)
    wanted = stress and bool(atoms.pbc.all()) and "stress" in calculator.implemented_properties
    return _Prediction(float(energy), forces, np.array(bare.get_stress(voigt=True)) if wanted else None)
