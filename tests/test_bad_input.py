"""Malformed inputs: each is refused before submission, with the field, the value and what to do in the message."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science import keys

Inputs = dict[str, Any]


def labelled(seed: int, symbols: str = "CuNi", config_type: str = "alloy") -> Atoms:
    """A distorted cell with labels of ASE's EMT potential."""
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.symbols = (symbols * 2) if len(Atoms(symbols)) == 2 else symbols
    atoms.rattle(0.05, seed=seed)
    atoms.info[keys.CONFIG_TYPE] = config_type
    if set(atoms.symbols) <= {"Cu", "Ni", "Al", "Ag"}:
        calculated = atoms.copy()
        calculated.calc = EMT()
        atoms.info[keys.ENERGY] = calculated.get_potential_energy()
        atoms.arrays[keys.FORCES] = calculated.get_forces()
        atoms.info[keys.STRESS] = calculated.get_stress()
    return atoms


def without(atoms: Atoms, *names: str) -> Atoms:
    for name in names:
        atoms.info.pop(name, None)
        atoms.arrays.pop(name, None)
    return atoms


def isolated(symbol: str, energy: float | None = -1.0) -> Atoms:
    atoms = Atoms(symbol, cell=[14.0, 15.0, 16.0], pbc=True)
    if energy is not None:
        atoms.info[keys.ENERGY] = energy
    return atoms


def potential(**changes: Any) -> PotentialData:
    known = {
        "architecture": "mace",
        "elements": ["Ni", "Cu"],
        "r_max": 4.5,
        "heads": ["pbe", "r2scan"],
        "head": "pbe",
        "dtype": "float64",
        "num_parameters": 100,
        "name": "tiny",
        **changes,
    }
    return PotentialData(io.BytesIO(b"PK\x03\x04 stand-in: nothing loads it"), known)


SETTINGS = {
    "strategy": {"kind": "naive"},
    "learning_rate": 1e-3,
    "e0_policy": {"kind": "estimated"},
    "max_epochs": 3,
    "batch_size": 2,
}


@pytest.fixture
def good(worker_code: orm.PortableCode, localhost: orm.Computer) -> dict[str, Inputs]:
    """Inputs of each process that nothing is wrong with."""
    runtime = {"code": worker_code, "metadata": {"computer": localhost}}
    return {
        "mlip.train": {
            **runtime,
            "settings": dict(SETTINGS),
            "potential": potential(),
            "training_set": DatasetData([labelled(i) for i in range(4)]),
            "validation_set": DatasetData([labelled(i) for i in range(10, 12)]),
            "test_sets": {"held_out": DatasetData([labelled(20)])},
        },
        "mlip.evaluate": {
            **runtime,
            "settings": {},
            "potential": potential(),
            "datasets": {"alloys": DatasetData([labelled(0)])},
        },
        "mlip.property": {
            **runtime,
            "settings": {"properties": {"eos": {"structure": "fcc", "element": "Cu"}}},
            "potential": potential(),
        },
    }


@dataclass(frozen=True)
class Case:
    """One malformed input.

    :param name: what is wrong.
    :param change: spoils good inputs.
    :param field: how the message names the field.
    :param value: how the message gives the value.
    :param remedy: a part of what the message says to do.
    """

    name: str
    change: Callable[[Inputs], None]
    field: str
    value: str
    remedy: str
    process: str = "mlip.train"


def setting(**changes: Any) -> Callable[[Inputs], None]:
    """Change settings; None removes a field."""

    def change(inputs: Inputs) -> None:
        merged = {**inputs["settings"], **changes}
        inputs["settings"] = {key: value for key, value in merged.items() if value is not None}

    return change


def given(make: Callable[[], Any], name: str, **changes: Any) -> Callable[[Inputs], None]:
    """Give an input another value, and change settings too."""

    def change(inputs: Inputs) -> None:
        *spaces, last = name.split(".")
        target = inputs
        for space in spaces:
            target = target[space]
        target[last] = make()
        if changes:
            setting(**changes)(inputs)

    return change


