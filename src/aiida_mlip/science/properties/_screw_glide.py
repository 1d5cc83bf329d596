"""Glide of a screw dislocation from one easy core to the next: symmetric midpoint first, then the path to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._dislocations import Array, Exchange, core_energy, exchange_of
from aiida_mlip.science.properties._paths import highest_energy, path_length, relax_band, straight_line
from aiida_mlip.science.properties._precon import Watch
from aiida_mlip.science.properties._screw_cores import RelaxedCore, Setting, Symmetrised, relax_core
from aiida_mlip.science.properties._screw_result import GlidePath

FAR_FROM_MIDDLE = 0.6
"""Distance of the symmetric midpoint from half way, in glide distances, from which it is no part of the path."""


FOLLOW = 0.2
"""Distance of the relaxed midpoint from the centre of the field of the ring [Å] from which the ring follows."""


@dataclass(frozen=True)
class GlideSettings:
    """How the path is searched.

    :param images: ends included.
    :param symmetric: compute half of the path only.
    :param fmax: largest perpendicular force that counts as relaxed [eV/Å].
    :param max_iterations: of the band.
    """

    images: int
    symmetric: bool
    fmax: float
    max_iterations: int


class KeptPath(StrictModel):
    """A finished path, as it is kept for a restart."""

    path: GlidePath
    positions: list[list[list[float]]]


def relax_midpoint(easy: RelaxedCore, setting: Setting, calculator: BaseCalculator, watch: Watch) -> RelaxedCore:
    """Relax the mean of the two ends among the configurations that the two-fold axis takes to themselves.

    Where the core settles away from half way, the fixed ring follows it once, so that it is not pulled back.
    """
    cylinder, exchange = setting.cylinder, exchange_of(setting.cylinder)
    first = setting.rebuilt(easy.positions)
    last = exchange.image(cylinder, first, continuous_with=first)
    middle = setting.rebuilt(((first.positions + last.positions) / 2).tolist())
    symmetric = Symmetrised(calculator, exchange)
    found = relax_core(middle, setting, symmetric, watch)
    centre = found.after.centre
    if centre is None or not np.linalg.norm(np.array(centre) - cylinder.middle) > FOLLOW or not between(found, setting):
        return found
    moved = setting.rebuilt(found.positions)
    ring = cylinder.with_core((cylinder.middle[0], centre[1]), continuous_with=moved)
    moved.set_positions(np.where(cylinder.fixed[:, None], ring.positions, moved.positions), apply_constraint=False)
    again = relax_core(moved, setting, symmetric, watch)
    if not between(again, setting):
        return found
    return again.model_copy(update={"before": found.before, "steps": found.steps + again.steps, "field_centre": centre})


def between(midpoint: RelaxedCore, setting: Setting) -> bool:
    """Return whether a relaxed midpoint is still between the two easy cores."""
    if midpoint.after.centre is None:
        return False
    distance = np.linalg.norm(np.asarray(midpoint.after.centre) - setting.cylinder.middle)
    return bool(distance < FAR_FROM_MIDDLE * np.linalg.norm(setting.cylinder.glide))


def glide(
    ends: tuple[RelaxedCore, RelaxedCore],
    settings: GlideSettings,
    setting: Setting,
    calculator: BaseCalculator,
    watch: Watch,
) -> KeptPath:
    """Return the path from the easy core to its image; half of it where the midpoint is on the path.

    :param ends: the relaxed easy core, and the midpoint.
    """
    easy, midpoint = ends
    exchange = exchange_of(setting.cylinder)
    first = setting.rebuilt(easy.positions)
    last = exchange.image(setting.cylinder, first, continuous_with=first)
    symmetric = settings.symmetric and between(midpoint, setting)
    if symmetric:
        images = straight_line(first, setting.rebuilt(midpoint.positions), (settings.images - 3) // 2)
    else:
        images = straight_line(first, last, settings.images - 2)
    found = relax_band(
        images,
        calculator,
        setting.preconditioner(),
        fmax=settings.fmax,
        max_iterations=settings.max_iterations,
        report=watch.report,
        stage=watch.stage,
    )
    values = _values(images, setting)
    mismatch = _end_mismatch(images[0], last, setting, calculator)
    half = path_length(images)
    barrier, barrier_at = highest_energy(images, values[2] - values[3], setting.periods)
    if symmetric:
        barrier_at /= 2
        length = np.concatenate([half / 2, 1 - half[-2::-1] / 2])
        position, offset, best, total = (
            np.concatenate([column, mirrored])
            for column, mirrored in zip(
                values, (1 - values[0][-2::-1], *(column[-2::-1] for column in values[1:])), strict=True
            )
        )
        images += [_mirror(image, exchange, setting) for image in images[-2::-1]]
    else:
        length, (position, offset, best, total) = half, values
    path = GlidePath(
        radius=setting.radius,
        length=tuple(length.tolist()),
        position=tuple(position.tolist()),
        offset=tuple(offset.tolist()),
        energy=tuple((best - best[0]).tolist()),
        by_total_energy=tuple((total - total[0]).tolist()),
        barrier=barrier,
        barrier_at=barrier_at,
        symmetric=symmetric,
        end_mismatch=mismatch,
        perpendicular=found.perpendicular,
        iterations=found.iterations,
        converged=found.converged,
    )
    return KeptPath(path=path, positions=[image.positions.tolist() for image in images])


def _mirror(image: Atoms, exchange: Exchange, setting: Setting) -> Atoms:
    return exchange.image(setting.cylinder, image, continuous_with=image)


def _values(images: Sequence[Atoms], setting: Setting) -> Array:
    """Return position along the glide [in glide distances], offset across [Å], and two energies [eV per b], (4, k)."""
    cylinder, rows = setting.cylinder, []
    distance = float(np.linalg.norm(cylinder.glide))
    for image in images:
        image.get_forces()  # also where an end has not been asked for them
        label = setting.label(image)
        centre = np.asarray(label.centre or cylinder.middle)
        energy = core_energy(
            image,
            cylinder,
            centre,
            setting.bulk_energy,
            radius=setting.radius,
            fix_width=setting.fix_width,
            periods=setting.periods,
        )
        along = (centre - cylinder.start) / distance
        rows.append((along[0], along[1] * distance, energy.best, energy.total))
    return np.asarray(np.array(rows).T)


def _end_mismatch(first: Atoms, last: Atoms, setting: Setting, calculator: BaseCalculator) -> float:
    """Return the difference of the total energies of two configurations that symmetry says are equal [eV per b].

    :param first: has its energy already.
    """
    other = last.copy()
    other.calc = calculator
    difference = other.get_potential_energy(force_consistent=True) - first.get_potential_energy(force_consistent=True)
    return float(difference) / setting.periods
