"""The task ``label``, run by the worker's own entry in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from aiida_mlip.schema.labelling import LABELS_FILE
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.worker.runner import run_job

EMT_MODEL = {"architecture": "emt", "elements": ["Al", "Ni", "Cu"]}


def frames(count: int = 3) -> list[Atoms]:
    """Rattled, strained cells without symmetry."""
    made = []
    for seed in range(count):
        atoms = bulk("Ni", "fcc", a=3.6, cubic=True)
        atoms.symbols[1] = "Cu"
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0.01, -0.02, 0.015])), scale_atoms=True)
        atoms.rattle(0.05, seed=seed)
        made.append(atoms)
    return made


def label(
    folder: Path, configurations: list[Atoms], model: dict[str, Any], restart: Path | None = None, **settings: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the worker; return its result and the lines of its labels, the first without."""
    folder.mkdir(exist_ok=True)
    (folder / "potential.json").write_text(json.dumps(model))
    with (folder / "configurations.xyz").open("w") as handle:
        write_extxyz(configurations, handle)
    files = {"potential": "potential.json", "configurations": "configurations.xyz"}
    if restart is not None:
        files["restart"] = str(restart)
    (folder / "job.json").write_text(json.dumps({"contract": 1, "task": "label", "settings": settings, "files": files}))
    run_job(folder / "job.json")
    result = json.loads((folder / "result.json").read_text())
    lines = (folder / LABELS_FILE).read_text().splitlines() if (folder / LABELS_FILE).exists() else []
    return result, [json.loads(text) for text in lines[1:]]


def test_labels_are_those_of_the_calculator(tmp_path: Path) -> None:
    result, lines = label(tmp_path, frames(), EMT_MODEL)
    assert result["error"] is None
    assert result["payload"] == {"failed": [], "counts": {"asked": 3, "labelled": 3, "not_reached": 0}}
    for atoms, line in zip(frames(), lines, strict=True):
        atoms.calc = EMT()
        assert line["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(line["forces"], atoms.get_forces(), atol=1e-12)
        np.testing.assert_allclose(line["stress"], atoms.get_stress(voigt=True), atol=1e-12)


def test_a_frame_that_fails_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """An element that EMT lacks though the file claims it, an element that the file lacks, and a NaN."""
    good = frames(2)
    broken = good[0].copy()
    broken.positions[1, 2] = np.nan
    configurations = [good[0], molecule("H2O"), broken, Atoms("W2", [[0, 0, 0], [0, 0, 2]]), good[1]]
    result, lines = label(tmp_path, configurations, {**EMT_MODEL, "elements": ["Al", "Ni", "Cu", "W"]})
    assert result["error"] is None
    reasons = {item["index"]: item["reason"] for item in result["payload"]["failed"]}
    assert set(reasons) == {1, 2, 3}
    assert reasons[1] == "the potential lacks H, O"
    assert "W" in reasons[3]
    assert [line["index"] for line in lines if "energy" in line] == [0, 4]


def test_clusters_have_no_stress(tmp_path: Path) -> None:
    cluster = frames(1)[0]
    cluster.pbc = [True, True, False]
    _, (line,) = label(tmp_path, [cluster], EMT_MODEL)
    assert "stress" not in line


def test_a_restart_keeps_what_is_labelled_and_drops_a_torn_line(tmp_path: Path) -> None:
    configurations = frames(4)
    _, whole = label(tmp_path / "first", configurations, EMT_MODEL)
    file = tmp_path / "first" / LABELS_FILE
    head, first, second, *_ = file.read_text().splitlines()
    marked = json.dumps({**json.loads(first), "energy": 12.5})  # so that it shows whether it was computed again
    file.write_text("\n".join([head, marked, second[:40]]))
    result, lines = label(tmp_path / "second", configurations, EMT_MODEL, restart=file)
    assert result["payload"]["counts"]["labelled"] == 4
    assert lines[0]["energy"] == 12.5
    assert [line["energy"] for line in lines[1:]] == pytest.approx([line["energy"] for line in whole[1:]], abs=1e-9)


def test_a_restart_from_other_configurations_is_refused(tmp_path: Path) -> None:
    label(tmp_path / "first", frames(2), EMT_MODEL)
    result, _ = label(tmp_path / "second", frames(3), EMT_MODEL, restart=tmp_path / "first")
    assert result["error"]["kind"] == "input"
    assert "other configurations" in result["error"]["message"]


def test_gfn2_xtb_through_tblite(tmp_path: Path) -> None:
    """The dissociation energy and the gradient of water, and a frame that it cannot do."""
    pytest.importorskip("tblite", reason="needs tblite: pip install tblite")
    teacher = {
        "architecture": "ase",
        "calculator": "tblite.ase:TBLite",
        "elements": ["H", "O"],
        "parameters": {"method": "GFN2-xTB", "verbosity": 0},
    }
    water = molecule("H2O")
    water.positions[1] += [0.02, -0.03, 0.05]
    moved = water.copy()
    moved.positions[1, 2] += 1e-3
    fused = Atoms("OH2", [[0, 0, 0]] * 3)
    result, lines = label(tmp_path, [water, fused, moved], teacher)
    assert [item["index"] for item in result["payload"]["failed"]] == [1]
    first, last = (line for line in lines if "energy" in line)
    slope = (last["energy"] - first["energy"]) / 1e-3
    mean = (first["forces"][1][2] + last["forces"][1][2]) / 2.0
    assert slope == pytest.approx(-mean, abs=1e-4)
    assert first["energy"] == pytest.approx(-5.07 * 27.2114, abs=0.3)  # GFN2-xTB: -5.0703 Hartree at its minimum
    np.testing.assert_allclose(np.sum(first["forces"], axis=0), 0.0, atol=1e-6)
