"""Reports on electrolytes: lights, time series, reactions, tests of forces, of whole, partial and failed runs."""

from __future__ import annotations

import json
import os
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from rich.console import Console

from aiida_mlip.report import force_figures, key_figure, lights, liquid_views
from aiida_mlip.report.electrolyte import Liquids
from aiida_mlip.report.electrolyte_still import checks_of
from aiida_mlip.report.liquid_cost import check_rows, dynamics_rows
from aiida_mlip.report.liquid_figures import BLOCKS, block_lines, over_time
from aiida_mlip.report.liquid_structure_figures import coordination, distributions
from aiida_mlip.report.numbers import significant
from aiida_mlip.report.outcome import write_outcome
from aiida_mlip.report.page import render
from aiida_mlip.report.pages import PAGES
from aiida_mlip.report.reactions import Book, draw, time_line
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.text import print_summary
from aiida_mlip.science.liquids.findings import CheckResult, Species
from aiida_mlip.science.liquids.verdict import PotentialVerdict

BROKEN = "This section could not be made"
GOOD, BAD = "omat", "broken"


def words(page: str) -> str:
    """Return what a reader sees."""
    text = re.sub(r"<(script|style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&nbsp;", " ").replace("&gt;", ">").split())


def sections_of(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


def section(page: str, name: str) -> str:
    """Return the HTML of a section."""
    return re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)[0]


def kept(name: str, page: str) -> str:
    """Return the page; it is left in a folder where one wants to look at it in a browser."""
    if folder := os.environ.get("REPORTS"):
        (Path(folder) / f"{name}.html").write_text(page)
    return page


@pytest.fixture(scope="module")
def builder(aiida_profile, graphs, simmered, judged, pairs):
    """A run that came to its end, of a potential without failures and one under which molecules fall apart."""
    made = judged.Builder(graphs, simmered, pairs)
    made.whole()
    return made


@pytest.fixture(scope="module")
def page(builder) -> str:
    return kept("electrolyte", render(builder.chain))


@pytest.fixture(scope="module")
def liquids(builder) -> Liquids:
    found = Subject(builder.chain).liquids
    assert found is not None
    return found


def result(builder, potential: str, walker: str, check: str, stage: str = "npt") -> CheckResult:
    found = builder.seen[potential, stage, walker].findings.checks
    return next(item for item in found if item.check == check and item.aspect == "stability")


def test_the_page_has_every_section_and_every_figure_its_data(page):
    assert BROKEN not in page
    wanted = [
        name for name in PAGES["mlip.electrolyte"].sections if name != "licences"
    ]  # potentials of the test have none
    assert sections_of(page) == wanted
    boxes = set(re.findall(r'class="plot" id="([^"]+)"', page))
    assert len(boxes) == 13
    assert boxes == set(re.findall(r'"(figure-\d+)":', page))


def test_the_page_needs_no_network_and_shows_no_internal_keys(page):
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"url\(|@import|<iframe|<img|xlink|<\?xml", own)
    assert not re.search(
        r"\b[A-Z]\w*_[0-9a-f]{6}\b", words(re.sub(r'<section id="settings">.*', "", page, flags=re.DOTALL))
    )


def test_the_first_sentences_are_the_verdicts(page, builder):
    text = words(section(page, "outcome"))
    assert f"✖ UNSTABLE: {BAD} is unstable: molecules fails" in text
    assert f"? INCONCLUSIVE: {GOOD}: nothing failed, but a claim of stability needs 150 ps" in text
    number = len(builder.verdicts[BAD].reasons)
    assert number > 1
    assert f"{BAD} ✖ unstable {number} failures" in text


def test_each_light_says_word_number_unit_limit_and_what_is_missing(page, builder):
    cells = [words(cell) for cell in re.findall(r'<td class="lamp .*?</td>', section(page, "verdicts"), re.DOTALL)]
    density = result(builder, GOOD, "salt_t300_p0_w1", "density")
    assert any(lights.with_error(density.value, density.error, "g/cm3") in cell for cell in cells)
    torn = result(builder, BAD, "salt_t300_p0_w1", "molecules")
    assert torn.status == "fail"
    assert f"✖ fail {torn.value:g} limit 0" in cells
    length = result(builder, GOOD, "salt_t300_p0_w1", "duration")
    assert any(cell.startswith(f"? inconclusive {length.value:.3g} ps at least 150 ps") for cell in cells)
    shown = [cell for cell in cells if cell]
    assert all(re.match(r"(✔ pass|✖ fail|\? inconclusive)( |$)", cell) for cell in shown)
    named = {item.result.check for item in lights.answers(Subject(builder.chain).liquids.runs, lambda _: True)}
    assert {"molecules", "density", "bubble", "energy", "temperature", "structure", "transport"} <= named


