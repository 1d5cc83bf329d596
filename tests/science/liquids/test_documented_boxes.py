"""The example in the documentation of boxes runs, and prints what is written below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from aiida_mlip.calculations.boxes import MOLECULES_CHANGED, PACKING_FAILED
from aiida_mlip.science.liquids import boxes, embedding, molecules


def test_the_example_prints_what_it_says(repository: Path) -> None:
    text = (repository / "docs/source/topics/electrolyte-boxes.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (expected,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "electrolyte-boxes.md", "exec"), {})
    assert printed.getvalue() == expected


def test_the_limits_are_those_of_the_code(repository: Path) -> None:
    text = (repository / "docs/source/topics/electrolyte-boxes.md").read_text(encoding="utf-8")
    assert f"nearer than {boxes.CLOSEST} Å" in text
    assert f"thinner than {boxes.THINNEST} g/cm³" in text
    assert f"below {molecules.BOND} times" in text
    assert f"above {molecules.THERMAL} times" in text
    assert f"exit status {PACKING_FAILED}" in text
    assert f"with {MOLECULES_CHANGED}." in text
    assert "at most five atoms" in text
    assert embedding._SMALL == 5
