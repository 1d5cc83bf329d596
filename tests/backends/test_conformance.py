"""CHGNet and SevenNet through the worker against their own calculators, in the environment that has them."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from aiida_mlip.foundation import registry

pytestmark = pytest.mark.backends

MODELS = {"chgnet-0.3.0": 412_525, "sevennet-0": 842_440}
"""Name -> number of parameters, as published."""


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def found(name: str, other_python: Path, weights, worker_zipapp: Path) -> dict:
    """What :mod:`measure` prints."""
    script = Path(__file__).parent / "measure.py"
    model = registry.get(name)
    command = [str(other_python), str(script), str(worker_zipapp), model.architecture, str(weights(name))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_file_says_what_the_registry_says(name: str, found: dict) -> None:
    info, model = found["info"], registry.get(name)
    assert tuple(info["elements"]) == model.elements
    assert (info["architecture"], info["r_max"], info["dtype"]) == (model.architecture, model.r_max, "float32")
    assert info["num_parameters"] == MODELS[name]
    assert info["sha256"] == model.sha256
    package, version = info["backend_version"].split()
    assert f"{package}=={version}" == model.mirrors[0].requirement


@pytest.mark.parametrize("system", ["alloy", "slab"])
def test_single_precision_is_what_the_package_itself_computes(found: dict, system: str) -> None:
    ours, theirs = found["ours32"][system], found["library"][system]
    assert ours["energy"] == pytest.approx(theirs["energy"], abs=5e-5)
    assert np.array(ours["forces"]) == pytest.approx(np.array(theirs["forces"]), abs=2e-5)
    assert np.array(ours["stress"]) == pytest.approx(np.array(theirs["stress"]), abs=2e-6)


@pytest.mark.parametrize("system", ["alloy", "slab", "cluster"])
def test_double_precision_is_close_and_not_the_same(found: dict, system: str) -> None:
    double, single = found["ours64"][system], found["ours32"][system]
    assert double["energy"] == pytest.approx(single["energy"], abs=1e-4)
    assert double["energy"] != single["energy"]
    assert np.array(double["forces"]) == pytest.approx(np.array(single["forces"]), abs=1e-4)


def test_forces_and_stress_are_derivatives_of_the_energy(found: dict) -> None:
    """Central differences, in a strained cell of three elements with shears and no symmetry; in double precision."""
    alloy, differences = found["ours64"]["alloy"], found["differences"]
    assert np.abs(alloy["stress"]).min() > 1e-4
    assert np.array(alloy["forces"][1]) == pytest.approx(np.array(differences["force"]), abs=1e-5)
    assert np.array(alloy["stress"]) == pytest.approx(np.array(differences["stress"]), abs=2e-7)


def test_energies_of_atoms_add_up_and_are_those_of_the_package(found: dict) -> None:
    energy = found["ours64"]["alloy"]["energy"]
    assert sum(found["energies"]) == pytest.approx(energy, abs=1e-9)
    assert found["free_energy"] == energy
    assert np.ptp(found["energies"]) > 0.1
    assert found["energies"] == pytest.approx(found["library_energies"], abs=5e-5)


def test_a_cluster_is_the_same_without_a_cell_and_in_a_large_one(found: dict) -> None:
    alone, boxed = found["ours64"]["cluster"], found["boxed"]
    assert alone["energy"] == pytest.approx(boxed["energy"], abs=1e-8)
    assert np.array(alone["forces"]) == pytest.approx(np.array(boxed["forces"]), abs=1e-8)
    assert alone["stress"] is None
    assert boxed["stress"] is not None


def test_frames_are_evaluated_one_after_the_other(found: dict) -> None:
    expected = [system["energy"] for system in found["ours64"].values()]
    assert found["batch"]["energies"] == pytest.approx(expected, abs=1e-9)
    assert found["batch"]["stress_missing"] == [False, True, True]


def test_sevennet_beside_the_e3nn_of_mace_is_refused_with_the_remedy(
    other_python: Path, weights, worker_zipapp
) -> None:
    """As where both were installed in one environment."""
    theirs = metadata.distribution("e3nn").locate_file("")
    program = (
        f"import sys; sys.path[:0] = [{str(worker_zipapp)!r}, {str(theirs)!r}]\n"
        "from pathlib import Path\n"
        "from aiida_mlip.schema.errors import TaskError\n"
        "from aiida_mlip.worker.backends import load_potential\n"
        "try:\n"
        f"    load_potential(Path({str(weights('sevennet-0'))!r}), None)\n"
        "except TaskError as error:\n"
        "    print(error.kind, error.message, error.remedy)\n"
    )
    done = subprocess.run([str(other_python), "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("backend_import The package sevenn does not work in this environment: The e3nn")
    assert "an environment of its own" in done.stdout


def test_modalities_of_sevennet_are_heads(other_python: Path, weights, worker_zipapp) -> None:
    program = (
        f"import sys, warnings; sys.path.insert(0, {str(worker_zipapp)!r}); warnings.simplefilter('ignore')\n"
        "from pathlib import Path\n"
        "from ase.build import bulk\n"
        "from sevenn.calculator import SevenNetCalculator\n"
        "from aiida_mlip.worker.backends import load_potential\n"
        f"path, atoms = Path({str(weights('sevennet-mf-0'))!r}), bulk('W')\n"
        "for head in (None, 'PBE', 'R2SCAN'):\n"
        "    potential = load_potential(path, None, dtype='float32', head=head)\n"
        "    theirs = SevenNetCalculator(str(path), device='cpu', modal=head or 'PBE')\n"
        "    for calculator in (potential.calculator(), theirs):\n"
        "        atoms.calc = calculator\n"
        "        print(potential.info.head, atoms.get_potential_energy())\n"
    )
    done = subprocess.run([str(other_python), "-c", program], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    heads, energies = [row[0] for row in rows], [float(row[1]) for row in rows]
    assert heads == ["PBE"] * 4 + ["R2SCAN"] * 2
    assert energies[0::2] == pytest.approx(energies[1::2], abs=1e-5)
    assert abs(energies[4] - energies[0]) > 10
