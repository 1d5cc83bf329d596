"""The page of ``mlip.defects``: what a reader finds on it, whatever the run was like."""

from __future__ import annotations

import csv
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from aiida import orm
from click.testing import CliRunner
from rich.console import Console

from aiida_mlip.cli import main
from aiida_mlip.report import key_figure
from aiida_mlip.report.bars import GROUPS, grouped
from aiida_mlip.report.curves import drawn
from aiida_mlip.report.gather import parents
from aiida_mlip.report.outcome import write_outcome
from aiida_mlip.report.page import render
from aiida_mlip.report.pages import PAGES
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.text import print_summary
from aiida_mlip.report.verdict import verdicts

SIZE = 8_000_000
BROKEN = "This section could not be made"


def text_of(page: str) -> str:
    """Return what a reader sees."""
    own = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", "", own).split())


@pytest.fixture(scope="module")
def node(aiida_profile, graphs, evaluated):
    message = "Finished, but numbers must not be used: fs_soft, W: screw_dislocation"
    return evaluated.node(graphs, trained=True, status=704, message=message)


@pytest.fixture(scope="module")
def page(node):
    return render(node)


def test_the_page_has_all_sections_and_fits(page):
    shown = re.findall(r'<section id="(\w+)">', page)
    assert set(PAGES["mlip.defects"].sections) - set(shown) <= {"settings", "cost"}
    assert BROKEN not in page
    assert len(page.encode()) < SIZE


def test_it_loads_nothing_from_anywhere(page):
    own = re.sub(r"<script>/\*\*.*?</script>", "", page, flags=re.DOTALL)
    loads = re.findall(r'\b(?:src|href|action|srcset|poster)="([^#"][^"]*)"', own)
    assert {address.partition(",")[0] for address in loads} == {"data:", "data:application/gzip;base64"}
    assert not re.search(r"@import|<iframe|<img|fetch\(|XMLHttpRequest|importScripts", re.sub(
        r"<script>.*?</script>", "", own, flags=re.DOTALL))  # fmt: skip
    viewer = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    ours = [script for script in viewer if "structure-data" in script]
    assert len(ours) == 1
    assert "http" not in ours[0]


@pytest.mark.parametrize(
    "words",
    [
        "W · fs_soft after", "W · fs before",
        "Unusable: screw dislocation (camel hump)", "No result: surface (PropertyError)",
        "No result: screw dislocation (UnstableConstants)", "quantities, no reference values to judge them by.",
        "fs_soft was trained from fs on data of W.", "the middle of the path is 4.1 meV per b below its ends",
        "C44 = -15.9 GPa: a dislocation in an unstable crystal has no elastic solution",
        "surface 710: no convergence in 200 steps", "P. Grigorev", "3.1854", "Exit code 704",
        "fs for W, Mo, Nb, Ta: of", "3 not to be used; 2 properties without a result.",
        "Do not use the numbers that are hatched below", "10 / 20 %, at least 5 / 10 GPa", "vacancy, size dependent",
    ],
)  # fmt: skip
def test_the_page_says(page, words):
    assert words in text_of(page)


def test_the_page_has_the_sentence_of_each_case(page, node):
    text = text_of(page)
    found = verdicts(Subject(node).measured)
    assert len(found) == 8
    assert all(item.sentence in text for item in found)


def test_every_cell_of_the_matrix_has_number_deviation_sign_and_colour(page, node):
    measured = Subject(node).measured
    row = next(row for row in measured.rows if row.key == "C12")
    line = next(part for part in re.findall(r"<tr.*?</tr>", page, re.DOTALL) if "C<sub>12</sub> <small>" in part)
    cells = re.findall(r'<td class="grade (\w+).*?<b>([\d.]+)</b>.*?<small>(.*?)</small>', line, re.DOTALL)
    expected = [measured.cell(row, name, element) for element in measured.elements for name in measured.names]
    assert [float(number) for _, number, _ in cells] == pytest.approx([cell.value for cell in expected], abs=0.05)
    assert [kind for kind, _, _ in cells] == [cell.grade or "none" for cell in expected]
    signs = {"good": "✓", "fair": "≈", "poor": "✗", None: ""}
    assert all(signs[cell.grade] in text for cell, (_, _, text) in zip(expected, cells, strict=True))
    assert "✗ −27.7 %" in cells[1][2]


