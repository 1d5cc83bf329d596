"""Estimator on one MACE model: the uncertainty comes from the weights of its last layer.

One forward pass gives the energy and its uncertainty, one backward pass the forces, and one more for each direction of
the force uncertainties, and for the bias.
"""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms

from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.science.uncertainty.model import UncertaintyModel
from aiida_mlip.worker.backends import Potential, refuse_unknown_elements
from aiida_mlip.worker.backends._torch import default_dtype
from aiida_mlip.worker.uncertainty import Estimate
from aiida_mlip.worker.uncertainty.body import MaceBody, Pass


class LastLayerEstimator:
    """A shallow ensemble, or the closed form of Bayes; energy and forces are those of the potential as it is.

    :param potential: a MACE potential.
    :param model: centres, factor and directions for its features.
    """

    has_uncertainty = True

    def __init__(self, potential: Potential, model: UncertaintyModel) -> None:
        self.info: PotentialInfo = potential.info
        self._body = MaceBody(potential)
        self._model = model
        self._factor = model.arrays["factor"]
        self._centres = model.arrays["centres"]
        self._directions = model.arrays["directions"]

    def estimate(
        self, atoms: Atoms, *, stress: bool = False, forces_sigma: bool = False, bias: bool = False
    ) -> Estimate:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`; force uncertainties cost a pass for each direction."""
        refuse_unknown_elements([atoms], self.info.elements)
        with default_dtype(self._body.potential.dtype):
            done = self._body.run([atoms], stress=stress and bool(atoms.pbc.all()))
            features = done.features.detach().cpu().numpy()[0].astype(float)
            spread = self._factor @ (features - self._model.counts(atoms.get_chemical_symbols()) @ self._centres)
            sigma = self._model.header.energy_scale * float(np.linalg.norm(spread))
            left = len(self._directions) * forces_sigma + bias
            forces, full = done.gradients(done.interaction, torch.ones_like(done.interaction), last=left == 0)
            sigma_forces, sigma_stress = self._bias(done, spread, last=left == 1) if bias else (None, None)
            deviations = self._spread_of_forces(done) if forces_sigma else None
        return Estimate(
            energy=float(done.energies[0]),
            forces=forces,
            stress=None if full is None else full[0],
            energy_sigma=sigma,
            forces_sigma=deviations,
            sigma_forces=sigma_forces,
            sigma_stress=sigma_stress,
        )

    def forget(self) -> None:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`; nothing is kept between two calls."""

    def _bias(self, done: Pass, spread: FloatArray, *, last: bool) -> tuple[FloatArray, FloatArray | None]:
        """Return minus the gradient of the energy's uncertainty, and its derivative by strain over the volume."""
        length = float(np.linalg.norm(spread))
        gradient = self._factor.T @ spread / length if length > 0.0 else np.zeros(self._factor.shape[1])
        forces, stress = done.gradients(done.features, self._tensor(done, gradient), last=last)
        scale = self._model.header.energy_scale
        return scale * forces, None if stress is None else scale * stress[0]

    def _spread_of_forces(self, done: Pass) -> FloatArray:
        """Return the uncertainty of each atom's force [eV/Å], shape (n,)."""
        squares = np.zeros(len(done.positions))
        for index, direction in enumerate(self._directions):
            last = index == len(self._directions) - 1
            forces = done.forces_along(self._tensor(done, direction), last=last)
            squares += (forces**2).sum(axis=1)
        return self._model.header.forces_scale * np.sqrt(squares)

    @staticmethod
    def _tensor(done: Pass, cotangent: FloatArray) -> torch.Tensor:
        return torch.as_tensor(cotangent, dtype=done.features.dtype, device=done.features.device)[None]
