"""`mlip.property` through AiiDA with CHGNet and SevenNet, each on a worker with an environment of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_mlip.calculations.property import PropertyCalculation
from aiida_mlip.computers.codes import register_workers
from aiida_mlip.computers.defaults import find_worker
from aiida_mlip.computers.local import local_config
from aiida_mlip.computers.register import register_computer
from aiida_mlip.foundation import registry
from aiida_mlip.foundation.install import install_foundation

pytestmark = pytest.mark.backends

LATTICE_CONSTANTS = {"chgnet-0.3.0": 3.1854, "sevennet-0": 3.1901}
"""Of bcc tungsten [Å]: minimum of the energy of the package's own calculator over lattice constants."""


@pytest.fixture
def computer(tmp_path: Path, other_python: Path) -> orm.Computer:
    """This machine, with a further environment for each of the two architectures."""
    config = local_config(
        tmp_path / "work", cpus=1, poll_interval=0.0, backends=dict.fromkeys(["chgnet", "sevennet"], other_python)
    )
    registered = register_computer(config)
    register_workers(registered, config)
    return registered


@pytest.mark.parametrize("name", LATTICE_CONSTANTS)
def test_the_lattice_constant_of_tungsten(aiida_profile_clean, computer, weights, name: str) -> None:
    model = registry.get(name)
    potential = install_foundation(name, path=weights(name))
    assert potential.info.architecture == model.architecture
    assert not potential.trusted
    settings = {"properties": {"eos": {"element": "W", "points": 5, "span": 0.03}}, "dtype": "float64"}
    inputs = {
        "code": find_worker(computer, potential.info.architecture),
        "potential": potential,
        "settings": settings,
        "metadata": {"computer": computer, "options": {}},
    }
    outputs, node = run_get_node(PropertyCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message
    record = outputs["results"].get_dict()["properties"]["eos"]
    found = {quantity["key"]: quantity["value"] for quantity in record["quantities"]}
    assert found["lattice_constant"] == pytest.approx(LATTICE_CONSTANTS[name], abs=0.002)
    package, version = model.mirrors[0].requirement.split("==")
    assert outputs["results"].get_dict()["versions"][package] == version


def test_an_environment_without_the_package_is_named(aiida_profile_clean, computer, weights) -> None:
    """SevenNet on the main worker, whose environment is that of mace."""
    potential = install_foundation("sevennet-0", path=weights("sevennet-0"))
    inputs = {
        "code": find_worker(computer),
        "potential": potential,
        "settings": {"properties": {"eos": {"element": "W", "points": 5}}},
        "metadata": {"computer": computer, "options": {}},
    }
    _, node = run_get_node(PropertyCalculation, **inputs)
    assert node.exit_status == PropertyCalculation.exit_codes.ERROR_BACKEND_IMPORT.status
    assert "sevenn" in node.exit_message
