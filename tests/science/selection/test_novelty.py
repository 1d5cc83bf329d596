"""Farthest-point sampling: against brute force, and what must not change its result."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.distance import cdist

from aiida_mlip.science.selection import (
    Budget,
    Candidate,
    Described,
    Level,
    Novelty,
    choose,
    geometric_descriptors,
    typical_novelty,
)

MANY = Budget(total=100)


def alloy(seed: int, scale: float = 0.15) -> Atoms:
    """A rattled, sheared cell of two elements without any symmetry."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=3.7, cubic=True) * (2, 1, 1)
    atoms.symbols[:3] = "Ni"
    atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=scale, size=atoms.positions.shape)
    return atoms


def described(atoms: Atoms, counts: np.ndarray | None = None) -> Described:
    every = np.ones(len(atoms), dtype=bool)
    return Described(
        atoms.numbers, geometric_descriptors(atoms, ["Cu", "Ni", "Al"]), every if counts is None else counts
    )


def candidate(atoms: Atoms, index: int = 0, **changes: object) -> Candidate:
    given = {
        "walker": "a",
        "index": index,
        "atoms": atoms,
        "sigma": 0.3,
        "level": Level.CANDIDATE,
        "temperature": 300.0,
    }
    return Candidate(**{**given, **changes})  # type: ignore[arg-type]


def chosen(frames: list[Atoms], known: list[Atoms], budget: Budget = MANY, **options: object) -> list[int]:
    result = choose(
        [candidate(atoms, index) for index, atoms in enumerate(frames)],
        [described(atoms) for atoms in frames],
        [described(atoms) for atoms in known],
        budget,
        **options,  # type: ignore[arg-type]
    )
    return [choice.candidate for choice in result.choices]


def brute_force(frames: list[Atoms], known: list[Atoms], budget: int) -> list[int]:
    """The same, straight from the definition, with other means: every distance of every pair is computed anew."""
    features = [geometric_descriptors(atoms, ["Cu", "Ni", "Al"]) for atoms in frames]
    familiar = [geometric_descriptors(atoms, ["Cu", "Ni", "Al"]) for atoms in known]
    for number in (28, 29):
        stack = np.concatenate([f[atoms.numbers == number] for f, atoms in zip(familiar, known, strict=True)])
        deviation = stack.std(axis=0)
        scale = np.maximum(deviation, 0.05 * np.sqrt(np.mean(deviation**2)))
        for f, atoms in zip([*features, *familiar], [*frames, *known], strict=True):
            f[atoms.numbers == number] /= scale
    library = list(zip(familiar, known, strict=True))
    picked: list[int] = []
    while len(picked) < budget:
        novelties = []
        for f, atoms in zip(features, frames, strict=True):
            atomwise = [
                min(cdist(f[a : a + 1], g[other.numbers == atoms.numbers[a]]).min() for g, other in library)
                for a in range(len(atoms))
            ]
            novelties.append(max(atomwise))
        best = int(np.argmax(novelties))
        picked.append(best)
        library.append((features[best], frames[best]))
    return picked


FRAMES = [alloy(seed) for seed in range(12)]
KNOWN = [alloy(seed, 0.05) for seed in range(100, 104)]


def test_it_is_what_brute_force_gives() -> None:
    assert chosen(FRAMES, KNOWN, Budget(total=6)) == brute_force(FRAMES, KNOWN, 6)


def test_any_order_of_the_frames_gives_the_same_set() -> None:
    order = np.random.default_rng(1).permutation(len(FRAMES)).tolist()
    first = set(chosen(FRAMES, KNOWN, Budget(total=5)))
    shuffled = chosen([FRAMES[i] for i in order], KNOWN[::-1], Budget(total=5))
    assert {order[i] for i in shuffled} == first


def test_rotation_order_of_atoms_and_cell_make_no_difference() -> None:
    rng = np.random.default_rng(7)
    moved = []
    for atoms in FRAMES:
        copy = atoms[rng.permutation(len(atoms)).tolist()]
        copy.rotate(float(rng.uniform(0, 180)), rng.normal(size=3), rotate_cell=True)
        copy.positions += rng.normal(size=3)
        copy.wrap()
        moved.append(copy)
    assert chosen(moved, KNOWN, Budget(total=6)) == chosen(FRAMES, KNOWN, Budget(total=6))


def test_what_is_known_in_any_disguise_is_never_chosen() -> None:
    disguised = KNOWN[0] * (1, 2, 1)
    disguised.rotate(33.0, (1, 2, 3), rotate_cell=True)
    assert chosen([disguised, *FRAMES[:2]], [KNOWN[0], KNOWN[1]]) == chosen([disguised, *FRAMES[:2]], KNOWN[:2])
    assert 0 not in chosen([disguised, *FRAMES[:2]], KNOWN[:2])


def test_duplicates_are_chosen_once() -> None:
    twice = [FRAMES[0], FRAMES[1], FRAMES[0].copy(), FRAMES[1][::-1]]
    assert sorted(chosen(twice, KNOWN)) == [0, 1]


