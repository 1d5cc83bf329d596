"""Trust levels, geometry filters, budgets, and the frames that come out."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii

from aiida_mlip.science.contacts import closest_contact, neighbours
from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.origin import origin_of
from aiida_mlip.science.selection import (
    Budget,
    Candidate,
    Choice,
    Described,
    Level,
    choose,
    classify,
    geometric_descriptors,
    refused_by,
)
from aiida_mlip.science.selection.describe import config_type_of, outcome, selected_frame
from aiida_mlip.science.selection.sift import Sifted, sift, thinned, uncertain_atoms


def frame(seed: int, sigma: float, **info: object) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("W", "bcc", a=3.17, cubic=True) * (2, 1, 1)
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    atoms.arrays["forces"] = rng.normal(size=(len(atoms), 3))
    atoms.arrays["forces_sigma"] = np.array([0.1, 1.0, 0.3, 0.9]) * sigma
    atoms.info |= {"max_forces_sigma": sigma, "step": 10 * seed, "temperature": 600.0, **info}
    return atoms


@pytest.mark.parametrize(
    ("sigma", "level"),
    [
        (0.0, "accurate"),
        (0.0999, "accurate"),
        (0.1, "candidate"),
        (0.4999, "candidate"),
        (0.5, "failed"),
        (9.0, "failed"),
    ],
)
def test_levels_contain_their_lower_end(sigma: float, level: str) -> None:
    assert classify(sigma, 0.1, 0.5) == level


@pytest.mark.parametrize("sigma", [float("nan"), -0.1])
def test_what_is_no_uncertainty_has_no_level(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma ="):
        classify(sigma, 0.1, 0.5)


@pytest.mark.parametrize("periodic", [False, True])
def test_the_closest_contact_is_measured_by_covalent_radii(periodic: bool) -> None:
    water = Atoms("OHH", positions=[[0.2, 0, 0], [0.2, 0.96, 0], [7.9, -0.3, 0.1]])
    if periodic:
        water.set_cell([8.0, 9.0, 10.0])
        water.pbc = True
    radii = covalent_radii[8] + covalent_radii[1]
    across = np.linalg.norm([0.3, 0.3, 0.1])
    assert closest_contact(water) == pytest.approx((across if periodic else 0.96) / radii, abs=1e-12)
    assert closest_contact(water, within=0.2) == np.inf


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), (False, False, False), (True, True, True)])
def test_both_neighbour_lists_agree(pbc: tuple[bool, bool, bool]) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.positions += [0.3, 5.1, -0.2]
    atoms.set_cell([4.0, 4.5, 5.0])
    atoms.pbc = pbc
    open_ = atoms.copy()
    open_.cell[[k for k in range(3) if not pbc[k]]] = 0.0
    np.testing.assert_allclose(sorted(neighbours("d", atoms, 1.5)), sorted(neighbours("d", open_, 1.5)), atol=1e-12)


def test_filters_name_what_is_wrong() -> None:
    good = frame(1, 0.2)
    forces = good.arrays["forces"]
    start = 4 * 183.84 / 63.7 * 1.66054  # g/cm^3
    limits = {"min_distance": 0.6, "max_force": 50.0, "density": (0.6, 1.6), "start_density": start}
    assert refused_by(good, forces, **limits) is None
    close = good.copy()
    close.positions[1] = close.positions[0] + [0.9, 0.8, 0.4]
    assert refused_by(close, forces, **limits) == "min_distance"
    assert refused_by(close, forces, **{**limits, "min_distance": 0.3}) is None
    strong = forces.copy()
    strong[2] = [30.0, -30.0, 30.0]
    assert refused_by(good, strong, **limits) == "max_force"
    swollen = good.copy()
    swollen.set_cell(swollen.cell * 1.7 ** (1 / 3), scale_atoms=True)
    assert refused_by(swollen, forces, **limits) == "density"
    assert refused_by(swollen, forces) is None
    broken = good.copy()
    broken.positions[0, 0] = np.nan
    assert refused_by(broken, forces) == "not_finite"
    cluster = swollen.copy()
    cluster.pbc = False
    assert refused_by(cluster, forces, **limits) is None


def test_frames_of_a_trajectory_are_sorted_and_counted() -> None:
    frames = [frame(1, 0.05), frame(2, 0.2), frame(3, 0.6), frame(4, 0.3)]
    frames[3].positions[1] = frames[3].positions[0] + 0.3
    found = sift("hot", frames, lower=0.1, upper=0.5, filters={"min_distance": 0.6})
    assert (found.frames, found.filtered, found.largest) == (4, {"min_distance": 1}, 0.6)
    assert found.levels == {Level.ACCURATE: 1, Level.CANDIDATE: 1, Level.FAILED: 1}
    assert [(c.index, c.sigma, c.level) for c in found.candidates] == [(1, 0.2, "candidate"), (2, 0.6, "failed")]


def test_density_is_that_of_the_first_frame_of_the_trajectory() -> None:
    frames = [frame(1, 0.2), frame(2, 0.2), frame(3, 0.2)]
    frames[1].set_cell(frames[1].cell * 0.9, scale_atoms=True)
    frames[2].set_cell(frames[2].cell * 0.8, scale_atoms=True)
    found = sift("npt", frames, lower=0.1, upper=0.5, filters={"density": (0.6, 1.6)})
    assert found.filtered == {"density": 1}
    assert [c.index for c in found.candidates] == [0, 1]


def test_a_frame_without_uncertainty_is_refused() -> None:
    frames = [frame(1, 0.2), frame(2, 0.2)]
    del frames[1].info["max_forces_sigma"]
    with pytest.raises(ValueError, match=r"trajectories.cold: frame 1 \(step 20\) has no uncertainty"):
        sift("cold", frames, lower=0.1, upper=0.5)


def test_the_uncertain_atoms_are_those_above_the_lower_level() -> None:
    assert uncertain_atoms(frame(1, 0.4), 0.3).tolist() == [False, True, False, True]
    assert uncertain_atoms(frame(1, 0.1), 0.3).tolist() == [False, True, False, False]
    bare = frame(1, 0.4)
    del bare.arrays["forces_sigma"]
    assert uncertain_atoms(bare, 0.3).all()


def candidates(plan: list[tuple[str, str, float]]) -> list[Candidate]:
    """Candidates by walker, level and temperature."""
    return [
        Candidate(walker, index, frame(index, 0.3), 0.3, Level(level), temperature)
        for index, (walker, level, temperature) in enumerate(plan)
    ]


def choices(items: list[Candidate], budget: Budget, **options: bool) -> list[Candidate]:
    described = [
        Described(c.atoms.numbers, geometric_descriptors(c.atoms, ["W"]), np.ones(len(c.atoms), bool)) for c in items
    ]
    known = [frame(1000 + seed, 0.1) for seed in range(3)]
    familiar = [Described(a.numbers, geometric_descriptors(a, ["W"]), np.ones(len(a), bool)) for a in known]
    return [items[choice.candidate] for choice in choose(items, described, familiar, budget, **options).choices]


def test_candidates_come_before_failed_frames() -> None:
    items = candidates([("a", "failed", 300.0)] * 6 + [("a", "candidate", 300.0)] * 3)
    assert [c.level for c in choices(items, Budget(total=5))] == ["candidate"] * 3 + ["failed"] * 2
    assert [c.level for c in choices(items, Budget(total=5), include_failed=False)] == ["candidate"] * 3


def test_a_budget_per_temperature_is_kept() -> None:
    items = candidates([("a", "candidate", 300.0)] * 4 + [("b", "candidate", 320.0)] * 4 + [("c", "failed", 900.0)] * 4)
    taken = choices(items, Budget(total=9, per_temperature=2))
    assert Counter(c.temperature for c in taken)[900.0] == 2
    assert len(taken) == 4  # 300 K and 320 K are in one bin of 50 K
    finer = choices(items, Budget(total=9, per_temperature=2, bin_width=10.0))
    assert Counter(c.temperature for c in finer) == {300.0: 2, 320.0: 2, 900.0: 2}


def test_walkers_share_a_budget() -> None:
    items = candidates([("busy", "candidate", 300.0)] * 12 + [("calm", "candidate", 300.0)] * 3)
    assert Counter(c.walker for c in choices(items, Budget(total=6))) == {"busy": 3, "calm": 3}
    assert Counter(c.walker for c in choices(items, Budget(total=10))) == {"busy": 7, "calm": 3}


def test_thinning_keeps_each_level_and_walker() -> None:
    items = candidates(
        [("a", "candidate", 300.0)] * 40 + [("b", "candidate", 300.0)] * 20 + [("b", "failed", 300.0)] * 3
    )
    kept = thinned(items, 15)
    assert Counter((c.walker, c.level) for c in kept) == {
        ("a", "candidate"): 10,
        ("b", "candidate"): 5,
        ("b", "failed"): 3,
    }
    assert kept[0] is items[0]


def test_a_selected_frame_says_where_it_came_from() -> None:
    atoms = frame(7, 0.32, energy_sigma=0.08, pressure=1.5)
    item = Candidate("t600_s0_w1", 3, atoms, 0.32, Level.CANDIDATE, 600.0)
    bare = selected_frame(item, Choice(0, 2.5, 1), lower=0.1, upper=0.5, unit=4.0, generation=2)
    origin = origin_of(bare)
    assert origin is not None
    assert (origin.kind, origin.generation, origin.walker, origin.step) == ("md", 2, "t600_s0_w1", 70)
    assert (origin.temperature, origin.pressure, origin.max_forces_sigma) == (600.0, 1.5, 0.32)
    assert origin.energy_sigma == pytest.approx(0.02)  # per atom: there are four
    for number in ("0.32", "0.1", "0.5", "2.5", "atom 1 (W)"):
        assert number in origin.reason
    assert set(bare.info) == {CONFIG_TYPE, "origin"}
    assert set(bare.arrays) == {"numbers", "positions"}
    np.testing.assert_array_equal(bare.positions, atoms.positions)


def test_types_are_named_by_the_condition() -> None:
    assert config_type_of("t600_s0_w1") == "md_t600"
    assert config_type_of("my_walker") == "md"


@pytest.mark.parametrize(
    ("sigmas", "failed", "words"),
    [
        ([0.05, 0.01], True, r"no frame reaches the lower level of 0\.1 .* 2 frames is 0\.05"),
        ([0.6, 0.01], False, "include_failed is False"),
        ([0.3, 0.01], True, "are as what is known"),
    ],
)
def test_an_empty_selection_says_why(sigmas: list[float], failed: bool, words: str) -> None:
    found = sift("a", [frame(i, sigma) for i, sigma in enumerate(sigmas)], lower=0.1, upper=0.5)
    nothing = choose([], [], [], Budget(total=3))
    text = outcome({"a": found}, found.candidates, nothing, new=0, lower=0.1, failed=failed)
    assert text.startswith("Nothing was selected")
    assert re.search(words, text)


def test_a_trajectory_of_refused_frames_says_so() -> None:
    found = Sifted(frames=3, filtered=Counter({"density": 3}))
    text = outcome({"a": found}, [], choose([], [], [], Budget(total=3)), new=0, lower=0.1, failed=True)
    assert text == "Nothing was selected: the geometry filters refused all 3 frames."
