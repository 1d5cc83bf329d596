"""The two examples of iterative training: what they ask for is accepted, and their structures are what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import click
import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from aiida_mlip.calculations.iterative import walkers
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.iterative import IterativeSettings
from aiida_mlip.schema.selection import SelectionSettings
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.schema.uncertainty import UncertaintySettings
from aiida_mlip.workchains.protocols import protocol_inputs


@pytest.fixture(params=["iterative_w", "iterative_electrolyte_rehearsal"])
def example(request, repository: Path, monkeypatch: pytest.MonkeyPatch):
    """The script as a module; `verdi run` puts its path into ``sys.argv``."""
    return load(request.param, repository, monkeypatch)


def load(name: str, repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", [str(repository / "examples" / f"{name}.py")])
    monkeypatch.syspath_prepend(str(repository / "examples"))
    return __import__(name)


def test_what_is_asked_for_is_accepted(example) -> None:
    inputs = protocol_inputs("iterative", "fast", example.OVERRIDES)
    settings = IterativeSettings(**inputs["settings"])
    trained = TrainSettings(**inputs["training"])
    deep = UncertaintySettings(**inputs["uncertainty"]).method.kind == "deep"
    assert (settings.committee.size > 1) == deep
    made = walkers(settings, 3, 1, len(settings.conditions))
    dynamics = MDSettings(**inputs["md"], walkers=made)
    assert len(dynamics.walkers) == 3 * len(settings.conditions)
    SelectionSettings(**inputs["selection"], levels={"lower": 1.0, "upper": 2.0})
    assert trained.max_epochs < 100


def test_tungsten_has_one_vacancy_and_a_mesh_off_gamma(repository, monkeypatch) -> None:
    example = load("iterative_w", repository, monkeypatch)
    atoms = example.vacancy()
    assert len(atoms) == 15
    assert atoms.get_volume() == pytest.approx(8 * example.LATTICE_CONSTANT**3)
    neighbours = np.bincount(neighbor_list("i", atoms, 0.93 * example.LATTICE_CONSTANT))
    assert sorted(set(neighbours.tolist())) == [7, 8]
    assert (neighbours == 7).sum() == 8


def test_the_solvents_are_molecules_at_rest(repository) -> None:
    tblite = pytest.importorskip("tblite.ase")
    frames = ase.io.read(repository / "examples" / "data" / "solvents.xyz", ":")
    assert [atoms.get_chemical_formula() for atoms in frames] == ["C3H4O3", "C4H8O3", "C7H12O6"]
    for atoms, limit in zip(frames, (0.01, 0.01, 0.12), strict=True):
        atoms.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < limit


def test_a_missing_teacher_is_named_with_what_to_install(repository, monkeypatch) -> None:
    example = load("iterative_electrolyte_rehearsal", repository, monkeypatch)
    monkeypatch.setattr(example.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(click.ClickException, match=r"pip install 'aiida-mlip-workchains\[xtb\]'"):
        example.teacher()
