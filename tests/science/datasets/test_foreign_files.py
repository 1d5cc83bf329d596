"""Files as other programs and other people write them."""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from ase import Atoms

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.reading import read_labelled

STRESS = np.array([[0.1, 0.02, -0.03], [0.02, -0.2, 0.04], [-0.03, 0.04, 0.3]])
VOIGT = [0.1, -0.2, 0.3, 0.04, -0.03, 0.02]


def silver(**info: object) -> Atoms:
    atoms = Atoms("Ag2", positions=[[0, 0, 0], [2.1, 2.0, 0.1]], cell=[4.1, 4.0, 4.2], pbc=True)
    atoms.info.update(energy_dft=-5.5, **info)
    atoms.arrays["forces_dft"] = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])
    return atoms


@pytest.mark.parametrize("name", ["stress_dft", "REF_stress", "dft_stress"])
def test_a_matrix_that_ase_writes_as_json_is_a_stress(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.xyz"
    ase.io.write(path, silver(**{name: STRESS}), format="extxyz")
    (atoms,) = read_labelled(path)
    np.testing.assert_allclose(atoms.info[keys.STRESS], VOIGT, atol=1e-12)


def test_virials_written_by_ase_become_stresses(tmp_path: Path) -> None:
    frame = silver()
    frame.info["virials"] = -STRESS * frame.get_volume()
    ase.io.write(tmp_path / "mine.xyz", frame, format="extxyz")
    assert "_JSON" in (tmp_path / "mine.xyz").read_text()
    (atoms,) = read_labelled(tmp_path / "mine.xyz")
    np.testing.assert_allclose(atoms.info[keys.STRESS], VOIGT, atol=1e-12)


def test_a_file_cut_short_anywhere_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "whole.xyz"
    ase.io.write(path, [silver(), silver()], format="extxyz")
    text = path.read_text()
    second = text.index("2\n", 10)
    cut = tmp_path / "cut.xyz"
    for end in range(second + 2, len(text) - 1, 7):
        cut.write_text(text[:end])
        assert outcome(cut) in (2, "refused"), end


def outcome(path: Path) -> int | str:
    try:
        return len(list(read_labelled(path)))
    except DatasetError as error:
        return "refused" if path.name in str(error) else str(error)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "plain.xyz"
    ase.io.write(path, silver(stress_dft=STRESS), format="extxyz")
    windows = tmp_path / "windows.xyz"
    windows.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    (expected,), (found,) = read_labelled(path), read_labelled(windows)
    assert found.info[keys.ENERGY] == expected.info[keys.ENERGY] == -5.5
    np.testing.assert_array_equal(found.arrays[keys.FORCES], expected.arrays[keys.FORCES])
    np.testing.assert_array_equal(found.info[keys.STRESS], expected.info[keys.STRESS])


@pytest.fixture
def outcar() -> Path:
    """One ionic step of VASP 5.3.3, from ASE's own test data."""
    path = Path(ase.__file__).parent / "test" / "testdata" / "vasp" / "OUTCAR_example_1"
    if not path.exists():
        pytest.skip("this ASE was installed without its test data")
    return path


@pytest.mark.parametrize("name", ["OUTCAR", "relax_OUTCAR", "run1.outcar", "vasp.log"])
def test_an_outcar_is_recognised_and_read_without_its_neighbours(tmp_path: Path, outcar: Path, name: str) -> None:
    (tmp_path / "CONTCAR").write_text("written half when the job was killed\n 1.0\n 2.5")
    (tmp_path / name).write_bytes(outcar.read_bytes())
    (atoms,) = read_labelled(tmp_path / name)
    lines = outcar.read_text().splitlines()
    free = [float(line.split()[-2]) for line in lines if "free  energy   TOTEN" in line]
    assert atoms.info[keys.ENERGY] == free[-1]
    assert atoms.arrays[keys.FORCES].shape == (len(atoms), 3)
