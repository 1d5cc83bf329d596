"""Whole reports: of processes that ended well, badly, or not yet."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import metadata
from io import StringIO
from typing import ClassVar

import pytest
from aiida import orm
from aiida.common.log import LOG_LEVEL_REPORT
from click.testing import CliRunner
from rich.console import Console

from aiida_mlip.cli import main
from aiida_mlip.report import key_figure, sections, write_report
from aiida_mlip.report.outcome import write_outcome
from aiida_mlip.report.page import render
from aiida_mlip.report.pages import PAGES, page_of
from aiida_mlip.report.remedies import JOBS, WORKFLOWS, remedy
from aiida_mlip.report.text import print_summary

SIZE = 6_000_000
BROKEN = "This section could not be made"


class Reader(HTMLParser):
    """Collects sections, visible text, addresses that a browser would load, and checks that elements are closed."""

    VOID: ClassVar[set[str]] = {"meta", "link", "br", "wbr", "input", "img"}
    LOADS: ClassVar[set[str]] = {"src", "href", "data", "action", "srcset", "poster"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.sections += [values["id"]] if tag == "section" else []
        self.loads += [v for k, v in attrs if k in self.LOADS and v and not v.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag in ("p", "li", "tr", "td", "th") and tag not in self.open:
            return
        assert self.open, f"</{tag}> closes nothing"
        last = self.open.pop()
        assert last == tag, f"</{tag}> closes <{last}>"

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page(finetuning):
    return render(finetuning)


@pytest.fixture(scope="module")
def read(page):
    return Reader(page)


def test_a_fine_tuning_has_all_sections_but_a_committee(read):
    assert read.sections == [name for name in PAGES["mlip.finetune"].sections if name != "committee"]
    assert read.open == []
    assert BROKEN not in read.text


def test_it_is_one_file_that_loads_nothing(page, read):
    assert len(page.encode()) < SIZE
    assert read.loads == ["data:,"]
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"url\(|@import|<iframe|<img", own)
    assert page.count("plotly.js v") == 1


def test_the_verdict_says_before_and_after_with_units(read, finetuning):
    before, after = (
        finetuning.base.links.get_outgoing(link_label_filter=step).one().node.outputs.results["errors"]["test"]["all"]
        for step in ("baseline_evaluation", "evaluation_00")
    )
    text = f"{before['forces']['rmse'] * 1e3:.0f} → {after['forces']['rmse'] * 1e3:.1f} meV/Å"
    assert text in read.text
    assert "Fine-tuning mace-omat-0-small lowered the errors on" in read.text
    assert "No configuration type became worse" in read.text


@pytest.mark.parametrize(
    "words",
    [
        "all 4 checks hold", "7,700,000 of 8,215,552 parameters are trained", "24 × PwCalculation",
        "pw.x 7.2", "4 frames have a net force", "frames 0-2, 7 of training", "strategy.kind", "torch 2.13.0",
        "W 2.500 eV", "P. Grigorev", "3.1854", "a constant changes by 9.1 %", "fcc metals", "ASL", "3 min 24 s",
        "the zero of energy of another level of theory is arbitrary",
    ],
)  # fmt: skip
def test_the_page_contains(read, words):
    assert words in read.text


def test_every_figure_has_its_box_and_its_data(page):
    boxes = set(re.findall(r'class="plot" id="([^"]+)"', page))
    data = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert set(re.findall(r'"(figure-\d+)":', data.group(1))) == boxes
    assert len(boxes) == 5


def test_names_given_by_users_cannot_become_markup(aiida_profile, graphs):
    node = graphs.start(
        orm.WorkChainNode, "FinetuneWorkChain", kind="aiida.workflows:mlip.finetune",
        label_text="</script><script>alert(1)</script>",
    )  # fmt: skip
    assert "<script>alert" not in render(node)


def test_a_committee_is_compared_and_a_warning_comes_with_its_remedy(aiida_profile, graphs, finished):
    message = "Finished, but worse than the foundation model: vacancy: forces 0.1 -> 0.2 eV/angstrom"
    story = finished.Story(labels=10, members=2, after=0.4, status=700, message=message)
    read = Reader(render(finished.Builder(graphs, story).whole()))
    assert "committee" in read.sections
    assert BROKEN not in read.text
    assert "Finished with exit code 700: worse than the foundation model in 1 place" in read.text
    assert "raised the errors" in read.text
    assert "What to do: The potential can be used, but look at the configuration types named" in read.text
    assert "member 01" in read.text


def test_a_failed_fine_tuning_says_where_why_and_what_to_do(aiida_profile, graphs, finished):
    made = finished.Builder(graphs, finished.Story(labels=10))
    chain = made.begin()
    made.evaluate("baseline", made.foundation, 0.3, "baseline_evaluation")
    job = graphs.start(
        orm.CalcJobNode, "TrainCalculation", {"potential": made.foundation}, kind="aiida.calculations:mlip.train",
        caller=chain, step="train_00",
    )  # fmt: skip
    graphs.end(job, status=430, message="The training diverged: the loss is nan in epoch 3.")
    chain.logger.log(LOG_LEVEL_REPORT, "split into training: 10")
    graphs.end(chain, status=452, message="No member of the committee was trained: it diverged")
    read = Reader(render(chain))
    assert BROKEN not in read.text
    assert "Exit code 452: No member of the committee was trained" in read.text
    assert "the loss is nan in epoch 3" in read.text
    assert JOBS[430] in read.text
    assert "Only the potential before the training has been evaluated so far" in read.text
    assert "properties" not in read.sections


def test_a_running_fine_tuning_shows_what_is_there(aiida_profile, graphs, finished):
    made = finished.Builder(graphs, finished.Story(labels=10))
    chain = made.begin()
    early = Reader(render(chain))
    assert "Still running" in early.text
    assert {"outcome", "audit", "settings", "lineage"} <= set(early.sections)
    made.evaluate("baseline", made.foundation, 0.3, "baseline_evaluation")
    made.train(0)
    later = Reader(render(chain))
    assert {"learning", "strategy", "parity"} <= set(later.sections)
    assert BROKEN not in early.text + later.text


@pytest.mark.parametrize("step", ["train_00", "baseline_evaluation", "evaluation_00", "baseline_properties"])
def test_each_job_has_a_report_of_its_own(finetuning, step):
    node = finetuning.base.links.get_outgoing(link_label_filter=step).one().node
    read = Reader(render(node))
    assert BROKEN not in read.text
    assert "outcome" in read.sections
    assert len(read.sections) >= 5


def test_an_excepted_job_has_a_report(aiida_profile, graphs):
    node = graphs.start(orm.CalcJobNode, "TrainCalculation", kind="aiida.calculations:mlip.train")
    node.set_process_state("excepted")
    node.set_exception("RuntimeError: <boom>")
    node.seal()
    text = Reader(render(node)).text
    assert "Excepted: RuntimeError: <boom>" in text


def test_one_section_that_fails_leaves_the_others(finetuning, monkeypatch, caplog):
    broken = sections.Section("Errors", lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    original = sections.get
    monkeypatch.setattr(sections, "get", lambda name: broken if name == "errors" else original(name))
    read = Reader(render(finetuning))
    assert f"{BROKEN}: ZeroDivisionError" in read.text
    assert "lineage" in read.sections
    assert "section errors" in caplog.text


def test_another_process_has_no_report_and_is_told_what_to_use(aiida_profile, graphs):
    node = graphs.start(orm.CalcJobNode, "PwCalculation", kind="aiida.calculations:quantumespresso.pw")
    with pytest.raises(ValueError, match=r"quantumespresso\.pw.*aiida-mlip lineage"):
        render(node)


@pytest.mark.parametrize("kind", list(PAGES))
def test_the_pages_name_sections_that_exist(kind):
    assert set(page_of(kind).sections) <= set(sections.names())


@pytest.mark.parametrize("name", sections.names())
def test_every_section_is_on_a_page_and_has_a_template(name):
    section = sections.get(name)
    assert section.title
    assert any(name in page.sections for page in PAGES.values())


def test_every_exit_code_of_our_jobs_has_a_remedy():
    from aiida_mlip.calculations.base import EXIT_CODES

    assert {code.status for code in EXIT_CODES} <= set(JOBS)
    assert remedy("TrainCalculation", 340) == JOBS[340]
    assert remedy("TrainCalculation", 999) == ""
    assert remedy("TrainCalculation", None) == ""


@pytest.mark.parametrize("name", list(WORKFLOWS))
def test_every_exit_code_of_our_work_chains_has_a_remedy(name):
    from aiida.engine import Process

    points = metadata.distribution("aiida-mlip-workchains").entry_points.select(group="aiida.workflows")
    (chain,) = (found for point in points if (found := point.load()).__name__ == name)
    foreign = [
        base
        for base in chain.__mro__
        if base.__module__.startswith("aiida") and not base.__module__.startswith("aiida_mlip")
    ]
    specs = [base.spec() for base in foreign if issubclass(base, Process)]
    inherited = {code.status for other in specs for code in other.exit_codes.values()}  # of AiiDA and plugins
    ours = {code.status for code in chain.spec().exit_codes.values() if code.status >= 200}
    assert ours - inherited <= set(WORKFLOWS[name])


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_key_figure_is_drawn_and_reproducible(finetuning, tmp_path, suffix, start):
    first = key_figure(finetuning, tmp_path / f"a{suffix}").read_bytes()
    assert first.startswith(start)
    assert key_figure(finetuning, tmp_path / f"b{suffix}").read_bytes() == first


def test_the_key_figure_of_a_process_without_errors_is_refused(aiida_profile, graphs, tmp_path):
    node = graphs.start(orm.WorkChainNode, "FinetuneWorkChain", kind="aiida.workflows:mlip.finetune")
    with pytest.raises(ValueError, match="no errors to draw"):
        key_figure(node, tmp_path / "errors.png")
    with pytest.raises(ValueError, match=r"\.jpg"):
        key_figure(node, tmp_path / "errors.jpg")


def test_the_command_writes_the_page_and_the_figure(finetuning, tmp_path):
    page, figure = tmp_path / "made" / "report.html", tmp_path / "errors.png"
    result = CliRunner().invoke(main, ["report", str(finetuning.pk), "-o", str(page), "--figure", str(figure)])
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(figure), str(page)]
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_the_command_refuses_data_in_one_line(builder):
    result = CliRunner().invoke(main, ["report", str(builder.dataset.pk)])
    assert result.exit_code == 1
    assert "not a process" in result.output


def test_everything_about_a_process_is_written_at_once(finetuning, tmp_path):
    paths = write_outcome(finetuning, tmp_path / "out")
    assert {name: path.suffix for name, path in paths.items()} == {"report": ".html", "figure": ".png", "graph": ".svg"}
    assert all(path.stat().st_size > 1000 for path in paths.values())


def test_writing_again_replaces_the_file(finetuning, tmp_path):
    path = tmp_path / "a.html"
    path.write_text("old" * 3_000_000)
    assert write_report(finetuning, path).read_text().startswith("<!DOCTYPE html>")
    assert path.stat().st_size < SIZE


def test_the_terminal_shows_errors_properties_and_forgetting(finetuning):
    console = Console(width=120, record=True, file=StringIO())
    print_summary(finetuning, console)
    text = console.export_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "Held-out errors on test" in text
    line = next(part for part in text.splitlines() if part.startswith("│ C11"))
    assert "455.2   −11.8 % ≈" in line
    assert "521.4    +1.0 % ✓" in line
    assert "What moved on other elements" in text
