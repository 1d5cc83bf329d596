"""The checks as pure functions: no AiiDA, and not everything known yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from aiida_mlip.calculations import checks
from aiida_mlip.calculations.checks.training import Training, check_training
from aiida_mlip.calculations.checks.wording import refusal
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.tasks import EvaluateSettings, PropertySettings
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.science import keys

SETTINGS = {
    "strategy": {"kind": "naive"},
    "learning_rate": 1e-3,
    "e0_policy": {"kind": "isolated_atoms"},
    "max_epochs": 3,
    "batch_size": 4,
}
INFO = PotentialInfo(architecture="mace", elements=("Ni", "Cu"), r_max=5.0, dtype="float64", num_parameters=1)


@dataclass
class Set:
    """A data set that is only counted."""

    size: int = 6
    elements: tuple[str, ...] = ("Cu",)
    config_types: dict[str, int] = field(default_factory=lambda: {"default": 6})
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(keys.UNITS, 6))
    single: tuple[tuple[str, bool, float], ...] = ()
    not_finite: list[int] = field(default_factory=list)
    max_force: float | None = 1.0
    geometries: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.size

    def isolated_atoms(self, cutoff: float) -> list[tuple[str, bool]]:
        return [(element, energy) for element, energy, distance in self.single if distance > cutoff]

    def fingerprints(self) -> dict[str, int]:
        return {digest: index for index, digest in enumerate(self.geometries)}


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(**{**SETTINGS, **changes})


def test_what_is_not_known_yet_is_not_missing() -> None:
    assert check_training(Training(settings()), complete=False) == []
    (message,) = check_training(Training(settings()), complete=True)
    assert message.startswith("potential = None: settings.strategy = 'naive' starts from one. Give a PotentialData")


def test_good_sets_pass() -> None:
    training = Set(single=(("Cu", True, 12.0),), geometries=("a", "b"))
    job = Training(settings(), potential=INFO, training=training, validation=Set(geometries=("c",)))
    assert check_training(job) == []


def test_isolated_atoms_are_judged_by_the_cutoff_of_the_potential() -> None:
    training = Set(single=(("Cu", True, 4.9),))
    messages = check_training(Training(settings(), potential=INFO, training=training))
    assert messages == [
        "settings.e0_policy = 'isolated_atoms': training_set has no isolated atom with an energy of Cu. Add one "
        "configuration for each: a single atom with REF_energy and no neighbour within 5.0 Å; or use another policy."
    ]


def test_isolated_atoms_do_not_fill_a_batch() -> None:
    training = Set(size=5, single=(("Cu", True, 12.0), ("Ni", True, 12.0)))
    (message,) = check_training(Training(settings(), potential=INFO, training=training))
    assert message.startswith("settings.batch_size = 4: there are 3 training configurations")


def test_replay_frames_fill_a_batch() -> None:
    changes = settings(
        strategy={"kind": "replay"}, loss={"kind": "universal"}, batch_size=10, e0_policy={"kind": "estimated"}
    )
    assert check_training(Training(changes, potential=INFO, training=Set(), replay=Set())) == []


def test_a_batch_is_that_of_one_process() -> None:
    changes = settings(distributed={"num_processes": 3}, device="cuda", e0_policy={"kind": "estimated"})
    (message,) = check_training(Training(changes, potential=INFO, training=Set()))
    assert message.endswith("Use at most 2.")


def test_overlap_is_counted_and_located() -> None:
    first, second = Set(geometries=("a", "b", "c")), Set(geometries=("x", "c", "y", "a"))
    (message,) = checks.check_overlap(first, second, ("training_set", "validation_set"))
    assert "2 of its configurations are in training_set too (numbers 1, 3)" in message
    assert list(checks.check_overlap(first, Set(geometries=("z",)), ("a", "b"))) == []


def test_every_extra_option_is_judged() -> None:
    messages = list(checks.check_extra({"huber_delta": 0.02, "lr": 1, "swa": True, "nonsense": 1, "name": "x"}))
    assert [message.split(" = ")[0] for message in messages] == [
        "settings.extra.lr",
        "settings.extra.swa",
        "settings.extra.nonsense",
        "settings.extra.name",
    ]


@pytest.mark.parametrize(("gpus", "count"), [(0, 1), (1, 0), (None, 0)])
def test_a_gpu_is_refused_only_where_there_is_none(gpus: int | None, count: int) -> None:
    assert len(list(checks.check_device("cuda", "here", gpus))) == count
    assert list(checks.check_device("cpu", "here", gpus)) == []


def test_the_worker_may_be_for_any_computer_where_it_does_not_say() -> None:
    assert list(checks.check_code("worker", "mlip-worker.pyz", None, "here")) == []
    assert list(checks.check_code("worker", "mlip-worker.pyz", "here", None)) == []
    assert len(list(checks.check_code("worker", "mlip-worker.pyz", "there", "here"))) == 1


def test_complete_fills_in_every_default() -> None:
    assert checks.complete(EvaluateSettings, {}) == EvaluateSettings().model_dump(mode="json")
    with pytest.raises(ValueError, match=r"settings\.batch_size = 0: Input should be greater than 0"):
        checks.complete(EvaluateSettings, {"batch_size": 0})


def test_stored_settings_have_to_be_complete() -> None:
    full = checks.complete(EvaluateSettings, {})
    assert checks.problems_of(EvaluateSettings, full) is None
    del full["dtype"]
    assert "settings = Dict without dtype" in str(checks.problems_of(EvaluateSettings, full))


def test_property_inputs_are_checked_one_by_one() -> None:
    asked = PropertySettings(properties={"eos": {"element": "W"}, "nonsense": {}, "curve": {"property": "eos"}})
    messages = checks.check_properties(asked, INFO)
    assert [message.split(":")[0].split(" = ")[0] for message in messages] == [
        "settings.properties.eos.element",
        "settings.properties.nonsense",
        "settings.properties.curve",
    ]
    assert "eos.element is required" in messages[2]


def test_a_refusal_has_field_value_problem_and_remedy() -> None:
    assert refusal("a.b", "x", "it is wrong", "Do this") == "a.b = 'x': it is wrong. Do this."
    long = refusal("a", {"key": "v" * 500}, "it is long", "Cut it")
    assert len(long) < 160
    assert "..." in long
