"""The tungsten data set that the repository carries: units, signs, physics and bookkeeping, from its files alone."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from ase.stress import voigt_6_to_full_3x3_stress

from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, GROUP, SOURCE, STRESS

DATA = Path(__file__).parents[2] / "examples" / "data"
GPA = 160.21766208


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tungsten_compare", DATA / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frames(compare) -> dict[str, Atoms]:
    return compare.load(DATA / "tungsten.xyz")


def path_derivatives(frames: list[Atoms], direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return dE/de [eV] along F = 1 + e N, from the energies and from the stresses, at each frame.

    The energies give it as the derivative of a polynomial, the Cauchy stress as V s : (N F^-1). The perfect crystal
    comes first. The two ends of the path are left out: a polynomial has its least accurate slope there.
    """
    reference = frames[0].cell.array
    strains, from_stress = [], []
    for atoms in frames:
        gradient = np.linalg.solve(reference, atoms.cell.array).T
        strain = np.sum((gradient - np.eye(3)) * direction) / np.sum(direction**2)
        np.testing.assert_allclose(gradient, np.eye(3) + strain * direction, atol=1.0e-6)
        full = voigt_6_to_full_3x3_stress(atoms.info[STRESS])
        from_stress.append(atoms.get_volume() * np.sum(full * (direction @ np.linalg.inv(gradient))))
        strains.append(strain)
    energies = [atoms.info[ENERGY] for atoms in frames]
    degree = min(len(frames) - 1, 7)
    slope = np.polynomial.Polynomial.fit(strains, np.array(energies) - energies[0], degree).deriv()
    inner = np.argsort(strains)[1:-1]
    return slope(np.array(strains)[inner]), np.array(from_stress)[inner]


def family(frames: dict[str, Atoms], prefix: str, largest: float) -> list[Atoms]:
    """Return the perfect crystal and the frames of a strain path up to a size, which its name ends with."""
    chosen = [a for name, a in frames.items() if name.startswith(prefix) and abs(float(name.split("_")[-1])) <= largest]
    return [frames["bcc_equilibrium"], *chosen]


@pytest.mark.parametrize(
    ("prefix", "largest", "direction"),
    [
        ("uniaxial_", 0.08, np.diag([1.0, 0.0, 0.0])),
        ("trigonal_", 0.08, np.ones((3, 3)) - np.eye(3)),
    ],
)
def test_stress_is_the_derivative_of_the_energy(frames, prefix, largest, direction) -> None:
    """Sign, unit and order: with another one of them the numbers differ by a sign or by a factor of 160."""
    chosen = family(frames, prefix, largest)
    assert len(chosen) == 7
    from_energy, from_stress = path_derivatives(chosen, direction)
    volume = chosen[0].get_volume()
    # The Pulay stress at this cut-off is about 0.5 GPa on each diagonal component.
    np.testing.assert_allclose(from_stress / volume * GPA, from_energy / volume * GPA, atol=1.0)
    assert np.abs(from_energy / volume * GPA).max() > 20.0


def test_stress_along_the_volume_scan(frames) -> None:
    chosen = [frames["bcc_equilibrium"], *(a for name, a in frames.items() if name.startswith("bcc_volume"))]
    from_energy, from_stress = path_derivatives(chosen, np.eye(3))
    volume = chosen[0].get_volume()
    np.testing.assert_allclose(from_stress / volume * GPA / 3.0, from_energy / volume * GPA / 3.0, atol=1.0)
    assert from_stress.max() > 0.0 > from_stress.min()


def test_shear_is_the_last_voigt_component(frames) -> None:
    atoms = frames["shear_+0.03"]
    stress = atoms.info[STRESS] * GPA
    assert stress[5] > 5.0  # xy, 2 C44 e
    np.testing.assert_allclose(stress[3:5], 0.0, atol=0.05)  # yz and xz


