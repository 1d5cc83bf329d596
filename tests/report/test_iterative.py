"""Reports of iterative training and of its steps, and the way of a frame through it."""

from __future__ import annotations

import json
import os
import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from aiida_mlip.cli import main
from aiida_mlip.provenance.ancestry import ancestry
from aiida_mlip.provenance.frame import frame_way, way_lines
from aiida_mlip.provenance.lineage import label_calculations, orphans, traced_frames
from aiida_mlip.report import key_figure, loop_words
from aiida_mlip.report.asked import asked_by_loop
from aiida_mlip.report.loop import Loop, saving
from aiida_mlip.report.loop_words import ended
from aiida_mlip.report.numbers import error
from aiida_mlip.report.outcome import write_outcome
from aiida_mlip.report.page import render
from aiida_mlip.report.pages import PAGES
from aiida_mlip.report.sections import holdout
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.text import print_summary
from aiida_mlip.science import keys

BROKEN = "This section could not be made"
STEPS = ("g01_md", "g01_uncertainty", "g01_select", "g01_label", "g03_select")


@pytest.fixture(scope="module")
def pages(loop_builder):
    """The pages of the whole and of its steps."""
    chain = loop_builder.chain
    nodes = {step: chain.base.links.get_outgoing(link_label_filter=step).one().node for step in STEPS}
    made = {name: render(node) for name, node in {"loop": chain, **nodes}.items()}
    if folder := os.environ.get("REPORTS"):  # to look at them in a browser
        for name, page in {**made, "early": loop_builder.early}.items():
            (Path(folder) / f"{name}.html").write_text(page)
    return made


@pytest.fixture(scope="module")
def loop(loop_builder) -> Loop:
    found = Subject(loop_builder.chain).loop
    assert found is not None
    return found


def words(page: str) -> str:
    """Return what a reader sees."""
    text = re.sub(r"<(script|style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&nbsp;", " ").split())


