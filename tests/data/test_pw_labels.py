"""pw.x outputs to labels: units, signs, frames, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aiida_mlip.data.pw_labels import frames_from_pw, stress_from_pw
from aiida_mlip.science.keys import ENERGY, FORCES, STRESS


@pytest.fixture
def parameters() -> dict[str, Any]:
    """Output parameters of a smeared scf: the contributions add up to the free energy."""
    return {
        "energy": -200.0,
        "energy_units": "eV",
        "forces_units": "ev / angstrom",
        "stress_units": "GPascal",
        "occupations": "smearing",
        "energy_one_electron": -100.0,
        "energy_hartree": 50.0,
        "energy_xc": -40.0,
        "energy_ewald": -109.5,
        "energy_smearing": -0.5,
        "convergence_info": {"scf_conv": {"convergence_achieved": True, "scf_error": 1.0e-10}},
    }


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Three frames of two atoms; every number differs from every other."""
    rng = np.random.default_rng(3)
    stress = rng.normal(scale=20.0, size=(3, 3, 3))
    return {
        "cells": np.array([np.diag([3.0, 3.1, 3.2]) + 0.01 * index for index in range(3)]),
        "positions": rng.uniform(0.0, 3.0, (3, 2, 3)),
        "energy": np.array([-198.0, -199.0, -200.0]),
        "forces": rng.normal(size=(3, 2, 3)),
        "stress": stress + stress.transpose(0, 2, 1),
    }


def test_last_frame_has_labels_of_the_last_entry(parameters, arrays) -> None:
    (atoms,) = frames_from_pw(parameters, arrays, ["W", "Ta"])
    assert atoms.get_chemical_symbols() == ["W", "Ta"]
    assert atoms.info[ENERGY] == -200.0
    np.testing.assert_array_equal(atoms.arrays[FORCES], arrays["forces"][-1])
    np.testing.assert_array_equal(atoms.positions, arrays["positions"][-1])
    np.testing.assert_array_equal(atoms.cell.array, arrays["cells"][-1])
    assert atoms.pbc.all()


def test_stress_changes_sign_and_unit_and_order() -> None:
    printed = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    # xx yy zz yz xz xy; 160.21766208 GPa are 1 eV/Å^3; pw.x calls compression positive.
    np.testing.assert_allclose(stress_from_pw(printed) * -160.21766208, [1.0, 4.0, 6.0, 5.0, 3.0, 2.0])


def test_all_frames(parameters, arrays) -> None:
    frames = frames_from_pw(parameters, arrays, ["W", "Ta"], which="all")
    assert [atoms.info[ENERGY] for atoms in frames] == [-198.0, -199.0, -200.0]
    np.testing.assert_allclose(frames[1].info[STRESS], stress_from_pw(arrays["stress"][1]))


def test_missing_stress_is_a_frame_without_stress(parameters, arrays) -> None:
    del arrays["stress"]
    (atoms,) = frames_from_pw(parameters, arrays, ["W", "Ta"])
    assert STRESS not in atoms.info


def test_final_scf_of_variable_cell_is_taken(parameters, arrays) -> None:
    """A vc-relax has one more energy and force than it has geometries: the final scf repeats the last one."""
    arrays["energy"] = np.append(arrays["energy"], -200.5)
    arrays["forces"] = np.concatenate([arrays["forces"], arrays["forces"][-1:] + 0.1])
    (atoms,) = frames_from_pw(parameters, arrays, ["W", "Ta"], variable_cell=True)
    assert atoms.info[ENERGY] == -200.5
    np.testing.assert_array_equal(atoms.arrays[FORCES], arrays["forces"][-1])


@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        (lambda p, a: a.pop("forces"), {}, "tprnfor"),
        (lambda p, a: a.pop("energy"), {}, "energy: not among"),
        (lambda p, a: a.pop("cells"), {}, "parse the calculation again"),
        (lambda p, a: a.update(energy=np.array([])), {}, "energy: not among"),
        (lambda p, a: a.update(forces=a["forces"][:, :1]), {}, "for 2 atoms"),
        (lambda p, a: a["forces"].__setitem__((-1, 0, 0), np.nan), {}, "not finite"),
        (lambda p, a: a.update(energy=a["energy"][:2]), {"which": "all"}, "numbers of frames differ"),
        (lambda p, a: None, {"which": "all", "variable_cell": True}, "variable cell"),
        (lambda p, a: p.update(energy=-199.5), {}, "-TS = -0.5"),
        (lambda p, a: p.update(occupations="tetrahedra_opt"), {}, "not variational"),
        (lambda p, a: p.update(energy_units="Ry"), {}, "energy_units = 'Ry'"),
        (
            lambda p, a: p["convergence_info"]["scf_conv"].update(convergence_achieved=False),
            {},
            "electron_maxstep",
        ),
    ],
)
def test_refused(parameters, arrays, change, kwargs, message) -> None:
    change(parameters, arrays)
    with pytest.raises(ValueError, match=message):
        frames_from_pw(parameters, arrays, ["W", "Ta"], **kwargs)


def test_energy_without_contributions_is_accepted(parameters, arrays) -> None:
    """Hybrid functionals and embeddings add terms that are not known here: no contradiction, no refusal."""
    parameters["energy"] = -321.0
    assert len(frames_from_pw(parameters, arrays, ["W", "Ta"])) == 1
