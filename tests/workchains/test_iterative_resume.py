"""What an earlier run left, found in graphs that are made by hand: finished, failed and killed in the middle."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from ase.build import bulk

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.iterative import GenerationRecord, History
from aiida_mlip.workchains.iterative_resume import previous_run

KIND = "aiida.workflows:mlip.iterative_training"


@pytest.fixture(scope="module")
def graphs():
    name, path = "provenance_graphs", Path(__file__).parents[1] / "provenance" / "graphs.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


class Run:
    """A run of the loop that is stored step by step, with invented contents."""

    def __init__(self, graphs: Any, **inputs: orm.Data) -> None:
        self.graphs = graphs
        settings = {"committee": {"size": 2}, "conditions": [], "ladder": "all", "walkers": 1, "levels": {},
                    "start_from": "foundation", "validation_fraction": 0.2, "seed": 1}  # fmt: skip
        given = {"settings": orm.Dict(settings), "training__train__settings": orm.Dict({"max_epochs": 9}),
                 "uncertainty__settings": orm.Dict({}), "md__settings": orm.Dict({"timestep": 1.0})}  # fmt: skip
        self.chain = graphs.start(orm.WorkChainNode, "IterativeTrainingWorkChain", {**given, **inputs}, kind=KIND)
        self.made: dict[str, Any] = {}

    def step(self, label: str, *, work: bool = False, fails: bool = False, **outputs: orm.Data) -> None:
        cls = orm.WorkChainNode if work else orm.CalcFunctionNode
        node = self.graphs.start(cls, label, caller=self.chain, step=label)
        if work:
            for data in outputs.values():
                data.store()
        self.graphs.end(node, outputs, status=1 if fails else 0)
        self.made |= {f"{label}.{name}": data for name, data in outputs.items()}

    def first_sets(self) -> None:
        self.step("start_sets", training_set=frames(4), holdout=frames(2))
        self.step("start_history", result=history(0))

    def generation(self, number: int, *, until: str = "record", labelled: bool = True) -> None:
        step = f"g{number:02d}"
        for member in ("00", "01"):
            self.step(f"{step}_train_{member}", work=True, potential=potential(f"{step}{member}"), results=orm.Dict({}))
        if until == "train":
            return
        self.step(f"{step}_select", work=True, selected=frames(3), results=orm.Dict({}))
        if until == "select":
            return
        self.step(f"{step}_record", result=history(number, labelled=number - 1))
        if labelled:
            self.step(f"{step}_label", work=True, labelled=frames(3))
            self.step(f"{step}_extend_set", result=frames(4 + 3 * number))
            self.step(f"{step}_label_record", result=history(number, labelled=number))

    def kill(self) -> orm.WorkChainNode:
        self.chain.set_process_state("killed")
        self.chain.seal()
        return self.chain

    def uuid(self, name: str) -> str:
        return str(self.made[name].uuid)


def frames(count: int) -> DatasetData:
    made = []
    for index in range(count):
        atoms = bulk("W", cubic=True)
        atoms.rattle(0.1, seed=10 * count + index)
        made.append(atoms)
    return DatasetData(made)


def potential(name: str) -> PotentialData:
    info = {"architecture": "mace", "elements": ["W"], "r_max": 5.0, "dtype": "float64", "num_parameters": 1}
    return PotentialData(io.BytesIO(b"PK\x03\x04" + name.encode()), {**info, "name": name})


def history(generations: int, labelled: int = 0, made: int = 3) -> orm.Dict:
    records = tuple(
        GenerationRecord(generation=number, potentials={}, training_set="", frames={}, errors={},
                         labels={"asked": 3, "labelled": made} if number <= labelled else {})
        for number in range(1, generations + 1)
    )  # fmt: skip
    return orm.Dict(History(generations=records, labels_used=6 + 3 * labelled).model_dump(mode="json"))


@pytest.fixture
def run(aiida_profile_clean, graphs) -> Run:
    made = Run(graphs)
    made.first_sets()
    return made


def uuids(found: dict[str, Any], name: str) -> dict[str, str]:
    return {member: node.uuid for member, node in found[name].items()}


def test_the_last_generation_asked_for_labels_that_are_made_first(run) -> None:
    run.generation(1)
    run.generation(2, labelled=False)
    found = previous_run(run.kill())
    assert len(found["history"]["generations"]) == 2
    assert found["training_set"].uuid == run.uuid("g01_extend_set.result")
    assert found["holdout"].uuid == run.uuid("start_sets.holdout")
    assert found["selected"].uuid == run.uuid("g02_select.selected")
    assert found["potentials"]["member_01"].uuid == run.uuid("g02_train_01.potential")
    assert "unfinished" not in found


def test_members_of_a_generation_that_was_cut_short_are_taken_over(run) -> None:
    run.generation(1)
    run.generation(2, until="train")
    found = previous_run(run.kill())
    assert found["training_set"].uuid == run.uuid("g01_extend_set.result")
    assert "selected" not in found
    assert found["potentials"]["member_00"].uuid == run.uuid("g01_train_00.potential")
    assert uuids(found["unfinished"], "potentials") == {
        f"member_{number}": run.uuid(f"g02_train_{number}.potential") for number in ("00", "01")
    }


def test_frames_that_were_selected_but_not_recorded_are_selected_again(run) -> None:
    run.generation(1)
    run.generation(2, until="select")
    found = previous_run(run.kill())
    assert "selected" not in found
    assert set(found["unfinished"]) == {"potentials", "trained"}


def test_a_set_that_was_extended_but_not_recorded_is_not_extended_twice(run) -> None:
    run.generation(1, labelled=False)
    run.step("g01_label", work=True, labelled=frames(3))
    run.step("g01_extend_set", result=frames(7))
    found = previous_run(run.kill())
    assert found["training_set"].uuid == run.uuid("start_sets.training_set")
    assert found["selected"].uuid == run.uuid("g01_select.selected")


def test_frames_of_which_none_could_be_labelled_are_tried_again(run) -> None:
    run.generation(1, labelled=False)
    run.step("g01_label_record", result=history(1, labelled=1, made=0))
    found = previous_run(run.kill())
    assert found["selected"].uuid == run.uuid("g01_select.selected")
    assert found["history"]["labels_used"] == 9


def test_other_settings_of_the_training_train_again(run) -> None:
    run.generation(1, until="train")
    killed = run.kill()
    asked = {"training": {"train": {"settings": orm.Dict({"max_epochs": 9})}},
             "settings": orm.Dict(killed.inputs.settings.get_dict())}  # fmt: skip
    assert "unfinished" in previous_run(killed, asked)
    asked["training"]["train"]["settings"] = orm.Dict({"max_epochs": 10})
    assert "unfinished" not in previous_run(killed, asked)


def test_a_run_that_went_on_passes_on_what_it_took_over(run, graphs) -> None:
    run.generation(1, labelled=False)
    first = previous_run(run.kill())
    inputs = {f"previous__{name}": first[name] for name in ("history", "training_set", "holdout", "selected")}
    second = Run(graphs, **inputs)
    second.step("continue_history", result=history(1))
    found = previous_run(second.kill())
    for name in ("training_set", "holdout", "selected"):
        assert found[name].uuid == first[name].uuid


def test_what_parts_training_from_validation_trains_again(run) -> None:
    run.generation(1, until="train")
    killed = run.kill()
    asked = {"training": {"train": {"settings": orm.Dict({"max_epochs": 9})}}}
    for change in ({"seed": 2}, {"validation_fraction": 0.3}):
        asked["settings"] = orm.Dict({**killed.inputs.settings.get_dict(), **change})
        assert "unfinished" not in previous_run(killed, asked)


@pytest.mark.parametrize("finished", [0, 1])
def test_members_taken_over_by_a_run_that_was_killed_too_are_not_lost(run, graphs, finished: int) -> None:
    run.generation(1, until="train")
    first = previous_run(run.kill())
    inputs = {f"previous__{name}": first[name] for name in ("history", "training_set", "holdout")}
    for part in ("potentials", "trained"):
        inputs |= {f"previous__unfinished__{part}__{name}": node for name, node in first["unfinished"][part].items()}
    second = Run(graphs, **inputs)
    second.step("continue_history", result=history(0))
    if finished:
        second.step("g01_record", result=history(1))
    found = previous_run(second.kill())
    if finished:
        assert "unfinished" not in found
        return
    for part in ("potentials", "trained"):
        assert uuids(found["unfinished"], part) == uuids(first["unfinished"], part)


def test_a_member_that_failed_is_not_taken(run) -> None:
    run.generation(1, until="train")
    run.step("g02_train_00", work=True, fails=True, potential=potential("bad"), results=orm.Dict({}))
    assert "member_00" in previous_run(run.kill())["unfinished"]["potentials"]


@pytest.mark.parametrize("state", ["running", "early", "other"])
def test_what_cannot_be_gone_on_from_is_said(aiida_profile_clean, graphs, state: str) -> None:
    if state == "other":
        node = graphs.start(orm.WorkChainNode, "FinetuneWorkChain")
        message = "not a run of mlip.iterative_training"
    else:
        run = Run(graphs)
        node = run.chain if state == "running" else run.kill()
        message = "has not ended" if state == "running" else "before it had a first set"
    with pytest.raises(ValueError, match=message):
        previous_run(node)
