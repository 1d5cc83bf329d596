"""Pages of steps that really ran: uncertainty, dynamics, selection and labels of argon, and the way of a frame."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory, WorkflowFactory
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from aiida_mlip.computers.defaults import job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.provenance.ancestry import ancestry
from aiida_mlip.provenance.frame import frame_way
from aiida_mlip.provenance.lineage import label_calculations, orphans, traced_frames
from aiida_mlip.report import key_figure
from aiida_mlip.report.asked import asked_by, asked_by_loop, compared
from aiida_mlip.report.loop import labelling_of
from aiida_mlip.report.page import render
from aiida_mlip.report.pages import PAGES
from aiida_mlip.report.subject import Subject
from aiida_mlip.science import keys
from aiida_mlip.workchains.iterative import IterativeTrainingWorkChain

BROKEN = "This section could not be made"
TEACHER = {"sigma": 3.4, "epsilon": 0.0104, "rc": 7.0, "smooth": True}
MEMBERS = ({"sigma": 3.36, "epsilon": 0.0103}, {"sigma": 3.45, "epsilon": 0.0108}, {"sigma": 3.42, "epsilon": 0.0100})


def potential(**parameters: Any) -> PotentialData:
    known = {"architecture": "lj", "elements": ["Ar"]}
    document = json.dumps({**known, "parameters": {**TEACHER, **parameters}})
    return PotentialData(
        io.BytesIO(document.encode()), {**known, "r_max": 7.0, "dtype": "float64", "num_parameters": 0}
    )


def crystal(seed: int, amplitude: float) -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 1, 1)
    atoms.rattle(amplitude, seed=seed)
    return atoms


def labelled(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = LennardJones(**TEACHER)
    copy.info = {keys.ENERGY: copy.get_potential_energy(), keys.STRESS: copy.get_stress(), keys.CONFIG_TYPE: "rattled"}
    copy.arrays[keys.FORCES] = copy.get_forces()
    copy.calc = None
    return copy


@pytest.fixture
def steps(worker_code, localhost) -> dict[str, Any]:
    """One generation without its training: name -> process."""
    runtime = {"code": worker_code, "metadata": {"computer": localhost, "options": {}}}
    members = {f"member_{index:02d}": potential(**values) for index, values in enumerate(MEMBERS)}
    known = DatasetData([labelled(crystal(seed, 0.05 + 0.01 * seed)) for seed in range(10)], level_of_theory="LJ")
    made: dict[str, Any] = {}
    doubt, made["uncertainty"] = run_get_node(
        CalculationFactory("mlip.uncertainty"), **runtime, potentials=members, calibration_set=known, settings={}
    )
    stages = [{"steps": 120, "temperature": 60.0, "temperature_end": 260.0}]
    walkers = {"hot_s0_w0": {"stages": stages, "seed": 1}, "hot_s0_w1": {"stages": stages, "seed": 2}}
    settings = {"walkers": walkers, "timestep": 4.0, "stride": 10, "log_stride": 5,
                "stop": {"uncertainty": 3 * doubt["results"]["median_max_forces_sigma"]}}  # fmt: skip
    dynamics, made["md"] = run_get_node(
        CalculationFactory("mlip.md"), **runtime, potentials=members, settings=settings,
        uncertainty=doubt["uncertainty"], structures=DatasetData([crystal(99, 0.02)]),
    )  # fmt: skip
    levels = {"lower": 0.5 * doubt["results"]["median_max_forces_sigma"], "upper": 10.0}
    chosen, made["select"] = run_get_node(
        CalculationFactory("mlip.select"), **runtime, potential=members["member_00"], known=known,
        trajectories=dynamics["trajectories"], settings={"levels": levels, "budget": 4, "generation": 1},
    )  # fmt: skip
    _, made["label"] = run_get_node(
        WorkflowFactory("mlip.label"), configurations=chosen["selected"], settings={},
        batch={**runtime, "potential": potential(), "settings": {}},
    )  # fmt: skip
    return made


def test_one_generation_of_real_steps_is_shown_and_traced(steps):
    pages = {name: render(node) for name, node in steps.items()}
    if folder := os.environ.get("REPORTS"):  # to look at them in a browser
        for name, page in pages.items():
            (Path(folder) / f"real_{name}.html").write_text(page)
    for name, node in steps.items():
        assert node.is_finished_ok, f"{name}: {node.exit_message}"
        assert BROKEN not in pages[name], name
    assert labelling_of(steps["select"]).uuid == steps["label"].uuid
    items = asked_by(steps["select"], steps["label"])
    assert len(list(compared(items))) == len(items) == 4
    for item in items:
        with_label = labelled(item.atoms)
        mean = [_forces(item.atoms, values) for values in MEMBERS]
        expected = np.linalg.norm(np.mean(mean, axis=0) - with_label.arrays[keys.FORCES], axis=1)
        assert item.forces_error == pytest.approx(expected, abs=1e-8)
    dataset = steps["label"].outputs.labelled
    way = frame_way(dataset, 1)
    assert way.label.class_name == "LabelCalculation"
    assert way.known
    assert way.apart < 1e-8
    assert way.dynamics.pk == steps["md"].pk
    assert way.selection.pk == steps["select"].pk
    assert way.uncertainty.uuid == steps["uncertainty"].outputs.uncertainty.uuid
    assert [driver.name for driver in way.drivers] == ["member_00", "member_01", "member_02"]
    assert [row.class_name for row in label_calculations(ancestry(dataset))] == ["LabelCalculation"]


def _forces(atoms: Atoms, values: dict[str, float]) -> np.ndarray:
    copy = atoms.copy()
    copy.calc = LennardJones(**{**TEACHER, **values})
    return copy.get_forces()


@pytest.fixture
def loop(worker_code, localhost, tiny_potential, emt_potential) -> Any:
    """Two generations of tiny MACE models that learn a Cu-Ni alloy from EMT."""
    start = bulk("Cu", "fcc", a=3.6, cubic=True)
    start.symbols[0] = "Ni"
    stages = [{"steps": 60, "temperature": 300.0, "temperature_end": 1500.0}]
    builder = IterativeTrainingWorkChain.get_builder_from_protocol(
        code=worker_code,
        structures=DatasetData([start], level_of_theory="none").store(),
        potential=tiny_potential.store(),
        teacher=emt_potential.store(),
        options=job_options(localhost),
        protocol="fast",
        overrides={
            "settings": {
                "max_generations": 2,
                "conditions": [{"name": "ramp", "stages": stages}],
                "walkers": 2,
                "augmentation": {"rattles": 8, "strains": 4},
                "levels": {"kind": "calibrated", "lower": 0.5, "upper": 4.0, "floor": 0.001},
                "holdout_fraction": 0.25,
            },
            "training": {"max_epochs": 3, "learning_rate": 0.01, "dtype": "float64"},
            "selection": {"budget": 3},
        },
    )
    return run_get_node(builder)[1]


@pytest.mark.slow
def test_the_report_of_a_real_loop_has_every_section(loop, tmp_path):
    page = render(loop)
    if folder := os.environ.get("REPORTS"):
        (Path(folder) / "real_loop.html").write_text(page)
        key_figure(loop, Path(folder) / "real_loop.png")
    assert loop.exit_status in {0, 705}, loop.exit_message
    assert BROKEN not in page
    missing = [name for name in PAGES["mlip.iterative_training"].sections if f'<section id="{name}">' not in page]
    assert missing == []
    assert key_figure(loop, tmp_path / "generations.png").stat().st_size > 10_000
    found = Subject(loop).loop
    assert [item.number for item in found.generations] == [1, 2]
    assert len(list(compared(asked_by_loop(found)))) > 0
    dataset = loop.outputs.training_set
    assert traced_frames(dataset) == (len(dataset), len(dataset))
    assert orphans(ancestry(loop.outputs.potential)) == ()
    way = frame_way(dataset, len(dataset) - 1)
    assert way.origin.generation == 1
    assert way.known
    assert way.apart < 1e-6
    assert {driver.potential.uuid for driver in way.drivers} == set(found.first.record.potentials.values())
    assert way.earlier[0].labels == 1  # all were labelled in one batch


@pytest.fixture
def emt_potential(aiida_profile) -> PotentialData:
    """ASE's EMT as the teacher."""
    known = {"architecture": "emt", "elements": ["Ni", "Cu"]}
    return PotentialData(
        io.BytesIO(json.dumps(known).encode()), {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    )