def sections_of(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


def test_the_page_has_every_section(pages):
    assert sections_of(pages["loop"]) == list(PAGES["mlip.iterative_training"].sections)
    assert BROKEN not in pages["loop"]
    boxes = set(re.findall(r'class="plot" id="([^"]+)"', pages["loop"]))
    assert len(boxes) == 10
    assert boxes == set(re.findall(r'"(figure-\d+)":', pages["loop"]))


def test_the_first_sentences_say_how_it_ended_and_what_became_better(pages, loop):
    text = words(pages["loop"])
    assert "Converged after 3 generations, with 20 labels (1 failed, 1 found in the database)." in text
    before, after = (error(item.error("forces"), "forces") for item in (loop.first, loop.last))
    assert f"forces {before} → {after} meV/Å" in text
    done = sum(walker.stopped_by is None for walker in loop.first.record.survival)
    assert f"In generation 1, {done} of 6 walkers reached the end of their dynamics; in generation 3, 6 of 6." in text


@pytest.mark.parametrize(
    "expected",
    [
        "SCF did not converge in 80 iterations", "stopped by", "candidate: between the levels",
        "only 20 calibration frames", "What selection saved: an estimate", "it does not say that the potentials",
        "Before: member 00 of generation 1. After: member 00 of generation 3.", "mace-omat-0-small",
        "A committee of 3 gives a rough estimate", "largest force error was above the largest uncertainty",
        "force error 2.1 eV/Å, 6 times the median",
    ],
)  # fmt: skip
def test_the_page_contains(pages, expected):
    assert expected in words(pages["loop"])


def test_a_running_loop_shows_the_generations_that_are_there(loop_builder):
    assert BROKEN not in loop_builder.early
    text = words(loop_builder.early)
    assert "Still running" in text
    assert "Still at work, in generation 1" in text
    assert "not labelled yet" in text
    assert {"generations", "holdout", "calibration", "survival", "asked"} <= set(sections_of(loop_builder.early))


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_a_page(pages, step):
    assert BROKEN not in pages[step]
    assert len(sections_of(pages[step])) >= 5


def test_the_pages_of_the_steps_say_what_came_out(pages, loop):
    walkers = loop.first.record.survival
    done = sum(walker.stopped_by is None for walker in walkers)
    assert f"{done} of {len(walkers)} walkers reached the end; stopped by uncertainty" in words(pages["g01_md"])
    assert "a committee of 3 independent potentials" in words(pages["g01_uncertainty"])
    counts = loop.first.record.selection
    assert f"{counts.selected} of {counts.frames} frames were chosen: {counts.accurate} accurate" in words(
        pages["g01_select"]
    )
    assert "4 of 5 configurations were labelled; 1 failed." in words(pages["g01_label"])
    assert "asked" not in sections_of(pages["g03_select"])


def test_errors_of_what_was_asked_for_are_those_of_the_model_that_asked(loop, explored):
    items = asked_by_loop(loop)
    assert [item.generation for item in items] == sorted(item.generation for item in items)
    assert [item.fate for item in items if item.fate] == ["SCF did not converge in 80 iterations"]
    for item in items:
        if item.labelled is None:
            assert item.forces_error is None
            continue
        model = explored.evaluated(item.atoms, explored.potential(item.generation, None))[1]
        label = explored.evaluated(item.atoms, explored.fs.FinnisSinclair())[1]
        assert item.forces_error == pytest.approx(np.linalg.norm(model - label, axis=1), abs=1e-8)
        assert item.forces_sigma.max() == pytest.approx(item.origin.max_forces_sigma)


def test_what_was_saved_is_the_other_frames_at_the_mean_cost_of_a_label(loop, looped):
    found = saving(loop)
    counts = [item.record.selection for item in loop.generations[:-1]]
    assert found.frames == sum(count.frames - count.filtered for count in counts)
    assert found.asked == 10
    assert found.seconds == pytest.approx(20 * looped.SECONDS / 18)  # of 20 asked for, 1 failed and 1 was known
    assert found.core_seconds == pytest.approx((found.frames - 10) * found.seconds)


def test_nothing_is_said_of_what_was_saved_where_no_label_has_a_cost(loop):
    free = {**loop.history.start, "core_seconds": 0.0}
    generations = tuple(
        type(item)(item.record.model_copy(update={"labels": {}}), item.steps) for item in loop.generations
    )
    found = saving(Loop(loop.history.model_copy(update={"start": free}), generations))
    assert found.core_seconds is None


def test_errors_of_the_validation_set_are_not_called_held_out(loop):
    generations = tuple(
        type(item)(item.record.model_copy(update={"frames": {"training": 9, "validation": 3}}), item.steps)
        for item in loop.generations
    )
    assert {item.measured_on for item in loop.generations} == {"hold-out set"}
    assert {item.measured_on for item in generations} == {"validation set"}
    changed = SimpleNamespace(loop=Loop(loop.history, generations), node=SimpleNamespace(exit_status=0))
    assert "validation configuration" in " ".join(loop_words.sentences(changed))
    assert any("validation set" in item["name"] for item in loop_words.cards(changed))
    assert holdout.collect(changed)["measured_on"] == "validation set"


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("converged", "converged after 3 generations"),
        ("max_generations", "not converged after 3 generations, the limit"),
        ("label_budget", "not converged: the label budget was used up after 3 generations"),
        ("failed", "ended early, in generation 3"),
    ],
)
def test_the_end_is_told_in_words(loop, end, expected):
    assert ended(Loop(loop.history.model_copy(update={"ended": end}), loop.generations)) == expected


def test_the_key_figure_is_drawn_and_reproducible(loop_builder, tmp_path):
    first = key_figure(loop_builder.chain, tmp_path / "a.svg").read_bytes()
    assert first.startswith(b"<?xml")
    assert b"MD survival" in first
    assert key_figure(loop_builder.chain, tmp_path / "b.svg").read_bytes() == first
    with pytest.raises(ValueError, match=r"\.jpg"):
        key_figure(loop_builder.chain, tmp_path / "c.jpg")


def test_everything_is_written_at_once(loop_builder, tmp_path):
    paths = write_outcome(loop_builder.chain, tmp_path, Console(file=StringIO()))
    assert paths["figure"].name == f"generations-{loop_builder.chain.pk}.png"
    assert paths["report"].stat().st_size < 6_000_000