def test_an_inconclusive_check_says_what_it_needs(liquids):
    for run in liquids.runs:
        for item in run.findings.checks:
            if item.status == "inconclusive" and item.missing:
                light = lights.light_of([item])
                assert light.missing == lights.readable(item.missing)
                assert (light.sign, light.kind) == ("?", "open")


def test_accuracy_is_a_table_apart(page, builder):
    text, verdict = words(section(page, "accuracy")), words(section(page, "verdicts"))
    assert "nothing here decides the verdict" in text
    for title in ("Density against its reference", "Forces between molecules", "Volume scan: depth of the well"):
        assert title in text
        assert title not in verdict
    relative = next(item for item in builder.tests[BAD].checks if item.check == "forces_inter")
    assert relative.status == "fail"
    assert f"✖ fail {relative.value:.3g} limit 0.3" in text
    assert "diffusion coefficient" not in text


def test_what_failed_is_listed_with_its_place(page):
    text = words(section(page, "verdicts"))
    assert "What failed: Molecules intact (salt, NPT, 300 K, 1 bar):" in text
    assert "A claim of stability needs: 150 ps at constant pressure and 300 K" in text
    assert "Another temperature ✖ fail" in text
    assert f"{BAD} ✖ unstable Dispersion: not known" in text
    assert f"{GOOD} ? inconclusive Dispersion: D3(BJ)-PBE added." in text


def test_reactions_are_named_drawn_and_counted(page, builder):
    found = section(page, "reactions")
    text = words(found)
    assert "EMC → ethyl carbonate + CH3" in text
    assert "CCOC(=O)OC" in text
    assert found.count("<svg") >= 6
    numbers = result(builder, BAD, "salt_t300_p0_w1", "molecules").numbers
    assert numbers["rate_high"] > 0
    interval = f"{significant(numbers['rate_low'], 2)} to {significant(numbers['rate_high'], 2)}"
    assert interval in text
    assert "3 → 2 (broken: salt, NPT, 300 K, 1 bar)" in text


def test_speed_and_time_of_the_checks(page, liquids):
    rows = dynamics_rows(liquids)
    assert [row["speed"] for row in rows] == pytest.approx([2.0] * 3)
    assert [row["hour"] for row in rows] == pytest.approx([7.2] * 3)  # 2 steps of 1 fs in a second
    assert sum(row["stopped"] for row in rows) == 1
    text = words(section(page, "liquid_cost"))
    assert "steps per second" in text
    found = check_rows(liquids)
    assert {row["title"] for row in found} >= {"Bubbles", "Structure", "Molecules intact"}
    assert all(
        row["frames"] == sum(run.findings.frames for run in liquids.runs) for row in found if row["title"] != "Density"
    )


def test_time_series_have_a_line_for_each_potential_and_their_block_means(liquids):
    (figure,) = over_time(liquids, "npt")
    names = [trace.name for trace in figure.data]
    assert {GOOD, BAD, "target", "reference", "limit"} == set(names)
    assert [trace.y[0] for trace in figure.data if trace.name == "reference"] == pytest.approx([1.12, 1.12])
    assert {trace.y[0] for trace in figure.data if trace.name == "target"} == {300.0, 500.0}
    titles = [note.text for note in figure.layout.annotations]
    assert titles == ["salt, 300 K, 1 bar", "salt, 500 K, 1 bar"]
    legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert len(legend) == len(set(legend))


def test_block_means_leave_equilibration_out():
    times, values = np.linspace(0, 10, 101), np.where(np.linspace(0, 10, 101) < 2, 50.0, 1.0)
    x, y = block_lines(times, values, 0.2)
    assert [number for number in y if number is not None] == pytest.approx([1.0] * 2 * BLOCKS)
    assert x[0] == pytest.approx(2.0)
    assert block_lines(times[:10], values[:10], 0.2) == ([], [])


