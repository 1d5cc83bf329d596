"""Energies and projected forces of labelled configurations as rows of a linear regression on last-layer features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from ase import Atoms

from aiida_mlip.science.keys import ENERGY, FORCES
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.science.uncertainty.model import count_elements
from aiida_mlip.science.uncertainty.regression import Observations
from aiida_mlip.worker.backends import refuse_unknown_elements
from aiida_mlip.worker.backends._torch import default_dtype
from aiida_mlip.worker.uncertainty.body import MaceBody, Pass


def observe(
    body: MaceBody,
    frames: Sequence[Atoms],
    *,
    projections: int,
    seed: int,
    batch_size: int,
    on_progress: Callable[[int], None],
) -> Observations:
    """Return what the labels of ``frames`` say of the weights of the last layer.

    The forces of a configuration are projected on ``projections`` random orthogonal directions, scaled such that the
    sum over the directions has the sum over all components of all forces as its mean; it is the sum itself where there
    are as many directions as components.

    :param projections: directions for each configuration; no more than its force components are used.
    :param seed: of the directions.
    :param on_progress: called with the number of frames done.
    """
    refuse_unknown_elements(frames, body.potential.info.elements)
    parts: list[tuple[FloatArray, ...]] = []
    for start in range(0, len(frames), batch_size):
        chunk = frames[start : start + batch_size]
        directions = [_directions(len(atoms), projections, seed, start + i) for i, atoms in enumerate(chunk)]
        with default_dtype(body.potential.dtype):
            parts.append(_observe_batch(body, chunk, directions, start))
        on_progress(start + len(chunk))
    features, energies, projected, forces, frame = (np.concatenate(part) for part in zip(*parts, strict=True))
    elements = body.potential.info.elements
    counts = np.array([count_elements(atoms.get_chemical_symbols(), elements) for atoms in frames])
    return Observations(counts, features, energies, projected, forces, frame.astype(int))


def _observe_batch(
    body: MaceBody, frames: Sequence[Atoms], directions: Sequence[FloatArray], start: int
) -> tuple[FloatArray, ...]:
    """Return features, energy errors, projected features, projected force errors and frame indices of one batch."""
    done = body.run(frames)
    ends = np.cumsum([len(atoms) for atoms in frames])[:-1]
    forces, _ = done.gradients(done.interaction, torch.ones_like(done.interaction), last=False)
    errors = [
        atoms.arrays[FORCES] - predicted if FORCES in atoms.arrays else np.full(predicted.shape, np.nan)
        for atoms, predicted in zip(frames, np.split(forces, ends), strict=True)
    ]
    labels = np.array([float(atoms.info.get(ENERGY, np.nan)) for atoms in frames])
    rows, targets, indices = [], [], []
    most = max(len(direction) for direction in directions)
    along = _directional(done, [_padded(direction, most) for direction in directions])
    for index, direction in enumerate(directions):
        rows.append(-along[: len(direction), index])
        targets.append(direction.reshape(len(direction), -1) @ errors[index].ravel())
        indices.append(np.full(len(direction), start + index))
    features = done.features.detach().cpu().numpy().astype(float)
    return features, labels - done.energies, np.concatenate(rows), np.concatenate(targets), np.concatenate(indices)


def _directional(done: Pass, directions: Sequence[FloatArray]) -> FloatArray:
    """Return the derivatives of all features along each direction, shape (directions, frames, features).

    The gradient of u f by the positions is linear in u, so that its product with a direction, differentiated by u, is
    what is wanted: one pass gives all features.
    """
    dummy = torch.ones_like(done.features, requires_grad=True)
    (gradient,) = torch.autograd.grad(done.features, done.positions, dummy, create_graph=True, allow_unused=True)
    stacked = np.concatenate(directions, axis=1)
    found = []
    for index, direction in enumerate(stacked):
        if gradient is None or not gradient.requires_grad:  # no atom has a neighbour
            found.append(np.zeros(tuple(done.features.shape)))
            continue
        cotangent = torch.as_tensor(direction, dtype=gradient.dtype, device=gradient.device)
        more = index < len(stacked) - 1
        (along,) = torch.autograd.grad(gradient, dummy, cotangent, retain_graph=more)
        found.append(along.detach().cpu().numpy().astype(float))
    return np.array(found)


def _directions(atoms: int, count: int, seed: int, index: int) -> FloatArray:
    """Return orthogonal directions in the space of all positions, shape (directions, atoms, 3)."""
    size = 3 * atoms
    number = min(count, size)
    rng = np.random.default_rng([seed, index])
    orthogonal = np.linalg.qr(rng.standard_normal((size, number)))[0].T
    scaled: FloatArray = np.sqrt(size / number) * orthogonal.reshape(number, atoms, 3)
    return scaled


def _padded(directions: FloatArray, count: int) -> FloatArray:
    """Return ``count`` directions, the last of them zero where there are fewer."""
    return np.concatenate([directions, np.zeros((count - len(directions), *directions.shape[1:]))])
