"""Reports on electrolytes: lights, time series, reactions, tests of forces, of whole, partial and failed runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from aiida_mlip.report.page import render
from aiida_mlip.report.pages import PAGES

BROKEN = "This section could not be made"


def words(page: str) -> str:
    """Return what a reader sees."""
    text = re.sub(r"<(script|style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).replace("&nbsp;", " ").split())


def sections_of(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


@pytest.fixture(scope="module")
def builder(aiida_profile, graphs, simmered, judged, pairs):
    made = judged.Builder(graphs, simmered, pairs, frames=int(os.environ.get("FRAMES", "60")))
    made.whole()
    return made


@pytest.fixture(scope="module")
def page(builder) -> str:
    made = render(builder.chain)
    if folder := os.environ.get("REPORTS"):  # to look at it in a browser
        (Path(folder) / "electrolyte.html").write_text(made)
    return made


def test_the_page_has_every_section(page):
    assert BROKEN not in page
    assert sections_of(page) == list(PAGES["mlip.electrolyte"].sections)
