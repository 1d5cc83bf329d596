"""``mlip.label`` with the real pw.x, and in batches."""

from __future__ import annotations

import io
import json
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.labelling import LABEL_EXTRA, PROGRESS_EXTRA, LabelReport
from aiida_mlip.science import keys
from aiida_mlip.science.labelling.isolated import CONFIG
from aiida_mlip.workchains.label import LabelWorkChain


def aluminium(count: int, seed: int = 0) -> list[Atoms]:
    """Primitive cells of aluminium, each with a strain of its own."""
    frames = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        atoms = bulk("Al", "fcc", a=4.0)
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.info |= {keys.CONFIG_TYPE: f"type_{index % 2}", keys.GROUP: f"group {index}"}
        frames.append(atoms)
    return frames


def run(frames: list[Atoms], settings: dict[str, Any] | None = None, **inputs: Any) -> tuple[Any, orm.WorkChainNode]:
    outputs, node = run_get_node(LabelWorkChain, configurations=DatasetData(frames), settings=settings or {}, **inputs)
    return outputs, node


def computed(node: orm.WorkChainNode, kind: str) -> list[orm.CalcJobNode]:
    found = [child for child in node.called_descendants if child.process_label == kind]
    return sorted(found, key=lambda job: job.pk)


@pytest.fixture
def fresh(aiida_profile_clean) -> None:
    """No labels of other tests."""


def test_labels_of_pw_are_collected_reused_and_linked(fresh, pw: ModuleType, localhost: orm.Computer) -> None:
    """Two cells, one of them twice; then again with a third, a new machine and other mixing: one run is new."""
    frames = aluminium(3)
    twice = frames[1].copy()
    twice.info[keys.CONFIG_TYPE] = "twin"
    code = pw.pw_code(localhost)
    outputs, node = run([frames[0], frames[1], twice], pw=pw.pw_inputs(code, "Al"))
    assert node.is_finished_ok, node.exit_message
    first, second = computed(node, "PwCalculation")
    labelled = list(outputs["labelled"].frames())
    assert [atoms.info[keys.SOURCE] for atoms in labelled] == [first.uuid, second.uuid, second.uuid]
    assert [atoms.info[keys.CONFIG_TYPE] for atoms in labelled] == ["type_0", "type_1", "twin"]
    assert [atoms.info[keys.GROUP] for atoms in labelled] == ["group 0", "group 1", "group 1"]
    for atoms, original, job in zip(labelled, [frames[0], frames[1], twice], [first, second, second], strict=True):
        np.testing.assert_array_equal(atoms.positions, original.positions)
        np.testing.assert_array_equal(atoms.cell, original.cell)
        assert atoms.info[keys.ENERGY] == pytest.approx(job.outputs.output_parameters["energy"], abs=1e-8)
        pressure = -np.trace(job.outputs.output_trajectory.get_array("stress")[-1]) / 3.0 / 160.21766208
        assert np.mean(atoms.info[keys.STRESS][:3]) == pytest.approx(pressure, rel=1e-6)
    report = LabelReport(**outputs["report"].get_dict())
    assert (report.asked, report.labelled, report.reused, report.failed) == (3, 3, 0, ())
    assert report.core_seconds > 0.0
    assert (
        report.level_of_theory.startswith("pw.x, PZ, 12 Ry, pseudopotentials (md5) Al ")
        or "SLA" in report.level_of_theory
    )
    assert node.base.extras.get(PROGRESS_EXTRA)["labelled"] == 3

    inputs = pw.pw_inputs(code, "Al", max_wallclock_seconds=600)
    changed = inputs["pw"]["parameters"].get_dict()
    changed["ELECTRONS"] |= {"mixing_beta": 0.5, "electron_maxstep": 50}
    inputs["pw"]["parameters"] = orm.Dict(changed)
    again, other = run(frames, pw=inputs)
    assert other.is_finished_ok, other.exit_message
    (new,) = computed(other, "PwCalculation")
    assert [atoms.info[keys.SOURCE] for atoms in again["labelled"].frames()] == [first.uuid, second.uuid, new.uuid]
    assert again["report"]["reused"] == 2
    (collect,) = computed(other, "collect_labels")
    incoming = {link.node.uuid for link in collect.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all()}
    assert {job.outputs.output_trajectory.uuid for job in (first, second, new)} <= incoming


