"""`aiida-mlip launch iterative`: one YAML file, checked whole before anything is submitted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from aiida.orm import ProcessNode, QueryBuilder
from ase.build import bulk
from click.testing import CliRunner, Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "iterative.yaml"

PW = {"code": "pw@localhost", "pseudos": "none", "parameters": {"SYSTEM": {"ecutwfc": 30}}, "kpoints_distance": 0.4}

CONDITIONS = [{"name": "t300", "stages": [{"steps": 10, "temperature": 300.0}]}]


@pytest.fixture
def launch(aiida_profile_clean, worker_code, tiny_potential, emt_frames, tmp_path: Path):
    from aiida_mlip.cli import main
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.data.potential import PotentialData

    tiny_potential.store()
    known = {"architecture": "emt", "elements": ["Cu", "Ni"]}
    info = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0, "name": "EMT"}
    PotentialData(io.BytesIO(json.dumps(known).encode()), info).store()
    DatasetData(emt_frames(2, seed=3)).store().label = "cells"
    DatasetData([bulk("Al", "fcc", a=4.05)]).store().label = "unlabelled"
    valid = {"computer": "localhost", "potential": "tiny", "structures": "cells", "teacher": "EMT", "protocol": "fast"}

    def function(*, dash: bool = False, **changes: object) -> Result:
        file = tmp_path / "iterative.yaml"
        document = {key: value for key, value in {**valid, **changes}.items() if value is not None}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return CliRunner().invoke(main, ["launch", "iterative", *(["-f"] if dash else []), str(file), "--dry-run"])

    return function


@pytest.mark.parametrize("dash", [False, True])
def test_a_dry_run_prints_the_whole_loop(launch, dash: bool) -> None:
    result = launch(dash=dash, max_generations=7, label_budget=33, overrides={"settings": {"conditions": CONDITIONS}})
    assert result.exit_code == 0, result.output
    assert "nothing was submitted" in result.output
    assert "'max_generations': 7" in result.output
    assert "'label_budget': 33" in result.output
    assert "'friction': 0.01" in result.output
    assert "EMT" in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0


def test_the_example_names_what_the_protocol_knows() -> None:
    from aiida_mlip.cli._launch_file import IterativeFile, read_launch
    from aiida_mlip.schema.iterative import IterativeSettings
    from aiida_mlip.workchains.protocols import protocol_inputs

    described = read_launch(EXAMPLE, IterativeFile, "itself")
    settings = IterativeSettings(**protocol_inputs("iterative", described.protocol, described.overrides)["settings"])
    assert [condition.name for condition in settings.conditions] == ["t300", "melt"]
    assert described.pw is not None


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"structure": "cells"}, ["structure", "not a known field", "structures"]),
        ({"structures": None}, ["structures", "resume"]),
        ({"structures": "tiny"}, ["structures = 'tiny'", "DatasetData"]),
        ({"teacher": None}, ["teacher", "pw", "one of the two"]),
        ({"teacher": "absent"}, ["teacher = 'absent'", "PotentialData"]),
        ({"potential": None}, ["potential", "starts from one", "scratch"]),
        ({"protocol": "quick"}, ["protocol = 'quick'", "fast, balanced, stringent"]),
        ({"max_generations": 0}, ["max_generations", "greater than 0"]),
        ({"resume": 1}, ["resume", "structures, potential", "leave them out"]),
        ({"overrides": {"settings": {"ladder": "steep"}}}, ["settings.ladder", "'steep'", "rising"]),
        ({"overrides": {"settings": {"laddder": "all"}}}, ["laddder", "ladder"]),
        ({"overrides": {"settings": {"conditions": [{**CONDITIONS[0], "name": "t 300"}]}}}, ["name", "t 300"]),
        ({"overrides": {"settings": {"conditions": CONDITIONS * 2}}}, ["conditions", "a name of its own"]),
        ({"overrides": {"settings": {"committee": {"size": 1}}}}, ["committee.size", "1", "'deep'", "at least 2"]),
        (
            {"overrides": {"uncertainty": {"method": {"kind": "shallow"}}}},
            ["committee.size", "'shallow'", "Set it to 1"],
        ),
        ({"overrides": {"settings": {"augmentation": None}}}, ["training_set", "augmentation"]),
        ({"overrides": {"md": {"timestp": 1.0}}}, ["md.settings.timestp", "timestep"]),
        ({"overrides": {"md": {"walkers": {}}}}, ["md.settings.walkers", "filled in by the loop"]),
        ({"overrides": {"md": {"ensemble": {"kind": "npt"}}}}, ["md.settings", "needs a pressure"]),
        ({"overrides": {"selection": {"max_label_atoms": 3}}}, ["structures", "max_label_atoms = 3"]),
        (
            {"overrides": {"selection": {"levels": {"lower": 1}}}},
            ["selection.settings.levels", "filled in by the loop"],
        ),
        ({"overrides": {"training": {"strategy": {"kind": "replay"}}}}, ["replay", "not offered in the loop"]),
        ({"overrides": {"label": {"max_forces": 3}}}, ["max_forces", "max_force"]),
        ({"overrides": {"settings": 3}, "max_generations": 2}, ["overrides.settings = 3", "field: value"]),
        ({"overrides": {"training": None}}, ["overrides.training = None", "leave it out"]),
        ({"overrides": {"md": ["dtype"]}}, ["overrides.md = ['dtype']", "field: value"]),
        ({"walltime": "soon"}, ["walltime", "HH:MM:SS"]),
        ({"holdout": "unlabelled"}, ["holdout", "1 configurations", "neither", "mlip.label"]),
        ({"training_set": "unlabelled"}, ["training_set", "neither"]),
        ({"structures": "unlabelled"}, ["label: potential = 'EMT'", "lacks Al"]),
        ({"overrides": {"label": {"isolated_atoms": ["W"]}}}, ["settings.isolated_atoms", "lacks W"]),
        ({"teacher": None, "pw": {**PW, "code": "nothing@localhost"}}, ["pw.code = 'nothing@localhost'"]),
        ({"teacher": None, "pw": {**PW, "parameters": {"SYSTEM": 30}}}, ["pw.parameters.SYSTEM"]),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(launch, changes: dict, messages: list[str]) -> None:
    result = launch(**changes)
    assert result.exit_code == 1, result.output
    for message in messages:
        assert message in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0


def test_a_code_of_another_plugin_is_no_pw(launch, worker_code) -> None:
    result = launch(teacher=None, pw={**PW, "code": worker_code.full_label})
    assert result.exit_code == 1, result.output
    assert "its plugin is" in result.output
    assert "quantumespresso.pw" in result.output


def test_a_field_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    from aiida_mlip.cli._launch_file import IterativeFile, read_launch

    file = tmp_path / "twice.yaml"
    file.write_text(
        "computer: localhost\noverrides:\n  md: {dtype: float32}\n  md: {timestep: 2.0}\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match="'md' is given twice"):
        read_launch(file, IterativeFile, "itself")


def test_one_file_is_asked_for(launch) -> None:
    from aiida_mlip.cli import main

    result = CliRunner().invoke(main, ["launch", "iterative"])
    assert result.exit_code == 2
    assert "examples/iterative.yaml" in result.output
