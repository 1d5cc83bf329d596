"""Inputs of ``mlip.label``: what is refused before anything is submitted, and the builder."""

from __future__ import annotations

import io
import json
from types import ModuleType
from typing import Any

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase import Atoms
from ase.build import bulk

from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.computers.defaults import max_concurrent
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.labelling import LABEL_EXTRA, LabelSettings
from aiida_mlip.workchains.label import LabelWorkChain
from aiida_mlip.workchains.label_inputs import default_window, pw_inputs
from aiida_mlip.workchains.label_lookup import _sets_of, find_pw
from aiida_mlip.workchains.label_sources import cores_of


@pytest.fixture
def emt(aiida_profile) -> PotentialData:
    known = {"architecture": "emt", "elements": ["Al", "Cu"]}
    info = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), info)


@pytest.fixture
def given(pw: ModuleType, localhost: orm.Computer) -> dict[str, Any]:
    """Good inputs for pw.x."""
    return {
        "configurations": DatasetData([bulk("Al", "fcc", a=4.0)]),
        "settings": {},
        "pw": pw.pw_inputs(pw.pw_code(localhost), "Al"),
    }


def problems(inputs: dict[str, Any]) -> str:
    """Return what AiiDA says about inputs, as it would before submission."""
    try:
        instantiate_process(get_manager().get_runner(), LabelWorkChain, **inputs)
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


def test_good_inputs_are_accepted(given: dict[str, Any], emt: PotentialData, worker_code: orm.PortableCode) -> None:
    assert problems(given) == ""
    batch = {"code": worker_code, "potential": emt, "settings": {}}
    assert problems({"configurations": given["configurations"], "batch": batch}) == ""


def parameters(**changes: Any) -> orm.Dict:
    base = {"CONTROL": {}, "SYSTEM": {"ecutwfc": 12.0}, "ELECTRONS": {}}
    return orm.Dict({name: {**values, **changes.get(name, {})} for name, values in base.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CONTROL": {"calculation": "relax"}}, "CONTROL.calculation = 'relax': a label is one scf"),
        ({"CONTROL": {"tprnfor": False}}, "CONTROL.tprnfor = False"),
        ({"SYSTEM": {"occupations": "tetrahedra_opt"}}, "not variational"),
        ({"ELECTRONS": {"scf_must_converge": False}}, "a label has to be converged"),
        ({"ELECTRONS": {"electron_maxstep": 0}}, "a label has to be converged"),
        ({"ELECTRONS": {"conv_thr": "1e-7"}}, "ELECTRONS.conv_thr = '1e-7': it is text"),
        ({"ELECTRONS": {"conv_thr": "1.d-7"}}, "Write numbers with a point"),
        ({"SYSTEM": {"noncolin": ".true."}}, "SYSTEM.noncolin = '.true.': it is text"),
    ],
)
def test_parameters_that_give_no_label_are_refused(given: dict[str, Any], changes: dict, message: str) -> None:
    given["pw"]["pw"]["parameters"] = parameters(**changes)
    assert message in problems(given)


def test_values_by_element_are_those_of_the_elements_present() -> None:
    from aiida_mlip.calculations.labelling import pw_runs
    from aiida_mlip.schema.labelling import LabelSettings

    magnetic = {"SYSTEM": {"ecutwfc": 12.0, "nspin": 2, "starting_magnetization": {"Fe": 0.4, "Ni": 0.2}}}
    frames = [bulk("Fe"), bulk("Ni"), bulk("Cu"), bulk("FeNi", "cesiumchloride", a=2.9)]
    runs = list(
        pw_runs(frames, LabelSettings(), given=4, parameters=magnetic, kpoints=(0.5, False), valences={"Fe": 16.0})
    )
    found = [run.parameters["SYSTEM"].get("starting_magnetization") for run in runs]
    assert found == [{"Fe": 0.4}, {"Ni": 0.2}, {"Cu": 0.0}, {"Fe": 0.4, "Ni": 0.2}]
    assert len({run.parameters_name for run in runs}) == 4
    assert magnetic["SYSTEM"]["starting_magnetization"] == {"Fe": 0.4, "Ni": 0.2}


