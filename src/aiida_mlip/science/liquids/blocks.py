"""Means of correlated samples, with errors that know of the correlation, and drifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """Mean of a stationary series.

    :param error: standard error of the mean.
    :param inefficiency: samples per independent sample, >= 1.
    :param independent: number of independent samples.
    """

    value: float
    error: float
    inefficiency: float
    independent: float


@dataclass(frozen=True)
class Drift:
    """How much a series changes over its window, by a straight line.

    :param change: slope times window, in the unit of the values.
    :param error: its standard error, with the correlation of the residuals.
    :param multiple: Student's t for a two-sided 95 % interval of as many independent residuals.
    :param inefficiency: of the residuals.
    """

    change: float
    error: float
    multiple: float
    inefficiency: float

    @property
    def significant(self) -> bool:
        """Whether the change is larger than what such values make by chance in 5 % of runs."""
        return abs(self.change) > self.multiple * self.error


def inefficiency(values: ArrayLike) -> float:
    """Return the statistical inefficiency g = 1 + 2 sum_t rho(t), >= 1 and <= n.

    The sum ends where the pairs rho(2k) + rho(2k+1) become negative, and pairs may not grow (initial monotone sequence;
    Geyer, Statist. Sci. 7, 473, 1992). A series without any variance has 1.

    :param values: evenly spaced in time, shape (n,).
    """
    series = np.asarray(values, dtype=float)
    n = len(series)
    if n < 3 or np.ptp(series) == 0:
        return 1.0
    deviations = series - series.mean()
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    spectrum = np.abs(np.fft.rfft(deviations, size)) ** 2
    correlation = np.fft.irfft(spectrum, size)[:n] / n
    rho = correlation / correlation[0]
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: negative[0]] if len(negative) else pairs)
    return float(np.clip(2 * pairs.sum() - 1, 1.0, n))


def mean_of(values: ArrayLike) -> Mean:
    """Return the mean with its standard error, sqrt(g s^2 / n).

    :param values: evenly spaced in time, shape (n,), n >= 1.
    """
    series = np.asarray(values, dtype=float)
    n, g = len(series), inefficiency(series)
    spread = float(series.std(ddof=1)) if n > 1 else 0.0
    return Mean(float(series.mean()), spread * float(np.sqrt(g / n)), g, n / g)


def block_means(values: ArrayLike, blocks: int) -> Array:
    """Return the means of consecutive blocks of nearly equal length, shape (blocks, ...).

    :param values: shape (n, ...), n >= blocks.
    """
    return np.array([part.mean(axis=0) for part in np.array_split(np.asarray(values, dtype=float), blocks)])


def drift_of(times: ArrayLike, values: ArrayLike) -> Drift:
    """Return slope times window of the least-squares line.

    The error is that of independent residuals times the square root of their statistical inefficiency. The line takes
    fluctuations that are slower than the window out of the residuals, so that of these the error is too small.

    :param times: ascending, shape (n,), n >= 3.
    """
    t, y = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
    line = stats.linregress(t, y)
    window, g = float(t[-1] - t[0]), inefficiency(y - line.intercept - line.slope * t)
    error = float(line.stderr) * float(np.sqrt(g)) * window
    multiple = float(stats.t.isf(0.025, max(len(t) / g - 2, 1.0)))
    return Drift(float(line.slope) * window, error, multiple, g)


class RunningBlocks:
    """Block means of a series whose length is not known, in bounded memory.

    When there are ``most`` blocks, neighbours are merged and blocks are twice as long.

    :param most: even number of blocks at most.
    """

    def __init__(self, most: int = 64) -> None:
        self._most, self._length = most, 1
        self._blocks: list[Array] = []
        self._sum: Array | None = None
        self._filled = 0

    def add(self, values: ArrayLike) -> None:
        """Take one sample, of any shape, always the same."""
        sample = np.asarray(values, dtype=float)
        self._sum = sample.copy() if self._sum is None else self._sum + sample
        self._filled += 1
        if self._filled < self._length:
            return
        self._blocks.append(self._sum / self._length)
        self._sum, self._filled = None, 0
        if len(self._blocks) == self._most:
            pairs = zip(self._blocks[::2], self._blocks[1::2], strict=True)
            self._blocks = [(one + other) / 2 for one, other in pairs]
            self._length *= 2

    def means(self, equilibration: float = 0.0) -> Array:
        """Return the means of all full blocks after a share of them at the start, shape (blocks, ...)."""
        skipped = int(np.ceil(equilibration * len(self._blocks)))
        return np.array(self._blocks[skipped:])
