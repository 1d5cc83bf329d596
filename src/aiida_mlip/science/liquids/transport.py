"""Mean squared displacements of molecules, and diffusion where they are straight lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from aiida_mlip.science.liquids.unwrap import Follower

Array = NDArray[np.float64]

PS_TO_CGS = 100.0
"""1 Å^2/ps in 1e-6 cm^2/s."""

CUBIC = 2.837297
"""Constant of the lattice of periodic images of a cube (Yeh and Hummer, J. Phys. Chem. B 108, 15873, 2004)."""

_J_PER_EV = 1.0 / float(units.J)


class Walk:
    """Walks of the molecules through a run, in bounded memory.

    A molecule is followed by its centre of mass, and each displacement is taken in the cell of its own frame, so that a
    volume that fluctuates does not carry along molecules that are many cells away (von Bülow,
    Bullerjahn and Hummer, J. Chem. Phys. 153, 021101, 2020). The drift of all atoms together is taken off.

    Times are evenly spaced; a frame between them, such as one that broke a rule, is left out. Where there are more than
    ``most``, every second one is left out, from the start on.

    :param start: first configuration.
    :param most: even number of times at most.
    """

    def __init__(self, start: Atoms, most: int = 8192) -> None:
        self.follower = Follower(start)
        self._pbc, self._most, self._stride = start.pbc, most, 1
        self._first, self._spacing = 0.0, 0.0
        self._count = 0
        self._times: list[float] = []
        self._places: list[Array] = []
        self._before: tuple[Array, Array] | None = None
        self._walked: Array = np.zeros((len(self.follower.molecules), 3))
        self._drift: Array = np.zeros(3)

    def add(self, frame: Atoms) -> None:
        """Take the next frame.

        :raises ValueError: where frames are missing or not in order.
        """
        self._go(frame)
        time = float(frame.info["time_fs"])
        if self._count == 0:
            self._first = time
        elif self._count == 1:
            self._spacing = time - self._first
        if self._count > 1 and not self._is_next(time):
            return
        if self._count % self._stride == 0:
            self._times.append(time / 1000)
            self._places.append(self._walked.copy())
            if len(self._times) == self._most:
                self._times, self._places = self._times[::2], self._places[::2]
                self._stride *= 2
        self._count += 1

    def places(self, equilibration: float) -> tuple[Array, Array]:
        """Return times [ps], shape (t,), and places [Å], shape (t, molecules, 3), after a share of the run."""
        skipped = int(np.ceil(equilibration * len(self._times)))
        shape = (-1, len(self.follower.molecules), 3)
        return np.array(self._times[skipped:]), np.array(self._places[skipped:]).reshape(shape)

    @property
    def drift(self) -> float:
        """Distance by which all atoms together have moved [Å]."""
        return float(np.linalg.norm(self._drift))

    def _go(self, frame: Atoms) -> None:
        """Add the displacements since the last frame."""
        cell = frame.cell.complete()
        centres = cell.scaled_positions(self.follower.centres(frame, self.follower.shifts(frame)))
        images = np.where(self._pbc, np.floor(centres), 0.0)
        inside = (centres - images) @ cell.array
        if self._before is not None:
            step = inside - self._before[0] + (images - self._before[1]) @ cell.array
            together = self.follower.masses @ step / self.follower.masses.sum()
            self._drift = self._drift + together
            self._walked = self._walked + step - together
        self._before = inside, images

    def _is_next(self, time: float) -> bool:
        """Return whether a frame is at the next time; one before it is left out."""
        ahead = (time - self._first) / self._spacing - self._count if self._spacing > 0 else np.inf
        if ahead > 1e-6:
            raise ValueError(
                f"no frame at {self._first + self._count * self._spacing:g} fs, the next is at {time:g} fs: diffusion "
                "needs frames evenly spaced in time"
            )
        return bool(ahead > -1e-6)


def squared_displacements(places: Array) -> Array:
    """Return the mean squared displacement of each coordinate at every lag, averaged over all origins.

    Computed from the autocorrelation by fast Fourier transform (Kneller et al., Comput. Phys. Commun. 91, 191, 1995).

    :param places: evenly spaced in time, any unit, shape (t, ...).
    :return: shape (t, ...), the first is 0.
    """
    n = len(places)
    centred = places - places.mean(axis=0)
    spectrum = np.fft.rfft(centred, 2 * n, axis=0)
    correlation = np.fft.irfft(spectrum * spectrum.conj(), 2 * n, axis=0)[:n]
    sums = np.concatenate([np.zeros_like(centred[:1]), np.cumsum(centred**2, axis=0)])
    squares = sums[:0:-1] + sums[-1] - sums[:-1]
    origins = np.arange(n, 0, -1).reshape(-1, *[1] * (places.ndim - 1))
    found: Array = np.maximum((squares - 2 * correlation) / origins, 0.0)
    found[0] = 0.0
    return found


def spaced_lags(count: int, points: int = 80) -> NDArray[np.int64]:
    """Return lags from 1 to ``count``, evenly spaced in their logarithm, each once."""
    if count < 1:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.geomspace(1, count, points).round().astype(np.int64))


def local_slopes(lags: Array, msd: Array, width: float = 1.5) -> Array:
    """Return d log(MSD) / d log(lag) by least squares over the lags within a factor ``width``; NaN for fewer than 3."""
    slopes = np.full(len(lags), np.nan)
    positive = msd > 0
    for index, lag in enumerate(lags):
        near = positive & (lags >= lag / width) & (lags <= lag * width)
        if near.sum() >= 3:
            slopes[index] = np.polyfit(np.log(lags[near]), np.log(msd[near]), 1)[0]
    return slopes


@dataclass(frozen=True)
class Line:
    """A mean squared displacement within a window of lags.

    :param slope: of log(MSD) against log(lag): 1 is diffusion, 2 free flight, 0 a molecule that stays.
    :param diffusion: [Å^2/ps].
    :param msd_end: MSD at the end of the window [Å^2].
    """

    slope: float
    slope_error: float
    diffusion: float
    diffusion_error: float
    msd_end: float


def fit(lags: Array, squares: Array, window: tuple[float, float]) -> Line | None:
    """Return what a mean squared displacement is like within a window, or None where fewer than 5 lags are in it.

    Each coordinate of each molecule is taken as a walk of its own, and errors are those of the mean of these; without
    the drift of all together there are three walks less.

    :param lags: [ps], evenly spaced, shape (t,).
    :param squares: mean squared displacement of each walk [Å^2], shape (t, walks).
    :param window: first and last lag [ps].
    """
    inside = np.flatnonzero((lags >= window[0]) & (lags <= window[1]) & (lags > 0))
    if len(inside) < 5:
        return None
    mean = squares.mean(axis=1)
    if (mean[inside] <= 0).any():
        return Line(0.0, 0.0, 0.0, 0.0, float(3 * mean[inside[-1]]))
    picked = inside[spaced_lags(len(inside)) - 1]
    walks = squares.shape[1]
    x = np.log(lags[picked]) - np.log(lags[picked]).mean()
    weights = x / (x @ x)
    influence = weights @ (squares[picked] / mean[picked, None])
    t = lags[inside] - lags[inside].mean()
    rates = (t / (t @ t)) @ squares[inside] / 2
    spread = max(walks - 3, 1) ** 0.5
    return Line(
        slope=float(weights @ np.log(mean[picked])),
        slope_error=float(influence.std() / spread),
        diffusion=float(rates.mean()),
        diffusion_error=float(rates.std() / spread),
        msd_end=float(3 * mean[inside[-1]]),
    )


def finite_size_correction(temperature: float, viscosity: float, length: float) -> float:
    """Return what a diffusion coefficient in a cubic periodic box lacks, xi kT / (6 pi eta L), in Å^2/ps.

    Source: Yeh and Hummer, J. Phys. Chem. B 108, 15873 (2004).

    :param temperature: [K].
    :param viscosity: shear viscosity of the same model [mPa s].
    :param length: edge of the cube [Å].
    """
    energy = float(units.kB) * temperature * _J_PER_EV
    metres_squared_per_second = CUBIC * energy / (6 * np.pi * viscosity * 1e-3 * length * 1e-10)
    return float(metres_squared_per_second * 1e8)


def is_cubic(atoms: Atoms, tolerance: float = 0.01) -> bool:
    """Return whether the cell is a cube, lengths and cosines to within the tolerance."""
    lengths = atoms.cell.lengths()
    cosines = np.cos(np.radians(atoms.cell.angles()))
    return bool(np.ptp(lengths) <= tolerance * lengths.mean() and np.abs(cosines).max() <= tolerance)