def dropped(name: str, **changes: Any) -> Callable[[Inputs], None]:
    def change(inputs: Inputs) -> None:
        inputs.pop(name)
        setting(**changes)(inputs)

    return change


def all_of(*changes: Callable[[Inputs], None]) -> Callable[[Inputs], None]:
    def change(inputs: Inputs) -> None:
        for one in changes:
            one(inputs)

    return change


def dataset(*frames: Atoms) -> Callable[[], DatasetData]:
    return lambda: DatasetData(frames)


def installed_code() -> orm.InstalledCode:
    return orm.InstalledCode(
        label="mace_run_train", computer=orm.load_computer("localhost"), filepath_executable="/usr/bin/mace_run_train"
    )


def other_portable_code() -> orm.PortableCode:
    code = orm.PortableCode(label="script", filepath_executable="run.sh")
    code.base.repository.put_object_from_filelike(io.BytesIO(b"#!/bin/sh\n"), "run.sh")
    return code


def another_computer() -> orm.Computer:
    _, computer = orm.Computer.collection.get_or_create(
        label="cluster", hostname="cluster.org", transport_type="core.ssh", scheduler_type="core.slurm"
    )
    return computer.store()


def foreign_folder() -> orm.RemoteData:
    return orm.RemoteData(remote_path="/scratch/job", computer=another_computer())


def nan_force(seed: int = 5) -> Atoms:
    atoms = labelled(seed)
    atoms.arrays[keys.FORCES][2, 0] = np.nan
    return atoms


def at_rest(seed: int = 10) -> Atoms:
    atoms = labelled(seed)
    atoms.arrays[keys.FORCES][:] = 0.0
    return atoms


REPLAY = {"strategy": {"kind": "replay"}, "loss": {"kind": "universal"}}

