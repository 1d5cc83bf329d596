"""Addresses, refusals, boxes, meshes and isolated atoms."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from aiida_mlip.science.keys import ENERGY, FORCES, STRESS
from aiida_mlip.science.labelling.address import (
    digest_of,
    firsts,
    geometry_digest,
    potential_method,
    pw_address,
    pw_method,
)
from aiida_mlip.science.labelling.cells import boxed, mesh_of
from aiida_mlip.science.labelling.checks import refusal_of
from aiida_mlip.science.labelling.isolated import CONFIG, atom_parameters, isolated_atom, missing_atoms
from aiida_mlip.science.origin import origin_of

PARAMETERS = {
    "CONTROL": {"calculation": "scf", "tprnfor": True, "max_seconds": 3000},
    "SYSTEM": {"ecutwfc": 40.0, "degauss": 0.02},
    "ELECTRONS": {"conv_thr": 1e-9, "mixing_beta": 0.4},
}
MD5 = {"Al": "aaaa", "Ni": "bbbb"}


def cell() -> Atoms:
    """An alloy without symmetry."""
    atoms = bulk("Al", "fcc", a=4.0, cubic=True)
    atoms.symbols[2] = "Ni"
    atoms.set_cell(atoms.cell @ (np.eye(3) + np.array([[0.01, 0.02, 0], [0, -0.03, 0.01], [0, 0, 0.02]])), True)
    atoms.rattle(0.05, seed=3)
    return atoms


def address(atoms: Atoms | None = None, mesh: tuple[int, int, int] = (3, 3, 2), **changes: dict) -> str:
    parameters = {name: {**PARAMETERS[name], **changes.get(name, {})} for name in PARAMETERS}
    method = pw_method(parameters, changes.get("pseudos", MD5), settings=changes.get("settings"))
    return pw_address(atoms or cell(), method, mesh)


@pytest.mark.parametrize(
    "changes",
    [
        {"SYSTEM": {"ecutwfc": 41.0}},
        {"SYSTEM": {"nspin": 2}},
        {"ELECTRONS": {"conv_thr": 1e-8}},
        {"pseudos": {**MD5, "Ni": "cccc"}},
        {"mesh": (3, 3, 3)},
        {"settings": {"gamma_only": True}},
    ],
)
def test_what_changes_the_number_changes_the_address(changes: dict) -> None:
    assert address(**changes) != address()


@pytest.mark.parametrize(
    "changes",
    [
        {"CONTROL": {"max_seconds": 60, "disk_io": "low", "verbosity": "high"}},
        {"ELECTRONS": {"mixing_beta": 0.1, "diagonalization": "cg", "electron_maxstep": 300}},
        {"settings": {"CMDLINE": ["-nk", "4"]}},
        {"pseudos": {**MD5, "W": "dddd"}},
    ],
)
def test_what_changes_only_the_way_there_does_not(changes: dict) -> None:
    assert address(**changes) == address()


def test_namelists_may_be_spelled_in_any_case() -> None:
    lower = {"system": {"ECUTWFC": 40.0}}
    assert pw_method(lower, MD5) == pw_method({"SYSTEM": {"ecutwfc": 40.0}}, MD5)


def test_geometries_are_one_to_a_millionth_of_an_angstrom() -> None:
    atoms, near, far, swapped = cell(), cell(), cell(), cell()
    near.positions[1, 2] += 1e-9
    far.positions[1, 2] += 1e-5
    swapped = swapped[[0, 2, 1, 3]]
    assert geometry_digest(near) == geometry_digest(atoms)
    assert geometry_digest(far) != geometry_digest(atoms)
    assert geometry_digest(swapped) != geometry_digest(atoms)
    assert firsts([geometry_digest(item) for item in (atoms, far, near, far)]) == [0, 1, 0, 1]


def test_methods_of_potentials() -> None:
    info = {"architecture": "mace", "sha256": "abc", "head": "Default", "name": "a", "licence": "b"}
    settings = {"device": "cpu", "dtype": "float64", "head": None, "stress": True}
    same = potential_method({**info, "name": "other"}, {**settings, "device": "cuda", "head": "Default"})
    assert same == potential_method(info, settings)
    for other in ({**settings, "dtype": "float32"}, {**settings, "head": "pbe"}, {**settings, "stress": False}):
        assert potential_method(info, other) != same
    assert potential_method({**info, "sha256": "abd"}, settings) != same
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


def labelled(force: float = 1.0) -> Atoms:
    atoms = cell()
    atoms.info |= {ENERGY: -10.0, STRESS: np.zeros(6)}
    atoms.arrays[FORCES] = np.zeros((4, 3))
    atoms.arrays[FORCES][2] = [0.0, 0.6 * force, -0.8 * force]
    return atoms


def test_outliers_are_judged_by_the_length_of_a_force() -> None:
    assert refusal_of(labelled(49.9), 50.0) == ""
    assert refusal_of(labelled(50.1), 50.0).startswith("outlier: the force on atom 2 (Ni) is 50.1 eV/Å")
    assert refusal_of(labelled(1e6), None) == ""


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_numbers_that_are_not_finite_are_no_label(name: str) -> None:
    atoms = labelled()
    if name == "forces":
        atoms.arrays[FORCES][3, 1] = np.nan
    else:
        atoms.info[{"energy": ENERGY, "stress": STRESS}[name]] = np.full(6, np.inf) if name == "stress" else np.nan
    assert refusal_of(atoms, None) == f"the {name} of the label is not finite"
    bare = labelled()
    del bare.arrays[FORCES]
    assert refusal_of(bare, 50.0) == "the label has no forces"


def test_a_molecule_gets_a_box_with_vacuum_on_each_side() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.rotate(35, "x")
    box = boxed(atoms, 8.0)
    np.testing.assert_array_equal(box.positions, atoms.positions)
    np.testing.assert_allclose(box.cell.lengths(), np.ptp(atoms.positions, axis=0) + 8.0)
    repeated = box.copy()
    repeated.pbc = True
    between = repeated.repeat((2, 2, 2)).get_all_distances()[: len(atoms), len(atoms) :]
    assert between.min() >= 8.0
    assert not atoms.cell.array.any()


def test_a_slab_keeps_its_cell_where_there_is_vacuum_and_else_only_its_height_grows() -> None:
    slab = fcc111("Al", (2, 2, 4), a=4.05, vacuum=6.0)
    np.testing.assert_array_equal(boxed(slab, 10.0).cell, slab.cell)
    grown = boxed(slab, 20.0)
    np.testing.assert_array_equal(grown.cell[:2], slab.cell[:2])
    assert grown.cell[2, 2] == pytest.approx(np.ptp(slab.positions[:, 2]) + 20.0)
    crystal = cell()
    np.testing.assert_array_equal(boxed(crystal, 30.0).cell, crystal.cell)


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("distance", [0.15, 0.37, 1.3])
@pytest.mark.parametrize(
    "atoms",
    [cell(), bulk("W"), bulk("Ti", "hcp", a=2.95, c=4.68), boxed(fcc111("Al", (1, 1, 3), a=4.05), 10.0)],
    ids=["alloy", "bcc", "hcp", "slab"],
)
def test_meshes_are_those_of_aiida_quantumespresso(aiida_profile, atoms: Atoms, distance: float, even: bool) -> None:
    from aiida import orm
    from aiida_quantumespresso.calculations.functions.create_kpoints_from_distance import create_kpoints_from_distance

    function = create_kpoints_from_distance.__wrapped__
    theirs = function(orm.StructureData(ase=atoms), orm.Float(distance), orm.Bool(even))
    assert list(mesh_of(atoms, distance, even=even)) == theirs.get_kpoints_mesh()[0]


def test_isolated_atoms_have_the_spin_of_their_ground_state() -> None:
    periodic = {**PARAMETERS, "SYSTEM": {**PARAMETERS["SYSTEM"], "nbnd": 40, "tot_magnetization": 1.0, "nosym": False}}
    iron = atom_parameters(periodic, "Fe", 16.0, 0.003)["SYSTEM"]
    assert iron["starting_magnetization"] == {"Fe": 0.25}  # four unpaired electrons of sixteen
    assert (iron["nspin"], iron["degauss"], iron["nosym"]) == (2, 0.003, True)
    assert "nbnd" not in iron
    assert "tot_magnetization" not in iron
    argon = atom_parameters(PARAMETERS, "Ar", 8.0, 0.003)["SYSTEM"]
    assert "nspin" not in argon
    assert periodic["SYSTEM"]["nbnd"] == 40


def test_only_isolated_atoms_that_are_not_there_are_added() -> None:
    frames = [cell(), isolated_atom("Al", 15.0)]
    (nickel,) = missing_atoms(["Al", "Ni", "Ni"], frames, None)
    assert nickel.get_chemical_symbols() == ["Ni"]
    assert not nickel.pbc.any()
    assert nickel.info["config_type"] == CONFIG
    origin = origin_of(nickel)
    assert origin is not None
    assert origin.kind == "isolated_atom"
