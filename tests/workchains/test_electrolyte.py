"""``mlip.electrolyte`` run for real on four water molecules: GFN1-xTB holds them, and ASE's EMT cannot."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from ase import Atoms
from ase.build import molecule

from aiida_mlip.computers.defaults import job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science.liquids.force_results import ForceTestResult
from aiida_mlip.workchains.electrolyte import ElectrolyteWorkChain

FORCE_TESTS = {
    "configurations": 1,
    "volume_scan": {"densities": [0.1, 0.5, 0.8, 1.1, 1.5], "configurations": 1},
    "dimers": None,
}
DYNAMICS = {
    "temperatures": [300.0, 450.0],
    "timestep": 0.5,
    "nvt_steps": 12,
    "npt_steps": 16,
    "nve_steps": 8,
    "stride": 2,
    "log_stride": 1,
    "keep_stride": 4,
}


ELEMENTS = ("H", "C", "O", "Cu")


@pytest.fixture(autouse=True)
def _cached(aiida_profile) -> Iterator[None]:
    with enable_caching(identifier="aiida.calculations:mlip.*"):
        yield


def calculator(name: str, target: str, elements: Sequence[str] = ELEMENTS, **parameters: Any) -> PotentialData:
    known = {"architecture": "ase", "elements": list(elements)}
    document = {**known, "calculator": target, "parameters": parameters, "level_of_theory": name}
    info = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0, "name": name, "level_of_theory": name}
    return PotentialData(io.BytesIO(json.dumps(document).encode()), info)


def good() -> PotentialData:
    pytest.importorskip("tblite")
    return calculator("GFN1-xTB", "tblite.ase:TBLite", method="GFN1-xTB", verbosity=0)


def bad() -> PotentialData:
    """Effective-medium theory knows H and O, and nothing of their bonds."""
    return calculator("EMT", "ase.calculators.emt:EMT")


def water() -> Atoms:
    rng = np.random.default_rng(1)
    box = Atoms(cell=[5.2] * 3, pbc=True)
    for number in range(4):
        one = molecule("H2O")
        one.rotate(rng.uniform(0, 360), rng.normal(size=3))
        one.translate(1.2 + 2.6 * np.array([number // 2, number % 2, (number // 2 + number) % 2]))
        box += one
    return box


@pytest.fixture
def build(worker_code, localhost) -> Callable[..., Any]:
    """A function that returns the inputs of a run with changes of the settings on top."""

    def function(potentials: dict[str, PotentialData], changes: dict[str, Any] | None = None, **given: Any) -> Any:
        settings = {"dynamics": DYNAMICS, "force_tests": FORCE_TESTS, **(changes or {})}
        return ElectrolyteWorkChain.get_builder_from_protocol(
            code=worker_code,
            potentials=potentials,
            options=job_options(localhost),
            protocol="fast",
            overrides={"settings": settings, "md": {"dtype": "float64"}},
            **{"boxes": {"water": DatasetData([water()])}, **given},
        )

    return function


def run(builder: Any) -> orm.WorkChainNode:
    return run_get_node(builder)[1]


def steps_of(node: orm.WorkChainNode) -> dict[str, orm.ProcessNode]:
    links = node.base.links.get_outgoing(link_type=(LinkType.CALL_WORK, LinkType.CALL_CALC)).all()
    return {link.link_label: link.node for link in links}


@pytest.mark.slow
def test_a_good_and_a_bad_potential_side_by_side(build) -> None:
    node = run(build({"gfn1": good(), "emt": bad()}, reference=good()))
    assert node.exit_status == 0, node.exit_message
    found = node.outputs.verdict["potentials"]
    assert found["emt"]["answer"] == "unstable"
    assert found["gfn1"]["answer"] == "inconclusive", found["gfn1"]["sentence"]
    assert "150 ps" in found["gfn1"]["missing"][0]
    assert "4 molecules" in found["gfn1"]["missing"][0]
    steps = steps_of(node)
    stages = ("nvt", "npt", "nve")
    assert {f"gfn1_{stage}{end}" for stage in stages for end in ("", "_checks")} <= set(steps)
    assert {"probe_frames", "reference_labels", "gfn1_labels", "emt_labels", "gfn1_force_tests", "verdict"} <= set(
        steps
    )
    assert set(node.outputs.results["gfn1"]) == {"force_tests", *stages}
    npt = steps["gfn1_npt"]
    assert set(npt.outputs.trajectories) == {"water_t300_p0_w1", "water_t450_p0_w1"}
    assert npt.inputs.md.structures.creator == steps["gfn1_last_frames"]
    assert steps["gfn1_npt_checks"].inputs.liquid.md_folder.uuid == npt.outputs.remote_folder.uuid
    tests = ForceTestResult(**node.outputs.results["gfn1"]["force_tests"].get_dict())
    assert max(error.rmse for error in tests.errors) < 1e-6, "the reference is the same method"


@pytest.mark.slow
def test_a_mace_that_was_never_trained_lets_molecules_fall_apart(build, tmp_path) -> None:
    script, target = Path(__file__).parents[1] / "tiny_mace.py", tmp_path / "untrained.model"
    command = [sys.executable, str(script), str(target), "1=-13.6", "8=-430.0"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    potential = PotentialData(target, {**json.loads(done.stdout.splitlines()[-1]), "name": "untrained"})
    dynamics = {**DYNAMICS, "temperatures": [600.0], "timestep": 1.0, "nvt_steps": 200, "npt_steps": 0, "nve_steps": 0}
    node = run(build({"untrained": potential}, {"dynamics": dynamics, "force_tests": None}))
    assert node.exit_status == 0, node.exit_message
    verdict = node.outputs.verdict["potentials"]["untrained"]
    assert verdict["answer"] == "unstable", verdict["sentence"]
    (walker,) = node.outputs.results["untrained"]["nvt"]["walkers"].values()
    assert {check["status"] for check in walker["checks"] if check["check"] == "molecules"} == {"fail"}
    assert len(walker["events"]) > 0


def test_what_was_run_before_comes_from_the_cache(build) -> None:
    changes = {"dynamics": {**DYNAMICS, "npt_steps": 0, "nve_steps": 0}, "force_tests": None}
    first, second = (run(build({"emt": bad()}, changes, max_concurrent=1)) for _ in range(2))
    assert first.outputs.verdict["potentials"]["emt"]["answer"] == "unstable"
    assert second.outputs.verdict["potentials"] == first.outputs.verdict["potentials"]
    jobs = [child for child in second.called_descendants if isinstance(child, orm.CalcJobNode)]
    assert {job.process_label for job in jobs} == {"MDCalculation", "LiquidCalculation"}
    assert all(job.base.caching.is_created_from_cache for job in jobs)


def test_dynamics_from_the_cache_is_looked_at_where_its_folder_was_cleaned(build) -> None:
    changes = {"dynamics": {**DYNAMICS, "temperatures": [300.0], "npt_steps": 0, "nve_steps": 0}, "force_tests": None}
    first = run(build({"emt": bad()}, changes))
    shutil.rmtree(Path(steps_of(first)["emt_nvt"].outputs.remote_folder.get_remote_path()) / "walkers")
    second = run(build({"emt": bad()}, {**changes, "equilibration": 0.1}))
    assert second.exit_status == 0, second.exit_message
    steps = steps_of(second)
    assert steps["emt_nvt"].called[0].base.caching.is_created_from_cache
    assert steps["emt_nvt_checks"].is_failed
    assert set(steps["emt_nvt_checks_retrieved"].inputs.liquid.trajectories) == {"water_t300_w1"}
    results = second.outputs.results["emt"]["nvt"]
    assert results.creator.caller.uuid == steps["emt_nvt_checks_retrieved"].uuid
    verdict = second.outputs.verdict["potentials"]["emt"]
    assert verdict["answer"] == "unstable"
    assert not verdict["failed_steps"]


NO_DYNAMICS = {"nvt_steps": 0, "npt_steps": 0, "nve_steps": 0}


@pytest.mark.parametrize(
    ("where", "status", "changes"),
    [
        ("md.md", 465, {"force_tests": None}),
        ("liquid.liquid", 466, {"force_tests": None}),
        pytest.param("label.batch", 463, {"dynamics": NO_DYNAMICS}, marks=pytest.mark.slow),
        pytest.param("reference.batch", 462, {"dynamics": NO_DYNAMICS}, marks=pytest.mark.slow),
    ],
)
def test_a_step_that_fails_takes_nothing_else_down(build, broken_code, where, status, changes) -> None:
    changes = {"dynamics": {**DYNAMICS, "temperatures": [300.0], "nve_steps": 0, "npt_steps": 0}, **changes}
    other = calculator("EMT, other cut-off", "ase.calculators.emt:EMT", asap_cutoff=True)
    builder = build({"emt": bad()}, changes, **({"reference": other} if changes.get("force_tests", 1) else {}))
    namespace = builder
    for name in where.split("."):
        namespace = namespace[name]
    namespace["code"] = broken_code
    if "batch" in where:  # other tests have labelled these, and a label that is there needs no worker
        labels = builder[where.split(".")[0]]
        labels["settings"] = orm.Dict({**labels["settings"].get_dict(), "reuse": False})
    node = run(builder)
    assert node.exit_status == status, node.exit_message
    assert "water" in node.outputs.boxes
    verdict = node.outputs.verdict["potentials"]["emt"]
    if where == "liquid.liquid":
        assert verdict["answer"] == "unstable", "the dynamics itself says so"
        assert verdict["reasons"][0]["check"] == "run"
    if where == "reference.batch":
        assert "force_tests" in node.outputs.results["emt"], "what needs no reference was tested"
    else:
        assert verdict["failed_steps"]


def test_a_box_that_cannot_be_packed_ends_it(build) -> None:
    packed = {"dense": {"composition": {"H2O": 1}, "density": 20.0}}
    node = run(build({"emt": bad()}, {"force_tests": None}, packed=packed, boxes=None))
    assert node.exit_status == 460
    assert "box_dense" in node.exit_message


def test_tests_of_nothing_cannot_be_set_up(build) -> None:
    dynamics = {"nvt_steps": 0, "npt_steps": 0, "nve_steps": 0}
    nothing = {"configurations": 0, "volume_scan": None, "dimers": None}
    node = run(build({"emt": bad()}, {"dynamics": dynamics, "force_tests": nothing}))
    assert node.exit_status == 461, node.exit_message
    assert node.outputs.verdict["potentials"]["emt"]["answer"] == "inconclusive"


@pytest.mark.slow
def test_a_salt_goes_through_the_whole_chain_and_all_data_have_a_creator_or_were_given(build) -> None:
    box = {"composition": {"EC": 2, "Li+": 1, "PF6-": 1}, "density": 1.0, "tolerance": 1.6, "seed": 3}
    dynamics = {**DYNAMICS, "temperatures": [300.0], "nvt_steps": 6, "npt_steps": 6, "nve_steps": 4}
    tests = {**FORCE_TESTS, "dimers": {"pairs": 1, "shifts": [0.0, 0.5, 4.0]}}
    xtb = calculator("GFN1-xTB", "tblite.ase:TBLite", ["H", "Li", "C", "O", "F", "P"], method="GFN1-xTB", verbosity=0)
    changes = {"dynamics": dynamics, "force_tests": tests}
    node = run(build({"gfn1": xtb}, changes, packed={"salt": box}, boxes=None, reference=xtb))
    assert node.exit_status == 0, node.exit_message
    verdict = node.outputs.verdict["potentials"]["gfn1"]
    assert verdict["answer"] == "inconclusive", verdict["sentence"]
    npt = next(iter(node.outputs.results["gfn1"]["npt"]["walkers"].values()))
    judged = {check["quantity"]: check["status"] for check in npt["checks"]}
    assert judged["reactions of molecules"] == judged["reactions of PF6-"]
    forces = ForceTestResult(**node.outputs.results["gfn1"]["force_tests"].get_dict())
    assert forces.with_ions == 1
    assert not forces.failed_predicted
    assert max(error.rmse for error in forces.errors) < 1e-6, "the reference is the same method"
    assert sorted(npt["molecules"].values()) == [1, 1, 2]
    assert {species["formula"] for species in npt["species"]} == {"C3H4O3", "F6P", "Li"}
    assert_all_data_are_accounted_for(node.outputs.verdict)


def assert_all_data_are_accounted_for(result: orm.Data) -> None:
    """Each node behind a result was made by a process, or given to one that the user started."""
    query = orm.QueryBuilder().distinct().append(orm.Data, filters={"uuid": result.uuid}, tag="result")
    query.append(orm.Data, with_descendants="result", project="*")
    orphans = [data for data in query.all(flat=True) if data.creator is None and not isinstance(data, orm.Code)]
    runs = [found for found in orm.QueryBuilder().append(orm.ProcessNode).all(flat=True) if found.caller is None]
    given = {value.uuid for found in runs for value in found.base.links.get_incoming().all_nodes()}
    assert any(data.uuid in given for data in orphans)
    # What the work chain saw of its steps is a fact that no calculation made.
    facts = {link.node.uuid for job in orm.QueryBuilder().append(orm.CalcFunctionNode).all(flat=True)
             for link in job.base.links.get_incoming().all() if link.link_label == "outcome"}  # fmt: skip
    assert {data.uuid for data in orphans} - facts <= given
