"""Pairs of molecules: which are taken, how they are moved, and holes in their curves."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from aiida_mlip.science.liquids.dimers import (
    Curve,
    check_attraction,
    check_holes,
    choose_pairs,
    contact_of,
    dimer_frames,
    find_hole,
)
from aiida_mlip.science.liquids.molecules import find_molecules

SHIFTS = np.array([-1.5, -1.2, -0.9, -0.6, -0.4, -0.2, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
CONTACTS = 2.4 + 0.7 * SHIFTS


def well(contacts: np.ndarray) -> np.ndarray:
    """Lennard-Jones in units of the closest contact, minimum 0.1 eV at 2.5."""
    ratio6 = (2.5 / contacts) ** 6
    return np.asarray(0.1 * (ratio6**2 - 2 * ratio6))


def curve(predicted: np.ndarray, true: np.ndarray | None = None) -> Curve:
    return Curve(SHIFTS, CONTACTS, predicted, true)


def liquid() -> Atoms:
    """Two waters that touch across the border of the cell, a methane near one of them, and Li."""
    box = Atoms(cell=[12.0, 13.0, 14.0], pbc=True)
    for name, spot in (("H2O", (0.3, 6.0, 7.0)), ("H2O", (11.0, 6.3, 9.4)), ("CH4", (3.6, 6.5, 7.5))):
        part = molecule(name)
        part.positions += spot
        box += part
    box += Atoms("Li", [(6.0, 1.0, 1.0)])
    box.wrap()
    return box


def test_pairs_of_new_kinds_come_first_and_ions_alone_are_left_out() -> None:
    box = liquid()
    molecules = find_molecules(box)
    assert molecules is not None
    found = [(pair[0].kind, pair[1].kind) for _, pair in choose_pairs([(box, molecules)], 3)]
    assert len({tuple(sorted(kinds)) for kinds in found[:2]}) == 2
    assert not any("Li" in kind for kinds in found for kind in kinds)
    assert choose_pairs([(box, molecules)], 0) == []


def test_an_ion_pair_is_no_dimer() -> None:
    """Li next to PF6: neutral together, and closer than any neutral molecules come."""
    d = 1.58
    octahedron = [(0, 0, 0), (d, 0, 0), (-d, 0, 0), (0, d, 0), (0, -d, 0), (0, 0, d), (0, 0, -d)]
    salt = Atoms("PF6Li", [*octahedron, (0, 0, d + 1.9)])
    molecules = find_molecules(salt)
    assert molecules is not None
    assert len(molecules) == 2
    assert choose_pairs([(salt, molecules)], 5) == []


def test_molecules_move_along_the_line_of_centres() -> None:
    box = liquid()
    molecules = find_molecules(box)
    assert molecules is not None
    pair = next(pair for _, pair in choose_pairs([(box, molecules)], 2) if pair[0].kind == pair[1].kind)
    frames = dimer_frames(box, pair, [2.0, -0.5, 0.0, -9.0], min_contact=0.5)
    assert [frame.shift for frame in frames] == [-0.5, 0.0, 2.0]
    bonds = molecule("H2O").get_distance(0, 1)
    for frame in frames:
        one, other = frame.atoms[:3], frame.atoms[3:]
        assert not frame.atoms.pbc.any()
        assert np.linalg.norm(other.get_center_of_mass() - one.get_center_of_mass()) == pytest.approx(frame.distance)
        assert one.get_distance(0, 1) == pytest.approx(bonds)
        assert frame.contact == pytest.approx(contact_of(box, pair, frame.shift))
    assert frames[2].distance - frames[1].distance == pytest.approx(2.0)
    whole = box.get_distances(pair[0].indices[0], pair[1].indices[0], mic=True)[0]
    assert frames[1].atoms.get_distance(0, 3) == pytest.approx(whole)
    nearest = dimer_frames(box, pair, [-0.5, 0.0], min_contact=frames[1].contact - 1e-9)
    assert [frame.shift for frame in nearest] == [0.0]


def test_a_wall_is_no_hole() -> None:
    assert find_hole(curve(well(CONTACTS))) == ""
    found = check_holes([curve(well(CONTACTS), well(CONTACTS))])
    assert found is not None
    assert found.status == "pass"
    assert found.numbers == {"pairs": 1, "judged": 1}


def test_dipoles_that_repel_far_away_are_no_hole() -> None:
    barrier = 0.15 * np.exp(-(((CONTACTS - 3.6) / 0.8) ** 2))
    assert find_hole(curve(well(CONTACTS) + barrier)) == ""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (well(CONTACTS) - 40 * np.exp(-(((CONTACTS - 1.56) / 0.12) ** 2)), "falls again|lowest"),
        (-0.3 / (CONTACTS / 2.0) ** 6, "lowest energy of all"),
    ],
)
def test_holes_are_found(wrong: np.ndarray, words: str) -> None:
    bad = curve(wrong, well(CONTACTS))
    assert re.search(words, find_hole(bad))
    found = check_holes([curve(well(CONTACTS)), bad])
    assert found is not None
    assert (found.status, found.value) == ("fail", 1.0)
    assert found.reason.startswith("pair 1: ")


def test_an_attraction_that_the_reference_has_not_is_no_instability() -> None:
    flat = curve(np.where(CONTACTS < 2.2, -0.03, well(CONTACTS)), well(CONTACTS))
    assert find_hole(flat) == ""
    found = check_attraction([curve(well(CONTACTS), well(CONTACTS)), flat])
    assert found is not None
    assert (found.status, found.aspect, found.value) == ("fail", "accuracy", 1.0)
    assert "where the reference has" in found.reason
    assert check_attraction([curve(well(CONTACTS))]) is None


def test_curves_that_stay_far_away_say_nothing() -> None:
    far = well(CONTACTS)
    far[CONTACTS < 1.9] = np.nan
    found = check_holes([curve(far)])
    assert found is not None
    assert found.status == "inconclusive"
    assert "1.7" in found.missing
    assert check_holes([]) is None
