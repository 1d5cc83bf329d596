"""An estimator as ASE calculator, as the integrators want it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.worker.dynamics.checkpoint import arrays_of, estimate_of
from aiida_mlip.worker.uncertainty import Estimate, Estimator


class NotFiniteError(Exception):
    """The dynamics came to positions that are no numbers; no potential is asked there."""


class CountedEstimator:
    """An estimator that counts its calls, and is never asked at positions that are NaN or infinite.

    :param estimator: what is asked.
    :param calls: calls of an earlier job.
    """

    def __init__(self, estimator: Estimator, calls: int = 0) -> None:
        self._estimator = estimator
        self.calls = calls

    @property
    def info(self) -> PotentialInfo:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`."""
        return self._estimator.info

    @property
    def has_uncertainty(self) -> bool:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`."""
        return self._estimator.has_uncertainty

    def estimate(
        self, atoms: Atoms, *, stress: bool = False, forces_sigma: bool = False, bias: bool = False
    ) -> Estimate:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`; all numbers are in double precision.

        A potential in single precision may return a stress of that type, to which the integrator would add in place.

        :raises NotFiniteError: where a position or the cell is NaN or infinite.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise NotFiniteError
        self.calls += 1
        found = self._estimator.estimate(atoms, stress=stress, forces_sigma=forces_sigma, bias=bias)
        return estimate_of(arrays_of(found))

    def forget(self) -> None:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`."""
        self._estimator.forget()


class DynamicsCalculator(Protocol):
    """What the step loop asks of its calculator; that of hyperactive learning has it too.

    ``stress`` and ``forces_sigma`` say what the next evaluation gives besides energy and forces; ``last`` is what the
    estimator said of the geometry evaluated last, without a bias.
    """

    atoms: Atoms | None
    results: dict[str, Any]
    stress: bool
    forces_sigma: bool
    last: Estimate | None

    def get_property(self, name: str, atoms: Atoms) -> Any:
        """Return a property, computed where the atoms are not those of the last evaluation."""


class EstimatorCalculator(Calculator):
    """Energy, forces and stress of an estimator; see :class:`DynamicsCalculator`."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]
    ignored_changes: ClassVar[set[str]] = {"initial_magmoms", "initial_charges"}

    def __init__(self, estimator: Estimator, *, stress: bool = False) -> None:
        super().__init__()
        self.estimator = estimator
        self.stress = stress
        self.forces_sigma = False
        self.last: Estimate | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate one geometry."""
        super().calculate(atoms, list(properties), list(system_changes))
        found = self.estimator.estimate(
            self.atoms, stress=self.stress or "stress" in properties, forces_sigma=self.forces_sigma
        )
        self.last = found
        self.results = {"energy": found.energy, "free_energy": found.energy, "forces": found.forces}
        if found.stress is not None:
            self.results["stress"] = found.stress
