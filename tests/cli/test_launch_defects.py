"""`aiida-mlip launch defects`: one YAML file, checked whole before anything is submitted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from aiida.orm import ProcessNode, QueryBuilder
from click.testing import CliRunner, Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "defects.yaml"


@pytest.fixture
def launch(aiida_profile_clean, worker_code, tmp_path: Path):
    from aiida_mlip.cli import main
    from aiida_mlip.data.potential import PotentialData

    known = {"architecture": "finnis_sinclair", "elements": ["W", "Mo"]}
    info = {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0, "name": "fs"}
    PotentialData(io.BytesIO(json.dumps(known).encode()), info).store()
    valid = {"computer": "localhost", "potentials": {"classical": "fs"}, "elements": ["W"], "protocol": "fast"}

    def function(**changes: object) -> Result:
        file = tmp_path / "defects.yaml"
        document = {key: value for key, value in {**valid, **changes}.items() if value is not None}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return CliRunner().invoke(main, ["launch", "defects", str(file), "--dry-run"])

    return function


def test_a_dry_run_prints_what_would_be_computed(launch) -> None:
    result = launch(properties=["vacancy"], overrides={"properties": {"vacancy": {"sizes": [5]}}})
    assert result.exit_code == 0, result.output
    assert "nothing was submitted" in result.output
    assert "'vacancy': {" in result.output
    assert "'elastic': {" in result.output
    assert "interstitial" not in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0


def test_the_example_says_what_the_protocol_knows() -> None:
    from aiida_mlip.cli._launch_file import DefectsFile, read_launch
    from aiida_mlip.workchains.defects_inputs import property_inputs

    described = read_launch(EXAMPLE, DefectsFile, "itself")
    assert set(property_inputs(described.protocol, described.properties)) == set(described.properties)


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"potential": "fs"}, ["potential", "not a known field", "potentials"]),
        ({"potentials": {}}, ["potentials", "at least 1"]),
        ({"potentials": {"classical": "absent"}}, ["potentials.classical = 'absent'", "PotentialData"]),
        ({"potentials": {"a__b": "fs"}}, ["a__b"]),
        ({"elements": ["W", "Nb"]}, ["potentials.classical = 'fs'", "lacks Nb", "it knows"]),
        ({"elements": ["Tungsten"]}, ["elements", "Tungsten", "no chemical symbol"]),
        ({"elements": ["W", "W"]}, ["elements", "different"]),
        ({"computer": "nowhere"}, ["computer = 'nowhere'", "aiida-mlip setup"]),
        ({"protocol": "quick"}, ["protocol = 'quick'", "fast, balanced, stringent"]),
        ({"properties": ["vacency"]}, ["vacency", "known are", "vacancy"]),
        ({"overrides": {"properties": {"vacancy": {"sizes": [1]}}}}, ["properties.vacancy", "sizes", "at least 2"]),
        ({"overrides": {"properties": {"vacancy": {"sises": [3]}}}}, ["properties.vacancy", "sises", "sizes"]),
        ({"overrides": {"properties": {"vacancy": {"element": "W"}}}}, ["properties.vacancy.element", "`elements`"]),
        ({"overrides": {"properties": {"eos": {"property": "vacancy"}}}}, ["properties.eos.property", "another kind"]),
        ({"overrides": {"properties": {"bulk": {"property": "eos"}}}}, ["properties.bulk", "cannot be the name"]),
        ({"overrides": {"settings": {"dtype": "float16"}}}, ["settings.dtype", "float16", "float64"]),
        ({"overrides": {"settings": {"device": "cuda"}}}, ["settings.device", "without GPUs"]),
        ({"overrides": {"max_concurrent": 3}}, ["overrides.max_concurrent", "not a known input"]),
        ({"max_concurrent": 0}, ["max_concurrent", "0", "greater than 0"]),
        ({"reference": "mine.yaml"}, ["mine.yaml", "cannot be read"]),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(launch, changes: dict, messages: list[str]) -> None:
    result = launch(**changes)
    assert result.exit_code == 1, result.output
    for message in messages:
        assert message in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0


def test_reference_data_of_a_wrong_form_are_refused(launch, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("format: 1\ncitations: {}\nelements: {W: {vales: {}}}\n", encoding="utf-8")
    result = launch(reference="mine.yaml")
    assert result.exit_code == 1
    assert "vales" in result.output
