"""Everything that is written about a process that ended: the page, its numbers, the key figure, the graph."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from rich.console import Console

from aiida_mlip.provenance.ancestry import ancestry
from aiida_mlip.provenance.draw import draw
from aiida_mlip.report import key_figure, write_report
from aiida_mlip.report.compare import error_sets
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.tables import write_tables


def write_outcome(node: orm.ProcessNode, folder: Path, console: Console | None = None) -> dict[str, Path]:
    """Write report, key figure and provenance graph of a process, and print where they are.

    :param node: a process of ours that has ended, well or not.
    :param folder: is made where it does not exist; files of the same process are overwritten.
    :return: ``report``, ``figure`` (where there are errors, generations, properties or findings to show), ``table`` and
        ``summary`` (of ``mlip.defects``) and ``graph`` -> path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subject = Subject(node)
    paths = {"report": write_report(node, folder / f"report-{node.pk}.html")}
    paths |= write_tables(subject, paths["report"])
    if subject.loop is not None:
        paths["figure"] = key_figure(node, folder / f"generations-{node.pk}.png")
    elif subject.liquids is not None:
        paths["figure"] = key_figure(node, folder / f"stability-{node.pk}.png")
    elif error_sets(subject):
        paths["figure"] = key_figure(node, folder / f"errors-{node.pk}.png")
    elif subject.measured is not None and subject.measured.rows:
        paths["figure"] = key_figure(node, folder / f"properties-{node.pk}.png")
    paths["graph"] = draw(ancestry(node), folder / f"provenance-{node.pk}.svg")
    for name, path in paths.items():
        (console or Console()).print(f"{name}: {path.resolve()}", soft_wrap=True, highlight=False)
    return paths
