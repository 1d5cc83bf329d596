"""The ladder: names, seeds, and which rungs are run."""

from __future__ import annotations

import pytest

from aiida_mlip.science.iterative.ladder import condition_of, rungs_to_run, walker_name, walker_seed


@pytest.mark.parametrize("condition", ["t300", "t300_s1", "w2_w3", "ramp_up"])
def test_the_condition_is_read_back_from_the_name_of_a_walker(condition: str) -> None:
    assert condition_of(walker_name(condition, 3, 12)) == condition


def test_a_foreign_name_is_a_condition_of_its_own() -> None:
    assert condition_of("mine") == "mine"


def test_seeds_differ_between_walkers_generations_and_runs_and_are_always_the_same() -> None:
    seeds = [walker_seed(seed, generation, number) for seed in (1, 2) for generation in (1, 2) for number in range(5)]
    assert len(set(seeds)) == len(seeds)
    assert walker_seed(1, 2, 3) == walker_seed(1, 2, 3)


@pytest.mark.parametrize(
    ("kind", "before", "expected"),
    [
        ("all", None, 4),
        ("all", [False, False], 4),
        ("rising", None, 1),
        ("rising", [False], 1),
        ("rising", [True], 2),
        ("rising", [True, False], 2),
        ("rising", [False, True, True], 1),
        ("rising", [True, True, True], 4),
        ("rising", [True, True, True, True], 4),
    ],
)
def test_the_ladder_rises_to_the_first_rung_that_is_not_converged(kind, before, expected) -> None:
    assert rungs_to_run(kind, 4, before) == expected
