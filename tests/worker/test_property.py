"""The task ``property``, run by the worker's own entry in a folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase.calculators.emt import EMT

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.science import properties
from aiida_mlip.science.datasets.canonical import read_extxyz
from aiida_mlip.science.properties import Journal, PropertyRecord
from aiida_mlip.worker.runner import run_job

EMT_MODEL = {"architecture": "emt", "elements": ["Al", "Ni", "Cu", "Ag", "Au", "Pd", "Pt"]}
NICKEL = {"element": "Ni", "structure": "fcc"}


def run(folder: Path, asked: dict[str, Any], **job: Any) -> dict[str, Any]:
    """Run the worker in ``folder`` and return its result."""
    (folder / "potential.json").write_text(json.dumps(EMT_MODEL))
    files = {"potential": "potential.json", **job.pop("files", {})}
    document = {"contract": 1, "task": "property", "settings": {"properties": asked}, "files": files, **job}
    (folder / "job.json").write_text(json.dumps(document))
    assert run_job(folder / "job.json") == 0
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def test_several_properties_in_one_job(tmp_path: Path) -> None:
    asked = {
        "eos": NICKEL,
        "small": {"property": "vacancy", "sizes": [2], **NICKEL},
        "elastic": {"property": "elastic", **NICKEL},
    }
    result = run(tmp_path, asked)
    assert result["error"] is None
    records = {name: PropertyRecord.model_validate(value) for name, value in result["payload"]["properties"].items()}
    assert list(records) == ["eos", "small", "elastic"]
    assert records["small"].property == "vacancy"
    assert result["payload"]["failed"] == {}
    expected, _ = properties.compute(properties.get("elastic"), NICKEL, EMT())
    assert records["elastic"].result == expected.result
    assert records["elastic"].force_calls == expected.force_calls
    with (tmp_path / "structures_small.xyz").open() as handle:
        (atoms,) = read_extxyz(handle)
    assert len(atoms) == 31
    assert atoms.info["config_type"] == "vacancy_2x2x2"
    stages = [json.loads(line)["stage"] for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert {"load", "eos", "small: 2x2x2", "elastic: strains"} <= set(stages)
    assert set(json.loads((tmp_path / "partial.json").read_text())["properties"]) == set(records)


def test_one_that_fails_does_not_take_the_others_down(tmp_path: Path) -> None:
    asked = {
        "lost": {"property": "eos", "element": "Cu", "structure": "fcc", "lattice_constant": 9.0},
        "tungsten": {"property": "vacancy", "element": "W"},
        "elastic": NICKEL,
    }
    result = run(tmp_path, asked)
    assert result["error"] is None
    assert list(result["payload"]["properties"]) == ["elastic"]
    failed = result["payload"]["failed"]
    assert failed["lost"]["error"]["type"] == "PropertyError"
    assert "no minimum" in failed["lost"]["error"]["message"]
    assert failed["lost"]["force_calls"] > 0
    assert failed["tungsten"]["error"]["type"] == "MissingElement"
    assert "element = 'W': the potential has Al, Ni" in failed["tungsten"]["error"]["message"]
    assert not (tmp_path / "structures_lost.xyz").exists()


def test_restart_skips_what_is_finished(tmp_path: Path) -> None:
    """The finished record is taken over, the one with other inputs and the failed one are computed again."""
    first, second = tmp_path / "first", tmp_path / "second"
    (second / "restart").mkdir(parents=True)
    first.mkdir()
    vacancy = {"sizes": [2], **NICKEL}
    run(first, {"vacancy": vacancy, "eos": NICKEL, "elastic": {"element": "W"}})
    partial = json.loads((first / "partial.json").read_text())
    partial["properties"]["vacancy"]["seconds"] = 1234.5
    (second / "restart" / "partial.json").write_text(json.dumps(partial))
    asked = {"vacancy": vacancy, "eos": {**NICKEL, "points": 9}, "elastic": NICKEL}
    result = run(second, asked, files={"restart": "restart"})
    records = result["payload"]["properties"]
    assert set(records) == {"vacancy", "eos", "elastic"}
    assert records["vacancy"]["seconds"] == 1234.5
    assert len(records["eos"]["result"]["phases"]["fcc"]["volumes"]) == 9
    assert (second / "structures_vacancy.xyz").read_text() == (first / "structures_vacancy.xyz").read_text()
    assert result["payload"]["failed"] == {}


def test_out_of_time_keeps_what_is_done(tmp_path: Path) -> None:
    big = {"property": "vacancy", "sizes": [12], "fmax": 1e-6, "max_steps": 10000, **NICKEL}
    result = run(tmp_path, {"eos": NICKEL, "vacancy": big}, time_limit=4.0)
    assert result["error"]["kind"] == "walltime"
    assert set(result["payload"]["properties"]) == {"eos"}
    assert set(json.loads((tmp_path / "partial.json").read_text())["properties"]) == {"eos"}
    assert result["timings"]["total"] < 30


def test_restart_of_a_job_that_did_nothing(tmp_path: Path) -> None:
    (tmp_path / "restart").mkdir()
    result = run(tmp_path, {"eos": NICKEL}, files={"restart": "restart"})
    assert set(result["payload"]["properties"]) == {"eos"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "settings.properties: Dictionary should have at least 1 item"),
        ({"elastics": NICKEL}, "property = 'elastics' is not known: known are"),
        ({"a": {"property": "eos", "element": "Ni", "point": 7}}, "eos.point is not a known field"),
        ({"a": {"property": "eos"}, "b": {"property": "no"}}, "settings.properties.b: property = 'no' is not known"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    result = run(tmp_path, asked)
    assert result["error"]["kind"] == "input"
    assert message in result["error"]["message"]
    assert not (tmp_path / "partial.json").exists()


@pytest.mark.parametrize("text", ["{", '{"format": 2, "properties": {}, "failed": {}, "structures": {}}'])
def test_damaged_restart_is_refused_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text)
    result = run(tmp_path, {"eos": NICKEL}, files={"restart": "old.json"})
    assert result["error"]["kind"] == "input"
    assert "old.json" in result["error"]["message"]


def test_out_of_time_in_the_middle_of_a_property(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that a property kept are in the file, and the next job takes them over with their cost."""
    calls: list[str] = []
    out_of_time = [True]

    def slow(inputs: Any, calculator: Any, report: Journal) -> Any:
        for index in range(3):
            report("steps", index, 3)
            report.keep(f"step {index}", lambda index=index: calls.append(str(index)) or index)
            if index == 1 and out_of_time:
                out_of_time.clear()
                raise TaskError(ErrorKind.WALLTIME, "Out of time.", "Restart.")
        return elastic.run(inputs, calculator, report)

    elastic = properties.get("elastic")
    monkeypatch.setattr(properties, "get", lambda name: replace(elastic, run=slow))
    first, second = tmp_path / "first", tmp_path / "second"
    (second / "restart").mkdir(parents=True)
    first.mkdir()
    assert run(first, {"elastic": NICKEL})["error"]["kind"] == "walltime"
    kept = json.loads((first / "partial.json").read_text())["unfinished"]["elastic"]["notebook"]
    assert kept["steps"] == {"step 0": 0, "step 1": 1}
    shutil.copy(first / "partial.json", second / "restart")
    result = run(second, {"elastic": NICKEL}, files={"restart": "restart"})
    assert calls == ["0", "1", "2"]
    assert set(result["payload"]["properties"]) == {"elastic"}
    assert json.loads((second / "partial.json").read_text())["unfinished"] == {}
