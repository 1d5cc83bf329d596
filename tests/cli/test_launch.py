"""`aiida-mlip launch finetune`: one YAML file, checked whole before anything is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from aiida.orm import ProcessNode, QueryBuilder
from click.testing import CliRunner, Result


@pytest.fixture
def launch(aiida_profile_clean, worker_code, tiny_potential, emt_frames, tmp_path: Path):
    from aiida_mlip.cli import main
    from aiida_mlip.data.dataset import DatasetData

    tiny_potential.store()
    DatasetData(emt_frames(30, seed=11)).store().label = "copper-nickel"
    valid = {"computer": "localhost", "potential": "tiny", "dataset": "copper-nickel", "protocol": "fast"}

    def function(**changes: object) -> Result:
        file = tmp_path / "finetune.yaml"
        document = {key: value for key, value in {**valid, **changes}.items() if value is not None}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return CliRunner().invoke(main, ["launch", "finetune", str(file), "--dry-run"])

    return function


def test_a_dry_run_checks_the_inputs_and_submits_nothing(launch) -> None:
    result = launch(overrides={"training": {"strategy": {"kind": "lora", "rank": 2}}})
    assert result.exit_code == 0, result.output
    assert "nothing was submitted" in result.output
    assert "'rank': 2" in result.output
    assert "copper-nickel" in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"potental": "x"}, ["potental", "not a known field", "potential"]),
        ({"potential": None}, ["potential", "required"]),
        ({"computer": "nowhere"}, ["computer = 'nowhere'", "aiida-mlip setup"]),
        ({"potential": "absent"}, ["potential = 'absent'", "PotentialData"]),
        ({"dataset": "tiny"}, ["dataset = 'tiny'", "DatasetData"]),
        ({"dataset": None}, ["dataset", "sets", "one of the two"]),
        ({"protocol": "quick"}, ["protocol = 'quick'", "fast, balanced, stringent"]),
        ({"overrides": {"training": {"lr": 1}}}, ["overrides.training.lr", "learning_rate"]),
        ({"overrides": {"training": {"learning_rate": -1}}}, ["learning_rate", "-1", "greater than 0"]),
        ({"overrides": {"training": {"strategy": {"kind": "frozen", "level": "all"}}}}, ["level", "'all'", "products"]),
        ({"overrides": {"committee": {"size": 0}}}, ["committee.size", "0", "greater than or equal to 1"]),
        ({"overrides": {"split": {"train": 0.5}}}, ["split", "must add up to 1"]),
        ({"overrides": {"accept": {"on_set": "training set"}}}, ["accept.on_set", "'test'"]),
        ({"overrides": {"training": {"keep_elements": "training"}}}, ["measure_forgetting", "keep_elements"]),
        ({"overrides": {"properties": {"elastc": {"element": "Cu"}}}}, ["elastc", "elastic"]),
        ({"overrides": {"properties": {"elastic": {"element": "W"}}}}, ["W", "potential"]),
        ({"replay_pool": "copper-nickel"}, ["replay_pool", "strategy"]),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(launch, changes: dict, messages: list[str]) -> None:
    result = launch(**changes)
    assert result.exit_code == 1, result.output
    for message in messages:
        assert message in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0


def test_nodes_may_be_given_by_pk(tmp_path: Path) -> None:
    from aiida_mlip.cli._launch_file import FinetuneFile, read_launch

    file = tmp_path / "own.yaml"
    file.write_text("computer: here\npotential: 12\nsets: {training: 13, validation: own}\n", encoding="utf-8")
    described = read_launch(file, FinetuneFile, "itself")
    assert described.potential == "12"
    assert described.sets == {"training": "13", "validation": "own"}
