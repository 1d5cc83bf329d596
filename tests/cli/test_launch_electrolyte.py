"""`aiida-mlip launch electrolyte`: one YAML file, checked whole before anything is submitted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from aiida.orm import ProcessNode, QueryBuilder
from ase import Atoms
from ase.build import molecule
from click.testing import CliRunner, Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "electrolyte.yaml"


@pytest.fixture
def launch(aiida_profile_clean, worker_code, tmp_path: Path):
    from aiida_mlip.cli import main
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.data.potential import PotentialData

    known = {"architecture": "ase", "elements": ["H", "C", "O"], "calculator": "ase.calculators.emt:EMT"}
    info = {"architecture": "ase", "elements": known["elements"], "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    PotentialData(io.BytesIO(json.dumps(known).encode()), {**info, "name": "EMT"}).store()
    box = Atoms(cell=[8.0] * 3, pbc=True) + molecule("H2O")
    other = molecule("H2O")
    other.translate([3.0, 0.0, 0.0])
    DatasetData([box + other]).store().label = "waters"
    boxes = {"ec_emc": {"composition": {"EC": 1, "EMC": 2}}}
    valid = {"computer": "localhost", "potentials": {"emt": "EMT"}, "boxes": boxes, "protocol": "fast"}

    def function(**changes: object) -> Result:
        file = tmp_path / "electrolyte.yaml"
        document = {key: value for key, value in {**valid, **changes}.items() if value is not None}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return CliRunner().invoke(main, ["launch", "electrolyte", "-f", str(file), "--dry-run"])

    return function


def test_a_dry_run_prints_all_that_is_asked(launch) -> None:
    result = launch(
        imported={"own": "waters"},
        temperatures=[298.15, 400.0],
        pressures=[],
        dispersion={"emt": {"method": "d3bj", "functional": "pbe"}},
        reference="EMT",
        reference_densities={"ec_emc": 1.095},
        overrides={"settings": {"dynamics": {"nvt_steps": 17}}},
    )
    assert result.exit_code == 0, result.output
    for text in (
        "nothing was submitted",
        "298.15",
        "'nvt_steps': 17",
        "'npt_steps': 0",
        "'functional': 'pbe'",
        "1.095",
    ):
        assert text in result.output
    assert "waters" in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0


def test_the_protocol_has_its_own_boxes(launch) -> None:
    result = launch(boxes=None, dispersion={"emt": "none"})
    assert result.exit_code == 0, result.output
    assert "ec_emc_1_2" in result.output
    only_own = launch(boxes=None, imported={"own": "waters"})
    assert only_own.exit_code == 0, only_own.output
    assert "ec_emc_1_2" not in only_own.output


def test_the_example_names_what_the_protocol_knows() -> None:
    from aiida_mlip.cli._electrolyte_file import ElectrolyteFile
    from aiida_mlip.cli._launch_file import read_launch
    from aiida_mlip.schema.electrolyte import ElectrolyteSettings
    from aiida_mlip.workchains.protocols import merge, protocol_inputs

    described = read_launch(EXAMPLE, ElectrolyteFile, "itself")
    inputs = protocol_inputs("electrolyte", described.protocol, merge({"settings": described.settings}, {}))
    settings = ElectrolyteSettings(**{**inputs["settings"], "boxes": described.packed})
    assert settings.boxes["ec_emc_1_2"].composition == {"EC": 4, "EMC": 8}
    assert settings.dynamics.temperatures == (300.0, 500.0)
    assert described.said == {"mace_omat": "none"}


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"potential": "EMT"}, ["potential", "not a known field", "potentials"]),
        ({"potentials": {"emt": "absent"}}, ["potentials.emt = 'absent'", "PotentialData"]),
        ({"boxes": {"b": {"composition": {"EC": 0}}}}, ["boxes.b"]),
        ({"boxes": {"b": {"composition": {"EC": 4, "PF6-": 1}}}}, ["boxes.b", "-1", "neutral"]),
        ({"imported": {"own": "EMT"}}, ["imported.own", "DatasetData"]),
        ({"temperatures": [-3.0]}, ["temperatures"]),
        ({"dispersion": {"emt": "maybe"}}, ["dispersion.emt", "included"]),
        ({"dispersion": {"mace": "none"}}, ["dispersion.mace", "no such potential"]),
        ({"protocol": "quick"}, ["protocol = 'quick'", "fast, balanced, stringent"]),
        ({"overrides": {"settings": {"dynamics": {"npt": 3, "steps": 1}}}}, ["overrides.settings.dynamics.steps"]),
    ],
)
def test_what_is_wrong_is_named(launch, changes, messages) -> None:
    result = launch(**changes)
    assert result.exit_code == 1, result.output
    for message in messages:
        assert message in result.output
    assert QueryBuilder().append(ProcessNode).count() == 0
