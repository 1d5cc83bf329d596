"""``mlip.select``: what is refused before it runs, and real jobs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory

from aiida_mlip.calculations.checks.select import check_trajectories
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.science.keys import GROUP
from aiida_mlip.science.origin import origin_of

Trajectory = Callable[..., str]


def node(text: str) -> MDTrajectoryData:
    return MDTrajectoryData(io.BytesIO(text.encode()))


@pytest.fixture
def selection(runtime: dict[str, Any], emt_potential: PotentialData, emt_trajectory: Trajectory) -> dict[str, Any]:
    """Two walkers of a Cu-Ni cell, one of them hot, and a few gentle frames that are known."""
    known = node(emt_trajectory(100, 6, 3))
    return {
        **runtime,
        "settings": {"levels": {"lower": 0.2, "upper": 0.6}, "budget": 4, "generation": 2},
        "potential": emt_potential,
        "trajectories": {
            "hot_s0_w0": node(emt_trajectory(900, 15, 2)),
            "cold_s0_w0": node(emt_trajectory(20, 5, 1)),
        },
        "known": DatasetData(known.frames()),
    }


def run(inputs: dict[str, Any]) -> tuple[dict[str, Any], orm.CalcJobNode]:
    outputs, process = run_get_node(CalculationFactory("mlip.select"), **inputs)
    return outputs, process


def test_selected_frames_know_their_trajectory(selection: dict[str, Any]) -> None:
    outputs, process = run(selection)
    assert process.is_finished_ok, process.exit_message
    counts = outputs["results"]["counts"]
    assert (counts["frames"], counts["selected"]) == (20, 4)
    assert outputs["results"]["versions"]["ase"]
    hot = selection["trajectories"]["hot_s0_w0"]
    assert outputs["selected"].config_types == {"md_hot": 4}
    assert outputs["selected"].labels == dict.fromkeys(outputs["selected"].labels, 0)
    for atoms in outputs["selected"].frames():
        origin = origin_of(atoms)
        assert origin is not None
        assert orm.load_node(origin.trajectory).uuid == hot.uuid
        assert (origin.kind, origin.generation) == ("md", 2)
        assert atoms.info[GROUP] == hot.base.attributes.get("sha256")[:8]
    with enable_caching():
        _, second = run(selection)
    assert second.base.caching.get_cache_source() == process.uuid


def test_nothing_selected_is_a_success(selection: dict[str, Any]) -> None:
    del selection["trajectories"]["hot_s0_w0"], selection["known"]
    outputs, process = run(selection)
    assert process.exit_status == 0
    assert set(outputs) == {"results", "remote_folder", "retrieved"}
    assert outputs["results"]["message"].startswith("Nothing was selected: no frame reaches the lower level")


def test_selection_with_mace(selection: dict[str, Any], tiny_potential: PotentialData) -> None:
    outputs, process = run({**selection, "potential": tiny_potential})
    assert process.is_finished_ok, process.exit_message
    assert outputs["results"]["descriptors"] == "potential"
    assert len(outputs["selected"]) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"settings": {"levels": {"lower": 0.2, "upper": 0.6}, "max_label_atoms": 7}},
            "8 atoms of Cu, Ni>: the cell is too large for the labeller: settings.max_label_atoms = 7. Start the "
            "dynamics from a smaller cell",
        ),
        ({"settings": {"budget": 3}}, "settings.levels is required"),
        ({"settings": {"levels": {"lower": 0.6, "upper": 0.2}}}, "lower = 0.6 must be less than upper = 0.2"),
        ({"settings": {"levels": {"lower": 0.2, "upper": 0.6}, "head": "other"}}, "settings.head = 'other'"),
        ({"trajectories": {}}, "there is nothing to select from"),
    ],
)
def test_refused_before_submission(selection: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        run({**selection, **changes})


def test_trajectories_without_uncertainty_or_of_other_elements_are_refused(
    selection: dict[str, Any], emt_trajectory: Trajectory, emt_potential: PotentialData
) -> None:
    bare = node(emt_trajectory(300, 2, 5, sigma=False))
    with pytest.raises(ValueError, match=r"trajectories.bare = .*2 frames of 8 atoms.*have no uncertainty"):
        run({**selection, "trajectories": {"bare": bare}})
    copper = emt_potential.info.model_copy(update={"elements": ("Cu",)})
    (message,) = check_trajectories({"hot": selection["trajectories"]["hot_s0_w0"]}, None, copper)
    assert "the potential lacks Ni" in message
