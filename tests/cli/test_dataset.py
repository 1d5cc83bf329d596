"""`aiida-mlip dataset`: from a file with any key names to a data set that is looked at, audited, split and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from aiida.orm import QueryBuilder
from click.testing import CliRunner, Result

from aiida_mlip.science import keys


@pytest.fixture
def run(aiida_profile_clean):
    from aiida_mlip.cli import main

    def function(*args: Any) -> Result:
        return CliRunner().invoke(main, ["dataset", *(str(arg) for arg in args)])

    return function


@pytest.fixture
def foreign_file(tmp_path: Path, emt_frames) -> Path:
    """A file as another group writes it: own key names, stress in kbar, positive where compressed."""
    frames = emt_frames(24, seed=3)
    for atoms in frames:
        atoms.info["dft_energy"] = atoms.info.pop(keys.ENERGY)
        atoms.arrays["dft_force"] = atoms.arrays.pop(keys.FORCES)
        stress = atoms.info.pop(keys.STRESS)
        atoms.info["dft_stress"] = -stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3) * 1602.1766208
    path = tmp_path / "foreign.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


def the_dataset() -> Any:
    from aiida_mlip.data.dataset import DatasetData

    return QueryBuilder().append(DatasetData).one()[0]


def test_labels_of_any_name_unit_and_sign_become_canonical(run, foreign_file: Path, emt_frames) -> None:
    units = ["--stress-unit", "kbar", "--stress-sign", "-1"]
    names = ["--energy-key", "dft_energy", "--forces-key", "dft_force", "--stress-key", "dft_stress"]
    result = run("import", foreign_file, *names, *units, "--label", "mine", "--level-of-theory", "EMT")
    assert result.exit_code == 0, result.output
    assert "24 configurations" in result.output
    expected = emt_frames(24, seed=3)[5]
    found = list(the_dataset().frames())[5]
    assert found.info[keys.ENERGY] == pytest.approx(expected.info[keys.ENERGY], abs=1e-9)
    np.testing.assert_allclose(found.arrays[keys.FORCES], expected.arrays[keys.FORCES], atol=1e-7)
    np.testing.assert_allclose(found.info[keys.STRESS], expected.info[keys.STRESS], atol=1e-7)
    assert the_dataset().label == "mine"


def test_a_wrong_key_is_answered_with_the_keys_there_are(run, foreign_file: Path) -> None:
    result = run("import", foreign_file, "--energy-key", "energy_pbe")
    assert result.exit_code == 1
    assert "energy_pbe" in result.output
    assert "dft_energy" in result.output
    assert "--energy-key" in result.output


def test_files_or_calculations_but_not_both(run, foreign_file: Path) -> None:
    assert "one of the two" in run("import").output
    assert "one of the two" in run("import", foreign_file, "--from-pw", "1").output


def test_show_audit_split_and_export(run, tmp_path: Path, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData

    frames = emt_frames(30, seed=4)
    frames[7].arrays[keys.FORCES] = np.full_like(frames[7].arrays[keys.FORCES], np.nan)
    DatasetData(frames).store().label = "thirty"
    shown = run("show", "thirty", "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.output)["level of theory"] == "unknown"
    audited = run("audit", "thirty", "--strict")
    assert audited.exit_code == 1
    assert "ERROR" in audited.output
    assert "->" in audited.output
    assert run("audit", "thirty").exit_code == 0
    findings = json.loads(run("audit", "thirty", "--json").output)["findings"]
    assert any(finding["severity"] == "error" and finding["frames"] == [7] for finding in findings)
    exported = tmp_path / "out.xyz"
    assert run("export", "thirty", exported).exit_code == 0
    assert len(ase.io.read(exported, ":", format="extxyz")) == 30


def test_a_split_prints_its_parts(run, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData

    DatasetData(emt_frames(40, seed=5)).store().label = "forty"
    result = run("split", "forty", "--seed", "7")
    assert result.exit_code == 0, result.output
    assert {"training", "validation", "test"} <= set(result.output.split())
    wrong = run("split", "forty", "--train", "0.9")
    assert wrong.exit_code == 1
    assert "must add up to 1" in wrong.output


def test_what_is_no_data_set_is_refused(run) -> None:
    result = run("show", "nothing-of-this-name")
    assert result.exit_code == 1
    assert "DATASET = 'nothing-of-this-name'" in result.output


def test_an_import_says_which_labels_it_found(run, tmp_path: Path, emt_frames) -> None:
    frames = emt_frames(4, seed=6)
    del frames[1].info[keys.STRESS]
    for atoms in frames:
        del atoms.arrays[keys.FORCES]
    path = tmp_path / "few.xyz.gz"
    ase.io.write(path, frames, format="extxyz")
    result = run("import", path)
    assert result.exit_code == 0, result.output
    assert "Labels: energy in all, forces in none, stress in 3" in result.output
    assert the_dataset().label == "few"


def test_what_cannot_be_split_is_said_in_words(run, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData

    frames = emt_frames(12, seed=8)
    for atoms in frames:
        atoms.info[keys.GROUP] = "one trajectory"
    DatasetData(frames).store().label = "trajectory"
    refused = run("split", "trajectory")
    assert refused.exit_code == 1
    assert "Error: split: the valid set would be empty" in refused.output
    assert "--ignore-groups" in refused.output
    assert run("split", "trajectory", "--ignore-groups").exit_code == 0


def test_a_file_that_cannot_be_written_is_said_in_words(run, tmp_path: Path, emt_frames) -> None:
    from aiida_mlip.data.dataset import DatasetData

    DatasetData(emt_frames(2, seed=9)).store().label = "two"
    result = run("export", "two", tmp_path / "no" / "such" / "folder.xyz")
    assert result.exit_code == 1
    assert "FILE =" in result.output
