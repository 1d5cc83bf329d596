"""What the status says of an iterative training that runs, from a graph that is made by hand."""

from __future__ import annotations

from aiida import orm
from rich.console import Console

from aiida_mlip.provenance.generations import labels_text, loop_text
from aiida_mlip.provenance.show import table
from aiida_mlip.provenance.status import state_of
from aiida_mlip.provenance.watch import Changes
from aiida_mlip.schema.iterative import GenerationRecord, History
from aiida_mlip.schema.labelling import PROGRESS_EXTRA

KIND = "aiida.workflows:mlip.iterative_training"
COUNTS = {"frames": 60, "filtered": 1, "accurate": 48, "candidate": 9, "failed": 2, "known": 0, "selected": 4}
ERRORS = {"all": {"energy": {"rmse": 0.0042}, "forces": {"rmse": 0.083}}}


def history(*, labelled: bool) -> orm.Dict:
    record = GenerationRecord(
        generation=1, potentials={}, training_set="", frames={}, selection=COUNTS,
        errors={"member_00": {"all": {}}, "member_01": {"all": {}}, "committee": ERRORS},
        labels={"asked": 4, "labelled": 3, "failed": [{"index": 2, "reason": "x"}]} if labelled else {},
    )  # fmt: skip
    start = {"asked": 9, "labelled": 9, "failed": []}
    return orm.Dict(History(generations=(record,), start=start).model_dump(mode="json"))


def test_each_generation_has_a_line_and_the_last_one_what_is_done_now(clean_profile, graphs) -> None:
    chain = graphs.start(orm.WorkChainNode, "IterativeTrainingWorkChain", kind=KIND)
    graphs.start(orm.WorkChainNode, "LabelWorkChain", caller=chain, step="label_start")
    assert loop_text(state_of(chain)) == "labelling the first set"
    record = graphs.start(orm.CalcFunctionNode, "add_generation", caller=chain, step="g01_record")
    graphs.end(record, {"result": history(labelled=False)})
    counts = "generation 1: 48 accurate, 9 candidate, 2 failed · E 4.2 meV/atom · F 83 meV/Å"
    assert counts in loop_text(state_of(chain)).splitlines()
    again = graphs.start(orm.CalcFunctionNode, "add_labels", caller=chain, step="g01_label_record")
    graphs.end(again, {"result": history(labelled=True)})
    first, line, *_ = loop_text(state_of(chain)).splitlines()
    assert first == "first set: labels: 9 done"
    assert line == f"{counts} · labels: 3 done, 1 failed"


def test_what_a_step_does_is_said_in_words(clean_profile, graphs) -> None:
    chain = graphs.start(orm.WorkChainNode, "IterativeTrainingWorkChain", kind=KIND)
    graphs.start(orm.WorkChainNode, "MDBaseWorkChain", caller=chain, step="g03_md")
    assert loop_text(state_of(chain)) == "generation 3: exploring"
    assert loop_text(state_of(graphs.start(orm.WorkChainNode, "FinetuneWorkChain"))) == ""


def test_a_log_says_what_is_new_of_the_generations_once(clean_profile, graphs) -> None:
    chain = graphs.start(orm.WorkChainNode, "IterativeTrainingWorkChain", kind=KIND)
    record = graphs.start(orm.CalcFunctionNode, "add_generation", caller=chain, step="g01_record")
    graphs.end(record, {"result": history(labelled=False)})
    changes = Changes()
    assert any(line.startswith("generation 1: 48 accurate") for line in changes.lines(state_of(chain)))
    assert changes.lines(state_of(chain)) == []


def test_labels_are_counted_while_they_are_made(clean_profile, graphs) -> None:
    chain = graphs.start(orm.WorkChainNode, "IterativeTrainingWorkChain", kind=KIND)
    labelling = graphs.start(orm.WorkChainNode, "LabelWorkChain", caller=chain, step="g02_label")
    assert labels_text(state_of(labelling)) == ""
    counts = {"asked": 9, "labelled": 3, "failed": 1, "running": 2, "waiting": 3}
    labelling.base.extras.set(PROGRESS_EXTRA, counts)
    console = Console(width=160, record=True)
    console.print(table([state_of(chain)]))
    text = console.export_text()
    assert "3 labelled, 1 failed, 2 running, 3 waiting" in text
    assert "generation 2: labelling" in text
