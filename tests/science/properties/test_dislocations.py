"""Cylinders with one dislocation: against matscipy, their symmetry, their boundary, and unstable crystals."""

from __future__ import annotations

import numpy as np
import pytest
from ase.constraints import FixAtoms
from matscipy.dislocation import BCCEdge100Dislocation, BCCEdge100110Dislocation, BCCScrew111Dislocation

from aiida_mlip.science import properties
from aiida_mlip.science.properties._dislocations import (
    TWOFOLD,
    build_cylinder,
    core_energy,
    exchange_of,
    transplanted,
    window,
)
from aiida_mlip.science.properties._stiffness import CubicStiffness, UnstableConstants, require_stable, why_unstable
from aiida_mlip.science.properties.junction_100 import CLASSES, junction_cylinder, translated
from aiida_mlip.science.properties.screw_dislocation import core_positions, screw_cylinder
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair

A = 3.1652
STIFFNESS = CubicStiffness(c11=523.0, c12=204.0, c44=160.0)
NIOBIUM_MPA = CubicStiffness(c11=230.0, c12=130.0, c44=-15.9)


def test_ends_of_the_path_are_those_of_matscipy() -> None:
    """The whole of matscipy's glide configurations, atom by atom, where its field is self-consistent as well."""
    radius, width = 14.0, 5.0
    cylinder = build_cylinder(BCCScrew111Dislocation, "W", A, STIFFNESS, radius=radius, fix_width=width)
    theirs = BCCScrew111Dislocation(A, C11=523.0, C12=204.0, C44=160.0, symbol="W")
    bulk, first, last = theirs.build_glide_configurations(radius + width, fix_width=width, method="adsl", verbose=False)
    offset = cylinder.bulk.positions - bulk.positions
    np.testing.assert_allclose(offset - offset[0], 0.0, atol=1e-9)
    for centre, expected in ((cylinder.start, first), (cylinder.start + cylinder.glide, last)):
        ours = cylinder.with_core(centre)
        np.testing.assert_allclose(ours.positions - expected.positions, offset, atol=2e-6)
        np.testing.assert_array_equal(ours.constraints[0].index, expected.constraints[0].index)


@pytest.mark.parametrize("radius", [9.0, 12.0, 15.0, 45.0])
def test_cylinder_has_vacuum_and_a_fixed_ring(radius: float) -> None:
    cylinder = screw_cylinder("W", A, STIFFNESS, radius=radius, fix_width=12.0)
    atoms = cylinder.with_core(cylinder.start)
    assert atoms.pbc.tolist() == [False, False, True]
    assert atoms.cell.lengths()[2] == pytest.approx(A * np.sqrt(3) / 2)
    assert (np.ptp(atoms.positions[:, :2], axis=0) + 19.9 < atoms.cell.lengths()[:2]).all()
    (ring,) = atoms.constraints
    assert isinstance(ring, FixAtoms)
    assert set(ring.index) == set(np.flatnonzero(cylinder.fixed))
    sites = [cylinder.start, cylinder.start + cylinder.glide]
    distance = np.min([np.linalg.norm(cylinder.bulk.positions[:, :2] - site, axis=1) for site in sites], axis=0)
    assert distance[cylinder.fixed].min() > radius - 1e-6
    assert distance.max() > radius + 12.0 - 3.0
    assert distance[~cylinder.fixed].max() < radius + 0.1


def test_length_repeats_the_cylinder() -> None:
    one, three = (screw_cylinder("W", A, STIFFNESS, radius=9.0, fix_width=6.0, length=length) for length in (1, 3))
    assert len(three.bulk) == 3 * len(one.bulk)
    assert three.period == pytest.approx(3 * one.period)
    np.testing.assert_allclose(
        three.field(three.start)[len(one.bulk) :][: len(one.bulk)], one.field(one.start), atol=1e-9
    )


