"""When the loop ends well."""

from __future__ import annotations

import pytest

from aiida_mlip.science.iterative.convergence import Limits, Observation, condition_converged, missing


def seen(fraction: float | None = 0.01, forces: float | None = 0.1, **changes) -> Observation:
    return Observation(candidate_fraction=fraction, forces_rmse=forces, rungs=changes.pop("rungs", 2), **changes)


LIMITS = Limits(candidate_fraction=0.05, generations=1, rungs=2)


def test_few_candidates_in_stable_dynamics_are_enough() -> None:
    assert missing([seen(0.3), seen(0.05)], LIMITS) == []


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (seen(0.06), "6.0% of the frames, above 5.0%"),
        (seen(stopped=("t300_s0_w0",)), "1 walker(s) were stopped by a rule: t300_s0_w0"),
        (seen(rungs=1), "1 of 2 conditions were run"),
        (seen(None), "no frame was explored"),
        (seen(0.0, explored=False), "no frame was explored"),
        (seen(0.0, blind=True), "the uncertainty is zero on the calibration frames"),
    ],
)
def test_what_is_missing_is_said_in_words(observation: Observation, words: str) -> None:
    (reason,) = missing([observation], LIMITS)
    assert reason == f"generation 1: {reason.removeprefix('generation 1: ')}"
    assert words in reason


def test_generations_count_in_a_row() -> None:
    limits = Limits(candidate_fraction=0.05, generations=2, rungs=2)
    assert missing([seen()], limits) == ["1 of the 2 generations in a row that are asked for"]
    assert missing([seen(), seen(0.2), seen()], limits) == [
        "generation 2: candidates are 20.0% of the frames, above 5.0%"
    ]
    assert missing([seen(0.2), seen(), seen()], limits) == []


def test_an_error_that_still_falls_is_not_converged() -> None:
    limits = Limits(candidate_fraction=1.0, forces_improvement=0.1, stable=False, rungs=2)
    assert "still fell by 20.0%" in missing([seen(forces=0.1), seen(forces=0.08)], limits)[0]
    assert missing([seen(forces=0.1), seen(forces=0.095)], limits) == []
    assert missing([seen(forces=0.1), seen(forces=0.2)], limits) == []
    assert "nothing to be compared with" in missing([seen(forces=0.1)], limits)[0]
    assert "no held-out force error" in missing([seen(), seen(forces=None)], limits)[0]


def test_stability_is_asked_for_only_where_it_is_wanted() -> None:
    stopped = seen(stopped=("a",))
    assert missing([stopped], Limits(candidate_fraction=0.05, stable=False, rungs=2)) == []
    assert not condition_converged(0.0, ["a"], LIMITS)
    assert condition_converged(0.0, [], LIMITS)
    assert not condition_converged(None, [], LIMITS)
