"""Mean and spread of the members of a committee, and the gradient of the spread.

All spreads are population standard deviations: the mean over the ``K`` members, not over ``K - 1``.
"""

from __future__ import annotations

import numpy as np

from aiida_mlip.science.predictions import FloatArray


def energy_spread(energies: FloatArray) -> float:
    """Return sqrt(mean_k (E_k - mean E)^2) [eV].

    :param energies: of each member [eV], shape (K,).
    """
    return float(np.std(energies))


def forces_spread(forces: FloatArray) -> FloatArray:
    """Return ``sqrt(mean_k |F_k,i - mean F_i|^2)`` of each atom [eV/Å], shape (n,).

    :param forces: of each member [eV/Å], shape (K, n, 3).
    """
    deviations = forces - forces.mean(axis=0)
    spread: FloatArray = np.sqrt((deviations**2).sum(axis=2).mean(axis=0))
    return spread


def spread_gradient(energies: FloatArray, gradients: FloatArray) -> FloatArray:
    """Return the derivative of the spread of the energies by a variable, from the derivatives of the energies.

    (1/K) sum_k (E_k - mean E) (g_k - mean g) / sigma (van der Oord et al., npj Comput. Mater. 9, 168 (2023)). With
    forces in place of gradients it is minus the gradient by the positions. It is zero where the members agree, where
    the spread has a kink.

    :param energies: of each member [eV], shape (K,).
    :param gradients: of each member's energy, or forces, or stresses, shape (K, ...).
    :return: shape (...).
    """
    sigma = energy_spread(energies)
    deviations = energies - energies.mean()
    total: FloatArray = np.tensordot(deviations, gradients - gradients.mean(axis=0), axes=1) / len(energies)
    return total / sigma if sigma > 0.0 else np.zeros_like(total)


def relative_forces_sigma(forces_sigma: FloatArray, forces: FloatArray, floor: float = 0.2) -> FloatArray:
    """Return ``sigma_F,i / (|F_i| + floor)`` of each atom, shape (n,).

    :param forces_sigma: [eV/Å], shape (n,).
    :param forces: mean forces [eV/Å], shape (n, 3).
    :param floor: keeps atoms at rest from counting as unsure [eV/Å].
    """
    relative: FloatArray = np.asarray(forces_sigma) / (np.linalg.norm(forces, axis=1) + floor)
    return relative
