"""Reading labelled configurations of any names, units and formats."""

from __future__ import annotations

from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, GPa, Hartree, Rydberg, kcal, mol

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.keymap import KeyMap
from aiida_mlip.science.datasets.reading import list_keys, read_labelled

FILES = Path(__file__).parent / "files"
STRESS = np.array([0.011, -0.022, 0.033, 0.004, -0.005, 0.006])
TENSOR = STRESS[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
CELL = np.array([[3.1, 0.2, 0.0], [0.0, 3.3, 0.1], [0.3, 0.0, 3.5]])
FORCES = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])


def write(path: Path, comment: str, columns: str = "forces", n_frames: int = 1, pbc: str = "T T T") -> Path:
    """Write frames of two copper atoms with this comment line."""
    lattice = " ".join(map(str, CELL.ravel()))
    head = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3' + (f":{columns}:R:3" if columns else "")
    rows = [
        " ".join(["Cu", *map(str, position), *(map(str, force) if columns else ())])
        for position, force in zip(([0.0, 0.0, 0.0], [1.6, 1.5, 1.7]), FORCES.tolist(), strict=True)
    ]
    path.write_text("\n".join(["2", f'{head} {comment} pbc="{pbc}"', *rows, ""]) * n_frames)
    return path


@pytest.mark.parametrize(
    ("energy", "forces"),
    [
        ("energy", "forces"),
        ("energy", "force"),
        ("Energy", "Forces"),
        ("free_energy", "forces"),
        ("dft_energy", "dft_force"),
        ("DFT_energy", "DFT_forces"),
        ("energy_xtb", "forces_xtb"),
        ("REF_energy", "REF_forces"),
        ("TotEnergy", "force"),
        ("total_energy", "f"),
        ("qm-energy", "qm-forces"),
    ],
)
def test_common_names_are_detected(tmp_path, energy, forces):
    (atoms,) = read_labelled(write(tmp_path / "a.xyz", f"{energy}=-3.5", forces))
    assert atoms.info[keys.ENERGY] == -3.5
    assert np.array_equal(atoms.arrays[keys.FORCES], FORCES)
    assert atoms.calc is None


def test_the_free_energy_is_taken_where_both_are_there(tmp_path):
    path = write(tmp_path / "a.xyz", "energy=-3.5 free_energy=-3.6")
    assert next(read_labelled(path)).info[keys.ENERGY] == -3.6
    assert next(read_labelled(path, keys=KeyMap(energy="energy"))).info[keys.ENERGY] == -3.5


def test_predictions_of_models_are_never_taken_for_labels(tmp_path):
    path = write(tmp_path / "a.xyz", "energy_mace=-9.0 MACE_energy=-8.0 kinetic_energy=1.0 energy_xtb=-3.5")
    assert next(read_labelled(path)).info[keys.ENERGY] == -3.5


def test_ambiguous_names_are_refused_and_listed(tmp_path):
    path = write(tmp_path / "a.xyz", "energy_pbe=-3.5 energy_r2scan=-4.5")
    with pytest.raises(DatasetError, match=r"ambiguous.*energy_pbe.*energy_r2scan.*scalar in 1 frames.*--energy-key"):
        next(read_labelled(path))


def test_a_given_name_decides_for_the_others(tmp_path):
    path = write(tmp_path / "a.xyz", "energy_pbe=-3.5 energy_r2scan=-4.5", "forces_pbe:R:3:forces_r2scan")
    path.write_text(path.read_text().replace("0.3\n", "0.3 1 2 3\n"))
    atoms = next(read_labelled(path, keys=KeyMap(energy="energy_r2scan")))
    assert atoms.info[keys.ENERGY] == -4.5
    assert np.array_equal(atoms.arrays[keys.FORCES], [[1, 2, 3], [1, 2, 3]])


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    path = write(tmp_path / "a.xyz", "energy=-3.5")
    with pytest.raises(DatasetError, match=r"'REF_energy' does not occur.*energy scalar.*forces \(n, 3\)"):
        next(read_labelled(path, keys=KeyMap(energy="REF_energy")))