def test_what_fails_is_counted_and_said(fresh, pw: ModuleType, localhost: orm.Computer) -> None:
    """One of three cells cannot converge in the steps there are; a second label is an outlier."""
    inputs = pw.pw_inputs(pw.pw_code(localhost), "H", "Al")
    inputs["max_iterations"] = orm.Int(1)
    parameters = inputs["pw"]["parameters"].get_dict()
    parameters["ELECTRONS"] = {"conv_thr": 1e-6, "electron_maxstep": 9}
    inputs["pw"]["parameters"] = orm.Dict(parameters)
    crushed = Atoms("H2", [[0.0, 0.0, 0.0], [0.1, 0.2, 0.32]], cell=[3.0, 3.2, 3.4], pbc=True)
    good = Atoms("H2", [[0.0, 0.0, 0.0], [0.1, 0.2, 0.72]], cell=[3.0, 3.2, 3.4], pbc=True)
    hard = bulk("Al", "fcc", a=4.0).repeat((1, 1, 6))
    hard.rattle(0.4, seed=2)
    outputs, node = run([hard, good, crushed], {"max_failed_fraction": 0.7, "max_force": 20.0}, pw=inputs)
    assert node.is_finished_ok, node.exit_message
    report = LabelReport(**outputs["report"].get_dict())
    reasons = {item.index: item for item in report.failed}
    assert set(reasons) == {0, 2}
    assert "401" in reasons[0].reason
    assert orm.load_node(reasons[0].process).process_label == "PwLabelWorkChain"
    assert reasons[2].reason.startswith("outlier: the force on atom ")
    assert orm.load_node(reasons[2].process).process_label == "PwCalculation"
    assert len(outputs["labelled"]) == 1
    _, strict = run([good, crushed], {"max_failed_fraction": 0.2, "max_force": 20.0}, pw=inputs)
    assert strict.exit_status == 461
    assert "labelled" in strict.outputs
    assert computed(strict, "PwCalculation") == []
    _, none = run([crushed], {"max_force": 20.0}, pw=inputs)
    assert none.exit_status == 460
    assert "outlier" in none.exit_message


def test_isolated_atoms_and_clusters_are_put_into_boxes(fresh, pw: ModuleType, localhost: orm.Computer) -> None:
    """A hydrogen atom in the local spin density approximation: -0.4787 Hartree (NIST), without spin -0.4457."""
    inputs = pw.pw_inputs(pw.pw_code(localhost), "H")
    parameters = inputs["pw"]["parameters"].get_dict()
    parameters["SYSTEM"] |= {"ecutwfc": 30.0, "degauss": 0.01}
    inputs["pw"]["parameters"] = orm.Dict(parameters)
    molecule = Atoms("H2", [[0.0, 0.0, 0.0], [0.1, 0.2, 0.72]])
    settings = {"isolated_atoms": ["H"], "atom_box": 7.0, "vacuum": 5.0}
    outputs, node = run([molecule], settings, pw=inputs)
    assert node.is_finished_ok, node.exit_message
    bound, atom = outputs["labelled"].frames()
    assert not bound.pbc.any()
    assert not bound.cell.array.any()
    assert keys.STRESS not in bound.info
    assert atom.info[keys.CONFIG_TYPE] == CONFIG
    assert atom.cell.lengths() == pytest.approx([7.0] * 3)
    assert atom.info[keys.ENERGY] == pytest.approx(-0.4787 * 27.2114, abs=0.2)
    assert bound.info[keys.ENERGY] - 2.0 * atom.info[keys.ENERGY] == pytest.approx(-4.9, abs=0.3)  # LDA: -4.9 eV
    lone = computed(node, "PwCalculation")[-1]
    assert lone.inputs.parameters["SYSTEM"]["starting_magnetization"] == {"H": 1.0}
    assert lone.inputs.kpoints.get_kpoints_mesh()[0] == [1, 1, 1]


