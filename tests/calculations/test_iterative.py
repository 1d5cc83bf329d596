"""Calcfunctions of the loop: sets, settings and records, without any job."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm

from aiida_mlip.calculations import iterative as functions
from aiida_mlip.calculations import iterative_records as records
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.iterative import GenerationRecord, History, IterativeSettings
from aiida_mlip.schema.selection import SelectionSettings
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.keys import CONFIG_TYPE, GROUP
from aiida_mlip.science.parity import parity_arrays
from aiida_mlip.science.predictions import Predictions

pytestmark = pytest.mark.usefixtures("aiida_profile_clean")

CONDITIONS = [
    {"name": "t300", "stages": [{"steps": 100, "temperature": 300.0}]},
    {"name": "t900", "stages": [{"steps": 50, "temperature": 900.0}]},
]


def settings(**changes: Any) -> orm.Dict:
    return orm.Dict(IterativeSettings(**{"conditions": CONDITIONS, "seed": 4, **changes}).model_dump(mode="json"))


def training(**changes: Any) -> orm.Dict:
    return orm.Dict({"strategy": {"kind": "scratch"}, "learning_rate": 0.01, "max_epochs": 1, **changes})


FORCES_CALIBRATION = {"scale": 2.0, "coverage_before": 0.4, "coverage_after": 0.6, "expected_coverage": 0.6, "count": 9}
UNCERTAINTY = {"kind": "deep", "members": 2, "forces": FORCES_CALIBRATION, "median_max_forces_sigma": 0.2}


@pytest.fixture
def own_groups(emt_frames):
    def function(count: int, seed: int) -> list:
        frames = emt_frames(count, seed)
        for index, atoms in enumerate(frames):
            atoms.info[GROUP] = f"{seed}/{index}"
        return frames

    return function


def test_the_first_set_stays_within_the_label_budget(emt_frames) -> None:
    structures = DatasetData(emt_frames(2, 1))
    all_of_it = functions.start_configurations(
        structures, settings(), training(e0_policy={"kind": "average"}), orm.Dict()
    )
    assert len(all_of_it) > 10
    assert not any(all_of_it.labels.values())
    budget = settings(label_budget=7)
    isolated = training(e0_policy={"kind": "isolated_atoms"})
    assert len(functions.start_configurations(structures, budget, isolated, orm.Dict())) == 5, (
        "7 less the atoms of Cu and Ni"
    )
    some = functions.start_configurations(structures, budget, training(e0_policy={"kind": "average"}), orm.Dict())
    assert len(some) == 7
    more = orm.Dict({"isolated_atoms": ["Al", "Cu"]})
    assert len(functions.start_configurations(structures, budget, isolated, more)) == 4, (
        "and of Al, which was asked for"
    )
    assert set(some.fingerprints()) < set(all_of_it.fingerprints())
    with pytest.raises(DatasetError, match="label_budget = 2 leaves nothing"):
        functions.start_configurations(structures, settings(label_budget=2), isolated, orm.Dict())


def test_isolated_atoms_are_asked_for_once_and_only_where_the_reference_energies_need_them(emt_frames) -> None:
    structures, asked = DatasetData(emt_frames(1, 1)), orm.Dict({"isolated_atoms": ["Al"]})
    isolated = training(e0_policy={"kind": "isolated_atoms"})
    assert functions.start_label_settings(asked, isolated, structures)["isolated_atoms"] == ["Al", "Cu", "Ni"]
    other = training(e0_policy={"kind": "average"})
    assert functions.start_label_settings(asked, other, structures)["isolated_atoms"] == ["Al"]
    assert functions.generation_label_settings(asked)["isolated_atoms"] == []


def test_the_first_sets_are_made_of_what_is_given_and_what_was_labelled(own_groups) -> None:
    given = DatasetData(own_groups(10, 1), level_of_theory="EMT")
    labelled = DatasetData(own_groups(10, 2), level_of_theory="EMT")
    made = functions.start_sets(settings(holdout_fraction=0.2), given=given, labelled=labelled)
    assert len(made["training_set"]) + len(made["holdout"]) == 20
    assert len(made["holdout"]) == 4
    assert not set(made["holdout"].fingerprints()) & set(made["training_set"].fingerprints())
    assert made["training_set"].level_of_theory == "EMT"
    mixed = functions.start_sets(
        settings(holdout_fraction=0.0), given=given, labelled=DatasetData(own_groups(2, 5), level_of_theory="PBE")
    )
    assert "holdout" not in mixed
    assert "different levels of theory" in mixed["report"]["warnings"][0]


def test_frames_like_those_held_out_are_never_trained_on(own_groups) -> None:
    frames = own_groups(8, 1)
    holdout = DatasetData(frames[:3])
    made = functions.start_sets(settings(), given=DatasetData(frames), holdout=holdout)
    assert len(made["training_set"]) == 5
    assert "holdout" not in made
    new = DatasetData([*own_groups(2, 9), frames[1]])
    longer = functions.extend_set(made["training_set"], new, holdout)
    assert len(longer) == 7
    assert set(made["training_set"].fingerprints()) < set(longer.fingerprints())
    with pytest.raises(DatasetError, match="every configuration of the first set"):
        functions.start_sets(settings(), given=holdout, holdout=holdout)


def test_a_set_is_parted_the_same_way_when_it_has_grown(own_groups) -> None:
    first, later = own_groups(12, 1), own_groups(9, 2)
    before = functions.generation_sets(DatasetData(first), settings(validation_fraction=0.25))
    after = functions.generation_sets(DatasetData([*first, *later]), settings(validation_fraction=0.25))
    assert set(before["validation"].fingerprints()) < set(after["validation"].fingerprints())
    assert set(before["training"].fingerprints()) < set(after["training"].fingerprints())


def test_batches_are_never_larger_than_the_set(own_groups) -> None:
    part = DatasetData(own_groups(3, 1))
    assert functions.fitting_batch(training(batch_size=8), part)["batch_size"] == 3
    assert functions.fitting_batch(training(batch_size=2), part)["batch_size"] == 2


def test_the_dynamics_get_walkers_seeds_and_the_upper_trust_level(emt_frames) -> None:
    structures = DatasetData(emt_frames(2, 1))
    given = {"settings": settings(walkers=2), "uncertainty": orm.Dict(UNCERTAINTY), "structures": structures}
    dynamics = orm.Dict({"timestep": 2.0})
    first = functions.md_settings(dynamics, history=records.start_history(), **given)
    made = MDSettings(**first.get_dict())
    assert len(made.walkers) == 2 * 2 * 2
    assert made.walkers["t900_s1_w0"].structure == 1
    assert made.walkers["t900_s1_w0"].stages[0].temperature == 900.0
    assert len({walker.seed for walker in made.walkers.values()}) == 8
    assert made.stop.uncertainty == pytest.approx(10.0 * 0.2)
    own = functions.md_settings(orm.Dict({"stop": {"uncertainty": 0.7}}), history=records.start_history(), **given)
    assert own["stop"]["uncertainty"] == 0.7


def test_the_selection_gets_levels_and_what_is_left_of_the_budget(emt_frames) -> None:
    history = orm.Dict(History(labels_used=13).model_dump(mode="json"))
    choice = orm.Dict({"budget": 6})
    made = functions.selection_settings(choice, settings(label_budget=17), orm.Dict(UNCERTAINTY), history)
    typed = SelectionSettings(**made.get_dict())
    assert (typed.levels.lower, typed.levels.upper) == pytest.approx((0.4, 2.0))
    assert (typed.budget, typed.generation) == (4, 1)
    free = functions.selection_settings(choice, settings(), orm.Dict(UNCERTAINTY), history)
    assert free["budget"] == 6
    selected = DatasetData(emt_frames(6, 3))
    assert len(functions.within_budget(selected, settings(label_budget=17), history)) == 4
    with pytest.raises(DatasetError, match="used up"):
        functions.within_budget(selected, settings(label_budget=13), history)


COUNTS = {"frames": 20, "filtered": 2, "accurate": 12, "candidate": 4, "failed": 2, "known": 1, "selected": 3}


def predictions(frames: list, error: float) -> orm.ArrayData:
    from aiida_mlip.science.keys import ENERGY, FORCES, STRESS

    found = Predictions(
        np.array([atoms.info[ENERGY] for atoms in frames]),
        [atoms.arrays[FORCES] + error for atoms in frames],
        np.array([atoms.info[STRESS] for atoms in frames]),
    )
    node = orm.ArrayData()
    for name, array in parity_arrays(frames, found).items():
        node.set_array(name, array)
    return node


@pytest.fixture
def nodes(own_groups):
    """What a generation leaves, with changes."""
    training, holdout = own_groups(6, 1), own_groups(4, 2)
    info = {"architecture": "mace", "elements": ["Cu", "Ni"], "r_max": 5.0, "dtype": "float64", "num_parameters": 1}

    def table(error: float) -> dict[str, Any]:
        return {"holdout": {"all": {"forces": {"rmse": error}}}}

    def function(fraction: float = 0.33, stopped: str | None = "uncertainty", **more: Any) -> dict[str, Any]:
        import io

        looked = 18
        wanted = {**COUNTS, "candidate": round(fraction * looked), "failed": 0}
        wanted["accurate"] = looked - wanted["candidate"]
        quiet = {**COUNTS, "accurate": looked, "candidate": 0, "failed": 0}
        walker = {"structure": 0, "steps": 60, "asked_steps": 100, "stable_steps": 50, "temperature": 300.0,
                  "stopped_by": None, "force_calls": 61}  # fmt: skip
        found: dict[str, Any] = {
            "training_set": DatasetData(training), "training": DatasetData(training), "holdout": DatasetData(holdout),
            "uncertainty": orm.Dict({**UNCERTAINTY, "warnings": ["weak"], "timings": {"total": 2.0}}),
            "md_settings": orm.Dict({"timestep": 2.0}),
            "md": orm.Dict({"walkers": {"t300_s0_w0": walker, "t900_s0_w0": {**walker, "stopped_by": stopped}}}),
            "selection_settings": orm.Dict({"levels": {"kind": "absolute", "lower": 0.4, "upper": 2.0}}),
            "selection": orm.Dict({"counts": {**wanted, "frames": 20}, "candidate_fraction": fraction,
                                   "by_walker": {"t300_s0_w0": quiet, "t900_s0_w0": wanted}}),
        }  # fmt: skip
        for name, error in (("member_00", 0.1), ("member_01", -0.3)):
            found |= {
                f"potential_{name}": PotentialData(io.BytesIO(b"PK\x03\x04" + name.encode()), info),
                f"trained_{name}": orm.Dict({"timings": {"total": 10.0}}),
                f"evaluation_{name}": orm.Dict({"errors": table(abs(error)), "timings": {"total": 1.0}}),
                f"predictions_{name}_holdout": predictions(holdout, error),
                f"predictions_{name}_training": predictions(training, 0.01),
            }
        return found | more

    return function


def test_a_generation_is_recorded_with_the_error_of_the_mean_of_its_members(nodes) -> None:
    asked = DatasetData(list(nodes()["holdout"].frames()))
    history = records.add_generation(records.start_history(), settings(), **nodes(selected=asked))
    (record,) = History(**history.get_dict()).generations
    assert record.errors["member_01"]["all"]["forces"]["rmse"] == 0.3
    assert record.errors["committee"]["all"]["forces"]["rmse"] == pytest.approx(0.1)
    assert [item.survived_ps for item in record.survival] == pytest.approx([0.1, 0.1])
    assert record.survival[1].stopped_by == "uncertainty"
    assert record.by_condition["t900"].candidate == 6
    assert record.cost["training"] == 20.0
    assert record.cost["force_calls"] == 122
    assert record.levels == {"lower": 0.4, "upper": 2.0}
    assert record.frames == {"training": 6, "holdout": 4}
    assert "uncertainty: weak" in record.warnings
    assert not record.converged
    assert any("stopped by a rule: t900_s0_w0" in reason for reason in record.reasons)
    assert history["ended"] == ""


@pytest.mark.parametrize(
    ("changes", "quiet", "asked", "ended"),
    [
        ({}, True, True, "converged"),
        ({}, False, True, ""),
        ({}, False, False, "no_candidates"),
        ({"max_generations": 1}, False, True, "max_generations"),
        ({"max_generations": 1}, True, False, "converged"),
        ({"label_budget": 9}, False, True, "label_budget"),
        ({"label_budget": 10}, False, True, ""),
    ],
)
def test_what_ends_the_loop(changes: dict[str, int], quiet: bool, asked: bool, ended: str) -> None:
    counts = {"frames": 20, "filtered": 0, "accurate": 20 if quiet else 10, "candidate": 0 if quiet else 10,
              "failed": 0, "known": 0, "selected": 3}  # fmt: skip
    survival = [
        {"walker": f"{name}_s0_w0", "condition": name, "structure": 0, "temperature": 300.0, "asked_ps": 1.0,
         "survived_ps": 1.0} for name in ("t300", "t900")
    ]  # fmt: skip
    record = GenerationRecord(
        generation=1, potentials={}, training_set="", frames={}, errors={}, selection=counts, survival=survival,
        candidate_fraction=0.0 if quiet else 0.5, converged=quiet,
    )  # fmt: skip
    history = History(generations=(record,), labels_used=9)
    typed = IterativeSettings(**settings(**changes).get_dict())
    assert records.why_ended(typed, history, asked=asked) == ended


@pytest.mark.parametrize(
    ("changed", "stopped", "stable", "left"),
    [
        ({}, None, True, False),
        ({"candidate": 2}, None, True, True),
        ({"filtered": 4}, None, True, True),
        ({}, "distance", True, True),
        ({}, "distance", False, False),
    ],
)
def test_dynamics_that_explode_leave_nothing_to_label_and_that_is_no_good_end(
    changed: dict[str, int], stopped: str | None, stable: bool, left: bool
) -> None:
    counts = {"frames": 20, "filtered": 0, "accurate": 16, "candidate": 0, "failed": 0, "known": 0, "selected": 0}
    walker = {"walker": "t300_s0_w0", "condition": "t300", "structure": 0, "temperature": 300.0, "asked_ps": 1.0,
              "survived_ps": 0.0, "stopped_by": stopped}  # fmt: skip
    record = GenerationRecord(
        generation=1, potentials={}, training_set="", frames={}, errors={}, selection={**counts, **changed},
        survival=[walker],
    )  # fmt: skip
    typed = IterativeSettings(**settings(convergence={"stable": stable}).get_dict())
    assert records.left_open(typed, record) is left


def test_members_that_agree_exactly_have_not_converged(nodes) -> None:
    equal = {**UNCERTAINTY, "forces": None, "median_max_forces_sigma": 0.0}
    quiet = nodes(fraction=0.0, stopped=None, uncertainty=orm.Dict({**equal, "timings": {"total": 1.0}}))
    history = records.add_generation(records.start_history(), settings(), **quiet)
    (record,) = History(**history.get_dict()).generations
    assert not record.converged
    assert any("uncertainty is zero" in reason for reason in record.reasons)
    typed = IterativeSettings(**settings().get_dict())
    assert records.left_open(typed, record)
    assert records.rungs_converged(typed, record) == [False, False]


def test_errors_without_a_hold_out_set_are_said_to_be_of_the_validation_set(nodes) -> None:
    made = nodes()
    frames = made.pop("holdout")
    for member in ("member_00", "member_01"):
        made[f"predictions_{member}_validation"] = made.pop(f"predictions_{member}_holdout")
        errors = made[f"evaluation_{member}"]["errors"]["holdout"]
        made[f"evaluation_{member}"] = orm.Dict({"errors": {"validation": errors}, "timings": {"total": 1.0}})
    history = records.add_generation(records.start_history(), settings(), **made, validation=frames)
    (record,) = History(**history.get_dict()).generations
    assert record.errors["committee"]["all"]["forces"]["rmse"] == pytest.approx(0.1)
    assert any("nothing is held out" in warning for warning in record.warnings)


def test_a_rising_ladder_climbs_on_where_there_is_nothing_to_label(nodes) -> None:
    rising = settings(ladder="rising", conditions=[*CONDITIONS, {**CONDITIONS[1], "name": "t2000"}])
    quiet = nodes(fraction=0.0, stopped=None)
    history = records.add_generation(records.start_history(), rising, **quiet)
    assert history["ended"] == ""
    typed = IterativeSettings(**rising.get_dict())
    assert records.rungs_of(typed, History(**history.get_dict())) == 3
    unsure = records.add_generation(records.start_history(), rising, **nodes(fraction=0.33, stopped=None))
    assert records.rungs_converged(typed, History(**unsure.get_dict()).generations[0]) == [True, False]
    assert records.rungs_of(typed, History(**unsure.get_dict())) == 2


def test_labels_are_counted_with_those_that_failed(nodes, own_groups) -> None:
    start = records.start_history(labels=orm.Dict({"asked": 9, "labelled": 8, "reused": 2}))
    history = records.add_generation(start, settings(), **nodes(selected=DatasetData(own_groups(3, 8))))
    report = {"asked": 3, "labelled": 2, "reused": 0, "core_seconds": 80.0, "wall_seconds": 50.0,
              "failed": [{"index": 1, "reason": "SCF not converged"}]}  # fmt: skip
    whole = History(**records.add_labels(history, orm.Dict(report)).get_dict())
    assert whole.labels_used == 12
    assert whole.generations[0].labels["labelled"] == 2
    assert whole.generations[0].cost["label_core_seconds"] == 80.0
    assert any("SCF not converged" in text for text in whole.generations[0].warnings)
    assert records.end_failed(history)["ended"] == "failed"
    again = records.continue_history(records.end_failed(history))
    assert again["ended"] == ""
    assert len(again["generations"]) == 1


def test_one_bad_label_in_the_training_set_is_named(nodes, own_groups) -> None:
    from aiida_mlip.science.keys import FORCES

    frames = list(nodes()["training"].frames())
    damaged = [atoms.copy() for atoms in frames]
    damaged[2].arrays[FORCES] = damaged[2].arrays[FORCES] + 50.0
    made = nodes(predictions_member_00_training=predictions(damaged, 0.01))
    history = records.add_generation(records.start_history(), settings(), **made)
    warnings = History(**history.get_dict()).generations[0].warnings
    assert any("training frame 2" in text and CONFIG_TYPE not in text for text in warnings)
