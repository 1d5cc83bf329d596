import copy

import pytest

from aiida_mlip.schema.finetuning import AuditOptions, SplitSettings
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.workchains.protocols import available, protocol_inputs


@pytest.mark.parametrize("protocol", ["fast", "balanced", "stringent"])
def test_each_protocol_holds_valid_and_complete_settings(protocol: str) -> None:
    inputs = protocol_inputs("finetune", protocol)
    settings = TrainSettings(**inputs["training"])
    assert settings.model_dump(mode="json") == {**inputs["training"], "strategy": {"kind": "naive"}}
    assert protocol in available("finetune")


def test_protocols_differ_where_they_say_so() -> None:
    fast, stringent = (protocol_inputs("finetune", name)["training"] for name in ("fast", "stringent"))
    assert fast["max_epochs"] < stringent["max_epochs"]
    assert stringent["early_stopping"] is not None


def test_overrides_are_merged_and_left_as_they_were() -> None:
    overrides = {"training": {"loss": {"forces_weight": 7.0}, "extra": {"amsgrad": True}}}
    before = copy.deepcopy(overrides)
    inputs = protocol_inputs("finetune", "fast", overrides)
    inputs["training"]["extra"]["amsgrad"] = False
    assert inputs["training"]["loss"]["forces_weight"] == 7.0
    assert inputs["training"]["loss"]["energy_weight"] == 40.0
    assert overrides == before


def test_another_kind_replaces_the_whole_strategy() -> None:
    inputs = protocol_inputs("finetune", "fast", {"training": {"strategy": {"kind": "lora", "rank": 2}}})
    assert inputs["training"]["strategy"] == {"kind": "lora", "rank": 2}


def test_limits_of_the_audit_and_groups_of_the_split_can_be_changed() -> None:
    overrides = {"audit": {"settings": {"require_forces": False}}, "split": {"by_group": False}}
    inputs = protocol_inputs("finetune", "fast", overrides)
    assert not AuditOptions(**inputs["audit"]).settings.require_forces
    assert not SplitSettings(**inputs["split"]).by_group
    assert set(inputs["split"]) == set(SplitSettings.model_fields)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"trainings": {}}, "overrides.trainings is not a known input"),
        ({"training": {"learning_rat": 1}}, "overrides.training.learning_rat is not a known input: known here are"),
        ({"accept": {"max_ratio": {"force": 1}}}, "overrides.accept.max_ratio.force"),
    ],
)
def test_unknown_keys_are_refused_with_what_is_known(overrides: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol_inputs("finetune", "fast", overrides)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="protocol = 'quick' is not known: choose one of fast, balanced, stringent"):
        protocol_inputs("finetune", "quick")
