"""Potentials that know how unsure they are: one interface for committees, shallow ensembles and last-layer Bayes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ase import Atoms

from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.predictions import FloatArray


@dataclass(frozen=True)
class Estimate:
    """What an estimator says of one configuration of ``n`` atoms. All uncertainties are calibrated.

    :param energy: mean total energy [eV].
    :param forces: mean forces [eV/Å], shape (n, 3).
    :param stress: mean stress [eV/Å^3], ASE's sign and Voigt order, shape (6,); None without three periodic directions.
    :param energy_sigma: uncertainty of the total energy [eV]; None where the estimator has none.
    :param forces_sigma: ``sqrt(mean_k |F_k,i - mean F_i|^2)`` of each atom [eV/Å], shape (n,); None where not
        asked for.
    :param sigma_forces: -d energy_sigma / d positions [eV/Å], shape (n, 3); None where not asked for.
    :param sigma_stress: derivative of energy_sigma by strain over the volume, as the stress is of the energy
        [eV/Å^3], shape (6,); None where not asked for, or without a stress.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None
    energy_sigma: float | None = None
    forces_sigma: FloatArray | None = None
    sigma_forces: FloatArray | None = None
    sigma_stress: FloatArray | None = None


class Estimator(Protocol):
    """One potential or a committee in memory, with or without an uncertainty."""

    @property
    def info(self) -> PotentialInfo:
        """The description of the potential, or of the first member."""

    @property
    def has_uncertainty(self) -> bool:
        """Whether it can say how unsure it is."""

    def estimate(
        self, atoms: Atoms, *, stress: bool = False, forces_sigma: bool = False, bias: bool = False
    ) -> Estimate:
        """Return energy and forces, and what else is asked for.

        :param stress: also the stress.
        :param forces_sigma: also the uncertainty of each atom's force.
        :param bias: also the gradient of the energy's uncertainty.
        :raises TaskError: of kind ``input`` where the potential lacks an element, or has no uncertainty to give.
        """

    def forget(self) -> None:
        """Drop what earlier calls left (neighbour lists, wave functions), so that the next one depends on nothing else.

        A run that goes on from a checkpoint then computes what the run without a break computed.
        """
