"""Inputs of ``mlip.electrolyte``: what protocols ask for, and what is refused before anything is submitted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from ase import Atoms
from ase.build import molecule

from aiida_mlip.calculations.electrolyte import check_settings, dynamics_settings, last_frames
from aiida_mlip.calculations.electrolyte_verdict import _runs, join_verdicts, judge_potential
from aiida_mlip.computers.defaults import job_options
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.electrolyte import ElectrolyteSettings, RuntimeSettings
from aiida_mlip.schema.liquid import LiquidSettings
from aiida_mlip.science.trajectory import Moment, write_frame
from aiida_mlip.workchains.electrolyte import ElectrolyteWorkChain
from aiida_mlip.workchains.protocols import available, protocol_inputs


def potential(elements: tuple[str, ...] = ("H", "C", "O"), **more: Any) -> PotentialData:
    document = {"architecture": "ase", "calculator": "ase.calculators.emt:EMT", "elements": list(elements)}
    info = {"architecture": "ase", "elements": elements, "r_max": 6.0, "dtype": "float64", "num_parameters": 0, **more}
    return PotentialData(io.BytesIO(json.dumps(document).encode()), info)


def two_waters(pbc: bool = True, shift: float = 3.0) -> Atoms:
    box = Atoms(cell=[8.0] * 3, pbc=pbc) + molecule("H2O")
    other = molecule("H2O")
    other.translate([shift, 0.0, 0.0])
    return box + other


def settings_of(protocol: str, **changes: Any) -> ElectrolyteSettings:
    return ElectrolyteSettings(**protocol_inputs("electrolyte", protocol, {"settings": changes})["settings"])


@pytest.fixture
def problem(aiida_profile, worker_code, localhost) -> Callable[..., str]:
    """A function that returns what is wrong with inputs, and nothing where they are right."""

    def function(changes: dict[str, Any] | None = None, *, names: tuple[str, ...] = ("one",), **given: Any) -> str:
        inputs = {"potentials": {name: potential() for name in names}, "protocol": "fast", **given}
        builder = ElectrolyteWorkChain.get_builder_from_protocol(
            code=worker_code, options=job_options(localhost), overrides={"settings": changes or {}}, **inputs
        )
        spec = ElectrolyteWorkChain.spec().inputs
        error = spec.validate(spec.pre_process(builder._inputs(prune=True)))
        return "" if error is None else str(error.message)

    return function


@pytest.mark.parametrize("protocol", ["fast", "balanced", "stringent"])
def test_protocols_ask_for_what_the_lectures_did(protocol: str) -> None:
    inputs = protocol_inputs("electrolyte", protocol)
    settings = ElectrolyteSettings(**inputs["settings"])
    runtime = RuntimeSettings(**inputs["md"])
    liquid = settings.boxes["ec_emc_1_2"].composition
    assert 2 * liquid["EC"] == liquid["EMC"]
    assert settings.min_time_ps == 150.0
    asked = settings.dynamics.npt_steps * settings.dynamics.timestep / 1000.0
    supports = asked >= settings.min_time_ps and sum(liquid.values()) >= settings.min_molecules
    assert supports == (protocol != "fast")
    starts = [f"ec_emc_1_2_t{round(t)}_w1" for t in settings.dynamics.temperatures]
    npt = dynamics_settings(settings, runtime, starts, "npt")
    assert len(npt.walkers) == len(starts) * len(settings.dynamics.pressures)
    assert npt.ensemble.isotropic
    hot = npt.walkers[f"ec_emc_1_2_t{round(max(settings.dynamics.temperatures))}_p0_w1"]
    assert hot.stages[0].temperature == max(settings.dynamics.temperatures)
    assert available("electrolyte")[protocol]


def test_the_stringent_protocol_varies_composition_size_pressure_and_seed() -> None:
    settings = settings_of("stringent")
    fractions = {box.composition.get("EC", 0) / sum(box.composition.values()) for box in settings.boxes.values()}
    assert sorted(fractions) == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])
    assert max(settings.dynamics.pressures) == 2.5
    nvt = dynamics_settings(settings, RuntimeSettings(), sorted(settings.boxes), "nvt")
    assert len(nvt.walkers) == 5 * 4 * 3
    assert len({walker.seed for walker in nvt.walkers.values()}) == len(nvt.walkers)


def test_walkers_go_on_from_their_own_last_frames() -> None:
    settings = settings_of("fast", dynamics={"pressures": [1e-4, 1.0], "walkers": 2})
    npt = dynamics_settings(settings, RuntimeSettings(), ["b_t500_w2", "b_t300_w1"], "npt")
    assert {name: (walker.structure, walker.stages[0].temperature, walker.stages[0].pressure)
            for name, walker in npt.walkers.items()} == {
        "b_t500_p0_w2": (0, 500.0, 1e-4),
        "b_t500_p1_w2": (0, 500.0, 1.0),
        "b_t300_p0_w1": (1, 300.0, 1e-4),
        "b_t300_p1_w1": (1, 300.0, 1.0),
    }  # fmt: skip
    nve = dynamics_settings(settings, RuntimeSettings(), ["b_t500_w2"], "nve")
    assert list(nve.walkers) == ["b_t500_w2"]
    assert nve.walkers["b_t500_w2"].seed != npt.walkers["b_t500_p0_w2"].seed
    no_nvt = settings_of("fast", dynamics={"nvt_steps": 0})
    assert len(dynamics_settings(no_nvt, RuntimeSettings(), ["b"], "npt").walkers) == 2


def test_the_fast_protocol_is_accepted(problem) -> None:
    assert problem() == ""
    assert problem(boxes={"own": DatasetData([two_waters()])}, names=("a", "b")) == ""
    assert problem(packed={"salt": {"composition": {"EC": 4, "Li+": 1, "PF6-": 1}, "density": 1.2}}) != ""


@pytest.mark.parametrize(
    ("changes", "given", "words"),
    [
        ({}, {"names": ()}, ["potentials", "at least one"]),
        ({}, {"names": ("two__lines",)}, ["potentials.two__lines", "single underscores"]),
        ({}, {"names": ("reference",)}, ["potentials.reference", "another name"]),
        ({}, {"packed": {"settings": {"composition": {"EC": 2}, "density": 1.0}}}, ["settings.boxes.settings"]),
        ({}, {"packed": {"b": {"composition": {"EC": 4, "Li+": 1}, "density": 1.0}}}, ["+1", "neutral"]),
        ({}, {"packed": {"b": {"composition": {"ethylene": 4}, "density": 1.0}}}, ["ethylene"]),
        ({}, {"packed": {"b": {"composition": {"EC": 4, "Cl-": 1, "Na+": 1}, "density": 1.0}}},
         ["potentials.one", "Cl, Na", "settings.boxes"]),
        ({}, {"packed": {}}, ["settings.boxes", "no box"]),
        ({}, {"boxes": {"b": lambda: DatasetData([two_waters(pbc=False)])}}, ["boxes.b", "periodic"]),
        ({}, {"boxes": {"b": lambda: DatasetData([two_waters()] * 2)}}, ["boxes.b", "one configuration"]),
        ({"dynamics": {"temperatures": [300.2, 300.4]}}, {}, ["temperatures", "told apart in whole kelvins"]),
        ({"dynamics": {"pressures": []}}, {}, ["pressures", "1 bar is 1e-4"]),
        ({"checks": {"density": {"outlyer": 3}}}, {}, ["outlyer", "density"]),
        ({"checks": {"colour": {}}}, {}, ["colour", "known are"]),
        ({"reference_densities": {"absent": 1.0}}, {}, ["reference_densities.absent", "ec_emc_1_2"]),
        ({"force_tests": None}, {"reference": potential}, ["reference", "nothing would be labelled"]),
        ({}, {"reference": lambda: potential(("H", "O"))}, ["reference.batch.potential", "lacks C"]),
        ({}, {"dispersion": {"two": "none"}}, ["dispersion.two", "no such potential"]),
        ({}, {"dispersion": {"one": "perhaps"}}, ["dispersion.one", "perhaps", "included"]),
        ({}, {"dispersion": {"one": {"functional": "lda"}}}, ["dispersion.one.functional", "pbe"]),
    ],
)  # fmt: skip
def test_bad_inputs_are_refused_with_field_value_and_remedy(problem, changes, given, words) -> None:
    made = {
        name: {key: made() if callable(made) else made for key, made in value.items()}
        if isinstance(value, dict)
        else value()
        if callable(value)
        else value
        for name, value in given.items()
    }
    message = problem(changes, **made)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": "quick"}, "fast, balanced, stringent"),
        ({"overrides": {"settings": {"dynamics": {"npt_step": 3}}}}, "npt_step"),
        ({"reference": potential, "pw": dict}, "one of the two"),
    ],
)
def test_the_builder_refuses_what_it_does_not_know(worker_code, changes, words) -> None:
    given = {name: value() if callable(value) else value for name, value in changes.items()}
    with pytest.raises(ValueError, match=words):
        ElectrolyteWorkChain.get_builder_from_protocol(code=worker_code, potentials={"one": potential()}, **given)


def test_equal_inputs_make_settings_that_hash_alike(aiida_profile) -> None:
    settings = settings_of("fast").model_dump(mode="json")
    results = {"walkers": {"ec_emc_1_2_t300_w1": walker_result(), "ec_emc_1_2_t500_w1": walker_result(frames=0)}}
    made = dynamics_settings(settings_of("fast"), RuntimeSettings(), ["ec_emc_1_2"], "nvt").model_dump(mode="json")
    found = [check_settings(orm.Dict(settings), orm.Dict(made), orm.Dict(results)) for _ in range(2)]
    assert found[0].base.caching.get_hash() == found[1].base.caching.get_hash()
    typed = LiquidSettings(**found[0].get_dict())
    assert list(typed.walkers) == ["ec_emc_1_2_t300_w1"], "one without a frame has nothing to look at"
    assert typed.walkers["ec_emc_1_2_t300_w1"].ensemble == "nvt"
    assert typed.checks["duration"]["min_molecules"] == 48


def walker_result(**changes: Any) -> dict[str, Any]:
    values = {"structure": 0, "formula": "H2O", "steps": 50, "asked_steps": 100, "stable_steps": 50, "frames": 11}
    return {**values, "stopped_by": None, "temperature": 300.0, "force_calls": 50, "seconds": 1.0, **changes}


@pytest.mark.parametrize(
    ("stopped_by", "answer"), [("temperature", "unstable"), ("uncertainty", "inconclusive"), (None, "inconclusive")]
)
def test_a_run_without_a_trajectory_is_judged_by_its_end(aiida_profile, stopped_by, answer) -> None:
    settings = settings_of("fast")
    made = dynamics_settings(settings, RuntimeSettings(), ["ec_emc_1_2"], "nvt")
    results = {"walkers": {name: walker_result(stopped_by=stopped_by, message="1500 K") for name in made.walkers}}
    outcome = {"potential": "one", "dispersion": "none", "failed_steps": {}}
    verdict = judge_potential(
        orm.Dict(settings.model_dump(mode="json")),
        orm.Dict(outcome),
        nvt_settings=orm.Dict(made.model_dump(mode="json")),
        nvt_dynamics=orm.Dict(results),
    )
    assert verdict["answer"] == answer
    joined = join_verdicts(one=verdict, two=verdict)
    assert list(joined["potentials"]) == ["one", "two"]
    if stopped_by == "temperature":
        assert "stopped after 50 of 100 steps by 'temperature': 1500 K" in verdict["sentence"]
        assert verdict["conditions"][0]["molecules"] == 12


def test_a_potential_that_cannot_be_evaluated_at_all_is_not_called_unstable(aiida_profile) -> None:
    """It lacks an element, or what it needs is not installed: nothing was learnt of the liquid."""
    settings = settings_of("fast")
    made = dynamics_settings(settings, RuntimeSettings(), ["ec_emc_1_2"], "nvt")
    outcome = {"stopped_by": "calculator_error", "stable_steps": 0, "steps": 0, "frames": 0, "message": "no such file"}
    verdict = judge_potential(
        orm.Dict(settings.model_dump(mode="json")),
        orm.Dict({"potential": "one", "dispersion": "none", "failed_steps": {}}),
        nvt_settings=orm.Dict(made.model_dump(mode="json")),
        nvt_dynamics=orm.Dict({"walkers": {name: walker_result(**outcome) for name in made.walkers}}),
    )
    assert verdict["answer"] == "inconclusive"
    assert "a potential that can be run here" in verdict["sentence"]
    assert "no such file" in verdict["sentence"]


@pytest.mark.parametrize(("temperature", "answer"), [(300.0, "unstable"), (1200.0, "inconclusive")])
def test_a_run_that_nobody_looked_at_may_have_boiled(aiida_profile, temperature, answer) -> None:
    settings = settings_of("fast", dynamics={"temperatures": [temperature]})
    made = dynamics_settings(settings, RuntimeSettings(), [f"ec_emc_1_2_t{temperature:.0f}_w1"], "npt")
    results = {"walkers": {name: walker_result(stopped_by="density", message="0.49") for name in made.walkers}}
    verdict = judge_potential(
        orm.Dict(settings.model_dump(mode="json")),
        orm.Dict({"potential": "one", "dispersion": "none", "failed_steps": {}}),
        npt_settings=orm.Dict(made.model_dump(mode="json")),
        npt_dynamics=orm.Dict(results),
    )
    assert verdict["answer"] == answer


def test_molecules_given_as_smiles_have_their_usual_names(aiida_profile) -> None:
    """Ions are told by their names: a box with them is no binary mixture of solvents."""
    boxes = {"mixed": {"composition": {"O=C1OCCO1": 2, "CCOC(=O)OC": 4, "[Li+]": 1, "PF6-": 1}, "density": 1.1}}
    settings = settings_of("fast", boxes=boxes)
    made = dynamics_settings(settings, RuntimeSettings(), ["mixed_t300_w1"], "npt")
    node = orm.Dict({"walkers": {name: walker_result() for name in made.walkers}})
    runs = _runs(settings, {"npt_settings": orm.Dict(made.model_dump(mode="json")), "npt_dynamics": node})
    assert next(runs).composition == {"EC": 2, "EMC": 4, "Li+": 1, "PF6-": 1}


def test_a_failed_comparison_ends_with_its_own_code(aiida_profile, worker_code, localhost) -> None:
    builder = ElectrolyteWorkChain.get_builder_from_protocol(
        code=worker_code, potentials={"one": potential()}, options=job_options(localhost), protocol="fast"
    )
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    process.note_failure("one_force_tests", "force_tests", "labels of other probes")
    assert process.failed_steps_of("one") == {"force_tests": "labels of other probes"}
    process.judge()
    code = process.finish()
    assert code.status == 464
    assert "labels of other probes" in code.message
    assert process.outputs["verdict"]["potentials"]["one"]["failed_steps"]


def test_settings_of_a_stage_are_settings_of_mlip_md() -> None:
    made = dynamics_settings(settings_of("balanced"), RuntimeSettings(device="cuda"), ["ec_emc_1_2"], "nvt")
    assert MDSettings(**made.model_dump(mode="json")) == made
    assert made.velocities
    assert made.keep_stride == 50


def test_no_survivor_leaves_no_frames(aiida_profile) -> None:
    results = orm.Dict({"walkers": {"b_t300_w1": walker_result(stopped_by="distance")}})
    with pytest.raises(ValueError, match="frames is empty"):
        last_frames(results)


@pytest.mark.parametrize(("broken", "taken"), [({3}, 2), ({1, 2, 3}, 3)])
def test_the_next_run_begins_with_the_molecules_of_the_box(aiida_profile, tmp_path, broken, taken) -> None:
    """A C-H or O-H bond that is stretched for an instant is no reaction, and one that stays broken is."""
    path = tmp_path / "trajectory.xyz"
    with path.open("w", encoding="utf-8") as handle:
        for index in range(4):
            atoms = two_waters()
            atoms.positions[:, 2] += 0.1 * index
            if index in broken:
                atoms.positions[1] += 0.4 * (atoms.positions[1] - atoms.positions[0])
            moment = Moment(step=index, time_fs=float(index), stage=0, temperature=300.0,
                            instantaneous_temperature=300.0, energy=0.0, forces=np.zeros((6, 3)))  # fmt: skip
            write_frame(handle, atoms, moment)
    results = orm.Dict({"walkers": {"b_t300_w1": walker_result()}})
    (frame,) = last_frames(results, b_t300_w1=MDTrajectoryData(path)).frames()
    assert frame.positions[0, 2] == pytest.approx(two_waters().positions[0, 2] + 0.1 * taken)
