"""A rough linear potential fitted to the data set itself: what its own energies and forces say about the rest.

It is no potential to use. It is there to audit: labels of the same level of theory and unit agree with it to some
10-30%, a stress of the wrong sign or unit, or a group of energies with an offset, does not. Predictions for a
configuration come from a fit that did not see it (cross-validation), and the fit is robust: labels far from it lose
their weight (Huber).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.environments import KINDS, N_RADIAL, Environments, derivatives
from aiida_mlip.science.datasets.robust import regress

Array = NDArray[np.float64]

MAX_FRAMES = 400
MAX_FORCE_ROWS = 15_000
MAX_FEATURES = 1_800
N_FOLDS = 4
_ATOMS_PER_FRAME = 24
_ITERATIONS = 4
_HUBER = 1.5
_FAR = 5.0
_UNRELATED = 0.3
_WEAK = 0.02
_LEAST_SIGMA = 0.02
_RIDGE = 1e-7
_NO_OFFSET = 1e6


@dataclass(frozen=True)
class Prediction:
    """Energy [eV], forces [eV/Å] and stress [eV/Å^3, Voigt; NaN where there is no volume] of one configuration."""

    energy: float
    forces: Array
    stress: Array


@dataclass(frozen=True)
class Surrogate:
    """The fitted potential: one vector of coefficients for each fold, the last one for frames in none.

    ``coefficients``: (folds + 1, features + elements), the elements' part being an energy for each atom [eV].
    ``offsets``: group to energy offset [eV/atom], one for each fold and one for all data; 0 if it was not fitted.
    ``force_error``: cross-validated root mean square error over root mean square force, without the worst tenth.
    ``energy_error``: the same for energies, without the part of the composition.
    ``sigma``: usual residuals, of energies / sqrt(atoms) [eV] and of force components [eV/Å]; ``width`` and ``normal``:
    scale of the columns, and normal matrix of each fold, for uncertainties.
    ``energy_deviation``: mean absolute cross-validated residual of the energies, divided by sqrt(atoms) [eV].
    """

    layout: Layout
    coefficients: Array
    offsets: Mapping[str, Array]
    folds: Mapping[int, int]
    force_error: float
    energy_error: float
    energy_deviation: float
    sigma: tuple[float, float]
    width: Array
    normal: Array

    def energy(self, index: int, environment: Environments) -> float:
        """Return the energy [eV] of frame ``index``, whose features are given, without the offset of its group."""
        if not set(environment.numbers) <= set(self.layout.numbers):
            return float("nan")
        return float(self.layout.row(environment) @ self._coefficients(index))

    def predict(self, index: int, atoms: Atoms) -> Prediction:
        """Return energy, forces and stress of frame ``index``."""
        found = derivatives(atoms)
        coefficients = self._coefficients(index)
        numbers, counts = np.unique(atoms.numbers, return_counts=True)
        kept = self.layout.kept(len(numbers))
        chosen = coefficients[self.layout.columns(tuple(numbers.tolist())).ravel()[kept]]
        atomic = coefficients[self.layout.n_features :][self.layout.element_index(numbers)]
        energy = float(found.features[kept] @ chosen + counts @ atomic)
        volume = abs(float(np.linalg.det(atoms.cell.array)))
        periodic = bool(atoms.pbc.any()) and volume > 1e-6
        stress = found.strain[:, kept] @ chosen / volume if periodic else np.full(6, np.nan)
        return Prediction(energy, -(found.positions[:, :, kept] @ chosen), stress)

    def energy_uncertainty(self, index: int, environment: Environments) -> float:
        """Return the posterior standard deviation of an energy over its usual residual: large where it extrapolates."""
        row = self.layout.row(environment) / np.sqrt(sum(environment.counts))
        return self._spread(index, row[None, :]) / self.sigma[0]

    def force_uncertainty(self, index: int, atoms: Atoms, atom: int) -> float:
        """Return the posterior standard deviation of the force on an atom over its usual residual."""
        numbers = np.unique(atoms.numbers)
        kept = self.layout.kept(len(numbers))
        rows = np.zeros((3, self.layout.n_features + len(self.layout.numbers)))
        found = derivatives(atoms, np.array([atom])).positions[atom]
        rows[:, self.layout.columns(tuple(numbers.tolist())).ravel()[kept]] = found[:, kept]
        return self._spread(index, rows) / self.sigma[1]

    def _spread(self, index: int, rows: Array) -> float:
        """Return the largest posterior standard deviation of some predictions (rows scaled as in the fit)."""
        fold = self.folds.get(index, N_FOLDS)
        if fold not in self._inverse:
            self._inverse[fold] = np.linalg.inv(self.normal[fold])
        padded = np.zeros((len(rows), len(self.width)))
        padded[:, : rows.shape[1]] = rows
        padded /= self.width
        variance = np.einsum("rf,fg,rg->r", padded, self._inverse[fold], padded)
        return float(np.sqrt(max(float(variance.max()), 0.0)))

    @cached_property
    def _inverse(self) -> dict[int, Array]:
        return {}

    def _coefficients(self, index: int) -> Array:
        own = self.layout.n_features + len(self.layout.numbers)
        return np.asarray(self.coefficients[self.folds.get(index, N_FOLDS), :own])


@dataclass(frozen=True)
class Layout:
    """Where the features of each ordered pair of elements are in the vector of all."""

    numbers: tuple[int, ...]
    n_kinds: int

    @property
    def n_features(self) -> int:
        """Return the number of features, without the elements' energies."""
        return len(self.numbers) ** 2 * self.n_kinds * N_RADIAL

    def element_index(self, numbers: Array) -> NDArray[np.int64]:
        """Return the positions of atomic numbers in the list of elements."""
        return np.searchsorted(np.array(self.numbers), numbers)

    def columns(self, numbers: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the columns, shape (e, e, 4, k), of a configuration's features; -1 for kinds left out."""
        position = self.element_index(np.array(numbers))
        block = position[:, None] * len(self.numbers) + position[None, :]
        inner = np.arange(len(KINDS) * N_RADIAL).reshape(len(KINDS), N_RADIAL)
        inner = np.where(np.arange(len(KINDS))[:, None] < self.n_kinds, inner, -1)
        columns = block[:, :, None, None] * self.n_kinds * N_RADIAL + inner
        return np.where(inner >= 0, columns, -1)

    def kept(self, n_elements: int) -> NDArray[np.int64]:
        """Return which entries of the features of a configuration, as a vector, are used."""
        flags = np.zeros((n_elements**2, len(KINDS), N_RADIAL), dtype=bool)
        flags[:, : self.n_kinds] = True
        return np.flatnonzero(flags.ravel())

    def row(self, environment: Environments) -> Array:
        """Return the row of the design matrix that gives a configuration's energy."""
        row = np.zeros(self.n_features + len(self.numbers))
        kept = self.kept(len(environment.numbers))
        row[self.columns(environment.numbers).ravel()[kept]] = environment.features.ravel()[kept]
        row[self.n_features + self.element_index(np.array(environment.numbers))] = environment.counts
        return row


def layout_for(numbers: Sequence[int]) -> Layout | None:
    """Return the features for these elements; pair terms alone for many elements, ``None`` for more than 15."""
    for n_kinds in (len(KINDS), 1):
        layout = Layout(tuple(sorted(numbers)), n_kinds)
        if layout.n_features <= MAX_FEATURES // (1 if n_kinds == 1 else 1.5):
            return layout
    return None


def prepare(
    frames: Sequence[Atoms],
    known: Mapping[int, Environments],
    candidates: Sequence[int],
    groups: Mapping[int, str] | None = None,
) -> Equations | None:
    """Return the equations for some of the frames, or ``None`` where there are too few, or too many elements.

    :param frames: canonical configurations.
    :param known: environments by index.
    :param candidates: frames that may be used, those with finite labels; at most 400 are, drawn with a fixed seed.
    :param groups: group of a frame, for groups whose energies may have an offset.
    """
    generator = np.random.default_rng(0)
    chosen = list(candidates)
    if len(chosen) > MAX_FRAMES:
        chosen = sorted(generator.choice(chosen, MAX_FRAMES, replace=False).tolist())
    elements = sorted({z for index in chosen for z in known[index].numbers})
    layout = layout_for(elements) if len(chosen) >= 2 * N_FOLDS else None
    if layout is None:
        return None
    folds = {index: position % N_FOLDS for position, index in enumerate(generator.permutation(chosen).tolist())}
    names = sorted({groups[index] for index in chosen if index in groups}) if groups else []
    blocks: list[_Block] = []
    frames_of_blocks: list[int] = []
    n_forces = MAX_FORCE_ROWS // len(chosen) // 3
    for index in chosen:
        n_before = len(blocks)
        if keys.ENERGY in frames[index].info:
            column = names.index(groups[index]) if groups and index in groups else None
            blocks.append(_energy_block(frames[index], known[index], layout, folds[index], (column, len(names))))
        if keys.FORCES in frames[index].arrays and len(frames[index]) > 1:
            n_used = max(1, min(len(frames[index]), _ATOMS_PER_FRAME, n_forces))
            used = generator.choice(len(frames[index]), n_used, replace=False)
            blocks.append(_force_block(frames[index], known[index], layout, folds[index], (used, len(names))))
        frames_of_blocks += [index] * (len(blocks) - n_before)
    lengths = [len(block.target) for block in blocks]
    return Equations(
        layout=layout,
        folds=folds,
        groups=tuple(names),
        matrix=np.vstack([block.matrix for block in blocks]),
        target=np.concatenate([block.target for block in blocks]),
        scale=np.repeat([block.scale for block in blocks], lengths),
        fold=np.repeat([block.fold for block in blocks], lengths),
        is_force=np.repeat([block.is_force for block in blocks], lengths),
        frame=np.repeat(frames_of_blocks, lengths),
    )


@dataclass(frozen=True)
class Equations:
    """Linear equations: matrix, right side, scale that makes residuals comparable, fold and frame of each row."""

    layout: Layout
    folds: Mapping[int, int]
    groups: tuple[str, ...]
    matrix: Array
    target: Array
    scale: Array
    fold: NDArray[np.int64]
    is_force: NDArray[np.bool_]
    frame: NDArray[np.int64]


@dataclass(frozen=True)
class _Block:
    matrix: Array
    target: Array
    scale: float
    fold: int
    is_force: bool


def _energy_block(
    atoms: Atoms, environment: Environments, layout: Layout, fold: int, group: tuple[int | None, int]
) -> _Block:
    column, n_groups = group
    row = np.concatenate([layout.row(environment), np.zeros(n_groups)])
    if column is not None:
        row[layout.n_features + len(layout.numbers) + column] = len(atoms)
    return _Block(row[None, :], np.array([atoms.info[keys.ENERGY]]), float(np.sqrt(len(atoms))), fold, False)


def _force_block(
    atoms: Atoms, environment: Environments, layout: Layout, fold: int, used: tuple[NDArray[np.int64], int]
) -> _Block:
    indices, n_groups = used
    matrix = np.zeros((3 * len(indices), layout.n_features + len(layout.numbers) + n_groups))
    kept = layout.kept(len(environment.numbers))
    columns = layout.columns(environment.numbers).ravel()[kept]
    matrix[:, columns] = -derivatives(atoms, indices).positions[indices][:, :, kept].reshape(3 * len(indices), -1)
    return _Block(matrix, atoms.arrays[keys.FORCES][indices].ravel(), 1.0, fold, True)


def fit(
    equations: Equations, *, energy_unit: float = 1.0, shifted: Sequence[str] = (), without: Sequence[int] = ()
) -> Surrogate | None:
    """Return the potential that fits energies and forces, or ``None`` where there are too few.

    :param energy_unit: the energies are taken to be in this unit [eV].
    :param without: frames that are not fitted, though predicted.
    :param shifted: groups whose energies may have an offset, which is then fitted.
    """
    layout = equations.layout
    if len(equations.target) < 0.5 * layout.n_features:
        return None
    target = np.where(equations.is_force, 1.0, energy_unit) * equations.target / equations.scale
    matrix = equations.matrix / equations.scale[:, None]
    width = np.sqrt(np.mean(matrix**2, axis=0))
    width[width == 0.0] = 1.0
    matrix /= width
    energies = ~equations.is_force
    atomic = slice(layout.n_features, layout.n_features + len(layout.numbers))
    composition = np.zeros(len(layout.numbers))
    if energies.any():
        composition = regress(matrix[energies, atomic], target[energies], ridge=1e-9)
        target[energies] -= matrix[energies, atomic] @ composition
    ridge = np.full(len(width), _RIDGE)
    ridge[atomic.stop :] = [_RIDGE if name in shifted else _NO_OFFSET for name in equations.groups]
    used = ~np.isin(equations.frame, np.array(list(without), dtype=np.int64))
    solution, residual, normal = _solve(equations, matrix, target, ridge, used)
    solution[:, atomic] += composition
    coefficients = solution / width
    offsets = coefficients[:, layout.n_features + len(layout.numbers) :]
    return Surrogate(
        layout=layout,
        coefficients=coefficients,
        offsets={name: offsets[:, column] for column, name in enumerate(equations.groups)},
        folds=equations.folds,
        force_error=_relative(residual[equations.is_force], target[equations.is_force]),
        energy_error=_relative(residual[energies], target[energies]),
        sigma=(
            _usual(residual[energies]),
            _usual(_telling(residual[equations.is_force], target[equations.is_force])),
        ),
        width=width,
        normal=normal,
        energy_deviation=float(np.mean(np.abs(residual[energies]))) if energies.any() else 0.0,
    )


def unrelated_frames(equations: Equations, found: Surrogate) -> list[int]:
    """Return the frames whose strong forces have nothing to do, or the opposite, with those of the fit."""
    rows = equations.is_force
    frames, position = np.unique(equations.frame[rows], return_inverse=True)
    predicted = np.einsum("rf,rf->r", equations.matrix[rows], found.coefficients[equations.fold[rows]])
    labelled = equations.target[rows]
    product = np.bincount(position, labelled * predicted)
    norms = [np.sqrt(np.bincount(position, values**2)) for values in (labelled, predicted)]
    strength = norms[0] / np.sqrt(np.bincount(position))
    cosine = product / np.maximum(norms[0] * norms[1], 1e-12)
    return [int(index) for index in frames[(cosine < _UNRELATED) & (strength > 3.0 * found.sigma[1])]]


def _relative(residual: Array, values: Array) -> float:
    """Return the ratio of the root mean squares without the largest tenth of the residuals."""
    if not len(values) or not values.any():
        return float("inf")
    kept = np.abs(residual) <= np.quantile(np.abs(residual), 0.9)
    return float(np.sqrt(np.mean(residual[kept] ** 2) / max(float(np.mean(values[kept] ** 2)), 1e-12)))


def _usual(residual: Array) -> float:
    return max(1.4826 * float(np.median(np.abs(residual))), 1e-6) if len(residual) else 1.0


def _telling(values: Array, labels: Array) -> Array:
    """Return the values whose labels are not nearly zero: forces that vanish by symmetry say nothing on the fit."""
    strong = np.abs(labels) > _WEAK
    return values[strong] if strong.sum() >= 10 else values


def _solve(
    equations: Equations, matrix: Array, target: Array, ridge: Array, used: NDArray[np.bool_]
) -> tuple[Array, Array, Array]:
    """Return solutions without each fold (and, last, with all), cross-validated residuals, normal matrices."""
    weight, robust = np.zeros(len(target)), np.ones(len(target))
    kinds = [mine for mine in (equations.is_force & used, ~equations.is_force & used) if mine.any()]
    scale = 1.4826 * np.array([float(np.median(np.abs(_telling(target[mine], target[mine])))) for mine in kinds])
    for mine, sigma in zip(kinds, np.maximum(scale, 1e-3), strict=True):
        weight[mine] = 1.0 / sigma
        robust[mine] = 1.0 / np.maximum(np.abs(target[mine]) / (_FAR * sigma), 1.0)
    solution, residual, normal = np.zeros((0, 0)), target, np.zeros((0, 0, 0))
    for _ in range(_ITERATIONS):
        solution, normal = _folds(matrix, target, weight * np.sqrt(robust), equations.fold, ridge)
        residual = target - np.einsum("rf,rf->r", matrix, solution[equations.fold])
        for mine, spread in zip(kinds, scale, strict=True):
            sigma = max(_usual(_telling(residual[mine], target[mine])), _LEAST_SIGMA * spread)
            weight[mine] = 1.0 / sigma
            robust[mine] = 1.0 / np.maximum(np.abs(residual[mine]) / (_HUBER * sigma), 1.0)
    return solution, residual, normal


def _folds(matrix: Array, target: Array, weight: Array, fold: NDArray[np.int64], ridge: Array) -> tuple[Array, Array]:
    """Return the ridge solutions without each fold and, last, with all rows; and the normal matrices of each."""
    n = matrix.shape[1]
    part, right = np.zeros((N_FOLDS, n, n)), np.zeros((N_FOLDS, n))
    for k in range(N_FOLDS):
        weighted = matrix[fold == k] * weight[fold == k, None]
        part[k] = weighted.T @ weighted
        right[k] = weighted.T @ (target[fold == k] * weight[fold == k])
    total, total_right = part.sum(axis=0), right.sum(axis=0)
    penalty = np.diag(ridge * np.trace(total) / n)
    normal = np.concatenate([total - part, total[None]]) + penalty
    rights = np.concatenate([total_right - right, total_right[None]])
    return np.linalg.solve(normal, rights[:, :, None])[:, :, 0], normal