CASES = [
    # settings alone
    Case("negative learning rate", setting(learning_rate=-0.1), "settings.learning_rate", "-0.1", "greater than 0"),
    Case("learning rate of 1", setting(learning_rate=1.0), "settings.learning_rate", "1.0", "less than 1"),
    Case("learning rate missing", setting(learning_rate=None), "settings.learning_rate", "not given", "is required"),
    Case("E0 policy missing", setting(e0_policy=None), "settings.e0_policy", "not given", "is required"),
    Case("unknown strategy", setting(strategy={"kind": "frosen"}), "settings.strategy", "frosen", "'frozen'"),
    Case("unknown E0 policy", setting(e0_policy={"kind": "mean"}), "settings.e0_policy", "mean", "'average'"),
    Case("unknown field", setting(lr=1e-3), "settings.lr", "not a known field", "learning_rate"),
    Case("unknown field of a strategy", setting(strategy={"kind": "lora", "r": 4}), "settings.strategy.lora.r",
         "not a known field", "check its spelling"),
    Case("freeze without a level", setting(strategy={"kind": "frozen"}), "settings.strategy.frozen.level",
         "not given", "is required"),
    Case("unknown level", setting(strategy={"kind": "frozen", "level": "readouts"}), "settings.strategy.frozen.level",
         "'readouts'", "'products'"),
    Case("no epochs", setting(max_epochs=0), "settings.max_epochs", "0", "greater than 0"),
    Case("broken epochs", setting(max_epochs=2.5), "settings.max_epochs", "2.5", "valid integer"),
    Case("NaN learning rate", setting(learning_rate=float("nan")), "settings.learning_rate", "nan", "finite"),
    Case("unknown dtype", setting(dtype="float16"), "settings.dtype", "'float16'", "'float32'"),
    Case("unknown device", setting(device="gpu"), "settings.device", "'gpu'", "'cuda'"),
    Case("unknown loss", setting(loss={"kind": "mse"}), "settings.loss.kind", "'mse'", "'weighted'"),
    Case("no weight in the loss", setting(loss={"energy_weight": 0, "forces_weight": 0}), "loss", "all weights are 0",
         "positive weight"),
    Case("stress weight without effect", setting(loss={"stress_weight": 10}), "loss.stress_weight", "10.0", "'stress'"),
    Case("replay with another loss", setting(strategy={"kind": "replay"}), "loss.kind", "'weighted'", "'universal'"),
    Case("scratch with estimated E0s", setting(strategy={"kind": "scratch"}), "e0_policy", "'estimated'",
         "'isolated_atoms'"),
    Case("averaged E0s with a foundation model", setting(e0_policy={"kind": "average"}), "e0_policy", "'average'",
         "use 'estimated'"),
    Case("distributed on a CPU", setting(distributed={"num_processes": 2}), "device", "'cuda'", "needs device"),
    Case("early stopping without patience", setting(early_stopping={"slice_epochs": 2, "patience": 0}),
         "settings.early_stopping.patience", "0", "greater than 0"),
    Case("incomplete Dict node", given(lambda: orm.Dict(SETTINGS), "settings"), "settings", "Dict without",
         "Pass a dict"),
    # further options of mace
    Case("unknown option", setting(extra={"learnrate": 1}), "settings.extra.learnrate", "1", "mace_run_train --help"),
    Case("option of a typed field", setting(extra={"lr": 0.01}), "settings.extra.lr", "0.01",
         "Set settings.learning_rate"),
    Case("freezing beside the strategy", setting(extra={"freeze": 5}), "settings.extra.freeze", "5",
         "Set settings.strategy"),
    Case("downloaded replay data", setting(extra={"pt_train_file": "mp"}), "settings.extra.pt_train_file", "'mp'",
         "Remove it"),
    Case("Stage Two", setting(extra={"swa": True}), "settings.extra.swa", "True", "Remove it"),
    # the potential
    Case("no potential", dropped("potential"), "potential", "None", "Give a PotentialData"),
    Case("scratch with a potential", setting(strategy={"kind": "scratch"}, e0_policy={"kind": "average"}),
         "settings.strategy", "'scratch'", "Remove the potential"),
    Case("element missing in the potential", given(dataset(*[labelled(i, "CuAg") for i in range(3)]), "training_set"),
         "potential", "'tiny'", "Use a potential that knows Ag"),
    Case("element of a test set missing", given(dataset(labelled(3, "AlNi")), "test_sets.held_out"),
         "test_sets.held_out", "it lacks Al", "Use a potential that knows Al"),
    Case("unknown foundation head", setting(foundation_head="scan"), "settings.foundation_head", "'scan'",
         "pbe, r2scan"),
    Case("architecture that is not trained", given(lambda: potential(architecture="lj"), "potential"),
         "potential.architecture", "'lj'", "Use one of: mace"),
    # reference energies
    Case("E0 missing", setting(e0_policy={"kind": "explicit", "values": {"Cu": -1.0}}), "settings.e0_policy.values",
         "{'Cu': -1.0}", "isolated atom for Ni"),
    Case("E0 of no element", setting(e0_policy={"kind": "explicit", "values": {"Cu": -1, "Ni": -1, "nickel": 0}}),
         "settings.e0_policy.values", "nickel", "periodic table"),
    Case("no E0s", setting(e0_policy={"kind": "explicit", "values": {}}), "settings.e0_policy.explicit.values",
         "at least 1", "Dictionary should have"),
    Case("isolated atom missing", given(dataset(isolated("Cu"), *[labelled(i) for i in range(4)]), "training_set",
         e0_policy={"kind": "isolated_atoms"}), "settings.e0_policy", "'isolated_atoms'", "Add one configuration"),
    Case("isolated atom without energy", given(
         dataset(isolated("Cu"), isolated("Ni", None), *[labelled(i) for i in range(4)]), "training_set",
         e0_policy={"kind": "isolated_atoms"}), "settings.e0_policy", "energy of Ni", "a single atom with REF_energy"),
    # data sets
    Case("no energies", given(lambda: DatasetData([without(labelled(i), keys.ENERGY) for i in range(4)]),
         "training_set"), "training_set", "<data set of 4", "settings.loss.energy_weight to 0"),
    Case("no forces", given(lambda: DatasetData([without(labelled(i), keys.FORCES) for i in range(4)]),
         "training_set"), "training_set", "REF_forces", "settings.loss.forces_weight to 0"),
    Case("no stresses for validation", given(lambda: DatasetData([without(labelled(11), keys.STRESS)]),
         "validation_set", loss={"kind": "stress", "stress_weight": 1}), "validation_set", "REF_stress",
         "settings.loss.stress_weight to 0"),
    Case("NaN label", given(dataset(labelled(0), labelled(1), nan_force()), "training_set"), "training_set",
         "configurations 2", "Remove or correct"),
    Case("test set without labels", given(lambda: DatasetData([without(labelled(4), *keys.UNITS)]),
         "test_sets.held_out"), "test_sets.held_out", "<data set of 1", "Label it"),
    Case("only isolated atoms", given(dataset(isolated("Cu"), isolated("Ni")), "training_set"), "training_set",
         "<data set of 2", "more than one atom"),
    Case("validation on isolated atoms", given(dataset(isolated("Cu")), "validation_set"), "validation_set",
         "<data set of 1", "Put configurations"),
    Case("validation without forces", given(dataset(at_rest()), "validation_set"), "validation_set", "forces are 0",
         "Add distorted configurations"),
    Case("validation in the training set", given(dataset(labelled(10), labelled(2)), "validation_set"),
         "validation_set", "numbers 1", "Split again"),
    Case("batch larger than the set", setting(batch_size=5), "settings.batch_size", "5", "Use at most 4"),
    Case("batch larger than the set without isolated atoms", given(
         dataset(isolated("Cu"), labelled(0), labelled(1)), "training_set", batch_size=3), "settings.batch_size", "3",
         "Use at most 2"),
    Case("weight of an unknown type", setting(loss={"config_type_weights": {"alloys": 2.0}}),
         "settings.loss.config_type_weights", "'alloys'", "Its types are: alloy"),
    Case("negative weight of a type", setting(loss={"config_type_weights": {"alloy": -1.0}}),
         "settings.loss.config_type_weights", "-1.0", "Use 0"),
    Case("weights that the loss ignores",
         setting(loss={"kind": "huber", "config_type_weights": {"alloy": 2.0}}), "settings.loss.config_type_weights",
         "'huber'", "'universal'"),
    Case("file name for a data set", given(lambda: "train.xyz", "training_set"), "training_set", "str", "DatasetData"),
    # replay
    Case("replay without a set", setting(**REPLAY), "replay_set", "None", "labelled by the foundation model"),
    Case("replay set without replay", given(dataset(labelled(30)), "replay_set"), "replay_set", "<data set of 1",
         "use strategy 'replay'"),
    Case("replay set without labels", given(
         lambda: DatasetData([labelled(30), without(labelled(31), keys.FORCES)]), "replay_set", **REPLAY), "replay_set",
         "1 of 2 have REF_forces", "mlip.evaluate with labelled = True"),
    Case("replay element missing", given(dataset(labelled(30, "CuAl")), "replay_set", **REPLAY), "replay_set",
         "it lacks Al", "remove those configurations"),
    Case("a single replay configuration", given(dataset(labelled(30)), "replay_set", **REPLAY), "replay_set",
         "<data set of 1", "at least two"),
    Case("element that is not kept", all_of(
         given(lambda: potential(elements=["Al", "Ni", "Cu"]), "potential", keep_elements="training"),
         given(dataset(labelled(3, "AlNi")), "test_sets.held_out")), "test_sets.held_out",
         "settings.keep_elements = 'training'", "Add configurations with Al"),
    Case("element unknown from scratch", all_of(
         dropped("potential", strategy={"kind": "scratch"}, e0_policy={"kind": "average"}),
         given(dataset(labelled(3, "AlNi")), "test_sets.held_out")), "test_sets.held_out",
         "settings.strategy = 'scratch'", "Add configurations with Al"),
    Case("label missing for the Huber loss", given(
         lambda: DatasetData([labelled(0), without(labelled(1), keys.FORCES)]), "training_set",
         loss={"kind": "huber"}), "training_set", "1 configurations lack REF_forces", "'universal'"),
    # where it runs
    Case("no code", dropped("code"), "code", "None", "aiida-mlip setup"),
    Case("installed code", given(installed_code, "code"), "code", "'mace_run_train'", "aiida-mlip setup"),
    Case("another portable code", given(other_portable_code, "code"), "code", "'run.sh'", "use the code it makes"),
    Case("another computer", given(another_computer, "metadata.computer"), "metadata.computer", "'cluster'",
         "set metadata.computer to 'localhost'"),
    Case("GPU on a computer without", setting(device="cuda"), "settings.device", "'cuda'", "Use device = 'cpu'"),
    Case("folder of another computer", given(foreign_folder, "restart_folder"), "restart_folder", "folder on cluster",
         "start without restart_folder"),
    # evaluations
    Case("nothing to evaluate", given(dict, "datasets"), "datasets", "{}", "at least one data set", "mlip.evaluate"),
    Case("unknown head", setting(head="mp"), "settings.head", "'mp'", "None means 'pbe'", "mlip.evaluate"),
    Case("unknown element", given(dataset(labelled(0, "CuAl")), "datasets.alloys"), "datasets.alloys", "it lacks Al",
         "Use a potential", "mlip.evaluate"),
    Case("alignment on an unknown set", setting(align_on="training"), "settings.align_on", "'training'",
         "Name one of: alloys", "mlip.evaluate"),
    Case("alignment without energies", given(lambda: DatasetData([without(labelled(0), keys.ENERGY)]),
         "datasets.alloys", align_on="alloys"), "settings.align_on", "'alloys'", "a data set with energies",
         "mlip.evaluate"),
    Case("empty batch", setting(batch_size=0), "settings.batch_size", "0", "greater than 0", "mlip.evaluate"),
    Case("GPU for an evaluation", setting(device="cuda"), "settings.device", "'cuda'", "Use device = 'cpu'",
         "mlip.evaluate"),
    # properties
    Case("unknown property", setting(properties={"bulk_modulus": {}}), "settings.properties.bulk_modulus",
         "'bulk_modulus'", "known are", "mlip.property"),
    Case("no property", setting(properties={}), "settings.properties", "not 0", "at least 1 item", "mlip.property"),
    Case("unknown input of a property", setting(properties={"eos": {"element": "Cu", "strains": 1}}),
         "eos.strains", "not a known field", "known here are", "mlip.property"),
    Case("element that the potential lacks", setting(properties={"eos": {"element": "W"}}),
         "settings.properties.eos.element", "'W'", "Use a potential that knows W", "mlip.property"),
    Case("no element", setting(properties={"eos": {"element": "Wo"}}), "eos.element", "'Wo'", "chemical",
         "mlip.property"),
    Case("unknown head for properties", setting(head="mp"), "settings.head", "'mp'", "pbe, r2scan", "mlip.property"),
]  # fmt: skip


