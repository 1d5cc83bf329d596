"""The calcfunction `build_box`, its exit codes, and what is refused before it is run."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_mlip.calculations.boxes import (
    MOLECULES_CHANGED,
    PACKING_FAILED,
    build_box,
    check_box,
    check_box_settings,
)
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.report.remedies import remedy
from aiida_mlip.schema.boxes import BoxSettings
from aiida_mlip.science.liquids.boxes import facts_of

SETTINGS = {"composition": {"DMC": 2, "EC": 1, "Li+": 1, "BF4-": 1}, "density": 0.9, "seed": 3}


def asked(**changes) -> orm.Dict:
    return orm.Dict(BoxSettings(**{**SETTINGS, **changes}).model_dump(mode="json"))


def test_a_box_has_a_creator_and_is_the_same_for_the_same_settings(aiida_profile) -> None:
    first, again, other = build_box(asked()), build_box(asked()), build_box(asked(seed=4))
    assert first.creator.process_label == "build_box"
    assert first.config_types == {"box": 1}
    assert first.level_of_theory == "none"
    assert first.label == "2 DMC, 1 EC, 1 Li+, 1 BF4- at 0.9 g/cm^3"
    assert facts_of(next(first.frames())).molecules == SETTINGS["composition"]
    assert first.base.caching.get_hash() == again.base.caching.get_hash() != other.base.caching.get_hash()
    assert not list(check_box("boxes.liquid", first))


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"composition": {"H2O": 1}, "density": 6.0, "tolerance": 2.5}, PACKING_FAILED, "do not fit"),
        ({"composition": {"H2O": 1}, "density": 8.0, "tolerance": 0.6}, MOLECULES_CHANGED, "taken for bonded"),
    ],
)
def test_a_box_that_cannot_be_packed_ends_in_an_exit_code(aiida_profile, changes, status, said) -> None:
    _, node = run_get_node(build_box, settings=asked(**changes))
    assert node.exit_status == status
    assert said in node.exit_message
    assert remedy(node.process_label, node.exit_status)


def test_a_composition_is_looked_at_before_anything_is_submitted() -> None:
    assert not list(check_box_settings("settings.boxes.a", BoxSettings(**SETTINGS)))
    (said,) = check_box_settings("settings.boxes.a", BoxSettings(composition={"EC": 2, "Li+": 1}, density=1.0))
    assert said.startswith("settings.boxes.a.composition: the charges sum to +1 e")
    (said,) = check_box_settings("settings.boxes.a", BoxSettings(composition={"LiPF6": 1}, density=1.0))
    assert "Li+ and PF6-" in said


def test_an_imported_box_that_is_no_liquid_is_refused(aiida_profile) -> None:
    crystal = bulk("W", cubic=True)
    (said,) = check_box("boxes.a", DatasetData([crystal]))
    assert said.startswith("boxes.a = <data set of 1 configurations of W>: it has no molecules")
    (said,) = check_box("boxes.a", DatasetData([crystal, crystal]))
    assert "a box is one configuration" in said