def test_a_file_without_labels_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no energy and no forces"):
        next(read_labelled(write(tmp_path / "a.xyz", "temperature=300", "momenta")))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (f'stress="{" ".join(map(str, TENSOR.ravel()))}"', {}),
        (f'dft_stress="{" ".join(map(str, STRESS))}"', {}),
        (f'stress="{" ".join(map(str, STRESS))}"', {}),
        (f'stress="{" ".join(map(str, TENSOR.ravel() / GPa))}"', {"stress_unit": "GPa"}),
        (f'stress="{" ".join(map(str, -10 * TENSOR.ravel() / GPa))}"', {"stress_unit": "kbar", "stress_sign": -1}),
        (f'virial="{" ".join(map(str, -TENSOR.ravel() * np.linalg.det(CELL)))}"', {}),
        (f'dft_virial="{" ".join(map(str, -STRESS * np.linalg.det(CELL)))}"', {}),
        (
            f'my="{" ".join(map(str, -TENSOR.ravel() * np.linalg.det(CELL) / Hartree))}"',
            {"keys": KeyMap(virial="my"), "energy_unit": "Ha"},
        ),
    ],
)
def test_stress_and_virial_in_any_form_become_the_same(tmp_path, text, options):
    (atoms,) = read_labelled(write(tmp_path / "a.xyz", f"energy=1.0 {text}"), **options)
    assert atoms.info[keys.STRESS] == pytest.approx(STRESS, rel=1e-12)


def test_a_stress_and_a_virial_that_contradict_each_other_are_refused(tmp_path):
    stress, virial = " ".join(map(str, STRESS)), " ".join(map(str, STRESS * np.linalg.det(CELL)))
    with pytest.raises(DatasetError, match="contradict"):
        next(read_labelled(write(tmp_path / "a.xyz", f'energy=1.0 stress="{stress}" virial="{virial}"')))


def test_a_stress_without_periodicity_is_left_out(tmp_path):
    stress = " ".join(["inf"] * 9)
    (atoms,) = read_labelled(write(tmp_path / "a.xyz", f'energy=1.0 stress="{stress}"', pbc="F F F"))
    assert keys.STRESS not in atoms.info


@pytest.mark.parametrize(
    ("options", "energy", "force"),
    [
        ({"energy_unit": "Ha", "forces_unit": "Ha/bohr"}, Hartree, Hartree / Bohr),
        ({"energy_unit": "Ry", "forces_unit": "Ry/Bohr"}, Rydberg, Rydberg / Bohr),
        ({"energy_unit": "kcal/mol", "forces_unit": "kcal/mol/Å"}, kcal / mol, kcal / mol),
        ({"energy_unit": "hartree", "forces_unit": "eV/Å"}, Hartree, 1.0),
    ],
)
def test_units_are_converted(tmp_path, options, energy, force):
    (atoms,) = read_labelled(write(tmp_path / "a.xyz", "energy=2.0"), **options)
    assert atoms.info[keys.ENERGY] == pytest.approx(2.0 * energy, rel=1e-12)
    assert atoms.arrays[keys.FORCES] == pytest.approx(FORCES * force, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy_unit": "erg"}, "units.energy = 'erg'.*kcal/mol"),
        ({"stress_sign": 2}, "units.stress_sign = 2"),
        ({"index": "one"}, "index = 'one'"),
        ({"format": "cif2"}, "format 'cif2' is unknown"),
    ],
)
def test_wrong_options_are_refused_by_name_and_value(tmp_path, options, message):
    with pytest.raises(DatasetError, match=message):
        list(read_labelled(write(tmp_path / "a.xyz", "energy=2.0"), **options))


def test_text_stays_text_and_overrides_win(tmp_path):
    path = write(tmp_path / "a.xyz", "energy=1 config_type=1e5 group=T")
    (atoms,) = read_labelled(path)
    assert (atoms.info[keys.CONFIG_TYPE], atoms.info[keys.GROUP]) == ("1e5", "T")
    (atoms,) = read_labelled(path, config_type="bulk", group="g")
    assert (atoms.info[keys.CONFIG_TYPE], atoms.info[keys.GROUP]) == ("bulk", "g")


def test_indices_and_several_files_with_different_names(tmp_path):
    one = write(tmp_path / "a.xyz", "energy=1", n_frames=5)
    other = write(tmp_path / "b.xyz", "dft_energy=2", "dft_forces", n_frames=2)
    assert [a.info[keys.ENERGY] for a in read_labelled([one, other], index="::2")] == [1, 1, 1, 2]
    assert len(list(read_labelled(one, index=-1))) == 1
    assert len(list(read_labelled(one, index="-2:"))) == 2


@pytest.mark.parametrize("text", ["", "hello\nworld\n", "3\nenergy=1 Properties=species:S:1:pos:R:3\nH 0 0 0\n"])
def test_broken_files_are_refused_with_their_name(tmp_path, text):
    path = tmp_path / "broken.xyz"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"broken\.xyz"):
        list(read_labelled(path))


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no such file"):
        list(read_labelled(tmp_path / "none.xyz"))
    with pytest.raises(DatasetError, match="is a folder"):
        list(read_labelled(tmp_path))


def labelled_by_ase(n: int = 3) -> list[Atoms]:
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(n):
        atoms = Atoms("Cu2", positions=[[0, 0, 0], [1.7, 1.8, 1.9]], cell=CELL, pbc=True)
        atoms.positions += rng.normal(scale=0.05, size=(2, 3))
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
        atoms.calc = SinglePointCalculator(atoms, **results, free_energy=results["energy"] - 0.1)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("name", ["a.traj", "a.xyz", "a.extxyz.gz", "a.db"])
