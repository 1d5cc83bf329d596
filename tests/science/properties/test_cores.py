"""Labels of screw cores and Burgers circuits, on dislocations whose core is known because it was built so."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from matscipy.dislocation import BCCEdge100Dislocation

from aiida_mlip.science.properties import PropertyError
from aiida_mlip.science.properties._cores import (
    Columns,
    CoreKind,
    CoreLabel,
    burgers_vector,
    columns_of,
    core_sites,
    fit_centre,
    label_core,
    winding,
)
from aiida_mlip.science.properties._dislocations import Cylinder, build_cylinder
from aiida_mlip.science.properties._stiffness import CubicStiffness
from aiida_mlip.science.properties.screw_dislocation import core_positions, screw_cylinder

A = 3.1652
B = A * np.sqrt(3) / 2
STIFFNESS = CubicStiffness(c11=523.0, c12=204.0, c44=160.0)


@pytest.fixture(scope="module")
def cylinder() -> Cylinder:
    return screw_cylinder("W", A, STIFFNESS, radius=12.0, fix_width=6.0)


@pytest.fixture(scope="module")
def columns(cylinder: Cylinder) -> Columns:
    return columns_of(cylinder.bulk, B)


def label(cylinder: Cylinder, atoms: Atoms) -> CoreLabel:
    return label_core(atoms, cylinder.bulk, columns_of(cylinder.bulk, B), cylinder.middle, 10.0)


def lattice_along_111() -> np.ndarray:
    axes = np.array([[1, 1, -2], [-1, 1, 0], [1, 1, 1]]) / np.sqrt([[6], [2], [3]])
    return np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * A / 2 @ axes.T


def shaken(atoms: Atoms, size: float, seed: int = 3) -> Atoms:
    moved = atoms.copy()
    moved.set_constraint()
    moved.positions += np.random.default_rng(seed).normal(scale=size, size=moved.positions.shape)
    return moved


@pytest.mark.parametrize(
    ("kind", "expected"), [("easy", "easy"), ("hard", "hard"), ("split", "split"), ("midpoint", "between")]
)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_core_that_was_built_is_recognised(cylinder: Cylinder, kind: str, expected: CoreKind, noise: float) -> None:
    built = core_positions(cylinder)[kind]  # type: ignore[index]
    found = label(cylinder, shaken(cylinder.with_core(built), noise))
    assert found.kind == expected
    assert found.burgers == 1
    assert found.centre == pytest.approx(built, abs=0.15)


def test_perfect_crystal_has_no_dislocation(cylinder: Cylinder) -> None:
    found = label(cylinder, shaken(cylinder.bulk, 0.05))
    assert (found.kind, found.burgers, found.open_triangles) == ("none", 0, 0)
    assert found.centre is None


def test_a_core_outside_the_region_is_not_found(cylinder: Cylinder) -> None:
    away = cylinder.with_core(cylinder.middle + np.array([14.0, 2.0]))
    assert label(cylinder, away).kind == "none"


def test_two_dislocations_of_opposite_sign_are_several(cylinder: Cylinder) -> None:
    apart = 3 * cylinder.glide
    field = cylinder.field(cylinder.start - apart) - cylinder.field(cylinder.start + apart)
    found = label(cylinder, cylinder.displaced(field))
    assert (found.kind, found.burgers) == ("several", 0)
    assert found.open_triangles >= 2


def test_compact_cores_have_three_equal_arrows(cylinder: Cylinder) -> None:
    for kind in ("easy", "hard"):
        found = label(cylinder, cylinder.with_core(core_positions(cylinder)[kind]))  # type: ignore[index]
        assert found.differential == pytest.approx([1 / 3] * 3, abs=0.01)
        assert found.polarity == pytest.approx(0.0, abs=1e-6)


def test_easy_inverts_the_helix_and_hard_makes_it_level(cylinder: Cylinder, columns: Columns) -> None:
    """The definition, written out: heights of the three columns around the centre, before and after."""
    for kind in ("easy", "hard"):
        centre = core_positions(cylinder)[kind]  # type: ignore[index]
        nearest = np.argsort(np.linalg.norm(columns.xy - centre, axis=1))[:3]
        atoms = [columns.members[index][0] for index in nearest]
        phase = np.exp(2j * np.pi * cylinder.with_core(centre).positions[atoms, 2] / B)
        level = abs(phase.sum()) / 3
        assert level == pytest.approx(1.0 if kind == "hard" else 0.0, abs=0.05)


def test_opposite_sign_exchanges_easy_and_hard(cylinder: Cylinder, columns: Columns) -> None:
    assert set(winding(columns)) == {-1, 1}
    plus, minus = core_sites(columns, 1), core_sites(columns, -1)
    np.testing.assert_array_equal(plus["easy"], minus["hard"])
    reversed_field = cylinder.displaced(-cylinder.field(core_positions(cylinder)["hard"]))
    found = label(cylinder, reversed_field)
    assert (found.kind, found.burgers) == ("easy", -1)


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_a_shift_of_the_three_columns_is_polarity(cylinder: Cylinder, columns: Columns, shift: float) -> None:
    """Displaced by b/6 against the rest: the fully degenerate core of classical potentials."""
    atoms = cylinder.with_core(cylinder.start)
    nearest = np.argsort(np.linalg.norm(columns.xy - cylinder.start, axis=1))[:3]
    atoms.positions[np.concatenate([columns.members[index] for index in nearest]), 2] += shift * B / 6
    found = label(cylinder, atoms)
    assert found.kind == "degenerate"
    assert found.polarity == pytest.approx(shift, abs=0.02)


@pytest.mark.parametrize("angle", [17.0, 60.0, 211.0])
def test_label_is_the_same_in_any_orientation_about_the_line(cylinder: Cylinder, angle: float) -> None:
    """Rotation about the line and any translation, of an asymmetric configuration."""
    atoms = shaken(cylinder.with_core(core_positions(cylinder)["split"] + [0.1, 0.05]), 0.03)
    before = label(cylinder, atoms)
    offset = np.array([3.3, -1.7, 0.6])
    turned, bulk = atoms.copy(), cylinder.bulk.copy()
    for structure in (turned, bulk):
        structure.rotate(angle, "z")
        structure.positions += offset
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    centre = turn @ cylinder.middle + offset[:2]
    after = label_core(turned, bulk, columns_of(bulk, B), centre, 10.0)
    assert after.kind == before.kind
    assert after.burgers == before.burgers
    assert after.polarity == pytest.approx(before.polarity, abs=1e-6)
    assert after.differential == pytest.approx(before.differential, abs=1e-9)
    assert before.centre is not None
    assert after.centre == pytest.approx(turn @ before.centre + offset[:2], abs=1e-4)


def test_label_does_not_see_whole_periods_nor_longer_cells(cylinder: Cylinder) -> None:
    atoms = shaken(cylinder.with_core(cylinder.start), 0.02)
    expected = label(cylinder, atoms)
    atoms.positions[::3, 2] += cylinder.period
    shifted = label(cylinder, atoms)
    assert (shifted.kind, shifted.burgers) == (expected.kind, expected.burgers)
    assert shifted.polarity == pytest.approx(expected.polarity, abs=1e-9)
    assert shifted.centre == pytest.approx(expected.centre, abs=1e-6)
    long = screw_cylinder("W", A, STIFFNESS, radius=12.0, fix_width=6.0, length=2)
    found = label(long, shaken(long.with_core(long.start), 0.02))
    assert (found.kind, found.burgers) == ("easy", 1)


def test_fit_finds_a_centre_that_is_no_special_point(cylinder: Cylinder, columns: Columns) -> None:
    """Displacements of isotropic elasticity written out by hand."""
    centre = cylinder.start + np.array([0.83, -0.21])
    offset = columns.xy - centre
    shifts = np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) + 0.137
    np.testing.assert_allclose(fit_centre(shifts, columns, 1, cylinder.start), centre, atol=1e-5)
    np.testing.assert_allclose(fit_centre(-shifts, columns, -1, cylinder.start), centre, atol=1e-5)


@pytest.mark.parametrize("radius", [6.0, 9.0, 14.0])
@pytest.mark.parametrize("noise", [0.0, 0.08])
def test_circuit_around_a_screw(cylinder: Cylinder, radius: float, noise: float) -> None:
    atoms = shaken(cylinder.with_core(cylinder.start), noise)
    vector = burgers_vector(atoms, lattice_along_111(), cylinder.start, radius)
    np.testing.assert_allclose(vector, [0, 0, B], atol=1e-9)


def test_circuit_that_leaves_the_core_out_closes(cylinder: Cylinder) -> None:
    atoms = shaken(cylinder.with_core(cylinder.start), 0.05)
    for away in ((9.0, 0.0), (-3.0, 10.0)):
        centre = cylinder.start + np.array(away)
        np.testing.assert_allclose(burgers_vector(atoms, lattice_along_111(), centre, 6.0), 0.0, atol=1e-9)
    perfect = burgers_vector(shaken(cylinder.bulk, 0.1), lattice_along_111(), cylinder.start, 9.0)
    np.testing.assert_allclose(perfect, 0.0, atol=1e-9)


def test_circuit_around_an_edge_of_another_kind() -> None:
    """a<100> along the glide direction; asymmetric positions, any orientation about the line."""
    cylinder = build_cylinder(BCCEdge100Dislocation, "W", A, STIFFNESS, radius=12.0, fix_width=4.0)
    atoms = shaken(cylinder.with_core(cylinder.start), 0.05)
    axes = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    lattice = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * A / 2 @ axes.T
    np.testing.assert_allclose(burgers_vector(atoms, lattice, cylinder.start, 9.0), [A, 0, 0], atol=1e-9)
    angle = np.radians(29.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    atoms.positions = atoms.positions @ turn.T
    vector = burgers_vector(atoms, lattice @ turn.T, turn[:2, :2] @ cylinder.start, 9.0)
    np.testing.assert_allclose(vector, turn @ [A, 0, 0], atol=1e-9)


def test_impossible_circuits_are_refused(cylinder: Cylinder) -> None:
    atoms = cylinder.with_core(cylinder.start)
    with pytest.raises(PropertyError, match="leaves the atoms"):
        burgers_vector(atoms, lattice_along_111(), cylinder.start, 40.0)
    with pytest.raises(PropertyError, match="choose a larger one"):
        burgers_vector(atoms, lattice_along_111(), cylinder.start, 0.5)
