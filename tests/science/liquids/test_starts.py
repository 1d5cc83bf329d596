"""The next run begins with the molecules of the last one, however hot its bonds."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from aiida_mlip.science.liquids.starts import CHOICE, kinds_of, next_start


def methanols() -> Atoms:
    """Two of them in a triclinic cell, the first one cut by its faces."""
    box = molecule("CH3OH")
    other = molecule("CH3OH")
    other.translate([4.0, 1.0, 0.5])
    box += other
    box.set_cell([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [1.0, -1.5, 8.5]])
    box.pbc = True
    box.wrap()
    return box


def stretched(box: Atoms, hydrogen: int, other: int, ratio: float) -> Atoms:
    copy = box.copy()
    copy.set_distance(other, hydrogen, ratio * 1.07, fix=0, mic=True)
    return copy


def moved(box: Atoms, by: float) -> Atoms:
    copy = box.copy()
    copy.positions += by
    return copy


def test_the_last_frame_with_the_molecules_of_the_first_is_taken() -> None:
    box = methanols()
    hydrogen = next(i for i in range(len(box)) if box.numbers[i] == 1 and box.get_distance(0, i, mic=True) < 1.2)
    hot = stretched(box, hydrogen, 0, 1.4)
    assert kinds_of(hot) != kinds_of(box)
    frames = [box, moved(box, 0.1), moved(box, 0.2), hot]
    np.testing.assert_allclose(next_start(iter(frames)).positions, moved(box, 0.2).positions)
    np.testing.assert_allclose(next_start([box]).positions, box.positions)


@pytest.mark.parametrize(("ratio", "whole"), [(1.4, True), (1.7, False)])
def test_a_bond_that_is_long_in_all_of_them_is_shortened_and_a_broken_one_stays_broken(ratio, whole) -> None:
    """The more hydrogens there are, the fewer frames without a long bond."""
    box = methanols()
    hydrogen = next(i for i in range(len(box)) if box.numbers[i] == 1 and box.get_distance(0, i, mic=True) < 1.2)
    hot = stretched(box, hydrogen, 0, ratio)
    given = hot.positions.copy()
    start = next_start([box, *[hot] * (CHOICE + 2)])
    assert (kinds_of(start) == kinds_of(box)) == whole
    others = np.arange(len(box)) != hydrogen
    np.testing.assert_array_equal(start.positions[others], hot.positions[others])
    assert np.array_equal(start.positions[hydrogen], hot.positions[hydrogen]) != whole
    np.testing.assert_array_equal(hot.positions, given)