def test_a_cell_that_is_none_is_named(fresh, pw: ModuleType, localhost: orm.Computer) -> None:
    flat = Atoms("Al2", [[0, 0, 0], [2, 2, 0]], cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]], pbc=True)
    _, node = run([*aluminium(1), flat], pw=pw.pw_inputs(pw.pw_code(localhost), "Al"))
    assert node.exit_status == 450
    assert "configuration 1: its periodic cell vectors are not independent" in node.exit_message


def teacher(elements: list[str]) -> PotentialData:
    known = {"architecture": "emt", "elements": elements}
    info = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0, "level_of_theory": "EMT"}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), info)


@pytest.fixture
def batch(worker_code: orm.PortableCode, localhost: orm.Computer) -> dict[str, Any]:
    return {
        "code": worker_code,
        "metadata": {"computer": localhost, "options": {}},
        "settings": {},
        "potential": teacher(["Al", "Cu", "Ni", "W"]),
    }


def test_a_batch_labels_only_what_has_no_label(fresh, batch: dict[str, Any]) -> None:
    frames = aluminium(4)
    outputs, node = run(frames[:2], {"isolated_atoms": ["Al"]}, batch=batch)
    assert node.is_finished_ok, node.exit_message
    *cells, atom = outputs["labelled"].frames()
    assert atom.info[keys.CONFIG_TYPE] == CONFIG
    (job,) = computed(node, "LabelCalculation")
    assert {frame.info[keys.SOURCE] for frame in (*cells, atom)} == {job.uuid}
    again, other = run([frames[3], frames[0], frames[2], frames[3]], batch=batch)
    (new,) = computed(other, "LabelCalculation")
    assert len(new.inputs.configurations) == 2
    sources = [frame.info[keys.SOURCE] for frame in again["labelled"].frames()]
    assert sources == [new.uuid, job.uuid, new.uuid, new.uuid]
    assert again["report"]["reused"] == 1
    for frame, original in zip(again["labelled"].frames(), [frames[3], frames[0], frames[2], frames[3]], strict=True):
        original.calc = EMT()
        assert frame.info[keys.ENERGY] == pytest.approx(original.get_potential_energy(), abs=1e-9)
    _, third = run(frames, batch=batch)
    assert computed(third, "LabelCalculation") == []
    assert third.outputs.report["core_seconds"] == 0.0
    assert batch["potential"].uuid == job.inputs.potential.uuid
    assert new.base.extras.get(LABEL_EXTRA) == job.base.extras.get(LABEL_EXTRA)


def test_failures_of_a_batch_have_the_index_of_the_input(fresh, batch: dict[str, Any]) -> None:
    frames = aluminium(2)
    tungsten = Atoms("W2", [[0, 0, 0], [0, 0, 2.5]])  # EMT has no parameters of it
    outputs, node = run([frames[0], tungsten, frames[1]], batch=batch)
    assert node.is_finished_ok, node.exit_message
    assert [item["index"] for item in outputs["report"]["failed"]] == [1]
    assert len(outputs["labelled"]) == 2
    assert node.base.extras.get(PROGRESS_EXTRA) == {
        "asked": 3, "labelled": 2, "failed": 1, "running": 0, "waiting": 0,
    }  # fmt: skip
    _, none = run([tungsten], batch=batch)
    assert none.exit_status == 460


def test_a_batch_that_cannot_run_says_so_and_keeps_old_labels(fresh, batch: dict[str, Any]) -> None:
    frames = aluminium(2)
    _, forced = run(frames[:1], {"reuse": False}, batch=batch)
    assert len(computed(forced, "LabelCalculation")) == 1
    batch["metadata"] = {**batch["metadata"], "options": {"prepend_text": "export PATH=/nonexistent"}}
    outputs, node = run(frames, batch=batch)
    assert node.exit_status == 462
    assert "[330]" in node.exit_message
    assert len(outputs["labelled"]) == 1
    assert [item["index"] for item in outputs["report"]["failed"]] == [1]
