"""Potentials with dispersion in AiiDA: calcfunctions, hashes, refusals, commands, and a real job."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory
from ase import Atoms
from ase.calculators.emt import EMT
from click.testing import CliRunner
from dftd3.ase import DFTD3

from aiida_mlip.calculations.checks.dispersion import check_no_dispersion, check_same_dispersion
from aiida_mlip.calculations.checks.potential import check_trainable
from aiida_mlip.calculations.dispersion import state_dispersion, with_dispersion
from aiida_mlip.cli import main
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science import keys

pytestmark = pytest.mark.usefixtures("aiida_profile")

SHORT = {"functional": "pbe", "cutoff": 12.0, "coordination_cutoff": 8.0, "smoothing": 2.0}


@pytest.fixture
def bare(emt_potential: PotentialData) -> PotentialData:
    info = {**emt_potential.info.model_dump(), "name": "metal", "level_of_theory": "PBE", "licence": "MIT"}
    with emt_potential.open(mode="rb") as handle:
        return PotentialData(handle, info, trusted=True).store()


def named(node: PotentialData, **changes: Any) -> PotentialInfo:
    return node.info.model_copy(update=changes)


def test_the_file_stays_and_the_description_says_what_is_added(bare: PotentialData) -> None:
    node = with_dispersion(bare, orm.Dict(SHORT))
    info = node.info
    assert info.sha256 == bare.info.sha256
    assert (info.dispersion_statement, info.dispersion.title) == ("added", "D3(BJ)-PBE")
    assert (info.name, node.label) == ("metal+D3(BJ)-PBE", "metal+D3(BJ)-PBE")
    assert info.level_of_theory == "PBE + D3(BJ)-PBE"
    assert (info.licence, node.trusted) == ("MIT", True)
    assert node.creator.base.links.get_incoming().get_node_by_label("potential").uuid == bare.uuid
    default = with_dispersion(bare, orm.Dict({"method": "d3zero", "three_body": True})).info.dispersion
    assert default.title == "D3(0)+ATM-PBE"


def test_hashes(bare: PotentialData) -> None:
    """What is added counts, what is stated does not, and a potential without hashes as before there was the field."""
    found = [with_dispersion(bare, orm.Dict(settings)) for settings in (SHORT, {}, {"functional": "rpbe"})]
    assert len({node.base.caching.get_hash() for node in (bare, *found)}) == 4
    assert state_dispersion(bare, orm.Str("none")).base.caching.get_hash() == bare.base.caching.get_hash()
    assert "dispersion" not in bare.base.attributes.all
    assert with_dispersion(bare, orm.Dict(SHORT)).base.caching.get_hash() == found[0].base.caching.get_hash()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"functional": "b97x"}, ["settings.functional = 'b97x'", "'pbe'"]),
        ({"method": "d3zero", "functional": "r2scan"}, ["no parameters", "use 'd3bj'"]),
        ({"cut_off": 9.0}, ["settings.cut_off", "known here are", "cutoff"]),
        ({"cutoff": 2.0}, ["settings.cutoff = 2.0"]),
    ],
)
def test_wrong_settings(bare: PotentialData, settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match="settings") as caught:
        with_dispersion(bare, orm.Dict(settings))
    assert all(word in str(caught.value) for word in words)


def test_nothing_is_counted_twice(bare: PotentialData) -> None:
    added = with_dispersion(bare, orm.Dict(SHORT))
    with pytest.raises(ValueError, match=r"potential.dispersion = 'D3\(BJ\)-PBE'.*counted twice"):
        with_dispersion(added, orm.Dict(SHORT))
    included = state_dispersion(bare, orm.Str("included"))
    with pytest.raises(ValueError, match=r"potential.dispersion_statement = 'included'"):
        with_dispersion(included, orm.Dict(SHORT))
    with pytest.raises(ValueError, match="added to this potential"):
        state_dispersion(added, orm.Str("none"))
    with pytest.raises(ValueError, match="statement = 'added'"):
        state_dispersion(bare, orm.Str("added"))


@pytest.mark.parametrize(
    ("theory", "refused"),
    [
        ("PBE(+U), VASP with PBE_54 potentials (OMat24)", False),
        ("r2SCAN, VASP (MatPES)", False),
        ("ωB97M-D3(BJ)/def2-TZVPPD", True),
        ("PBE-D3", True),
        ("ωB97M-V/def2-TZVPD (OMol25)", True),
        ("optB88-vdW", True),
        ("GFN2-xTB", True),
        ("CCSD(T) on H2O, D2O", False),
    ],
)
def test_a_level_of_theory_with_dispersion_is_noticed(bare: PotentialData, theory: str, *, refused: bool) -> None:
    info = named(bare, level_of_theory=theory)
    assert bool(list(check_no_dispersion(info))) is refused
    assert not list(check_no_dispersion(named(bare, level_of_theory=theory, dispersion_statement="none")))


def test_training_and_mixed_committees_are_refused(bare: PotentialData) -> None:
    added = with_dispersion(bare, orm.Dict(SHORT)).info
    (message,) = [text for text in check_trainable(added) if "dispersion" in text]
    assert "potential.dispersion = 'D3(BJ)-PBE'" in message
    assert "add-dispersion" in message
    assert not [text for text in check_trainable(bare.info) if "dispersion" in text]
    (mixed,) = check_same_dispersion({"a": bare.info, "b": added})
    assert "'a': 'none'" in mixed
    assert not list(check_same_dispersion({"a": added, "b": added}))


def test_a_job_gives_the_sum_and_another_cache_entry(
    evaluation: dict[str, Any], bare: PotentialData, emt_frames: Callable[..., list[Atoms]]
) -> None:
    """Against ASE's EMT and the calculator of s-dftd3's own authors, through AiiDA and the real worker."""
    added = with_dispersion(bare, orm.Dict(SHORT))
    calculation = CalculationFactory("mlip.evaluate")
    outputs, node = run_get_node(calculation, **{**evaluation, "potential": added})
    assert node.is_finished_ok, node.exit_message
    assert outputs["results"]["versions"]["dftd3"]
    labelled = outputs["labelled"]["alloys"]
    assert labelled.level_of_theory.endswith("D3(BJ)-PBE")
    reach = {"disp2": 12.0, "cn": 8.0, "width2": 2.0}
    for atoms, original in zip(labelled.frames(), emt_frames(3, 4), strict=True):
        expected = []
        for calculator in (EMT(), DFTD3(damping="d3bj", params_tweaks=PBE, realspace_cutoff=reach)):
            original.calc = calculator
            energy = original.get_potential_energy(force_consistent=calculator.name == "emt")
            expected.append((energy, original.get_forces(), original.get_stress()))
        energy, forces, stress = (one + other for one, other in zip(*expected, strict=True))
        assert atoms.info[keys.ENERGY] == pytest.approx(energy, abs=1e-7)
        np.testing.assert_allclose(atoms.arrays[keys.FORCES], forces, atol=1e-7)
        np.testing.assert_allclose(atoms.info[keys.STRESS], stress, atol=1e-7)
    with enable_caching():
        _, second = run_get_node(calculation, **{**evaluation, "potential": bare})
        _, third = run_get_node(calculation, **{**evaluation, "potential": with_dispersion(bare, orm.Dict(SHORT))})
    assert second.base.caching.get_cache_source() is None
    assert third.base.caching.get_cache_source() == node.uuid


PBE = {"s6": 1.0, "s8": 0.7875, "a1": 0.4289, "a2": 4.4407, "s9": 0.0}
"""Damping parameters of D3(BJ) for PBE (Grimme, Ehrlich and Goerigk 2011)."""


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.usefixtures("aiida_profile_clean")
def test_commands(bare: PotentialData) -> None:
    added = run("potential", "add-dispersion", "metal", "--functional", "rpbe", "--cutoff", "15")
    assert added.exit_code == 0, added.output
    assert "metal+D3(BJ)-RPBE" in added.output
    (row,) = [row for row in json.loads(run("potential", "list", "--json").stdout) if "D3" in row["name"]]
    assert row["dispersion"] == "D3(BJ)-RPBE added"
    twice = run("potential", "add-dispersion", "metal+D3(BJ)-RPBE")
    assert twice.exit_code == 1
    assert "counted twice" in twice.output
    stated = run("potential", "state-dispersion", str(bare.pk), "included")
    assert stated.exit_code == 0, stated.output
    assert "Dispersion: included" in stated.output
    assert run("potential", "add-dispersion", "metal").exit_code == 1  # the newest of this name has it included
    assert run("potential", "add-dispersion", "absent").exit_code == 1


@pytest.mark.usefixtures("aiida_profile_clean")
def test_import_states_it(tmp_path: Any) -> None:
    path = tmp_path / "copper.json"
    path.write_text(json.dumps({"architecture": "emt", "elements": ["Cu"], "r_max": 6.5}))
    imported = run("potential", "import", str(path), "--trust", "--dispersion", "none")
    assert imported.exit_code == 0, imported.output
    assert "Dispersion: none." in imported.output
    again = run("potential", "import", str(path), "--dispersion", "none")
    assert "was there already" in again.output
    other = run("potential", "import", str(path), "--dispersion", "included")
    assert "Dispersion: included." in other.output
