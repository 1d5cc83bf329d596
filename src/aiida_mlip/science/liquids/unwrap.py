"""Molecules followed through the cell: whole in every frame, and without jumps where they cross its faces."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science.liquids.molecules import Molecule, find_molecules

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


def molecules_of(start: Atoms) -> list[Molecule]:
    """Return the molecules of a configuration; where there are none, every atom is one, of the kind of its element."""
    found = find_molecules(start)
    if found is not None:
        return found
    whole = np.zeros((1, 3), dtype=np.int64)
    return [Molecule(np.array([index]), whole, symbol) for index, symbol in enumerate(start.symbols)]


class Follower:
    """Keeps count of the cells that each atom has moved through, frame by frame.

    Frames may be wrapped into the cell or not. Between two frames no atom may move by half a cell or more.

    :param start: first configuration; its molecules are followed, also where their bonds break later.
    """

    def __init__(self, start: Atoms) -> None:
        self.molecules = molecules_of(start)
        self.owner: Integers = np.empty(len(start), dtype=np.int64)
        """Index of the molecule of each atom, shape (n,)."""
        self._offsets = np.zeros((len(start), 3), dtype=np.int64)
        for index, molecule in enumerate(self.molecules):
            self.owner[molecule.indices] = index
            self._offsets[molecule.indices] = molecule.offsets
        self._masses = start.get_masses()
        self.masses: Array = np.bincount(self.owner, self._masses).astype(float)
        """Mass of each molecule [u], shape (molecules,)."""
        self._pbc = start.pbc
        self._last = start.cell.complete().scaled_positions(start.positions)
        self._images = np.zeros((len(start), 3), dtype=np.int64)

    def shifts(self, frame: Atoms) -> Integers:
        """Take the next frame, and return the cells by which each of its atoms is moved so that molecules are whole.

        :return: shape (n, 3); molecules do not jump from frame to frame.
        """
        scaled = frame.cell.complete().scaled_positions(frame.positions)
        jumps = np.round(scaled + self._images - self._last).astype(np.int64)
        jumps[:, ~self._pbc] = 0
        self._images -= jumps
        self._last = scaled + self._images
        return self._images + self._offsets

    def centres(self, frame: Atoms, shifts: Integers) -> Array:
        """Return the centres of mass of the molecules [Å], shape (molecules, 3).

        :param shifts: of the same frame.
        """
        moments = (frame.positions + shifts @ frame.cell.array) * self._masses[:, None]
        sums = [np.bincount(self.owner, column, len(self.molecules)) for column in moments.T]
        centres: Array = np.stack(sums, axis=1) / self.masses[:, None]
        return centres