def test_bars_have_a_line_at_each_reference_and_hatch_what_is_not_to_be_used(node, evaluated):
    charts = {group.title: dict(figures) for group, figures in grouped(Subject(node).measured)}
    absent = {"Surfaces", "Junctions on (001)", "Junctions on (011)"}
    assert list(charts) == [group.title for group in GROUPS if group.title not in absent]
    tungsten = charts["Elastic constants"]["W"]
    bars = {trace.name: trace for trace in tungsten.data if trace.type == "bar"}
    assert set(bars) == {"fs", "fs_soft"}
    line = next(trace for trace in tungsten.data if trace.name == "DFT")
    names = [re.sub("<.*?>", "", name) for name in tungsten.layout.xaxis.ticktext]
    assert line.y[3 * names.index("C44")] == evaluated.REFERENCE.get("W", "C44").value
    assert bars["fs_soft"].y[names.index("C44")] < bars["fs"].y[names.index("C44")]
    barrier = {trace.name: trace for trace in charts["Dislocations"]["W"].data if trace.type == "bar"}
    assert barrier["fs_soft"].marker.pattern.shape == ("/",)
    assert barrier["fs"].marker.pattern.shape == ("",)
    assert "DFT" not in [trace.name for trace in charts["Elastic constants"]["Ta"].data]


def test_curves_are_drawn_with_the_points_of_the_reference(node, evaluated):
    charts = {panel.title: dict(figures) for panel, figures in drawn(Subject(node).measured)}
    assert next(iter(charts)) == "Equations of state"
    assert len(charts) == 4
    states = charts["Equations of state"]["Mo"].data
    assert sum(trace.mode == "markers" for trace in states) == 3
    assert len(states) == 9
    assert [element for element, chart in charts["γ line on {112}"].items() if chart is None] == ["Ta"]
    points = next(trace for trace in charts["γ line on {112}"]["Nb"].data if trace.mode == "markers")
    assert max(points.y) == max(evaluated.REFERENCE.curve("Nb", "gamma_112").y)
    glide = {trace.name: trace for trace in charts["Glide of a screw"]["W"].data}
    assert glide["fs_soft"].opacity < glide["fs"].opacity == 1.0


def test_structures_are_in_the_page_to_see_and_to_keep(page):
    found = re.search(r'<script type="application/json" id="structure-data">(.*?)</script>', page, re.DOTALL)
    sets = json.loads(found.group(1))
    vacancy = next(item for item in sets if (item["e"], item["m"], item["k"]) == ("Nb", "fs_soft", "vacancy"))
    assert [one["n"] for one in vacancy["s"]] == [15, 53]
    assert len(vacancy["s"][1]["p"]) == 3 * 53
    assert max(vacancy["s"][1]["v"]) > 50
    starts = [int(place) for place in re.findall(r'data-start="(\d+)"', page)]
    assert [(sets[place]["e"], sets[place]["m"], sets[place]["k"]) for place in starts] == [
        ("W", "fs", "vacancy"), ("W", "fs_soft", "vacancy"),
    ]  # fmt: skip
    assert 'download="Ta-fs_soft-vacancy.xyz.gz"' in page


def test_before_and_after_come_from_the_history_and_not_from_names(node):
    summary = node.outputs.summary.get_dict()
    uuids = {name: item["uuid"] for name, item in summary["potentials"].items()}
    assert parents(uuids) == {"fs_soft": "fs"}
    assert parents({"a": uuids["fs_soft"], "b": "", "c": "00000000-0000-0000-0000-000000000000"}) == {}


def test_one_potential_and_one_element(aiida_profile, graphs, evaluated):
    node = evaluated.node(graphs, potentials=("fs",), elements=("Nb",))
    page = render(node)
    assert BROKEN not in page
    assert "before" not in text_of(page).partition("All numbers")[0]
    assert "What the training changed" not in page
    assert "↔" not in text_of(page)


def test_an_element_without_any_reference(aiida_profile, graphs, evaluated):
    text = text_of(render(evaluated.node(graphs, elements=("Ta",))))
    assert BROKEN not in text
    assert "What counts as good" not in text
    assert "↔ −30.0 %" in text
    assert "DFT reference" not in text


@pytest.fixture(scope="module")
def failed(aiida_profile, graphs):
    reason = {"eos": {"type": "PropertyError", "message": "the energy has no <minimum> between 2 and 5 Å"}}
    content = {"elements": ["W"], "potentials": {"bad": {"uuid": "", "label": "bad"}},
               "cases": {"bad": {"W": {"records": {}, "failed": reason, "jobs": {}}}}, "reference": {},
               "deviations": {}}  # fmt: skip
    chain = graphs.start(orm.WorkChainNode, "DefectsWorkChain", kind="aiida.workflows:mlip.defects")
    return graphs.end(chain, {"summary": orm.Dict(content).store()}, 454, "No case has a lattice constant")


