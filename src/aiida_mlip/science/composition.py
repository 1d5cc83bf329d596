"""Energies as a sum over elements: the part of a total energy that composition alone explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray


def element_counts(frames: Sequence[Atoms]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the symbols present, by atomic number, and the atoms of each in each frame, shape (frames, elements)."""
    numbers = sorted({int(z) for atoms in frames for z in atoms.numbers})
    counts = np.array([[np.count_nonzero(atoms.numbers == z) for z in numbers] for atoms in frames], dtype=float)
    return [chemical_symbols[z] for z in numbers], counts.reshape(len(frames), len(numbers))


def element_energies(frames: Sequence[Atoms], energies: NDArray[np.float64]) -> dict[str, float]:
    """Return the energy of each element [eV] that explains ``energies`` best.

    Least squares of E/n on the composition, so that every atom counts the same and large cells do not dominate. Where
    compositions do not tell elements apart (one formula only), it is the solution of smallest norm.

    :param energies: total energies [eV], shape (frames,); frames where it is not finite are left out.
    :raises ValueError: if no energy is finite.
    """
    energies = np.asarray(energies, dtype=float)
    known = np.isfinite(energies)
    if not known.any():
        raise ValueError("energies: none is finite, so no energy per element can be fitted; label at least one frame")
    chosen = [atoms for atoms, good in zip(frames, known, strict=True) if good]
    symbols, counts = element_counts(chosen)
    sizes = counts.sum(axis=1, keepdims=True)
    solution, *_ = np.linalg.lstsq(counts / sizes, energies[known] / sizes[:, 0], rcond=None)
    return dict(zip(symbols, (float(value) for value in solution), strict=True))


def composition_energy(atoms: Atoms, energies: Mapping[str, float]) -> float:
    """Return the sum of ``energies`` [eV] over the atoms; elements that are not in the mapping count as zero."""
    total = sum(energies[symbol] * np.count_nonzero(atoms.numbers == atomic_numbers[symbol]) for symbol in energies)
    return float(total)
