"""The example of electrolytes: what it makes of its options is what the workflow takes."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from aiida_mlip.schema.boxes import BoxSettings
from aiida_mlip.science.liquids.compositions import components_of


@pytest.fixture
def example(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(repository / "examples"))
    return __import__("electrolyte_stability")


def test_boxes_have_the_ratio_of_the_lectures_and_a_second_one_has_salt(example) -> None:
    plain = example.packed_boxes((), 0, 1.1, 1)
    assert {name: box["composition"] for name, box in plain.items()} == {"ec4_emc8": {"EC": 4, "EMC": 8}}
    boxes = example.packed_boxes(("EC=2,EMC=5", "CCOC(=O)C=3"), 1, 1.2, 7)
    assert list(boxes) == ["ec2_emc5", "ec2_emc5_lipf6", "ccoc_o_c3", "ccoc_o_c3_lipf6"]
    for fields in boxes.values():
        box = BoxSettings(**fields)
        assert components_of(box.composition)
        assert (box.density, box.seed) == (1.2, 7)
    assert boxes["ec2_emc5_lipf6"]["composition"] == {"EC": 2, "EMC": 5, "Li+": 1, "PF6-": 1}


@pytest.mark.parametrize("text", ["EC", "EC=four", "EC=4,EMC"])
def test_boxes_that_make_no_sense_are_refused(example, text: str) -> None:
    with pytest.raises(click.ClickException, match="write component=number"):
        example.composition_of(text)


def test_an_imported_box_is_named_for_its_file(example, tmp_path: Path, aiida_profile) -> None:
    from ase.build import molecule

    atoms = molecule("H2O", vacuum=3.0, pbc=True)
    atoms.write(tmp_path / "my-box 2.xyz")
    (name,) = boxes = example.imported_boxes((tmp_path / "my-box 2.xyz",))
    assert name == "my_box_2"
    assert boxes[name].elements == ("H", "O")


def test_the_reference_is_a_potential_of_the_ase_backend(example, aiida_profile) -> None:
    pytest.importorskip("tblite")
    reference = example.tight_binding("GFN2-xTB")
    assert reference.info.architecture == "ase"
    assert {"H", "Li", "C", "O", "F", "P"} <= set(reference.elements)
    assert sys.modules["electrolyte_stability"].REFERENCES["gfn2"] == "GFN2-xTB"
