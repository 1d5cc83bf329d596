"""The tables of flags in the documentation list the flags that the properties raise, all of them and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiida_mlip.science import properties

SOURCES = sorted(Path(properties.__path__[0]).glob("*.py"))
PAGES = Path(__file__).parents[3] / "docs" / "source" / "topics" / "properties"
HEADER = re.compile(r"\| flag of `(\w+)` \|")
NAME = re.compile(r"[a-z]\w*")

pytestmark = pytest.mark.skipif(not PAGES.is_dir(), reason="the documentation is not there")


def documented() -> dict[str, set[str]]:
    """Property -> names in the first column of its table."""
    found: dict[str, set[str]] = {}
    for page in PAGES.glob("*.md"):
        table: set[str] = set()
        for line in page.read_text(encoding="utf-8").splitlines():
            if header := HEADER.match(line):
                table = found.setdefault(header[1], set())
            elif line.startswith("|"):
                table |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
            else:
                table = set()
    return found


def raised() -> Iterator[str]:
    """Yield a pattern for each name of a flag in the source: of a ``Flag``, or in a table that flags are made from."""
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                yield from _raised_in(function)


def _raised_in(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Flag"):
            continue
        name = next(keyword.value for keyword in node.keywords if keyword.arg == "name")
        if isinstance(name, ast.Constant):
            yield str(name.value)
        elif isinstance(name, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else r"[a-z]\w*" for part in name.values)
        else:
            yield from _names_in_tables(function)


def _names_in_tables(function: ast.FunctionDef) -> Iterator[str]:
    for row in ast.walk(function):
        for item in row.elts if isinstance(row, ast.Tuple) else ():
            if isinstance(item, ast.Constant) and isinstance(item.value, str) and NAME.fullmatch(item.value):
                yield item.value


def test_each_property_has_a_table() -> None:
    assert set(documented()) == set(properties.names())


def test_the_tables_list_what_is_raised_and_nothing_else() -> None:
    listed, patterns = set().union(*documented().values()), set(raised())
    assert len(patterns) > 30
    assert [name for name in sorted(listed) if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []
    assert [p for p in sorted(patterns) if not any(re.fullmatch(p, name) for name in listed)] == []
