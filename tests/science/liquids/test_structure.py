"""Radial distribution functions against MDAnalysis and freud, and the coordination of lithium known by construction."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import freud
import MDAnalysis
import numpy as np
import pytest
from ase import Atoms
from MDAnalysis.analysis.rdf import InterRDF
from scipy.spatial.transform import Rotation

from aiida_mlip.science.liquids import checks, structure
from aiida_mlip.science.liquids.checks import Finding, Run
from aiida_mlip.science.liquids.structure import first_shell, types_of
from aiida_mlip.science.liquids.unwrap import Follower

CARBONATE = Atoms(
    "OCOCCOHHHH",
    [
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 1.219],
        [0.413, -1.048, 1.992],
        [0.025, -0.747, 3.319],
        [-0.025, 0.747, 3.319],
        [-0.413, 1.048, 1.992],
        [0.746, -1.142, 4.039],
        [-0.955, -1.198, 3.508],
        [-0.746, 1.142, 4.039],
        [0.955, 1.198, 3.508],
    ],
)
"""Ethylene carbonate, its carbonyl oxygen at the origin, C=O along z."""

DIOXIDE = Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])
HEXAFLUORIDE = Atoms(
    "PF6", [[0, 0, 0], [0, 0, -1.6], [0, 0, 1.6], [1.6, 0, 0], [-1.6, 0, 0], [0, 1.6, 0], [0, -1.6, 0]]
)
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
CELL = np.array([[15.0, 0, 0], [2.5, 14.0, 0], [-1.5, 2.0, 13.0]])


def carbon_dioxide(frames: int, *, wrap: bool, seed: int = 3) -> list[Atoms]:
    """Random walks of 18 molecules, apart at first, in a triclinic cell whose volume goes up and down by a fifth."""
    rng = np.random.default_rng(seed)
    places = np.array(list(np.ndindex(3, 3, 2))) / (3, 3, 2) + rng.uniform(-0.015, 0.015, (18, 3))
    made = []
    for frame in range(frames):
        cell = CELL * (1 + 0.06 * np.sin(frame))
        atoms = Atoms(cell=cell, pbc=True)
        for place, turn in zip(places, Rotation.random(18, rng), strict=True):
            molecule = DIOXIDE.copy()
            molecule.positions = turn.apply(molecule.positions) + place @ cell
            atoms += molecule
        if wrap:
            atoms.wrap()
        atoms.info |= {"step": frame, "time_fs": float(frame)}
        made.append(atoms)
        places = places + rng.normal(scale=0.06, size=places.shape)
    return made


def find(frames: list[Atoms], equilibration: float = 0.0, **limits: float) -> Finding:
    check = checks.get("structure")
    run = Run(frames[0], "npt", 1.0, 300.0, 0.0, equilibration=equilibration)
    reading = check.begin(run, check.parse({"interval": 0.0, **limits}))
    for atoms in frames:
        reading.add(atoms)
    return reading.finish()


def universes(frames: list[Atoms]) -> Iterator[MDAnalysis.Universe]:
    """A universe of each frame: MDAnalysis has one volume for all frames, and here it varies."""
    for atoms in frames:
        universe = MDAnalysis.Universe.empty(len(atoms), trajectory=True)
        universe.add_TopologyAttr("names", list(atoms.symbols))
        universe.atoms.positions = atoms.positions
        universe.trajectory.ts.dimensions = atoms.cell.cellpar()
        yield universe


@pytest.mark.parametrize("wrap", [True, False], ids=["wrapped", "unwrapped"])
def test_inter_is_that_of_mdanalysis(wrap: bool) -> None:
    """Triclinic, volume per frame; atoms of one molecule excluded by blocks: 2 oxygens, 1 carbon."""
    frames = carbon_dioxide(5, wrap=wrap)
    curves = find(frames, r_max=5.0, bin=0.25).curves
    for first, second, blocks in (("O", "O", (2, 2)), ("C", "O", (1, 2))):
        theirs = []
        for universe in universes(frames):
            groups = [universe.select_atoms(f"name {name}") for name in (first, second)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = InterRDF(*groups, nbins=20, range=(0.0, 5.0), exclusion_block=blocks).run()
            theirs.append(found.results.rdf)
            np.testing.assert_allclose(found.results.bins, curves["structure_r"])
        mine = curves[f"structure_{first}_{second}_inter"]
        np.testing.assert_allclose(mine, np.mean(theirs, axis=0), rtol=1e-5, atol=1e-7)
        assert mine.max() > 0.5


def test_inter_and_intra_together_are_all_pairs_of_freud() -> None:
    frames = carbon_dioxide(4, wrap=True)
    curves = find(frames, r_max=5.0, bin=0.25).curves
    theirs = np.zeros(20)
    for atoms in frames:
        carbon, oxygen = (atoms.positions[atoms.symbols == symbol] for symbol in ("C", "O"))
        box = freud.box.Box.from_matrix(atoms.cell.array.T)
        rdf = freud.density.RDF(bins=20, r_max=5.0)
        rdf.compute((box, oxygen), query_points=carbon)
        theirs += rdf.rdf / len(frames)
    pairs, within = 18 * 36, 18 * 2
    inter, intra = curves["structure_C_O_inter"], curves["structure_C_O_intra"]
    np.testing.assert_allclose(inter * (pairs - within) / pairs + intra, theirs, rtol=1e-4, atol=1e-6)
    assert np.flatnonzero(intra).tolist() == [4]  # 1.16 Å


def test_all_pairs_and_a_list_of_neighbours_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = carbon_dioxide(6, wrap=False)
    near = find(frames, r_max=6.0).curves
    monkeypatch.setattr(structure, "ALL_PAIRS", 0)
    listed = find(frames, r_max=6.0).curves
    assert set(near) == set(listed)
    for name, values in near.items():
        np.testing.assert_allclose(values, listed[name], atol=1e-12)


def test_an_ideal_gas_has_no_order_and_numbers_are_densities() -> None:
    """Without order g is 1, also at small numbers of atoms, and the running number is that of the density."""
    frames = carbon_dioxide(300, wrap=False, seed=11)
    curves = find(frames, equilibration=0.2, r_max=6.0, bin=0.5).curves
    g, number, r = curves["structure_C_C_inter"], curves["structure_C_C_number"], curves["structure_r"]
    np.testing.assert_allclose(g[4:], 1.0, atol=0.12)
    assert np.average(g, weights=r**2) == pytest.approx(1.0, abs=0.02)
    volume = np.mean([1 / atoms.get_volume() for atoms in frames])
    assert number[-1] == pytest.approx(17 * volume * 4 / 3 * np.pi * (r[-1] + 0.25) ** 3, rel=0.03)


def test_molecules_are_followed_through_the_faces_of_the_cell() -> None:
    """Wrapped or not, centres are those of the walk, and shifts make every molecule whole."""
    plain, wrapped = carbon_dioxide(30, wrap=False), carbon_dioxide(30, wrap=True)
    ours, theirs = Follower(plain[0]), Follower(wrapped[0])
    crossed = []
    for one, other in zip(plain, wrapped, strict=True):
        centres = ours.centres(one, ours.shifts(one))
        again = theirs.shifts(other)
        difference = one.cell.scaled_positions(theirs.centres(other, again) - centres)
        np.testing.assert_allclose(difference, np.round(difference), atol=1e-6)
        whole = other.positions + again @ other.cell.array
        lengths = np.linalg.norm(whole[0::3] - whole[1::3], axis=1)
        np.testing.assert_allclose(lengths, 1.16, atol=1e-8)
        crossed.append(np.round(difference))
    np.testing.assert_array_equal(crossed, np.repeat(crossed[:1], len(plain), axis=0))


def turned(molecule: Atoms, direction: np.ndarray, distance: float) -> Atoms:
    """The molecule with its origin at a distance along a direction, its z axis along it."""
    copy = molecule.copy()
    turn, _ = Rotation.align_vectors([direction], [[0, 0, 1]])
    copy.positions = turn.apply(copy.positions) + distance * direction
    return copy


def solvated(anion_bound: bool, frames: int = 40) -> list[Atoms]:
    """Lithium with four carbonates, the anion far away; or with three, and one fluorine of the anion in contact."""
    rng = np.random.default_rng(5)
    made = []
    for frame in range(frames):
        atoms = Atoms("Li", cell=np.diag([26.0, 25.0, 24.0]), pbc=True)
        near = HEXAFLUORIDE.copy()
        near.positions += [0, 0, 1.6]
        for index, direction in enumerate(TETRAHEDRON):
            bound = anion_bound and index == 3
            atoms += turned(near if bound else CARBONATE, direction, rng.normal(1.95, 0.06))
        if not anion_bound:
            atoms += turned(near, np.array([1.0, 0, 0]), 7.0)
        atoms += turned(CARBONATE, np.array([-1.0, 0, 0]), 7.5)
        atoms.wrap()
        atoms.info |= {"step": frame, "time_fs": float(frame)}
        made.append(atoms)
    return made


@pytest.mark.parametrize(("anion_bound", "oxygen", "fluorine"), [(False, 4.0, 0.0), (True, 3.0, 1.0)])
def test_the_coordination_of_lithium_is_counted_by_species(anion_bound: bool, oxygen: float, fluorine: float) -> None:
    frames = solvated(anion_bound)
    found = find(frames, equilibration=0.2)
    contacts, shell = found.results
    assert (contacts.status, shell.status) == ("pass", "pass")
    assert shell.value == pytest.approx(oxygen + fluorine)
    assert shell.numbers["coordination_Li_OofC3H4O3"] == pytest.approx(oxygen)
    assert shell.numbers.get("coordination_Li_FofF6P", 0.0) == pytest.approx(fluorine)
    assert shell.numbers["peak_Li_O"] == pytest.approx(1.95, abs=0.06)
    assert found.curves["structure_Li_O_number"][-1] >= oxygen
    assert {"structure_Li_OofC3H4O3_inter", "structure_Li_OofC3H4O3_number"} <= set(found.curves)


def test_an_ion_that_nothing_holds_fails_and_one_that_nothing_is_near_says_nothing() -> None:
    frames = solvated(anion_bound=False)
    bare = [atoms[[0, *range(41, len(atoms))]] for atoms in frames]
    *_, result = find(bare).results
    assert result.status == "inconclusive"
    assert "no first shell" in result.reason
    one = [atoms[[0, *range(1, 11), *range(41, len(atoms))]] for atoms in frames]
    *_, result = find(one).results
    assert result.status == "inconclusive", "packing knows nothing of solvation, which takes picoseconds"
    assert "20 ps" in result.missing
    for atoms in one:
        atoms.info["time_fs"] *= 1000.0
    *_, result = find(one).results
    assert result.status == "fail"
    assert result.value == pytest.approx(1.0)


def test_molecules_that_run_into_each_other_fail_and_a_few_frames_do_not() -> None:
    apart = solvated(anion_bound=False, frames=1)[0]
    crossed = apart.copy()
    crossed.positions[41:48] += apart.positions[7] + [1.2, 0, 0] - apart.positions[42]  # a fluorine next to a hydrogen
    assert find([apart] * 300).results[0].status == "pass"
    told = find([apart] * 298 + [crossed] * 2).results[0]
    assert (told.status, told.numbers["frames_too_close"]) == ("pass", 2)
    told = find([apart] * 295 + [crossed] * 5).results[0]
    assert told.status == "fail"
    assert told.value < 1
    assert set(told.numbers["closest_pair"].split("..")) & {"F42", "H7"}


def test_frames_that_are_close_in_time_are_looked_at_once() -> None:
    frames = carbon_dioxide(101, wrap=False)  # 1 fs apart
    assert find(frames).results[0].numbers["frames"] == 101
    assert find(frames, interval=10.0).results[0].numbers["frames"] == 11
    assert find(frames, interval=1.0).results[0].numbers["frames"] == 101


def test_types_with_equal_formulas_are_told_apart() -> None:
    """Ethanol and dimethyl ether: the same formula, other bonds."""
    from ase.build import molecule

    ethanol, ether = molecule("CH3CH2OH"), molecule("CH3OCH3")
    ether.positions += [8, 0, 0]
    both = ethanol + ether + Atoms("Li", [[0, 8, 0]])
    both.set_cell([20, 20, 20])
    both.pbc = True
    types = types_of(both)
    oxygens = [name for name, element in zip(types.names, types.elements, strict=True) if element == "O"]
    assert len(oxygens) == 2
    assert all(name.startswith("OofC2H6Ox") for name in oxygens)
    assert [types.names[index] for index in types.ions] == ["Li"]


def test_the_first_shell_ends_at_the_minimum_and_noise_is_none() -> None:
    r = np.arange(0.025, 8, 0.05)
    g = 9 * np.exp(-0.5 * ((r - 2.0) / 0.12) ** 2) + 1.4 / (1 + np.exp(-(r - 4.4) / 0.2))
    shell = first_shell(r, g, within=3.5, width=0.08)
    assert shell is not None
    assert shell.peak == pytest.approx(2.0, abs=0.06)
    assert 2.6 < shell.edge < 3.8
    assert first_shell(r, g, within=1.5, width=0.08) is None
    assert first_shell(r, np.full_like(r, 0.9), within=3.5, width=0.08) is None
