"""The example that adds one class of configurations at a time."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from ase.io import iread

from aiida_mlip.science import properties


@pytest.fixture
def example(repository: Path, monkeypatch: pytest.MonkeyPatch):
    """The script as a module; `verdi run` puts its path into ``sys.argv``."""
    monkeypatch.setattr(sys, "argv", [str(repository / "examples" / "finetune_w_by_class.py")])
    monkeypatch.syspath_prepend(str(repository / "examples"))
    import finetune_w_by_class

    return finetune_w_by_class


def test_every_type_of_the_tungsten_data_is_in_one_class(example, repository: Path) -> None:
    asked = Counter(name for types in example.CLASSES.values() for name in types)
    frames = iread(repository / "examples" / "data" / "tungsten.xyz")
    present = {str(atoms.info["config_type"]) for atoms in frames}
    assert max(asked.values()) == 1
    assert present <= set(asked)
    assert set(asked) - present <= {"surface_111"}, "a class names a type that no frame has"


def test_inputs_of_the_properties_are_accepted(example) -> None:
    for name, inputs in example.PROPERTIES.items():
        typed = properties.parse_inputs(properties.get(name), {"element": "W", **inputs}).model_dump(mode="json")
        assert {field: typed[field] for field in inputs} == inputs, "what is asked for is what the property gets"