def test_many_reasons_are_cut_in_the_headline_and_whole_below(aiida_profile, graphs, evaluated):
    reasons = "; ".join(f"fs, W: property_{number} has no result" for number in range(30))
    node = evaluated.node(graphs, elements=("W",), status=703, message=f"Finished, but not all of it: {reasons}")
    text = text_of(render(node))
    assert re.search(r"property_\d has no result; … \(see below\)", text)
    assert "property_29" not in text
    assert "submit again for what a node or a limit stopped" in text


def test_nothing_but_failures(failed):
    page = render(failed)
    assert BROKEN not in page
    assert "No property has a result." in page
    assert "the energy has no &lt;minimum&gt; between 2 and 5 Å" in page
    assert "plotly.js v" not in page
    with pytest.raises(ValueError, match="no number to draw"):
        key_figure(failed, Path("a.png"))


def test_a_run_that_has_just_begun_has_a_page(aiida_profile, graphs):
    chain = graphs.start(orm.WorkChainNode, "DefectsWorkChain", kind="aiida.workflows:mlip.defects")
    page = render(chain)
    assert BROKEN not in page
    assert "Still running" in page
    assert '<section id="verdict">' not in page
    with pytest.raises(ValueError, match="no numbers to draw"):
        key_figure(chain, Path("a.png"))


def test_what_is_finished_of_a_running_evaluation_is_shown(aiida_profile, graphs, evaluated):
    content, _ = evaluated.summary(elements=("W", "Mo"), potentials=("fs",), more=False)
    potential = graphs.potential("fs")
    chain = graphs.start(orm.WorkChainNode, "DefectsWorkChain", {"potentials__mine": potential},
                         kind="aiida.workflows:mlip.defects")  # fmt: skip
    for element in ("W", "Mo"):
        job = graphs.start(orm.CalcJobNode, "PropertyCalculation", {"potential": potential}, caller=chain,
                           kind="aiida.calculations:mlip.property", step=f"bulk_mine_{element}")  # fmt: skip
        records = content["cases"]["fs"][element]["records"]
        graphs.end(job, {"results": orm.Dict({"properties": records, "failed": {}})})
    measured = Subject(chain).measured
    assert set(measured.cases) == {("mine", "W"), ("mine", "Mo")}
    assert {row.key for row in measured.rows} >= {"C11", "lattice_constant", "vacancy_formation"}
    assert {row.record for row in measured.rows} == {"eos", "elastic", "vacancy"}
    assert BROKEN not in render(chain)


def test_page_figure_table_and_summary_are_written_together(node, tmp_path):
    paths = write_outcome(node, tmp_path)
    assert {name: path.suffix for name, path in paths.items()} == {
        "report": ".html", "table": ".csv", "summary": ".json", "figure": ".png", "graph": ".svg",
    }  # fmt: skip
    assert json.loads(paths["summary"].read_text()) == node.outputs.summary.get_dict()
    with paths["table"].open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    one = next(item for item in lines if (item["element"], item["potential"], item["key"]) == ("W", "fs", "C44"))
    assert float(one["deviation"]) == pytest.approx(float(one["value"]) - 140.0)
    assert one["grade"] == "fair"
    assert next(item for item in lines if item["property"] == "surface")["message"].startswith("PropertyError: ")


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_key_figure_is_drawn_and_reproducible(node, tmp_path, suffix, start):
    first = key_figure(node, tmp_path / f"a{suffix}").read_bytes()
    assert first.startswith(start)
    assert key_figure(node, tmp_path / f"b{suffix}").read_bytes() == first


def test_the_terminal_has_the_same_numbers_and_verdicts(node):
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=140, record=True, file=nowhere)
        print_summary(node, console)
    text = console.export_text().replace("\N{NO-BREAK SPACE}", " ")
    line = next(part for part in text.splitlines() if "C12" in part)
    assert "204.4" in line
    assert "+3.3 % ✓" in line
    assert "−27.7 % ✗" in line
    assert "198.0" in line
    assert "unusable: screw_dislocation: the middle of the path" in text
    assert "fs_soft (after)" in text


def test_the_command_writes_page_and_tables_or_prints(node, tmp_path):
    runner, page = CliRunner(), tmp_path / "defects.html"
    result = runner.invoke(main, ["report", str(node.pk), "-o", str(page)])
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(page.with_suffix(suffix)) for suffix in (".html", ".csv", ".json")]
    printed = runner.invoke(main, ["report", str(node.pk), "--text"])
    assert printed.exit_code == 0, printed.output
    assert "Verdict" in printed.output
    assert "report-" not in printed.output


class Balance(HTMLParser):
    """Checks that elements are closed in the order in which they were opened."""

    VOID = ("meta", "link", "br", "wbr", "input", "img")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")


def test_the_elements_of_the_page_are_closed(page):
    balance = Balance(page)
    assert balance.wrong == []
    assert balance.open == []
