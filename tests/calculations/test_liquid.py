"""mlip.liquid: trajectories of real mlip.md jobs, linked in their folder and uploaded, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory
from ase import Atoms

from aiida_mlip.calculations.checks.liquid import check_conditions, check_names
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.liquid import LiquidSettings
from aiida_mlip.science.liquids import checks
from aiida_mlip.science.origin import origin_of

Change = Callable[[dict[str, Any]], dict[str, Any]]


def box() -> Atoms:
    """Two N2 and a CO molecule, one of them cut by the cell, in a triclinic box."""
    atoms = Atoms("N2", [[0.2, 0, 0], [-0.9, 0, 0.1]])
    atoms += Atoms("OC", [[3.5, 3.5, 1.0], [3.5, 3.4, 2.1]])
    atoms += Atoms("N2", [[1.0, 3.0, 4.5], [1.3, 4.0, 4.6]])
    atoms.set_cell([[7.0, 0, 0], [0.7, 7.2, 0], [0, 0.4, 7.4]])
    atoms.pbc = True
    return atoms


def run(name: str, inputs: dict[str, Any]) -> tuple[dict[str, Any], orm.CalcJobNode]:
    outputs, node = run_get_node(CalculationFactory(name), **inputs)
    return outputs, node


@pytest.fixture
def dynamics(runtime: dict[str, Any]) -> tuple[dict[str, Any], orm.CalcJobNode]:
    """Outputs of two walkers of the box with EMT, and their job."""
    known = {"architecture": "emt", "elements": ["C", "N", "O"]}
    facts = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    walkers = {name: {"stages": [{"steps": 40, "temperature": 100.0}], "seed": i} for i, name in enumerate(("a", "b"))}
    inputs = {
        **runtime,
        "settings": {
            "walkers": walkers,
            "stride": 2,
            "timestep": 0.5,
            "velocities": True,
            "stop": {"temperature": None},
        },
        "potentials": {"member_00": PotentialData(io.BytesIO(json.dumps(known).encode()), facts)},
        "structures": DatasetData([box()]),
    }
    outputs, node = run("mlip.md", inputs)
    assert node.is_finished_ok, node.exit_message
    return outputs, node


@pytest.fixture
def linked(runtime: dict[str, Any], dynamics: tuple[dict[str, Any], orm.CalcJobNode]) -> dict[str, Any]:
    """Inputs that read both walkers where they are."""
    facts = {"ensemble": "nvt", "temperature": 100.0, "timestep": 0.5}
    settings = {"walkers": {"a": facts, "b": facts}, "keep_frames": 4}
    return {
        **runtime,
        "settings": settings,
        "structures": dynamics[1].inputs.structures,
        "md_folder": dynamics[0]["remote_folder"],
    }


@pytest.fixture
def uploaded(linked: dict[str, Any], dynamics: tuple[dict[str, Any], orm.CalcJobNode]) -> dict[str, Any]:
    """Inputs that upload what the others link."""
    rest = {name: value for name, value in linked.items() if name != "md_folder"}
    return {**rest, "trajectories": dynamics[0]["trajectories"], "series": dynamics[0]["series"]}


def without_cost(results: dict[str, Any]) -> dict[str, Any]:
    return {name: {**walker, "seconds": sorted(walker["seconds"])} for name, walker in results["walkers"].items()}


def test_linked_and_uploaded_trajectories_say_the_same(
    linked: dict[str, Any], uploaded: dict[str, Any], dynamics: tuple[dict[str, Any], orm.CalcJobNode]
) -> None:
    there, job = run("mlip.liquid", linked)
    assert job.is_finished_ok, job.exit_message
    here, node = run("mlip.liquid", uploaded)
    assert node.is_finished_ok, node.exit_message
    found = without_cost(there["results"].get_dict())
    assert found == without_cost(here["results"].get_dict())
    assert found["a"]["frames"] == 21
    assert found["a"]["time_ps"] == pytest.approx(0.02)
    assert sorted(found["a"]["molecules"].values()) == [1, 2]
    assert set(found["a"]["seconds"]) <= set(checks.names())
    assert {result["check"] for result in found["a"]["checks"]} == set(found["a"]["seconds"])
    for name, curves in there["curves"].items():
        assert curves.get_arraynames() == here["curves"][name].get_arraynames()
        for array in curves.get_arraynames():
            np.testing.assert_array_equal(curves.get_array(array), here["curves"][name].get_array(array))
    frames, same = list(there["frames"].frames()), list(here["frames"].frames())
    evenly = [atoms for atoms in frames if atoms.info["config_type"] == "frame_a"]
    assert [origin_of(atoms).step for atoms in evenly] == [0, 14, 26, 40]
    whole = list(dynamics[0]["trajectories"]["a"].frames())
    np.testing.assert_array_equal(evenly[-1].positions, whole[-1].positions)
    np.testing.assert_array_equal(evenly[-1].positions, same[frames.index(evenly[-1])].positions)
    assert origin_of(same[0]).trajectory == dynamics[0]["trajectories"]["a"].uuid
    links = job.base.links.get_incoming().all_link_labels()
    assert {"md_folder", "structures", "settings", "code"} == set(links)
    with enable_caching():
        _, again = run("mlip.liquid", linked)
    assert again.base.caching.get_cache_source() == job.uuid


@pytest.fixture
def given(runtime: dict[str, Any], emt_trajectory: Callable[..., str]) -> dict[str, Any]:
    """Inputs that are right: one walker, uploaded."""
    trajectory = MDTrajectoryData(io.BytesIO(emt_trajectory(300, 3).encode()))
    start = next(iter(trajectory.frames()))
    return {
        **runtime,
        "settings": {"walkers": {"a": {"ensemble": "nvt", "temperature": 300.0}}},
        "structures": DatasetData([start]),
        "trajectories": {"a": trajectory},
    }


def settings(**facts: Any) -> Change:
    return lambda inputs: {
        **inputs,
        "settings": {"walkers": {"a": {**inputs["settings"]["walkers"]["a"], **facts}}},
    }


def renamed(name: str) -> Change:
    return lambda inputs: {**inputs, "settings": {"walkers": {name: inputs["settings"]["walkers"]["a"]}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda inputs: {**inputs, "trajectories": {}}, "md_folder = None: there is nothing to read"),
        (renamed("b"), r"settings.walkers = \['b'\]: not in trajectories, which has a"),
        (renamed("b"), r"trajectories = \['a'\]: settings.walkers has b"),
        (renamed("b__c"), "is no name of an output"),
        (settings(structure=3), "settings.walkers.a.structure = 3: there are 1 structures"),
        (settings(ensemble="nph"), "settings.walkers.a.ensemble = 'nph'"),
        (settings(temperature=0), "settings.walkers.a.temperature = 0"),
        (lambda inputs: {**inputs, "series": {"b": orm.ArrayData()}}, r"series = \['b'\]: settings.walkers has a"),
        (
            lambda inputs: {**inputs, "structures": DatasetData([box()])},
            "structure 0 has 6 atoms of C, N, O",
        ),
        (
            lambda inputs: settings(ensemble="npt")({**inputs, "structures": DatasetData([Atoms("Cu")])}),
            "settings.walkers.a.ensemble = 'npt': structure 0 is not periodic",
        ),
        (lambda inputs: {**inputs, "settings": {**inputs["settings"], "only": ["smell"]}}, "'smell' is not known"),
        (
            lambda inputs: {**inputs, "settings": {**inputs["settings"], "checks": {"structure": {"radius": 3}}}},
            "structure.radius is not a known field",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_submitted(
    given: dict[str, Any], change: Change, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        run("mlip.liquid", change(given))


def test_folders_elsewhere_or_besides_trajectories_are_refused(given: dict[str, Any], tmp_path: Path) -> None:
    other = orm.Computer("elsewhere", "elsewhere", "", "core.local", "core.direct", str(tmp_path)).store()
    with pytest.raises(ValueError, match="md_folder is given too"):
        run("mlip.liquid", {**given, "md_folder": orm.RemoteData("/nowhere", computer=given["metadata"]["computer"])})
    inputs = {name: value for name, value in given.items() if name != "trajectories"}
    with pytest.raises(ValueError, match="md_folder = <folder on elsewhere>: the job runs on 'localhost'"):
        run("mlip.liquid", {**inputs, "md_folder": orm.RemoteData("/nowhere", computer=other)})


def test_what_the_dynamics_was_is_compared_with_what_is_said_of_it() -> None:
    """Ensemble, time step, structure and temperature are those of the job that made the folder."""
    stages = [{"steps": 5, "temperature": 300.0, "temperature_end": 500.0}]
    walkers = {name: {"stages": stages, "seed": seed, "structure": 1} for seed, name in enumerate(("a", "b", "c"))}
    dynamics = MDSettings.model_validate({"walkers": walkers, "timestep": 0.5, "ensemble": {"kind": "nvt_bussi"}})
    right = {"ensemble": "nvt", "timestep": 0.5, "structure": 1, "temperature": 400.0}
    typed = LiquidSettings.model_validate(
        {"walkers": {"a": right, "b": {"temperature": 600.0}, "d": {"temperature": 1.0}}}
    )
    told = list(check_conditions(typed, dynamics))
    assert [message.partition(":")[0] for message in told] == [
        "settings.walkers.b.ensemble = 'npt'",
        "settings.walkers.b.timestep = 1.0",
        "settings.walkers.b.structure = 0",
        "settings.walkers.b.temperature = 600.0",
    ]
    assert "the dynamics that made md_folder had 'nvt'. Use 'nvt'." in told[0]
    assert len(list(check_names(typed.walkers, dynamics.walkers, "md_folder"))) == 1


def test_files_that_are_gone_are_told_by_the_worker(given: dict[str, Any], tmp_path: Path) -> None:
    """The folder of the dynamics was cleaned."""
    inputs = {name: value for name, value in given.items() if name != "trajectories"}
    _, node = run(
        "mlip.liquid", {**inputs, "md_folder": orm.RemoteData(str(tmp_path), computer=given["metadata"]["computer"])}
    )
    assert node.exit_status == 321
    assert "walkers.a: trajectory_a.xyz, series_a.csv does not exist; was the folder" in node.exit_message
