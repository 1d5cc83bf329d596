"""ASE calculator on E - tau sigma, for dynamics that goes where the potential is unsure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from aiida_mlip.schema.dynamics import Hal
from aiida_mlip.science.hal import HalState, advanced, tau
from aiida_mlip.worker.uncertainty import Estimate, Estimator


class HalCalculator(Calculator):
    """Energy E - tau sigma, forces F + tau dsigma/dx and the stress alike, all exact derivatives at fixed tau.

    tau is fixed while a geometry is evaluated. Its averages take a geometry in when the next one comes, so that a run
    that goes on from a stored :attr:`state` and the positions of that step computes the same forces again: the state of
    a checkpoint is the one that was in force at its positions.

    :param estimator: with an uncertainty.
    :param settings: strength and window.
    :param state: of an earlier run.
    :param stress: compute the stress at every geometry, as constant pressure needs it; otherwise where it is asked for.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(
        self, estimator: Estimator, settings: Hal, state: HalState | None = None, *, stress: bool = False
    ) -> None:
        super().__init__()
        self.estimator = estimator
        self.settings = settings
        self.state = state or HalState()
        self.stress = stress
        self.forces_sigma = False
        """Whether the next evaluation also gives the uncertainty of each atom's force."""
        self.last: Estimate | None = None
        """What the estimator said of the geometry evaluated last, without the bias."""

    @property
    def tau(self) -> float:
        """Return the strength of the bias at the geometry evaluated last."""
        return tau(self.state, self.settings.tau_rel, self.settings.window)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate one geometry; the averages take in the one before."""
        moved = bool(system_changes) and not self._same(atoms)
        super().calculate(atoms, list(properties), list(system_changes))
        if self.last is not None and self.last.sigma_forces is not None and moved:
            self.state = advanced(self.state, self.last.forces, self.last.sigma_forces, self.settings.window)
        strength = self.tau
        stress = self.stress or "stress" in properties
        found = self.estimator.estimate(self.atoms, stress=stress, forces_sigma=self.forces_sigma, bias=True)
        self.last = found
        self.results = _biased(found, strength)

    def _same(self, atoms: Atoms | None) -> bool:
        """Return whether the geometry is the one evaluated last; it is asked again for a property it did not give."""
        before: Atoms | None = self.atoms
        return (
            atoms is not None
            and before is not None
            and len(atoms) == len(before)
            and np.array_equal(atoms.positions, before.positions)
            and np.array_equal(atoms.cell.array, before.cell.array)
        )


def _biased(found: Estimate, strength: float) -> dict[str, Any]:
    assert found.energy_sigma is not None
    assert found.sigma_forces is not None
    energy = found.energy - strength * found.energy_sigma
    results = {"energy": energy, "free_energy": energy, "forces": found.forces - strength * found.sigma_forces}
    if found.stress is not None and found.sigma_stress is not None:
        results["stress"] = found.stress - strength * found.sigma_stress
    return results