def test_one_strange_atom_among_a_hundred_is_seen() -> None:
    """Averages over the frame would put the uniformly warmer frame first."""
    rng = np.random.default_rng(3)
    perfect = bulk("Cu", "fcc", a=3.6, cubic=True) * (3, 3, 3)

    def warm(scale: float) -> Atoms:
        copy = perfect.copy()
        copy.positions += rng.normal(scale=scale, size=copy.positions.shape)
        return copy

    strange = warm(0.05)
    strange.positions[40] += [0.9, 0.4, 0.2]
    frames = [warm(0.07), strange, warm(0.06)]
    known = [warm(0.05) for _ in range(4)]
    result = choose(
        [candidate(atoms) for atoms in frames],
        [described(atoms) for atoms in frames],
        [described(atoms) for atoms in known],
        Budget(total=1),
    )
    assert result.choices[0].candidate == 1
    near = np.flatnonzero(strange.get_distances(40, range(len(strange)), mic=True) < 3.2)
    assert result.choices[0].atom in near
    averages = [geometric_descriptors(atoms, ["Cu"]).mean(axis=0) for atoms in (*frames, *known)]
    distances = cdist(averages[:3], averages[3:]).min(axis=1)
    assert np.argmax(distances) == 0


def test_only_the_uncertain_atoms_make_a_frame_new() -> None:
    odd = FRAMES[0].copy()
    mask = np.zeros(len(odd), dtype=bool)
    odd.positions[5] += [0.7, 0.3, 0.1]
    novelty = Novelty([described(odd, mask), described(odd)])
    for atoms in KNOWN:
        novelty.learn(described(atoms))
    values = novelty.values()
    assert values[0] == 0.0 < values[1]
    with pytest.raises(ValueError, match="none of its atoms counts"):
        novelty.strangest(0)


def test_an_unknown_element_is_infinitely_new_and_first() -> None:
    foreign = FRAMES[0].copy()
    foreign.symbols[2] = "Al"
    result = choose(
        [candidate(FRAMES[1], sigma=0.9), candidate(foreign, sigma=0.2)],
        [described(FRAMES[1]), described(foreign)],
        [described(atoms) for atoms in KNOWN],
        MANY,
    )
    assert [choice.candidate for choice in result.choices] == [1, 0]
    assert np.isinf(result.choices[0].novelty)
    assert result.choices[0].atom == 2


def test_with_nothing_known_the_most_uncertain_frame_comes_first() -> None:
    sigmas = [0.2, 0.25, 0.6, 0.3]
    result = choose(
        [candidate(atoms, sigma=sigma) for atoms, sigma in zip(FRAMES, sigmas, strict=False)],
        [described(atoms) for atoms in FRAMES[:4]],
        [],
        MANY,
    )
    assert result.choices[0].candidate == 2
    assert len(result.choices) == 4
    assert result.unit is None


def test_the_unit_is_the_typical_distance_of_known_frames() -> None:
    """In its units, frames drawn as the known ones were have a novelty around 1."""
    known = [alloy(seed, 0.05) for seed in range(200, 230)]
    alike = [alloy(seed, 0.05) for seed in range(300, 330)]
    result = choose([candidate(a) for a in alike], [described(a) for a in alike], [described(a) for a in known], MANY)
    assert 0.8 < np.median(result.novelties) < 1.25
    assert np.median(choose_values(FRAMES, known)) > 1.5


def choose_values(frames: list[Atoms], known: list[Atoms]) -> np.ndarray:
    parts = [[described(atoms) for atoms in group] for group in (frames, known)]
    return choose([candidate(atoms) for atoms in frames], *parts, MANY).novelties


def test_known_frames_that_are_all_the_same_give_no_unit() -> None:
    same = [described(alloy(1)), described(alloy(1)[::-1])]
    assert typical_novelty(same, seed=1) is None
    assert typical_novelty([], seed=1) is None


def test_frames_less_new_than_asked_for_are_left_out() -> None:
    known = [alloy(seed, 0.05) for seed in range(200, 230)]
    frames = [alloy(400, 0.05), alloy(401, 0.4)]
    assert chosen(frames, known, min_novelty=2.0) == [1]


def test_molecules_without_a_cell_can_be_compared() -> None:
    water = molecule("H2O")
    bent = water.copy()
    bent.set_angle(1, 0, 2, 130)
    frames = [Described(a.numbers, geometric_descriptors(a, ["H", "O"]), np.ones(3, bool)) for a in (water, bent)]
    result = choose([candidate(water), candidate(bent)], frames, frames[:1], MANY)
    assert [choice.candidate for choice in result.choices] == [1]


def test_isolated_atoms_have_an_environment_too() -> None:
    lone = [Atoms("Cu"), Atoms("Ni", cell=[12, 12, 12], pbc=True)]
    assert not any(geometric_descriptors(atoms, ["Cu", "Ni"]).any() for atoms in lone)
    assert chosen([Atoms("Cu", cell=[15, 15, 15], pbc=True), FRAMES[0]], [*lone, *KNOWN]) == [1]


def test_an_element_that_was_not_announced_is_refused() -> None:
    with pytest.raises(ValueError, match="29"):
        geometric_descriptors(bulk("Cu"), ["Ni"])
