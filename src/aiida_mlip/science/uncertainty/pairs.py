"""Pairs of uncertainty and error on labelled configurations, and how well the ones tell the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip.science.composition import element_counts
from aiida_mlip.science.keys import CONFIG_TYPE, DEFAULT_CONFIG_TYPE, ENERGY, FORCES
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.science.uncertainty.calibration import Calibrated, calibrate
from aiida_mlip.science.uncertainty.regression import element_offsets


@dataclass(frozen=True)
class Pairs:
    """Raw uncertainties and errors of ``n`` configurations with ``a`` atoms in all; NaN where there is no label.

    :param forces_sigma: of each atom [eV/Å], shape (a,).
    :param forces_error: ``|F - label|`` of each atom [eV/Å], shape (a,).
    :param frame: index of the configuration of each atom, shape (a,).
    :param energy_sigma: per atom [eV/atom], shape (n,).
    :param energy_error: ``|E - label|`` per atom, without an offset for each element [eV/atom], shape (n,).
    :param types: config_type of each configuration.
    """

    forces_sigma: FloatArray
    forces_error: FloatArray
    frame: FloatArray
    energy_sigma: FloatArray
    energy_error: FloatArray
    types: tuple[str, ...]

    @property
    def max_forces_sigma(self) -> FloatArray:
        """Return the largest force uncertainty of each configuration [eV/Å], shape (n,)."""
        return self._largest(self.forces_sigma)

    @property
    def max_forces_error(self) -> FloatArray:
        """Return the largest force error of each configuration [eV/Å], shape (n,)."""
        return self._largest(self.forces_error)

    def _largest(self, values: FloatArray) -> FloatArray:
        largest: FloatArray = np.maximum.reduceat(values, np.searchsorted(self.frame, np.arange(len(self.types))))
        return largest

    def arrays(self, *, energy_scale: float, forces_scale: float) -> dict[str, Any]:
        """Return name -> array, with calibrated uncertainties.

        ``config_type`` holds, for each configuration, the index of its type in ``config_types``.
        """
        names = sorted(set(self.types))
        return {
            "forces_sigma": forces_scale * self.forces_sigma,
            "forces_error": self.forces_error,
            "frame": self.frame,
            "energy_sigma": energy_scale * self.energy_sigma,
            "energy_error": self.energy_error,
            "max_forces_sigma": forces_scale * self.max_forces_sigma,
            "max_forces_error": self.max_forces_error,
            "config_type": np.array([names.index(name) for name in self.types]),
            "config_types": np.array(names),
        }


@dataclass(frozen=True)
class Quality:
    """What calibration found. Energies without labels are scaled as forces are: they have one model in common."""

    forces: Calibrated | None
    energy: Calibrated | None
    max_force: Calibrated | None
    median_max_forces_sigma: float

    @property
    def forces_scale(self) -> float:
        """Return the factor on raw force uncertainties."""
        return self.forces.scale if self.forces else 1.0

    @property
    def energy_scale(self) -> float:
        """Return the factor on raw energy uncertainties."""
        return self.energy.scale if self.energy else self.forces_scale


def pairs_of(frames: Sequence[Atoms], found: Sequence[tuple[float, FloatArray, float, FloatArray]]) -> Pairs:
    """Return the pairs of labelled configurations.

    Energies are compared after the offset for each element that fits the errors best was taken off, since an
    uncertainty without offsets cannot know of it. The errors that are left are corrected for the degrees of freedom of
    that fit; with no more configurations than these there is no error to speak of.

    :param found: of each configuration the energy [eV], forces [eV/Å], and the uncertainties of the two.
    """
    errors = [
        np.linalg.norm(forces - atoms.arrays[FORCES], axis=1) if FORCES in atoms.arrays else np.full(len(atoms), np.nan)
        for atoms, (_, forces, _, _) in zip(frames, found, strict=True)
    ]
    sizes = np.array([len(atoms) for atoms in frames])
    return Pairs(
        forces_sigma=np.concatenate([sigma for _, _, _, sigma in found]),
        forces_error=np.concatenate(errors),
        frame=np.repeat(np.arange(len(frames)), sizes),
        energy_sigma=np.array([sigma for _, _, sigma, _ in found]) / sizes,
        energy_error=_energy_errors(frames, np.array([energy for energy, _, _, _ in found])),
        types=tuple(str(atoms.info.get(CONFIG_TYPE, DEFAULT_CONFIG_TYPE)) for atoms in frames),
    )


def assess(pairs: Pairs, *, energy_members: int | None, forces_members: int | None) -> Quality:
    """Calibrate forces and energies, and look at the largest force of each configuration.

    :param energy_members: of the ensemble behind the energies' uncertainty; None where it is exact.
    :param forces_members: of the ensemble behind the forces' uncertainty; None where it is exact.
    """
    forces = calibrate(pairs.forces_sigma, pairs.forces_error, dimension=3, members=forces_members)
    energy = calibrate(pairs.energy_sigma, pairs.energy_error, dimension=1, members=energy_members)
    largest = calibrate(pairs.max_forces_sigma, pairs.max_forces_error, dimension=3, members=forces_members)
    scale = forces.scale if forces else 1.0
    return Quality(forces, energy, largest, float(np.median(scale * pairs.max_forces_sigma)))


def _energy_errors(frames: Sequence[Atoms], energies: FloatArray) -> FloatArray:
    """Return |error| per atom without an offset for each element [eV/atom], shape (frames,)."""
    labels = np.array([float(atoms.info.get(ENERGY, np.nan)) for atoms in frames])
    errors = np.full(len(frames), np.nan)
    known = np.flatnonzero(np.isfinite(labels))
    if not known.size:
        return errors
    _, counts = element_counts([atoms for atoms, label in zip(frames, labels, strict=True) if np.isfinite(label)])
    sizes = counts.sum(axis=1)
    left = (energies - labels)[known] - counts @ element_offsets(counts, (energies - labels)[known])
    freedom = len(known) - int(np.linalg.matrix_rank(counts / sizes[:, None]))
    if freedom > 0:
        errors[known] = np.abs(left) / sizes * np.sqrt(len(known) / freedom)
    return errors