def test_the_terminal_has_a_line_for_each_generation(loop_builder, loop):
    console = Console(width=140, record=True, file=StringIO())
    print_summary(loop_builder.chain, console)
    text = console.export_text()
    assert "Iterative training: converged after 3 generations, 20 labels used" in text
    line = next(part for part in text.splitlines() if part.startswith("│          1 "))
    assert error(loop.first.error("forces"), "forces") in line
    assert "4 of 5" in line


def frame_of(dataset, generation: int) -> int:
    """Return the index of the last frame that a generation asked for."""
    found = [i for i, atoms in enumerate(dataset.frames()) if f'"generation":{generation}' in atoms.info[keys.ORIGIN]]
    return found[-1]


def test_a_frame_leads_to_its_label_and_to_the_dynamics_that_asked_for_it(loop_builder, loop):
    dataset = loop_builder.training
    way = frame_way(dataset, frame_of(dataset, 2))
    assert way.label.class_name == "PwCalculation"
    assert way.known
    assert way.origin.generation == 2
    assert way.apart < 1e-8
    assert way.dynamics.class_name == "MDCalculation"
    assert way.selection.class_name == "SelectCalculation"
    assert {driver.potential.uuid for driver in way.drivers} == set(loop.generations[1].record.potentials.values())
    assert [item.row.facts["num_frames"] for item in way.earlier] == [11, 7]
    assert [item.labels for item in way.earlier] == [11, 7]


def test_a_frame_of_the_first_set_says_that_it_was_made_from_a_start_structure(loop_builder):
    lines = dict(way_lines(frame_way(loop_builder.training, 0)))
    assert lines["made by"] == "augmentation: rattled"
    assert "PwCalculation" in lines["label"]
    assert "trajectory" not in lines


def test_every_frame_is_traced_and_nothing_has_no_history(loop_builder):
    dataset = loop_builder.training
    assert traced_frames(dataset) == (len(dataset), len(dataset))
    used = {atoms.info[keys.SOURCE] for atoms in (*dataset.frames(), *loop_builder.holdout.frames())}
    assert {row.uuid for row in label_calculations(ancestry(dataset))} == used
    assert orphans(ancestry(loop_builder.chain.outputs.potential)) == ()


def test_the_labels_of_a_generation_are_its_own(loop_builder):
    label = loop_builder.chain.base.links.get_outgoing(link_label_filter="g02_label").one().node
    own = {atoms.info[keys.SOURCE] for atoms in label.outputs.labelled.frames()}
    assert {row.uuid for row in label_calculations(ancestry(label.outputs.labelled))} == own


def test_dynamics_lead_to_the_labels_of_the_potentials_that_drove_it(loop_builder):
    job = loop_builder.chain.base.links.get_outgoing(link_label_filter="g01_md").one().node
    assert label_calculations(ancestry(job.outputs.trajectories["t600_s0_w0"]))


def run(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_the_command_prints_the_way_of_a_frame(loop_builder):
    dataset = loop_builder.training
    index = frame_of(dataset, 1)
    result = run("lineage", dataset.pk, "--frame", index)
    assert result.exit_code == 0, result.output
    for expected in (
        "asked for", "generation 1; candidate: between the levels", "largest force uncertainty 0.", "driven by",
        "member_02", "pw.x 6.7", "its geometry is that of the frame", "set before",
    ):  # fmt: skip
        assert expected in result.output
    document = json.loads(run("lineage", dataset.pk, "--frame", index, "--json").output)
    assert document["origin"]["generation"] == 1
    assert document["label_in_ancestry"]
    assert len(document["potentials"]) == 3


def test_the_command_refuses_a_frame_that_is_not_there(loop_builder):
    result = run("lineage", loop_builder.training.pk, "--frame", 999)
    assert result.exit_code == 1
    assert f"has {len(loop_builder.training)} configurations" in result.output
    result = run("lineage", loop_builder.foundation.pk, "--frame", 0)
    assert "--frame needs a data set" in result.output