def test_distributions_are_apart_and_ions_have_their_own_figure(liquids):
    runs = liquids.telling()
    assert {run.condition.stage for run in runs} == {"npt"}
    between, within = (distributions(liquids, runs, kind) for kind in ("inter", "intra"))
    ions = coordination(liquids, runs)
    titles = [note.text for note in between.layout.annotations]
    assert titles[:6] == ["C–C", "C–H", "C–O", "H–H", "H–O", "O–O"]
    assert not any("Li" in title for title in titles)
    assert "F–P" in [note.text for note in within.layout.annotations]
    assert "Li–O (EC)" in [note.text for note in ions.layout.annotations]


def test_force_figures_show_potentials_beside_the_reference(liquids):
    scan = force_figures.volume_scans(liquids.forces)
    reference = "reference (another pair potential)"
    assert {trace.name for trace in scan.data} == {GOOD, BAD, reference, "well"}
    low, high = scan.layout.yaxis.range
    wells = [-item.result.scans[0].predicted.depth for item in liquids.forces.values()]
    assert low < min(wells)
    assert 0 < high < 3 * -min(wells)
    parity = force_figures.parity(liquids.forces)
    assert [note.text for note in parity.layout.annotations] == [title for _, title in force_figures.PARITY]
    assert reference in {trace.name for trace in force_figures.dimers(liquids.forces).data}
    errors = force_figures.errors_by_part(liquids.forces)
    assert list(errors.layout.yaxis.ticktext)[::-1] == list(force_figures.WORDS.values())


def test_boxes_are_drawn_whole_with_elements_and_facts(page, liquids):
    data = json.loads(re.search(r'id="structure-data">(.*?)</script>', page, re.DOTALL)[1].replace("<\\/", "</"))
    assert len(data) == len(liquids.runs)
    torn = next(item for item in data if "broken" in item["e"] and "300 K" in item["e"])
    assert [view["t"] for view in torn["s"]] == ["first frame", "reaction 1", "last frame"]
    for view in torn["s"]:
        positions = np.array(view["p"]).reshape(-1, 3) / 100
        pairs = np.array(view["b"]).reshape(-1, 2)
        lengths = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        assert 0.7 < lengths.min() < lengths.max() < 2.0
        elements = [view["g"][place][0] for place in view["h"]]
        assert elements.count("Li") == 1
        assert "g/cm³" in view["q"]
    bonds = [len(view["b"]) // 2 for view in torn["s"]]
    assert bonds[0] == bonds[-1] + 1
    assert sum(torn["s"][0]["v"]) > 0


def test_molecules_across_the_border_are_put_together(simmered):
    box = simmered.box().copy()
    box.positions += 3.7
    box.wrap()
    positions = liquid_views.whole(box)
    pairs = np.array(liquid_views.bonds(box, positions))
    assert len(pairs) == len(np.array(liquid_views.bonds(simmered.box(), liquid_views.whole(simmered.box()))))
    assert np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1).max() < 2.0


def test_frames_can_be_downloaded(page):
    links = re.findall(r'href="data:application/gzip[^"]+" download="([^"]+)"', page)
    assert links == [f"{BAD}-npt-frames.xyz.gz", f"{GOOD}-npt-frames.xyz.gz", f"{GOOD}-nve-frames.xyz.gz"]


def test_the_page_of_the_checks_alone(builder, liquids):
    look = next(item for item in liquids.looks if item.potential == BAD)
    made = kept("liquid", render(look.node))
    assert BROKEN not in made
    wanted = [
        name for name in PAGES["mlip.liquid.base"].sections if name not in ("accuracy", "liquid_energy", "licences")
    ]
    assert [name for name in sections_of(made) if name not in ("accuracy", "liquid_energy", "licences")] == wanted
    text = words(made)
    assert "Trajectories that were looked at: 2; 2 with a check that fails." in text
    assert "salt, NPT, 300 K, 1 bar: " in text
    job = (
        orm.QueryBuilder()
        .append(orm.CalcJobNode, filters={"process_type": "aiida.calculations:mlip.liquid"})
        .first(flat=True)
    )
    assert BROKEN not in render(job)