def test_missing_pieces_are_named(given: dict[str, Any], emt: PotentialData, worker_code: orm.PortableCode) -> None:
    pw = given["pw"]
    inner = pw["pw"]
    without = {key: value for key, value in inner.items() if key != "pseudos"}
    assert "there are no pseudopotentials" in problems({**given, "pw": {**pw, "pw": without}})
    family = {**pw, "pw": without, "pseudo_family": orm.Str("nowhere")}
    assert "pseudo_family = 'nowhere': it is not installed" in problems({**given, "pw": family})
    assert "there are no k-points" in problems({**given, "pw": {"pw": inner}})
    cut = {**inner, "parameters": orm.Dict({"SYSTEM": {}})}
    assert "ecutwfc" in problems({**given, "pw": {**pw, "pw": cut}})
    copper = DatasetData([bulk("Cu", "fcc", a=3.6)])
    assert "there is none of Cu, which configurations has" in problems({**given, "configurations": copper})
    assert "there is none of W, which settings.isolated_atoms has" in problems(
        {**given, "settings": {"isolated_atoms": ["W"]}}
    )
    batch = {"code": worker_code, "potential": emt, "settings": {}}
    assert "one of them has to be given" in problems({**given, "batch": batch})
    assert "one of them has to be given" in problems({"configurations": copper})
    tungsten = DatasetData([bulk("W")])
    assert "lacks W" in problems({"configurations": tungsten, "batch": batch})
    assert "the potential lacks W" in problems(
        {"configurations": copper, "batch": batch, "settings": {"isolated_atoms": ["W"]}}
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_forces": 3.0}, "settings.max_forces is not a known field"),
        ({"max_failed_fraction": 1.5}, "settings.max_failed_fraction = 1.5"),
        ({"isolated_atoms": ["Xx"]}, "Xx: no chemical symbol"),
    ],
)
def test_wrong_settings_are_named(given: dict[str, Any], settings: dict, message: str) -> None:
    assert message in problems({**given, "settings": settings})


def test_positions_that_are_not_finite_are_refused(given: dict[str, Any]) -> None:
    broken = Atoms("Al", [[0.0, float("nan"), 0.0]], cell=[4, 4, 4], pbc=True)
    data = DatasetData([bulk("Al", "fcc", a=4.0), broken])
    assert "configurations = 1: its positions are not finite" in problems({**given, "configurations": data})


def test_the_builder_takes_the_protocol_and_cutoffs_of_the_family(pw: ModuleType, localhost: orm.Computer) -> None:
    from aiida_pseudo.groups.family import CutoffsPseudoPotentialFamily

    code, data = pw.pw_code(localhost), DatasetData([bulk("Al", "fcc", a=4.0)])
    family = CutoffsPseudoPotentialFamily(label="for-labels").store()
    family.add_nodes(list(pw.pseudos("Al").values()))
    family.set_cutoffs({"Al": {"cutoff_wfc": 20.0, "cutoff_rho": 80.0}}, "normal", unit="Ry")
    asked = {"SYSTEM": {"degauss": 0.01}}
    builder = LabelWorkChain.get_builder_from_protocol(
        code=code,
        configurations=data,
        pseudo_family="for-labels",
        parameters=asked,
        protocol="fast",
        options={"max_wallclock_seconds": 600},
    )
    found = builder.pw.pw.parameters.get_dict()
    assert (found["SYSTEM"]["ecutwfc"], found["SYSTEM"]["ecutrho"], found["SYSTEM"]["degauss"]) == (20.0, 80.0, 0.01)
    assert builder.pw.kpoints_distance.value == 0.3  # of the protocol fast of aiida-quantumespresso
    assert builder.settings["conv_thr_per_atom"] == 4e-10
    assert builder.pw.pw.metadata.options.max_wallclock_seconds == 600
    assert asked == {"SYSTEM": {"degauss": 0.01}}
    assert LabelWorkChain.spec().inputs.validate(builder._inputs(prune=True)) is None
    for changes, message in (
        ({"pseudo_family": "nowhere"}, "not installed"),
        ({"pseudo_family": None}, "cut-offs are not known"),
        ({"protocol": "sloppy"}, "protocol = 'sloppy' is not known"),
        ({"overrides": {"settings": {"max_forces": 1.0}}}, "overrides.settings.max_forces is not a known input"),
    ):
        inputs = {"code": code, "configurations": data, "pseudo_family": "for-labels", **changes}
        with pytest.raises(ValueError, match=message):
            LabelWorkChain.get_builder_from_protocol(**inputs)


