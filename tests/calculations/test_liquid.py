"""mlip.liquid: trajectories of real mlip.md jobs, linked in their folder and uploaded, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
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
        "settings": {"walkers": walkers, "stride": 2, "timestep": 0.5, "velocities": True, "stop": {"temperature": None}},
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