def test_running_and_partial_runs_show_what_is_there(aiida_profile, graphs, simmered, judged, pairs):
    made = judged.Builder(graphs, simmered, pairs, frames=24)
    made.begin()
    start = render(made.chain)
    assert BROKEN not in start
    assert "verdicts" not in sections_of(start)
    made.force_tests(GOOD, epsilon=0.021, reference=False)
    early = kept("early", render(made.chain))
    assert BROKEN not in early
    assert "there is no verdict yet; the tests of forces are done" in words(early)
    assert "there is no reference: only what needs none is tested" in words(section(early, "force_tests"))
    assert "accuracy" not in sections_of(early)
    made.stage(BAD, "npt")
    text = words(kept("partial", render(made.chain)))
    assert BROKEN not in text
    assert f"{BAD}: there is no verdict yet; Trajectories that were looked at: 2; 2 with a check that fails." in text


def test_a_run_that_nobody_looked_at_and_a_step_that_failed(aiida_profile, graphs, simmered, judged, pairs):
    made = judged.Builder(graphs, simmered, pairs)
    made.begin()
    document = {
        "potential": BAD, "answer": "unstable", "sentence": f"{BAD} is unstable: run fails",
        "reasons": [{"check": "run", "status": "fail", "box": "salt", "stage": "nvt", "temperature": 300.0,
                     "sentence": "stopped after 0 of 100 steps by 'distance'"}],
        "conditions": [{"box": "salt", "stage": "nvt", "temperature": 300.0, "status": "fail", "walkers": 1,
                        "time_ps": 0.0, "molecules": 7, "checks": {"run": "fail"}}],
        "failed_steps": {"npt": "the job was lost twice"},
    }  # fmt: skip
    made.verdicts[BAD] = PotentialVerdict(**document)
    step = graphs.start(orm.CalcFunctionNode, "judge_potential", {"settings": made.settings}, caller=made.chain,
                        step=f"{BAD}_verdict")  # fmt: skip
    graphs.end(step, {"result": orm.Dict(document)})
    page = kept("lost", render(made.finish(465, "The dynamics gave no result: broken_npt: the job was lost twice")))
    assert BROKEN not in page
    text = words(page)
    assert "Exit code 465" in text
    assert "The run itself ✖ fail" in text
    assert "stopped after 0 of 100 steps by 'distance'" in text.replace("&#39;", "'")
    assert "npt : the job was lost twice" in text
    assert {"liquid_series", "reactions", "force_tests", "liquid_boxes"}.isdisjoint(sections_of(page))


def test_outcome_writes_page_and_figure_and_the_terminal_has_words(builder, tmp_path):
    stream = StringIO()
    paths = write_outcome(builder.chain, tmp_path, Console(file=stream))
    assert paths["figure"].name.startswith("stability-")
    assert paths["figure"].read_bytes().startswith(b"\x89PNG")
    if folder := os.environ.get("REPORTS"):
        (Path(folder) / "stability.png").write_bytes(paths["figure"].read_bytes())
    with pytest.raises(ValueError, match=r"\.jpg"):
        key_figure(builder.chain, tmp_path / "a.jpg")
    print_summary(builder.chain, Console(file=stream, width=160))
    text = stream.getvalue()
    assert "salt, NPT, 300 K, 1 bar" in text
    assert "✖ unstable" in text
    assert "? inconclusive" in text
    assert "What failed" in text


def test_the_still_figure_takes_the_worst_answer_of_each_check(liquids):
    rows = dict(checks_of(liquids))
    assert rows["Molecules intact"] == ["fail", "pass"]  # broken, omat
    assert rows["Length, size and end of the run"] == ["fail", "inconclusive"]
    assert rows["Density"][0] == "fail"
    assert rows["Tests of forces"] == ["inconclusive", "inconclusive"]  # too few stresses near the well


def test_species_that_cannot_be_drawn_are_left_out(liquids):
    chain = Species(key="C80", formula="C80", symbols=("C",) * 80, smiles="C" * 80)
    assert draw(chain) == ""
    assert draw(Species(key="x", formula="x", symbols=("C",), smiles="")) == ""
    svg = draw(Species(key="H2O", formula="H2O", symbols=("O", "H", "H"), smiles="O"))
    assert svg.startswith("<svg")
    assert svg.endswith("</svg>")
    assert "xmlns:rdkit" not in svg
    quiet = [run for run in liquids.runs if not run.findings.events]
    assert time_line(Liquids(liquids.potentials, ()), Book(quiet), []) is None
