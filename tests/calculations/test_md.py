"""mlip.md: real jobs on this machine, and what is refused before one is submitted."""

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
from ase.build import bulk

from aiida_mlip.calculations.checks.md import check_uncertainty
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.uncertainty.model import UncertaintyHeader

STAGE = {"steps": 20, "temperature": 600.0}


def potential(element: str = "W", architecture: str = "finnis_sinclair", **parameters: Any) -> PotentialData:
    known = {"architecture": architecture, "elements": [element]}
    text = json.dumps({**known, "parameters": parameters} if parameters else known)
    return PotentialData(io.BytesIO(text.encode()), {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0})


def argon(sigma: float) -> PotentialData:
    return potential("Ar", "lj", sigma=sigma, epsilon=0.01, rc=8.0)


def tungsten() -> Atoms:
    atoms = bulk("W", "bcc", a=3.2, cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture
def dynamics(runtime: dict[str, Any]) -> dict[str, Any]:
    """Two walkers of four tungsten atoms."""
    walkers = {"cold": {"stages": [STAGE], "seed": 1}, "hot": {"stages": [{**STAGE, "temperature": 1200}], "seed": 2}}
    return {
        **runtime,
        "settings": {"walkers": walkers, "stride": 5, "log_stride": 4},
        "potentials": {"member_00": potential()},
        "structures": DatasetData([tungsten()]),
    }


def run(inputs: dict[str, Any]) -> tuple[dict[str, Any], orm.CalcJobNode]:
    outputs, node = run_get_node(CalculationFactory("mlip.md"), **inputs)
    return outputs, node


def test_walkers_become_trajectories_and_series_and_come_from_the_cache(dynamics: dict[str, Any]) -> None:
    outputs, node = run(dynamics)
    assert node.is_finished_ok, node.exit_message
    walkers = outputs["results"]["walkers"]
    assert set(outputs["trajectories"]) == set(outputs["series"]) == set(walkers) == {"cold", "hot"}
    assert walkers["hot"]["stable_steps"] == walkers["hot"]["steps"] == 20
    assert walkers["hot"]["temperature"] == 1200
    frames = list(outputs["trajectories"]["hot"].frames())
    assert [atoms.info["step"] for atoms in frames] == [0, 5, 10, 15, 20]
    assert outputs["series"]["hot"].get_array("step").tolist() == [0, 4, 8, 12, 16, 20]
    assert outputs["results"]["versions"]["ase"]
    assert node.outputs.retrieved.base.repository.list_object_names() == [
        "_scheduler-stderr.txt",
        "_scheduler-stdout.txt",
        "progress.jsonl",
        "result.json",
        "walkers.json",
        "worker.out",
    ]
    with enable_caching():
        again, second = run(dynamics)
    assert second.base.caching.get_cache_source() == node.uuid
    assert again["trajectories"]["hot"].content == outputs["trajectories"]["hot"].content


def test_every_so_many_frames_are_retrieved_and_all_stay_in_the_folder(dynamics: dict[str, Any]) -> None:
    whole, _ = run(dynamics)
    thin, node = run({**dynamics, "settings": {**dynamics["settings"], "keep_stride": 3}})
    assert node.is_finished_ok, node.exit_message
    for name in ("cold", "hot"):
        remote = Path(thin["remote_folder"].get_remote_path()) / "walkers" / name / "trajectory.xyz"
        assert remote.read_bytes() == whole["trajectories"][name].content
        kept = list(thin["trajectories"][name].frames())
        assert [atoms.info["step"] for atoms in kept] == [0, 15, 20]
        assert np.array_equal(kept[1].positions, list(whole["trajectories"][name].frames())[3].positions)
        assert thin["series"][name].get_array("step").tolist() == whole["series"][name].get_array("step").tolist()


def test_settings_from_before_keep_stride_are_the_same_node_content(dynamics: dict[str, Any]) -> None:
    """A default that changes nothing must not part new runs from old ones in the cache."""
    before = MDSettings.model_validate(dynamics["settings"]).model_dump(mode="json")
    assert "keep_stride" not in before
    assert MDSettings.model_validate({**before, "keep_stride": 1}).model_dump(mode="json") == before
    assert MDSettings.model_validate({**before, "keep_stride": 2}).model_dump(mode="json")["keep_stride"] == 2


def test_a_committee_judges_each_frame_and_a_rule_stops_a_walker(dynamics: dict[str, Any]) -> None:
    box = Atoms("Ar4", positions=[[0, 0, 0], [3.7, 0, 0], [0, 3.9, 0], [0.2, 0.1, 4.1]])
    limit = 0.02
    settings = {
        "walkers": {"cluster": {"stages": [{"steps": 400, "temperature": 90}], "seed": 4}},
        "stop": {"uncertainty": limit},
        "uncertainty_stride": 2,
    }
    members = {"member_00": argon(3.4), "member_01": argon(3.5)}
    outputs, node = run({**dynamics, "settings": settings, "potentials": members, "structures": DatasetData([box])})
    assert node.is_finished_ok, node.exit_message
    result = outputs["results"]["walkers"]["cluster"]
    assert result["stopped_by"] == "uncertainty"
    frames = list(outputs["trajectories"]["cluster"].frames())
    assert [atoms.info["stopped"] for atoms in frames] == [False] * (len(frames) - 1) + [True]
    assert frames[-1].info["max_forces_sigma"] > limit >= max(a.info["max_forces_sigma"] for a in frames[:-1])
    assert frames[-1].info["step"] == result["steps"] == result["stable_steps"] + 2


def test_no_stable_step_is_an_exit_code_and_keeps_the_frame(dynamics: dict[str, Any]) -> None:
    atoms = tungsten()
    atoms.positions[1] = atoms.positions[0] + [0.0, 0.1, 0.3]
    outputs, node = run({**dynamics, "structures": DatasetData([atoms])})
    assert node.exit_status == 420
    assert "distance" in node.exit_message
    (frame,) = outputs["trajectories"]["cold"].frames()
    assert frame.info["stopped"]
    assert np.array_equal(frame.positions, atoms.positions)


def test_what_a_potential_raised_does_not_come_from_the_cache(dynamics: dict[str, Any]) -> None:
    """The reason may be gone the next time: a library that was missing, a device that was busy."""
    known = {"architecture": "ase", "elements": ["W"]}
    water = {**known, "calculator": "ase.calculators.tip3p:TIP3P", "parameters": {}, "level_of_theory": "TIP3P"}
    info = {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0}
    dynamics["potentials"] = {"member_00": PotentialData(io.BytesIO(json.dumps(water).encode()), info)}
    _, first = run(dynamics)
    assert first.exit_status == 420
    assert "calculator_error" in first.exit_message
    with enable_caching(identifier="aiida.calculations:mlip.md"):
        _, second = run(dynamics)
    assert not second.base.caching.is_created_from_cache


def changed(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda inputs: {**inputs, "settings": {**inputs["settings"], **changes}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(walkers={"a": {"stages": [STAGE], "seed": 1, "structure": 1}}), "there are 1 structures"),
        (changed(walkers={"a__b": {"stages": [STAGE], "seed": 1}}), "is no name of an output"),
        (changed(stop={"uncertainty": 0.3}), "settings.stop.uncertainty = 0.3: one potential alone has no uncertainty"),
        (changed(hal={}), "settings.hal = 'given': one potential alone has no uncertainty"),
        (changed(ensemble={"kind": "npt"}), "needs a pressure"),
        (
            lambda inputs: {
                **changed(
                    ensemble={"kind": "npt"},
                    walkers={"a": {"stages": [{**STAGE, "pressure": 0.0}], "seed": 1}},
                )(inputs),
                "structures": DatasetData([Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.7]])]),
            },
            "is not periodic in three directions",
        ),
        (lambda inputs: {**inputs, "structures": DatasetData([bulk("Cu") * (2, 1, 1)])}, "it lacks Cu"),
        (lambda inputs: {**inputs, "structures": DatasetData([Atoms("W")])}, "one atom alone has no dynamics"),
        (lambda inputs: {**inputs, "potentials": {}}, "there is nothing to run with"),
        (changed(keep_stride=0), "settings.keep_stride = 0"),
        (changed(head="other"), "the potential has no such head"),
        (changed(stop={"density": (2.0, 0.5)}), "settings.stop.density = .*: needs a lower limit"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_submitted(
    dynamics: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        run(change(dynamics))


def test_an_uncertainty_of_another_head_is_refused_before_submission() -> None:
    """The scales of one head say nothing of another; the worker would find out after the queue."""
    settings = MDSettings.model_validate({"walkers": {"a": {"stages": [STAGE], "seed": 1}}})
    facts = {"architecture": "mace", "elements": ("W",), "r_max": 5, "dtype": "float64", "num_parameters": 1}
    infos = {"m": PotentialInfo(**facts, heads=("pbe", "scan"), head="pbe", sha256="abc")}
    header = UncertaintyHeader(
        kind="shallow", sha256=("abc",), head="scan", elements=("W",), energy_scale=1.0, forces_scale=1.0
    )
    (message,) = check_uncertainty(settings, infos, header)
    assert (
        "uncertainty = <of head 'scan'>: the potentials are used with head 'pbe'. Set settings.head to 'scan'"
        in message
    )
    assert not list(check_uncertainty(settings.model_copy(update={"head": "scan"}), infos, header))
    (message,) = check_uncertainty(settings, infos, header.model_copy(update={"head": "pbe", "sha256": ("xyz",)}))
    assert "the potentials given are abc" in message
