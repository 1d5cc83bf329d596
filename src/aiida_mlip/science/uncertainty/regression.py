"""Bayesian linear regression on features, and ensembles of weights, as numpy and nothing else.

A potential is E = w f + rest, with the features f of a configuration, and its forces are linear in w too. Observed are
energies and projections of forces on directions; each row of the design matrix A is such an observation divided by its
noise. The posterior of a deviation from w has the covariance (A^T A + lambda)^-1. Sources: Bigi, Chong, Ceriotti and
Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024), for the last layer of a network; the Bayesian formula
sigma^2 = 1/lambda + B^T Sigma B of van der Oord et al., npj Comput. Mater. 9, 168 (2023), for linear potentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.predictions import FloatArray

IntArray = NDArray[np.int64]

SMALLEST_NOISE = 1e-6
"""The noise of an observation is never below this, as of exact data [eV/atom, eV/Å]."""


@dataclass(frozen=True)
class Observations:
    """What was observed of ``n`` configurations with ``d`` features.

    :param counts: atoms of each element, shape (n, elements).
    :param features: of the energies, shape (n, d).
    :param energies: labels minus predictions [eV], shape (n,); NaN where there is no label.
    :param projected: features of the projected forces, shape (rows, d).
    :param forces: labels minus predictions of the projected forces [eV/Å], shape (rows,); NaN where there is no label.
    :param frame: index of the configuration of each row of ``projected``, shape (rows,).
    """

    counts: FloatArray
    features: FloatArray
    energies: FloatArray
    projected: FloatArray
    forces: FloatArray
    frame: IntArray


@dataclass(frozen=True)
class Design:
    """Observations divided by their noise.

    :param matrix: shape (rows, d).
    :param target: shape (rows,).
    :param frame: index of the configuration of each row, shape (rows,).
    """

    matrix: FloatArray
    target: FloatArray
    frame: IntArray

    @property
    def gram(self) -> FloatArray:
        """Return A^T A, shape (d, d)."""
        gram: FloatArray = self.matrix.T @ self.matrix
        return gram


def element_offsets(counts: FloatArray, values: FloatArray) -> FloatArray:
    """Return for each element what explains ``values`` best, shape (elements, ...).

    Least squares of values per atom on the composition, as :func:`aiida_mlip.science.composition.element_energies`
    does for energies; the solution of smallest norm where compositions do not tell elements apart.

    :param counts: atoms of each element, shape (n, elements).
    :param values: of whole configurations, shape (n,) or (n, columns).
    """
    sizes = counts.sum(axis=1)
    per_atom = values / (sizes if values.ndim == 1 else sizes[:, None])
    solution: FloatArray = np.linalg.lstsq(counts / sizes[:, None], per_atom, rcond=None)[0]
    return solution


def design(observed: Observations, centres: FloatArray) -> Design:
    """Return the design matrix; an offset of the energy for each element is free, and takes no part in the regression.

    Energies count per atom. The noise is the root mean square of what is left, of energies and of forces apart.

    :param centres: offsets of the features, shape (elements, d).
    """
    sizes = observed.counts.sum(axis=1)
    known = np.flatnonzero(np.isfinite(observed.energies))
    rows: list[FloatArray] = []
    targets: list[FloatArray] = []
    frames: list[IntArray] = []
    if known.size:
        counts = observed.counts[known]
        left = observed.energies[known] - counts @ element_offsets(counts, observed.energies[known])
        left /= sizes[known]
        noise = _noise(left)
        rows.append((observed.features[known] - counts @ centres) / sizes[known, None] / noise)
        targets.append(left / noise)
        frames.append(known)
    labelled = np.isfinite(observed.forces)
    if labelled.any():
        noise = _noise(observed.forces[labelled])
        rows.append(observed.projected[labelled] / noise)
        targets.append(observed.forces[labelled] / noise)
        frames.append(observed.frame[labelled])
    return Design(np.concatenate(rows), np.concatenate(targets), np.concatenate(frames))


def forces_only(observed: Observations) -> Design:
    """Return the projected forces that have a label, not divided by their noise."""
    labelled = np.isfinite(observed.forces)
    return Design(observed.projected[labelled], observed.forces[labelled], observed.frame[labelled])


def mean_eigenvalue(gram: FloatArray) -> float:
    """Return the mean eigenvalue of A^T A, the unit of the regularisation; 1 where there is nothing."""
    return float(np.trace(gram)) / len(gram) or 1.0


def posterior_factor(gram: FloatArray, regularisation: float) -> FloatArray:
    """Return L with L^T L = (A^T A + lambda)^-1, shape (d, d); the uncertainty of a prediction is ``|L f|``.

    :param gram: A^T A, shape (d, d).
    :param regularisation: lambda in units of the mean eigenvalue.
    """
    values, vectors = np.linalg.eigh(gram)
    damped = np.clip(values, 0.0, None) + regularisation * mean_eigenvalue(gram)
    factor: FloatArray = (vectors / np.sqrt(damped)).T
    return factor


def posterior_samples(factor: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Return weights drawn from the posterior, less the mean, over sqrt(count), shape (count, d).

    With them in place of ``factor`` the uncertainty is that of the ensemble.
    """
    drawn: FloatArray = rng.standard_normal((count, len(factor))) @ factor / np.sqrt(count)
    return drawn


