"""Images of a path, on energies and positions made here."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms

from aiida_mlip.science.properties import Journal, Notebook
from aiida_mlip.science.properties._images import KEEP_EVERY, count_humps, keep_images, resume_images


@pytest.mark.parametrize(
    ("energies", "humps"),
    [
        ([0, 1, 0], 1),
        ([0, 1, 2, 1.9, 2, 1, 0], 2),
        ([0, 1, 2, 1.999, 2, 1, 0], 1),
        ([0, 0.0015, 0, 0.0015, 0], 0),
        ([0, 1, 0.5, 2, 0.5, 1, 0], 3),
        ([0, -1, 1, -1, 0], 1),  # the ends are no maxima
        ([0, 0, 0], 0),
    ],
)
def test_humps_are_counted_over_the_valleys_beside_them(energies: list[float], humps: int) -> None:
    assert count_humps(energies) == humps


def path(images: int) -> list[Atoms]:
    made = [Atoms("W2", positions=[[0, 0, 0], [2.0 + index, 0.1, 0.3]]) for index in range(images)]
    for atoms in made:
        atoms.set_constraint(FixAtoms([0]))
    return made


def test_a_later_job_goes_on_from_the_images_that_were_kept() -> None:
    journal, images = Journal(notebook=Notebook()), path(4)
    images[1].positions += np.array([0.5, -0.2, 0.1])
    keep_images(images, journal, "band", KEEP_EVERY + 1)
    assert journal.get("band so far") is None
    keep_images(images, journal, "band", 2 * KEEP_EVERY)
    fresh = path(4)
    assert resume_images(fresh, journal, "band") == 2 * KEEP_EVERY
    for before, after in zip(images, fresh, strict=True):
        np.testing.assert_array_equal(after.positions, before.positions)
    assert resume_images(path(5), journal, "band") == 0
    assert resume_images(path(4), journal, "other band") == 0