def test_results_of_ase_calculators_become_labels(tmp_path, name):
    frames = labelled_by_ase()
    if name.endswith(".db"):
        with ase.db.connect(tmp_path / name) as database:
            for number, atoms in enumerate(frames):
                database.write(atoms, config_type="emt", group=f"run {number}")
    else:
        ase.io.write(tmp_path / name, frames)
    found = list(read_labelled(tmp_path / name))
    for before, after in zip(frames, found, strict=True):
        assert after.info[keys.ENERGY] == pytest.approx(before.calc.results["free_energy"], abs=1e-9)
        assert after.arrays[keys.FORCES] == pytest.approx(before.calc.results["forces"], abs=1e-6)
        assert after.info[keys.STRESS] == pytest.approx(before.calc.results["stress"], abs=1e-6)
    if name.endswith(".db"):
        assert [atoms.info[keys.GROUP] for atoms in found] == ["run 0", "run 1", "run 2"]


def test_both_files_of_a_pw_x_relaxation_give_the_same_free_energies_forces_and_stress():
    text, xml = (list(read_labelled(FILES / name)) for name in ("pw_relax.out", "pw_relax.xml"))
    assert len(text) == len(xml) == 2
    for one, other in zip(text, xml, strict=True):
        assert one.positions == pytest.approx(other.positions, abs=1e-6)
        assert one.info[keys.ENERGY] == pytest.approx(other.info[keys.ENERGY], abs=1e-3)
        assert one.arrays[keys.FORCES] == pytest.approx(other.arrays[keys.FORCES], abs=1e-5)
    assert text[1].info[keys.ENERGY] == pytest.approx(-302.68636870 * Rydberg, rel=1e-6)
    assert text[1].info[keys.STRESS] == pytest.approx(xml[1].info[keys.STRESS], abs=1e-5)
    pressure = -text[1].info[keys.STRESS][:3].mean() / GPa
    assert pressure == pytest.approx(-185.199, abs=0.01)


def test_an_incomplete_xml_is_refused(tmp_path):
    path = tmp_path / "cut.xml"
    path.write_text((FILES / "pw_relax.xml").read_text()[:4000])
    with pytest.raises(DatasetError, match="cut short"):
        list(read_labelled(path))


def vasprun(path: Path) -> Path:
    """Write a vasprun.xml of one step of two aluminium atoms, with smeared electrons."""
    basis = "".join(f"<v>{' '.join(map(str, row))}</v>" for row in CELL)
    positions = "<v>0 0 0</v><v>0.5 0.45 0.5</v>"
    forces = "".join(f"<v>{' '.join(map(str, row))}</v>" for row in FORCES)
    stress = "".join(f"<v>{' '.join(map(str, row))}</v>" for row in -10.0 * TENSOR / GPa)
    energies = '<i name="e_fr_energy">-7.5</i><i name="e_wo_entrp">-7.3</i><i name="e_0_energy">-7.4</i>'
    structure = f'<crystal><varray name="basis">{basis}</varray></crystal><varray name="positions">{positions}</varray>'
    atoms = "<rc><c>Al</c><c>1</c></rc>" * 2
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><modeling>'
        '<incar></incar><kpoints><varray name="kpointlist"><v>0 0 0</v></varray>'
        '<varray name="weights"><v>1</v></varray>'
        '</kpoints><parameters><separator name="grids"><i name="NGX">1</i></separator></parameters>'
        f'<atominfo><atoms>2</atoms><types>1</types><array name="atoms"><set>{atoms}</set></array></atominfo>'
        f'<structure name="initialpos">{structure}</structure><calculation><scstep><energy>{energies}</energy></scstep>'
        f'<structure>{structure}</structure><varray name="forces">{forces}</varray>'
        f'<varray name="stress">{stress}</varray><energy>{energies}</energy></calculation></modeling>'
    )
    return path


def test_vasp_labels_are_the_free_energy_and_a_stress_of_ases_sign(tmp_path):
    (atoms,) = read_labelled(vasprun(tmp_path / "vasprun.xml"))
    assert atoms.info[keys.ENERGY] == pytest.approx(-7.5)
    assert atoms.arrays[keys.FORCES] == pytest.approx(FORCES)
    assert atoms.info[keys.STRESS] == pytest.approx(STRESS, rel=1e-9)


def test_the_names_in_a_file_can_be_listed(tmp_path):
    listed = list_keys(write(tmp_path / "a.xyz", "energy_pbe=-3.5 energy_r2scan=-4.5", n_frames=2))
    assert "energy_pbe scalar in 2 frames" in listed
