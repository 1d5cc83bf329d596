"""What the labels are compared with: a baseline potential where one is given, else a fit to the data themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit.offsets import Shift, fitted_shifts
from aiida_mlip.science.datasets.baseline import Baseline
from aiida_mlip.science.datasets.environments import Environments
from aiida_mlip.science.datasets.robust import regress
from aiida_mlip.science.datasets.surrogate import Equations, Prediction, Surrogate, fit, unrelated_frames

Array = NDArray[np.float64]

_SAMPLE = 30
_FEW, _MOST = 0.02, 0.4
_NO_FORCE = 0.02

UNIT_HYPOTHESES: Mapping[str, float] = {
    "energies and forces are consistent": 1.0,
    "forces have the wrong sign (they are gradients)": -1.0,
    "energies are in Hartree": 27.2114,
    "energies are in Rydberg": 13.6057,
    "energies are in kcal/mol": 1.0 / 23.0605,
    "energies are in kJ/mol": 1.0 / 96.4853,
    "forces are in Hartree/bohr": 1.0 / 51.4221,
    "forces are in Rydberg/bohr": 1.0 / 25.7110,
    "energies are in Hartree and forces in Hartree/bohr, or both in Rydberg": 0.529177,
    "forces are in kcal/mol/angstrom": 23.0605,
    "forces are in kJ/mol/angstrom": 96.4853,
}
"""What could be wrong -> the factor that makes the energies fit the forces."""


ENERGY_FACTORS: Mapping[str, float] = {
    "Hartree": 1 / 27.2114,
    "Rydberg": 1 / 13.6057,
    "kcal/mol": 23.0605,
    "kJ/mol": 96.4853,
    "meV": 1e3,
}
"""What the labels have -> labelled over true energy."""


class Reference(ABC):
    """Predictions that labels are compared with. ``name`` goes into messages."""

    name: str
    is_potential: bool

    @abstractmethod
    def energies(self) -> Array:
        """Return energies [eV] of all frames, shape (frames,), NaN where there is none."""

    @abstractmethod
    def forces(self, index: int) -> Array | None:
        """Return the forces [eV/Å] on a frame, shape (n, 3)."""

    @abstractmethod
    def stress(self, index: int) -> Array | None:
        """Return the stress [eV/Å^3] of a frame, shape (6,)."""

    def energy_novelty(self, index: int) -> float:
        """Return how much less certain than usual the energy of a frame is: large where a fit extrapolates."""
        del index
        return 1.0

    def force_novelty(self, index: int, atom: int) -> float:
        """Return how much less certain than usual the force on an atom is."""
        del index, atom
        return 1.0


class PotentialReference(Reference):
    """A baseline potential whose energies are shifted for each element to fit the labels."""

    is_potential = True

    def __init__(self, frames: Sequence[Atoms], baseline: Baseline) -> None:
        self._baseline = baseline
        self._frames = frames
        self.name = baseline.name

    @cached_property
    def _energies(self) -> Array:
        predicted = np.array(self._baseline.energies, dtype=np.float64)
        labels = np.array([float(atoms.info.get(keys.ENERGY, np.nan)) for atoms in self._frames])
        several = np.array([len(atoms) > 1 for atoms in self._frames])
        use = np.isfinite(predicted) & np.isfinite(labels) & several
        if not use.any():
            return predicted
        elements = sorted({int(z) for atoms in self._frames for z in atoms.numbers})
        counts = np.array([[np.count_nonzero(atoms.numbers == z) for z in elements] for atoms in self._frames])
        size = np.maximum(counts.sum(axis=1), 1)
        shift = regress(counts[use] / size[use, None], (labels - predicted)[use] / size[use], ridge=1e-9)
        return np.asarray(predicted + counts @ shift)

    def energies(self) -> Array:
        """Return the shifted energies [eV]."""
        return self._energies

    def forces(self, index: int) -> Array | None:
        """Return the predicted forces [eV/Å]."""
        if self._baseline.forces is None:
            return None
        found = np.asarray(self._baseline.forces[index], dtype=np.float64)
        return found if np.isfinite(found).all() else None

    def stress(self, index: int) -> Array | None:
        """Return the predicted stress [eV/Å^3]."""
        if self._baseline.stresses is None:
            return None
        found = np.asarray(self._baseline.stresses[index], dtype=np.float64)
        return found if np.isfinite(found).all() else None


def _fit_most(equations: Equations) -> Surrogate | None:
    """Return the fit, without frames whose forces contradict it, if they are neither few nor most."""
    first = fit(equations)
    if first is None:
        return None
    unrelated = unrelated_frames(equations, first)
    if not _FEW < len(unrelated) / len(equations.folds) < _MOST:
        return first
    return fit(equations, without=unrelated) or first


class FitReference(Reference):
    """The fit to the data's own energies and forces.

    ``unit``: what the labels seem to be in; ``shifts``: configuration types whose energies fit only with an offset.
    """

    name = "a fit to the set's own energies and forces"
    is_potential = False

    def __init__(
        self,
        frames: Sequence[Atoms],
        known: Mapping[int, Environments],
        equations: Equations,
        least_shift: float,
    ) -> None:
        self._frames, self._known = frames, known
        self.errors: dict[str, float] = {}
        self.shifts: dict[str, Shift] = {}
        self._cache: dict[int, Prediction] = {}
        self.unit, self.surrogate = self._best_unit(equations)
        if self.surrogate is not None and self.scale == 1.0 and len(equations.groups) > 1:
            residuals = self._residuals(equations, self.surrogate)
            self.shifts, self.surrogate = fitted_shifts(equations, self.surrogate, residuals, least_shift)

    def _residuals(self, equations: Equations, surrogate: Surrogate) -> dict[str, Array]:
        """Return labelled minus predicted energies [eV/atom] of the fitted frames, by configuration type."""
        found: dict[str, list[float]] = {name: [] for name in equations.groups}
        for index in equations.folds:
            atoms = self._frames[index]
            name = str(atoms.info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE))
            if name in found:
                difference = atoms.info[keys.ENERGY] - surrogate.energy(index, self._known[index])
                found[name].append(difference / len(atoms))
        return {name: np.array(values) for name, values in found.items()}

    def _best_unit(self, equations: Equations) -> tuple[str, Surrogate | None]:
        """Return which hypothesis on the units fits best, and its fit; units are doubted only where they do not fit."""
        names = list(UNIT_HYPOTHESES)
        first = _fit_most(equations)
        strong = np.abs(equations.target) > _NO_FORCE
        if first is None or not strong[equations.is_force].any() or equations.is_force.all():
            return names[0], first
        self.errors[names[0]] = first.energy_error
        if first.energy_error < 0.6:
            return names[0], first
        fits = {name: fit(equations, energy_unit=UNIT_HYPOTHESES[name]) for name in names[1:]}
        self.errors |= {name: found.energy_error for name, found in fits.items() if found is not None}
        best = min(self.errors, key=lambda name: self.errors[name])
        if self.errors[best] < min(0.5, 0.4 * first.energy_error):
            return best, fits[best]
        return names[0], first

    @property
    def scale(self) -> float:
        """Return by what labelled energies are multiplied to be comparable with this reference."""
        return UNIT_HYPOTHESES[self.unit]

    @cached_property
    def _energies(self) -> Array:
        found = np.full(len(self._frames), np.nan)
        if self.surrogate is not None:
            for index, environment in self._known.items():
                found[index] = self.surrogate.energy(index, environment) / self.scale
        return found

    def energies(self) -> Array:
        """Return the cross-validated energies [eV], in the unit of the labels."""
        return self._energies

    def forces(self, index: int) -> Array | None:
        """Return the cross-validated forces [eV/Å]."""
        found = self._predict(index)
        return None if found is None else found.forces

    def stress(self, index: int) -> Array | None:
        """Return the cross-validated stress [eV/Å^3]."""
        found = self._predict(index)
        return found.stress if found is not None and np.isfinite(found.stress).all() else None

    def energy_novelty(self, index: int) -> float:
        """Return the posterior deviation of an energy over the median one, at least 1."""
        if self.surrogate is None or index not in self._known:
            return 1.0
        return max(1.0, self.surrogate.energy_uncertainty(index, self._known[index]) / self._usual_uncertainty[0])

    def force_novelty(self, index: int, atom: int) -> float:
        """Return the posterior deviation of a force over the median one, at least 1."""
        if self.surrogate is None or index not in self._known:
            return 1.0
        found = self.surrogate.force_uncertainty(index, self._frames[index], atom)
        return max(1.0, found / self._usual_uncertainty[1])

    @cached_property
    def _usual_uncertainty(self) -> tuple[float, float]:
        """Return the median posterior deviations of energies and forces, of a sample of the fitted frames."""
        assert self.surrogate is not None
        fitted = list(self.surrogate.folds)
        sample = fitted[:: max(1, len(fitted) // _SAMPLE)]
        energies = [self.surrogate.energy_uncertainty(index, self._known[index]) for index in sample]
        forces = [self.surrogate.force_uncertainty(index, self._frames[index], 0) for index in sample]
        return max(float(np.median(energies)), 1e-6), max(float(np.median(forces)), 1e-6)

    def _predict(self, index: int) -> Prediction | None:
        if self.surrogate is None or index not in self._known:
            return None
        if not set(self._known[index].numbers) <= set(self.surrogate.layout.numbers):
            return None
        if index not in self._cache:
            self._cache[index] = self.surrogate.predict(index, self._frames[index])
        return self._cache[index]