def test_lattice_shifted_by_a_burgers_vector_is_the_perfect_crystal(frames, compare) -> None:
    ends = [a for a in frames.values() if a.info[CONFIG_TYPE] == "gamma_110" and a.info[GROUP] == "bcc_equilibrium"]
    assert len(ends) == 2
    assert np.abs(ends[0].cell.array - ends[1].cell.array).max() > 1.0
    bulk = compare.energy(frames["bcc_equilibrium"])
    for atoms in ends:
        assert len(neighbor_list("i", atoms, 2.9)) == 8 * len(atoms)
        # The meshes differ in orientation and density: 5 meV/atom is what is left of that.
        assert compare.energy(atoms) == pytest.approx(bulk, abs=0.006)
        np.testing.assert_allclose(atoms.arrays[FORCES], 0.0, atol=1.0e-3)


def test_forces_add_up_to_zero(frames) -> None:
    for name, atoms in frames.items():
        np.testing.assert_allclose(atoms.arrays[FORCES].sum(axis=0), 0.0, atol=1.0e-3, err_msg=name)


def test_every_frame_is_complete(frames) -> None:
    for name, atoms in frames.items():
        assert np.isfinite(atoms.info[ENERGY]), name
        assert atoms.info[STRESS].shape == (6,), name
        assert atoms.arrays[FORCES].shape == (len(atoms), 3), name
        assert atoms.pbc.all(), name
        assert atoms.info[GROUP], name
    sources = [atoms.info[SOURCE] for atoms in frames.values()]
    assert len(set(sources)) == len(sources)


def test_families(frames) -> None:
    counts = Counter(atoms.info[CONFIG_TYPE] for atoms in frames.values())
    assert sum(counts.values()) >= 80
    required = {
        "bcc_volume",
        "bcc_tetragonal",
        "bcc_orthorhombic",
        "bcc_shear",
        "rattled",
        "md",
        "vacancy",
        "divacancy",
    }
    required |= {"fcc", "a15", "gamma_110", "gamma_112", "surface_110", "surface_100", "self_interstitial"}
    assert not (required | {"surface_112", "isolated_atom"}) - set(counts)


def test_properties_are_near_published_ones(frames, compare) -> None:
    values = compare.summary(frames)
    for name, margin in {
        "a0 [Å]": 0.003,
        "B [GPa]": 0.03,
        "C' [GPa]": 0.06,
        "C11 [GPa]": 0.05,
        "C44 [GPa]": 0.06,
    }.items():
        assert values[name] == pytest.approx(compare.PUBLISHED[name], rel=margin), name
    assert 2.5 < values["vacancy formation [eV]"] < values["vacancy, 16 sites, unrelaxed [eV]"] < 4.5
    assert 7.5 < values["cohesive energy [eV/atom]"] < 9.5
    assert values["fcc - bcc [meV/atom]"] > values["a15 - bcc [meV/atom]"] > 0.0
    assert all(value > 0.5 for name, value in values.items() if name.startswith("surface"))


def test_table_of_runs_belongs_to_the_frames(frames) -> None:
    lines = (DATA / "labels.csv").read_text().splitlines()
    assert {line.rsplit(",", 1)[1] for line in lines[1:]} == {atoms.info[SOURCE] for atoms in frames.values()}


def test_archive_holds_each_run_of_the_same_data_set(frames) -> None:
    from aiida import orm
    from aiida.tools.archive.abstract import get_format

    from aiida_mlip.data.dataset import DatasetData

    archive = DATA / "tungsten.aiida"
    assert archive.stat().st_size < 5.0e6
    with get_format().open(archive, "r") as reader:
        backend = reader.get_backend()
        dataset = orm.QueryBuilder(backend=backend).append(DatasetData).one()[0]
        assert dataset.content == (DATA / "tungsten.xyz").read_text()
        runs = orm.QueryBuilder(backend=backend).append(orm.CalcJobNode, project="uuid").all(flat=True)
        assert set(runs) == {atoms.info[SOURCE] for atoms in frames.values()}


def test_file_reads_with_plain_ase() -> None:
    first = ase.io.read(DATA / "tungsten.xyz", "0")
    assert set(first.get_chemical_symbols()) == {"W"}