def test_the_builder_of_a_batch(worker_code: orm.PortableCode, emt: PotentialData) -> None:
    builder = LabelWorkChain.get_builder_from_protocol(
        code=worker_code, potential=emt, overrides={"settings": {"max_force": 30.0}}
    )
    assert builder.settings["max_force"] == 30.0
    assert builder.batch.potential.uuid == emt.uuid
    with pytest.raises(ValueError, match="is no pw"):
        LabelWorkChain.get_builder_from_protocol(code=worker_code)


@pytest.mark.parametrize("protocol", ["fast", "balanced", "stringent"])
def test_protocols_hold_every_setting(protocol: str) -> None:
    from aiida_mlip.workchains.protocols import protocol_inputs

    settings = protocol_inputs("label", protocol)["settings"]
    assert settings == LabelSettings(**settings).model_dump(mode="json")


def test_plain_values_become_the_namespace_of_pw(pw: ModuleType, localhost: orm.Computer) -> None:
    found = pw_inputs(
        pw.pw_code(localhost),
        pseudos="family",
        parameters={"system": {"ecutwfc": 30.0}},
        kpoints_distance=0.3,
        walltime="00:10:00",
        processes=4,
    )
    assert found["pw"]["parameters"].get_dict() == {"SYSTEM": {"ecutwfc": 30.0}}
    assert found["pw"]["metadata"]["options"]["max_wallclock_seconds"] == 600
    assert default_window(found["pw"]) == max(1, (max_concurrent(localhost) or 1) // 4)


def test_a_thousand_addresses_are_looked_up_in_few_queries(aiida_profile) -> None:
    assert find_pw([f"address {index}" for index in range(1100)]) == {}


@pytest.mark.parametrize(
    ("resources", "cores"),
    [
        ({"num_machines": 2, "num_mpiprocs_per_machine": 4}, 8),
        ({"num_machines": 2, "num_mpiprocs_per_machine": 4, "num_cores_per_mpiproc": 3}, 24),
        ({"num_machines": 1, "tot_num_mpiprocs": 6}, 6),
        ({}, 1),
    ],
)
def test_cores_of_a_job(resources: dict[str, int], cores: int) -> None:
    assert cores_of(resources) == cores


def test_no_query_is_open_while_earlier_labels_are_read(localhost) -> None:
    """SQLite gives up after 5 s where a reader stands in the way of a commit, and the frames of a set take longer."""
    job = orm.CalcJobNode(computer=localhost, process_type=LabelCalculation.build_process_type())
    labelled = DatasetData([bulk("Al", "fcc", a=4.0)])
    labelled.base.links.add_incoming(job.store(), link_type=LinkType.CREATE, link_label="labelled")
    job.base.extras.set(LABEL_EXTRA, "a method")
    labelled.store()
    sets = _sets_of("a method")
    assert next(sets).pk == labelled.pk
    assert not get_manager().get_profile_storage().in_transaction
