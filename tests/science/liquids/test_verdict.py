"""Verdicts: one failure decides, a claim needs length and size, and everything else says what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from aiida_mlip.science.liquids.conditions import WalkerPlace, in_words, nearest, place_of
from aiida_mlip.science.liquids.findings import CheckResult
from aiida_mlip.science.liquids.transfer import density_order, ratio_of, reference_density, transfer_checks
from aiida_mlip.science.liquids.verdict import Evidence, Question, judge

QUESTION = Question(temperatures=(300.0, 450.0, 500.0), pressures=(1e-4,), min_time_ps=150.0, min_molecules=48)
LIQUID = {"EC": 16, "EMC": 32}


def result(check: str, status: str, **fields: Any) -> CheckResult:
    return CheckResult(check=check, status=status, reason=fields.pop("reason", f"{check} {status}"), **fields)


def density(value: float, error: float = 0.002) -> CheckResult:
    return result("density", "pass", value=value, error=error, unit="g/cm3")


def run(temperature: float = 300.0, *checks: CheckResult, **fields: Any) -> Evidence:
    values = {
        "box": "ec_emc",
        "stage": "npt",
        "pressure": 1e-4,
        "composition": LIQUID,
        "time_ps": 150.0,
        "walker": f"ec_emc_t{temperature:g}_p0_w1",
        "checks": checks or (result("molecules", "pass"), density(1.05)),
    }
    return Evidence(temperature=temperature, **{**values, **fields})


def long_runs() -> list[Evidence]:
    return [run(temperature) for temperature in QUESTION.temperatures]


def test_long_runs_that_pass_are_stable() -> None:
    verdict = judge("good", QUESTION, long_runs())
    assert verdict.answer == "stable"
    assert not verdict.missing
    assert "ec_emc (48 molecules)" in verdict.sentence
    assert "300 K and 500 K" in verdict.sentence


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([run(300.0), run(450.0)], ["500 K", "no such run"]),
        ([run(300.0, time_ps=2.5), run(500.0)], ["300 K", "2.5 ps of 48 molecules"]),
        ([run(300.0, composition={"EC": 4, "EMC": 8}), run(500.0)], ["300 K", "150 ps of 12 molecules"]),
        ([run(300.0, stage="nvt", pressure=None), run(500.0)], ["300 K", "no such run"]),
    ],
)
def test_short_small_or_missing_runs_are_inconclusive_and_say_what_is_missing(runs, words) -> None:
    verdict = judge("hasty", QUESTION, runs)
    assert verdict.answer == "inconclusive"
    (missing,) = verdict.missing
    assert "150 ps" in missing
    for word in words:
        assert word in missing
    assert missing in verdict.sentence


def test_a_run_just_as_long_as_needed_is_long_enough() -> None:
    runs = [run(300.0, time_ps=149.99999), run(500.0, time_ps=150.0)]
    assert judge("exact", QUESTION, runs).answer == "stable"


def test_one_failure_decides_and_the_coolest_and_clearest_comes_first() -> None:
    hot = run(500.0, result("temperature", "fail"), result("molecules", "fail", reason="EC lost CO2"))
    warm = run(450.0, result("bubble", "fail", reason="a void of 6 Å"), density(0.8))
    verdict = judge("bad", QUESTION, [run(300.0), hot, warm])
    assert verdict.answer == "unstable"
    assert [(reason.temperature, reason.check) for reason in verdict.reasons] == [
        (450.0, "bubble"),
        (500.0, "molecules"),
        (500.0, "temperature"),
    ]
    assert "ec_emc, npt, 450 K, 1 bar" in verdict.sentence
    assert "a void of 6 Å" in verdict.sentence
    assert "2 more failures" in verdict.sentence
    assert "nothing failed at 300 K" in verdict.sentence
    assert verdict.checks == {"molecules": "fail", "density": "pass", "temperature": "fail", "bubble": "fail"}


def test_a_failure_at_constant_volume_or_energy_counts_too() -> None:
    short = run(300.0, result("energy", "fail"), stage="nve", pressure=None, time_ps=0.5)
    assert judge("leaky", QUESTION, [*long_runs(), short]).answer == "unstable"


def test_an_inconclusive_check_matters_where_a_claim_rests_on_it_only() -> None:
    doubt = result("bubble", "inconclusive", missing="more frames")
    extra = run(450.0, doubt, result("molecules", "pass"))
    assert judge("good", QUESTION, [run(300.0), extra, run(500.0)]).answer == "stable"
    verdict = judge("unclear", QUESTION, [run(300.0, doubt), run(500.0)])
    assert verdict.answer == "inconclusive"
    assert "more frames" in verdict.missing[0]


def test_accuracy_decides_nothing() -> None:
    off = result("reference_density", "fail", aspect="accuracy")
    runs = [run(300.0, density(1.3), off), run(500.0)]
    verdict = judge("dense", QUESTION, runs, force_tests=[result("inter_forces", "fail", aspect="accuracy")])
    assert verdict.answer == "stable"
    assert {found.check for found in verdict.accuracy} == {"reference_density", "inter_forces"}
    assert "reference_density" not in verdict.checks


def test_force_tests_alone_prove_no_stability_but_a_missing_wall_is_a_failure() -> None:
    fine, hole = result("volume_scan", "pass"), result("volume_scan", "fail", reason="no wall above 1.5 g/cm3")
    asked = Question()
    assert judge("unmoved", asked, [], force_tests=[fine]).answer == "inconclusive"
    verdict = judge("soft", asked, [], force_tests=[hole])
    assert verdict.answer == "unstable"
    assert "no wall above 1.5 g/cm3" in verdict.sentence


def test_a_step_that_failed_is_no_finding_but_prevents_a_claim() -> None:
    verdict = judge("unlucky", QUESTION, long_runs(), failed_steps={"nve": "the job was lost twice"})
    assert verdict.answer == "inconclusive"
    assert verdict.missing == ("nve gave no result: the job was lost twice",)
    bad = judge("bad", QUESTION, [run(300.0, result("run", "fail"))], failed_steps={"nve": "lost"})
    assert bad.answer == "unstable"


def test_conditions_put_walkers_together_and_do_not_pass_what_supports_no_claim() -> None:
    first = run(300.0, density(1.04, 0.01), result("molecules", "pass"), walker="a", copy_number=1)
    second = run(300.0, density(1.10, 0.01), result("molecules", "fail"), walker="b", copy_number=2, time_ps=20.0)
    short = run(450.0, time_ps=3.0)
    verdict = judge("mixed", QUESTION, [second, short, first])
    cool, warm = verdict.conditions
    assert (cool.walkers, cool.time_ps, cool.status) == (2, 20.0, "fail")
    assert cool.checks == {"density": "pass", "molecules": "fail"}
    assert cool.density == pytest.approx(1.07)
    assert cool.density_error == pytest.approx(0.03), "the spread of the two exceeds their own errors"
    assert warm.status == "inconclusive"


def test_transfer_compares_runs_that_differ_in_one_thing() -> None:
    runs = [
        run(300.0, result("molecules", "pass"), density(1.05)),
        run(300.0, result("molecules", "fail"), box="emc", composition={"EMC": 50}),
        run(450.0, time_ps=10.0),
        run(500.0, result("density", "fail")),
        run(300.0, box="large", composition={"EC": 64, "EMC": 128}),
        run(300.0, result("density", "fail"), pressure=2.5),
    ]
    found = {check.check: check for check in transfer_checks(QUESTION, runs)}
    assert found["transfer_composition"].status == "fail"
    assert "EMC 1" in found["transfer_composition"].reason.split("not for")[0]
    assert found["transfer_size"].status == "pass"
    assert found["transfer_temperature"].status == "fail"
    assert found["transfer_temperature"].numbers == {"300 K": "fail", "450 K": "inconclusive", "500 K": "fail"}
    assert found["transfer_pressure"].numbers == {"1 bar": "fail", "2.5e+04 bar": "fail"}
    assert found["transfer_seeds"].status == "inconclusive"


def test_transfer_of_one_box_is_inconclusive_and_decides_nothing() -> None:
    runs = long_runs()
    found = transfer_checks(QUESTION, runs)
    assert {check.check: check.status for check in found} == {
        "transfer_composition": "inconclusive",
        "transfer_size": "inconclusive",
        "transfer_temperature": "pass",
        "transfer_pressure": "inconclusive",
        "transfer_seeds": "inconclusive",
    }
    assert judge("good", QUESTION, runs, transfer=found).answer == "stable"


def test_seeds_that_disagree_are_named() -> None:
    runs = [run(300.0, copy_number=1), run(300.0, result("molecules", "fail"), copy_number=2)]
    (seeds,) = [check for check in transfer_checks(QUESTION, runs) if check.check == "transfer_seeds"]
    assert seeds.status == "fail"
    assert "300 K" in seeds.reason


@pytest.mark.parametrize(
    ("densities", "status"),
    [((1.00, 1.08, 1.25), "pass"), ((1.00, 1.08, 1.02), "fail"), ((1.00, 1.08, 1.081), "inconclusive")],
)
def test_the_density_rises_with_the_fraction_of_ec(densities, status) -> None:
    boxes = ({"EMC": 48}, {"EC": 16, "EMC": 32}, {"EC": 48})
    runs = [
        run(300.0, density(value), box=f"b{index}", composition=composition)
        for index, (value, composition) in enumerate(zip(densities, boxes, strict=True))
    ]
    salted = run(300.0, density(0.5), box="salt", composition={"EC": 40, "Li+": 1, "PF6-": 1})
    (found,) = density_order(QUESTION, [*reversed(runs), salted, run(450.0, density(0.2))])
    assert found.status == status
    assert found.aspect == "accuracy"
    assert density_order(QUESTION, runs[:1]) == []


@pytest.mark.parametrize(
    ("value", "error", "status"), [(1.081, 0.001, "pass"), (1.15, 0.001, "fail"), (1.13, 0.005, "inconclusive")]
)
def test_the_density_is_compared_at_the_target_only(value, error, status) -> None:
    question = QUESTION.model_copy(update={"reference_densities": {"ec_emc": 1.095, "other": 1.0}})
    (found,) = reference_density(question, [run(300.0, density(value, error)), run(450.0, density(0.7))])
    assert found.status == status
    assert found.value == pytest.approx(value / 1.095 - 1.0)


def test_names_of_walkers_say_their_conditions() -> None:
    place = WalkerPlace("ec_emc_1_2", 300, 2, 11)
    assert place.name == "ec_emc_1_2_t300_p2_w11"
    assert place_of(place.name) == place
    assert place_of("b_t5_w1_t500_w3") == WalkerPlace("b_t5_w1", 500, None, 3)
    assert nearest((298.15, 313.0), 298) == 298.15
    assert in_words("b", "npt", 298.15, 2.5) == "b, npt, 298.15 K, 25 kbar"
    assert ratio_of({"EMC": 32, "EC": 16}) == "EC:EMC 1:2"
    with pytest.raises(ValueError, match="walker = 'w1'"):
        place_of("w1")


def test_short_runs_at_constant_energy_can_pass_and_bare_ions_are_no_molecules() -> None:
    length = result("duration", "inconclusive", numbers={"molecules": 46})
    salted = {**LIQUID, "Li+": 1, "PF6-": 1}
    short = run(300.0, length, result("energy", "pass"), stage="nve", pressure=None, time_ps=1.0, composition=salted)
    assert short.status == "pass"
    assert run(300.0, length).status == "inconclusive"
    assert run(300.0, result("duration", "fail"), stage="nve", pressure=None).status == "fail"
    assert short.molecules == 46
    verdict = judge("salted", QUESTION, [run(300.0, length, composition=salted), run(500.0)])
    assert verdict.answer == "inconclusive"
    assert "150 ps of 46 molecules" in verdict.missing[0]


def test_a_claim_is_made_at_the_target_pressure() -> None:
    """At 25 kbar nothing expands."""
    question = QUESTION.model_copy(update={"pressures": (1e-4, 2.5)})
    pressed = run(300.0, pressure=2.5)
    assert judge("good", question, [*long_runs(), pressed]).answer == "stable"
    verdict = judge("pressed", question, [pressed, run(500.0)])
    assert verdict.answer == "inconclusive"
    assert "300 K" in verdict.missing[0]


def test_no_claim_needs_a_liquid_where_there_is_none() -> None:
    """Carbonates boil at 1200 K and 1 bar: there the hottest liquid decides, under pressure 1200 K does."""
    hot = QUESTION.model_copy(update={"temperatures": (300.0, 500.0, 1200.0)})
    assert hot.decisive == (300.0, 500.0)
    gone = run(1200.0, result("density", "inconclusive"))
    assert judge("good", hot, [run(300.0), run(500.0), gone]).answer == "stable"
    pressed = hot.model_copy(update={"pressures": (1e-4, 0.5)})
    assert pressed.decisive == (300.0, 1200.0)
    assert judge("good", pressed, [run(300.0), run(1200.0, pressure=0.5), gone]).answer == "stable"
    assert judge("unknown", pressed, [run(300.0), run(1200.0)]).answer == "inconclusive"


def test_no_other_trajectory_of_the_same_condition_may_be_in_doubt() -> None:
    """One that stopped since the potential was not sure is no support of a claim that the next one makes."""
    unsure = run(300.0, result("duration", "inconclusive"), time_ps=40.0, walker="ec_emc_t300_p0_w2", copy_number=2)
    assert judge("good", QUESTION, [*long_runs(), unsure]).answer == "inconclusive"
