"""The states of a hop, and the band between vacancy and midpoint, each relaxed once for all jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from aiida_mlip.science.properties._base import Report
from aiida_mlip.science.properties._bulk import pressure
from aiida_mlip.science.properties._hop import Hop, KeepInversion
from aiida_mlip.science.properties._neb import interpolate, relax_path
from aiida_mlip.science.properties._point_defects import Host, elastic_correction, formation_energy
from aiida_mlip.science.properties._relax import relax


@dataclass(frozen=True)
class State:
    """A configuration of a hop.

    :param atoms: without calculator.
    :param energy: of formation, at constant volume [eV].
    :param corrected: the same at zero pressure in linear elasticity [eV].
    :param converged: the forces are below the limit.
    """

    atoms: Atoms
    energy: float
    corrected: float
    converged: bool


@dataclass(frozen=True)
class Path:
    """Half of the path of a hop, from the vacancy to the midpoint, and its highest state.

    :param fractions: of the length of the whole path, ascending, up to 0.5.
    :param energies: relative to the vacancy [eV].
    :param top: the highest state.
    :param perpendicular: largest force perpendicular to the path on an atom [eV/Å]; None: no band was computed.
    :param converged: whether the forces are below the limit.
    """

    fractions: tuple[float, ...]
    energies: tuple[float, ...]
    top: State
    perpendicular: float | None
    converged: bool


@dataclass(frozen=True)
class Limits:
    """When a relaxation ends.

    :param fmax: largest force on an atom of a state [eV/Å].
    :param neb_fmax: the same of a band [eV/Å].
    :param max_steps: steps of each relaxation, and iterations of a band.
    """

    fmax: float
    neb_fmax: float
    max_steps: int


@dataclass(frozen=True)
class Setting:
    """What all steps of one hop need."""

    calculator: BaseCalculator
    report: Report
    crystal: Host
    hop: Hop
    limits: Limits

    def state(self, name: str, start: Atoms, *, symmetric: bool = False) -> State:
        """Relax ``start`` at constant volume; where ``symmetric``, under the inversion of the hop."""

        def make() -> dict[str, Any]:
            atoms = start.copy()
            atoms.calc = self.calculator
            if symmetric:
                atoms.set_constraint(KeepInversion(self.hop))
            done = relax(
                atoms,
                fmax=self.limits.fmax,
                max_steps=self.limits.max_steps,
                report=self.report,
                stage=name,
                keep=f"{name} so far",
            )
            return self._measured(atoms, done.converged)

        return self._restored(self.report.keep(name, make))

    def measured(self, name: str, atoms: Atoms, *, converged: bool) -> State:
        """Return the state of ``atoms`` as they are."""

        def make() -> dict[str, Any]:
            copy = atoms.copy()
            copy.calc = self.calculator
            return self._measured(copy, converged)

        return self._restored(self.report.keep(name, make))

    def _measured(self, atoms: Atoms, converged: bool) -> dict[str, Any]:
        energy = formation_energy(atoms, self.crystal.bulk)
        added = pressure(atoms) - self.crystal.pressure
        correction = elastic_correction(added, float(atoms.get_volume()), self.crystal.bulk.modulus)
        positions = atoms.positions.tolist()
        return {"positions": positions, "energy": energy, "corrected": energy + correction, "converged": converged}

    def _restored(self, kept: dict[str, Any]) -> State:
        atoms = self.hop.sites.copy()
        atoms.positions = np.asarray(kept["positions"], dtype=float)
        return State(atoms, kept["energy"], kept["corrected"], kept["converged"])


def direct_path(initial: State, middle: State) -> Path:
    """Return the path that has no images between vacancy and midpoint."""
    return Path((0.0, 0.5), (0.0, middle.energy - initial.energy), middle, None, converged=True)


def band_path(setting: Setting, initial: State, middle: State, inner: int, *, minimum: bool) -> Path:
    """Relax a band from the vacancy to the midpoint.

    Where the midpoint is a ``minimum``, or an inner image is higher than it, the saddle is elsewhere: images are put
    between the neighbours of the highest image, and the highest of them climbs.

    :param inner: images between vacancy and midpoint, and between the neighbours of the highest.
    """
    images = interpolate(initial.atoms, middle.atoms, inner)
    band = _band(setting, "band", images, (initial.energy, middle.energy))
    energies, distances, perpendicular = band["energies"], band["distances"], band["perpendicular"]
    top, converged = middle, band["converged"]
    highest = 1 + int(np.argmax(energies[1:-1]))
    if minimum or energies[highest] > energies[-1]:
        below = highest - 1 if energies[highest] > energies[-1] else len(images) - 2
        above = min(highest + 1, len(images) - 1)
        piece = interpolate(images[below], images[above], inner)
        climbed = _band(setting, "climbing band", piece, (energies[below], energies[above]), climb=True)
        peak = 1 + int(np.argmax(climbed["energies"][1:-1]))
        if climbed["energies"][peak] > middle.energy:
            top = setting.measured("saddle", piece[peak], converged=climbed["converged"])
        shift = distances[below] + climbed["distances"][-1] - distances[above]
        energies = [*energies[: below + 1], *climbed["energies"][1:-1], *energies[above:]]
        middle_part = [distances[below] + distance for distance in climbed["distances"][1:-1]]
        distances = [*distances[: below + 1], *middle_part, *(distance + shift for distance in distances[above:])]
        perpendicular, converged = max(perpendicular, climbed["perpendicular"]), converged and climbed["converged"]
    fractions = tuple(distance / (2 * distances[-1]) for distance in distances)
    return Path(fractions, tuple(energy - initial.energy for energy in energies), top, perpendicular, converged)


def _band(
    setting: Setting, stage: str, images: list[Atoms], ends: tuple[float, float], *, climb: bool = False
) -> dict[str, Any]:
    """Relax the inner ``images`` in place, once for all jobs; all energies are those of formation [eV]."""
    base = setting.crystal.bulk.energy * len(images[0])

    def make() -> dict[str, Any]:
        band = relax_path(
            images,
            setting.calculator,
            ends=(ends[0] + base, ends[1] + base),
            fmax=setting.limits.neb_fmax,
            max_iterations=setting.limits.max_steps,
            report=setting.report,
            stage=stage,
            climb=climb,
        )
        return {
            "positions": [image.positions.tolist() for image in images],
            "energies": [energy - base for energy in band.energies],
            "distances": list(band.distances),
            "perpendicular": band.perpendicular,
            "converged": band.converged,
        }

    kept: dict[str, Any] = setting.report.keep(stage, make)
    for image, positions in zip(images, kept["positions"], strict=True):
        image.calc = None
        image.positions = np.asarray(positions, dtype=float)
    return kept