def shallow_ensemble(observed: Design, regularisation: float, members: int, rng: np.random.Generator) -> FloatArray:
    """Return deviations of the members' weights from their mean, over sqrt(members), shape (members, d).

    Each member is a ridge fit to a bootstrap of the configurations, towards weights drawn from the prior: where data
    decide, members differ as the data do; where they do not, they differ as the prior.

    :param regularisation: lambda in units of the mean eigenvalue.
    """
    strength = regularisation * mean_eigenvalue(observed.gram)
    identity = np.eye(observed.matrix.shape[1])
    frames, position = np.unique(observed.frame, return_inverse=True)
    weights = []
    for _ in range(members):
        counts = rng.multinomial(len(frames), np.full(len(frames), 1 / len(frames)))[position]
        weighted = observed.matrix.T * counts
        prior = rng.standard_normal(len(identity)) / np.sqrt(strength)
        weights.append(
            np.linalg.solve(
                weighted @ observed.matrix + strength * identity, weighted @ observed.target + strength * prior
            )
        )
    ensemble = np.array(weights)
    deviations: FloatArray = (ensemble - ensemble.mean(axis=0)) / np.sqrt(members)
    return deviations


def combined(ensemble: FloatArray, probes: int, rng: np.random.Generator) -> FloatArray:
    """Return ``probes`` random combinations of members with signs +-1, over sqrt(probes), shape (probes, d).

    The sum of the squares of their predictions has the variance of the ensemble as its mean (Hutchinson's estimate of
    a trace); 0 probes, or no fewer than members, return the ensemble itself, which is exact.
    """
    if probes == 0 or probes >= len(ensemble):
        return ensemble
    signs = rng.choice([-1.0, 1.0], size=(probes, len(ensemble)))
    combinations: FloatArray = signs @ ensemble / np.sqrt(probes)
    return combinations


def choose_regularisation(gram: FloatArray, held_out: Design, candidates: Sequence[float]) -> float:
    """Return the candidate whose posterior explains errors on held-out observations best.

    Largest Gaussian likelihood of the errors, with the best scale on the posterior's uncertainties.

    :param held_out: observations that were not fitted; ``target`` is their error.
    :param candidates: in units of the mean eigenvalue of ``gram``.
    """
    scores = []
    for candidate in candidates:
        spread = ((held_out.matrix @ posterior_factor(gram, candidate).T) ** 2).sum(axis=1)
        known = spread > 0.0
        scale = np.mean(held_out.target[known] ** 2 / spread[known])
        scores.append(np.log(scale) + np.mean(np.log(spread[known])) if scale > 0 else -np.inf)
    return float(candidates[int(np.argmin(scores))])


def _noise(left: FloatArray) -> float:
    return max(float(np.sqrt(np.mean(left**2))), SMALLEST_NOISE)
