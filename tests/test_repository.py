"""Rules of the repository that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "src").rglob("*.py"))
MAX_MODULE = 400
MAX_FUNCTION = 50
MAX_DEFINE = 80
"""For `define`, which lists the inputs, outputs and exit codes of a process and computes nothing."""
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
PLACEHOLDER_NAMES = re.compile(r"(^|_)(utils?|helpers?|misc|common)\d*$")


def tracked() -> list[Path]:
    """The files that are in git; where there is no git, every file of the source tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        return MODULES
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_modules_and_functions_stay_short(path):
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= MAX_MODULE
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = [(node.name, body_length(node)) for node in functions]
    long = [(name, n) for name, n in lengths if n > (MAX_DEFINE if name == "define" else MAX_FUNCTION)]
    assert not long


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function after its docstring and signature."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_modules_are_finished_and_named_for_what_they_do(path):
    assert not UNFINISHED.search(path.read_text(encoding="utf-8"))
    assert not PLACEHOLDER_NAMES.search(path.stem)


def test_modules_have_a_docstring():
    bare = [path for path in MODULES if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None]
    assert not bare


def test_no_file_names_a_path_of_the_machine_it_was_written_on():
    private = re.compile(r"(?<![\w.])/(work|root|home/\w+)/\w")
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in tracked()
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".cfg", ".sh", ".txt", ""} and path != Path(__file__)
        if (match := private.search(path.read_text(encoding="utf-8", errors="ignore")))
    }
    assert not found


def test_no_model_weights_are_committed():
    assert not [path.name for path in tracked() if path.suffix in {".model", ".pt", ".pth"}]


def test_committed_files_are_small():
    large = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked() if path.stat().st_size > 8_000_000}
    assert not large


def test_the_workflows_open_at_top_level():
    link = ROOT / "workchains"
    assert link.is_symlink()
    assert link.readlink() == Path("src/aiida_mlip/workchains")
    assert link.resolve() == ROOT / "src" / "aiida_mlip" / "workchains"
