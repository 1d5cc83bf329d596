"""Where a geometry came from travels with the frame, through files and nodes, and is no part of its content."""

from __future__ import annotations

import io

import pytest
from ase import Atoms
from ase.io import read
from pydantic import ValidationError

from aiida_mlip.science.datasets.canonical import read_extxyz, write_extxyz
from aiida_mlip.science.datasets.reading import read_labelled
from aiida_mlip.science.origin import Origin, origin_of, set_origin

ORIGIN = Origin(
    kind="md",
    generation=3,
    trajectory="0b9e3c9e-1111",
    walker="t600_s0_w1",
    step=1230,
    temperature=600.0,
    max_forces_sigma=1.0 / 3.0,
    reason='0.33 eV/Å is "above" 0.2 = the lower level [eV/Å]',
)


def test_origin_survives_a_file_to_the_last_bit() -> None:
    frame = set_origin(Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.13]]), ORIGIN)
    text = io.StringIO()
    write_extxyz([frame, Atoms("H")], text)
    text.seek(0)
    first, second = read_extxyz(text)
    assert origin_of(first) == ORIGIN
    assert origin_of(second) is None


def test_origin_survives_export_and_import_as_a_users_file(tmp_path) -> None:
    frame = set_origin(Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.13]], info={"REF_energy": -9.5}), ORIGIN)
    path = tmp_path / "frames.xyz"
    with path.open("w", encoding="utf-8") as handle:
        write_extxyz([frame], handle)
    assert [origin_of(atoms) for atoms in read_labelled(path)] == [ORIGIN]
    assert len(read(path, ":")) == 1  # ASE reads it too


def test_what_others_call_origin_is_left_out(tmp_path) -> None:
    path = tmp_path / "frames.xyz"
    path.write_text('1\nProperties=species:S:1:pos:R:3 origin="my disk" REF_energy=-1.0\nH 0 0 0\n', encoding="utf-8")
    assert [atoms.info.get("origin") for atoms in read_labelled(path)] == [None]


def test_the_callers_frame_is_not_changed() -> None:
    atoms = Atoms("H")
    assert origin_of(set_origin(atoms, ORIGIN)) == ORIGIN
    assert not atoms.info


def test_unknown_fields_and_kinds_are_refused() -> None:
    with pytest.raises(ValidationError, match="kind"):
        Origin(kind="guess")
    with pytest.raises(ValidationError, match="temperature"):
        Origin(kind="md", temperature=-1.0)