@pytest.mark.parametrize("radius", [9.0, 15.0, 45.0])
def test_twofold_axis_takes_one_end_to_the_other(radius: float) -> None:
    """The rotated field of elasticity is the one at the other end; energies are equal and forces follow."""
    cylinder = screw_cylinder("W", A, STIFFNESS, radius=radius, fix_width=6.0)
    exchange = exchange_of(cylinder)
    first = cylinder.with_core(cylinder.start)
    last = cylinder.with_core(cylinder.start + cylinder.glide, continuous_with=first)
    image = exchange.image(cylinder, first, continuous_with=last)
    np.testing.assert_allclose(image.positions, last.positions, atol=1e-5)
    first.positions[~cylinder.fixed] += np.random.default_rng(2).normal(scale=0.1, size=((~cylinder.fixed).sum(), 3))
    image = exchange.image(cylinder, first, continuous_with=last)
    first.calc, image.calc = FinnisSinclair(), FinnisSinclair()
    assert image.get_potential_energy() == pytest.approx(first.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(
        image.get_forces(apply_constraint=False), exchange.apply(first.get_forces(apply_constraint=False)), atol=1e-8
    )
    back = exchange.image(cylinder, image, continuous_with=first)
    np.testing.assert_allclose(back.positions, first.positions, atol=1e-8)


def test_no_atom_moves_far_along_the_path() -> None:
    cylinder = screw_cylinder("W", A, STIFFNESS, radius=12.0, fix_width=6.0)
    first = cylinder.with_core(cylinder.start)
    last = exchange_of(cylinder).image(cylinder, first, continuous_with=first)
    assert np.abs(last.positions - first.positions).max() < A * np.sqrt(3) / 4 + 1e-6


def test_a_smaller_cylinder_seeds_a_larger_one() -> None:
    small, large = (screw_cylinder("W", A, STIFFNESS, radius=radius, fix_width=6.0) for radius in (9.0, 13.0))
    for kind in ("easy", "hard"):
        centre = core_positions(large)[kind]  # type: ignore[index]
        atoms = small.with_core(core_positions(small)[kind])  # type: ignore[index]
        same = transplanted(atoms, small, large, centre)
        np.testing.assert_allclose(same.positions, large.with_core(centre).positions, atol=1e-6)
        atoms.positions[~small.fixed] += np.random.default_rng(4).normal(scale=0.05, size=((~small.fixed).sum(), 3))
        moved = transplanted(atoms, small, large, centre)
        changed = np.linalg.norm(moved.positions - same.positions, axis=1) > 1e-6
        assert changed.sum() == (~small.fixed).sum()
        assert not changed[large.fixed].any()


def test_window_and_energies() -> None:
    """Weights by hand; a perfect crystal has no energy; total and inner agree where the window holds everything."""
    np.testing.assert_allclose(window([0.0, 10.0, 13.0, 16.0, 20.0], 10.0, 16.0), [1, 1, 0.5, 0, 0], atol=1e-12)
    cylinder = screw_cylinder("W", A, STIFFNESS, radius=9.0, fix_width=12.0, length=2)
    crystal = cylinder.bulk.copy()
    crystal.calc = FinnisSinclair()
    energies = crystal.get_potential_energies()
    inner = np.linalg.norm(crystal.positions[:, :2] - cylinder.middle, axis=1) < 9.0
    assert np.ptp(energies[inner]) < 1e-9
    bulk_energy = float(energies[inner][0])
    settings = {"radius": 9.0, "fix_width": 12.0, "periods": 2.0}
    found = core_energy(crystal, cylinder, cylinder.middle, bulk_energy, **settings)
    assert found.inner == pytest.approx(0.0, abs=1e-8)
    assert found.total > 1.0, "the free surface"
    atoms = cylinder.with_core(cylinder.start)
    atoms.calc = FinnisSinclair()
    everything = core_energy(atoms, cylinder, cylinder.start, bulk_energy, radius=90.0, fix_width=1.0, periods=2.0)
    assert everything.inner == pytest.approx(everything.total, abs=1e-8)


@pytest.mark.parametrize(
    ("stiffness", "named"),
    [
        (NIOBIUM_MPA, r"C44 = -15\.9 GPa: not positive"),
        (CubicStiffness(c11=100.0, c12=120.0, c44=50.0), r"C' = \(C11 - C12\) / 2 = -10\.0 GPa"),
        (CubicStiffness(c11=100.0, c12=-80.0, c44=50.0), r"B = \(C11 \+ 2 C12\) / 3 = -20\.0 GPa"),
        (CubicStiffness(c11=100.0, c12=100.0, c44=0.0), r"C44 = 0\.0 GPa and C' .* = 0\.0 GPa"),
    ],
)
def test_unstable_constants_are_named(stiffness: CubicStiffness, named: str) -> None:
    with pytest.raises(UnstableConstants, match=named):
        require_stable(stiffness)


def test_stable_constants_pass() -> None:
    assert why_unstable(STIFFNESS) is None


@pytest.mark.parametrize("name", ["screw_dislocation", "junction_100"])
def test_no_dislocation_in_an_unstable_crystal(name: str) -> None:
    """A clear outcome, before anything is computed."""
    inputs = {"element": "Nb", "lattice_constant": 3.3, "elastic_constants": NIOBIUM_MPA.model_dump()}
    record, structures = properties.compute(properties.get(name), inputs, FinnisSinclair())
    assert record.error is not None
    assert record.error.type == "UnstableConstants"
    assert "C44 = -15.9 GPa" in record.error.message
    assert (record.force_calls, structures) == (0, ())


def test_glide_planes_of_the_junction_are_told_by_the_axes() -> None:
    """The normal of the glide plane is the second axis of the class; the ``name`` texts are swapped in matscipy."""
    assert {"001": BCCEdge100Dislocation, "011": BCCEdge100110Dislocation} == CLASSES
    assert np.abs(BCCEdge100Dislocation.axes[1]).tolist() == [0, 0, 1]
    assert np.abs(BCCEdge100110Dislocation.axes[1]).tolist() == [0, 1, 1]


@pytest.mark.parametrize("plane", ["001", "011"])
def test_the_junction_after_one_glide_is_a_lattice_vector_on(plane: str) -> None:
    cylinder = junction_cylinder("W", A, STIFFNESS, plane=plane, radius=9.0, fix_width=8.0)  # type: ignore[arg-type]
    first = cylinder.with_core(cylinder.start)
    last = translated(first, cylinder)
    np.testing.assert_allclose(last.positions, cylinder.with_core(cylinder.start + cylinder.glide).positions, atol=1e-5)
    first.positions[~cylinder.fixed] += np.random.default_rng(5).normal(scale=0.05, size=((~cylinder.fixed).sum(), 3))
    moved = translated(first, cylinder)
    first.calc, moved.calc = FinnisSinclair(), FinnisSinclair()
    energies = []
    for atoms, centre in ((first, cylinder.start), (moved, cylinder.start + cylinder.glide)):
        atoms.get_forces()
        energies.append(core_energy(atoms, cylinder, centre, 0.0, radius=4.0, fix_width=2.0).best)
    assert energies[0] == pytest.approx(energies[1], abs=1e-3)


def test_a_crystal_without_the_symmetry_is_refused() -> None:
    cylinder = build_cylinder(BCCEdge100Dislocation, "W", A, STIFFNESS, radius=9.0, fix_width=6.0)
    with pytest.raises(properties.PropertyError, match="not equivalent by symmetry"):
        exchange_of(cylinder, TWOFOLD)