def refuse(process: str, inputs: Inputs) -> str:
    """Return what is said when a process is started with ``inputs``."""
    before = orm.QueryBuilder().append(orm.ProcessNode).count()
    with pytest.raises((ValueError, TypeError)) as caught:
        instantiate_process(get_manager().get_runner(), CalculationFactory(process), **inputs)
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == before
    return str(caught.value)


@pytest.mark.parametrize("process", ["mlip.train", "mlip.evaluate", "mlip.property"])
def test_good_input_is_accepted(process: str, good: dict[str, Inputs]) -> None:
    made = instantiate_process(get_manager().get_runner(), CalculationFactory(process), **good[process])
    assert made.inputs.settings["device"] == "cpu"


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case.process}: {case.name}") for case in CASES])
def test_bad_input_is_refused(case: Case, good: dict[str, Inputs]) -> None:
    inputs = good[case.process]
    case.change(inputs)
    message = refuse(case.process, inputs)
    assert case.field in message
    assert case.value in message
    assert case.remedy in message


def test_every_problem_is_named_at_once(good: dict[str, Inputs]) -> None:
    inputs = good["mlip.train"]
    setting(batch_size=9, foundation_head="scan", extra={"lr": 1})(inputs)
    message = refuse("mlip.train", inputs)
    assert all(field in message for field in ("settings.batch_size", "settings.foundation_head", "settings.extra.lr"))
