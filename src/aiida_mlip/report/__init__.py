"""Tables, figures and pages made from finished nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida import orm

__all__ = ["key_figure", "write_report"]


def write_report(node: orm.ProcessNode, path: Path) -> Path:
    """Write the report of a process as one HTML file that needs no network, and return its path.

    :param node: a process of ours, finished, failed or running.
    :raises ValueError: where there is no report for this kind of process.
    """
    from aiida_mlip.report.page import render  # noqa: PLC0415 - plotly takes a second to import

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(node), encoding="utf-8")
    return path


def key_figure(node: orm.ProcessNode, path: Path) -> Path:
    """Write the figure that says most about a process, and return its path.

    :param path: its suffix chooses the format: .png, .svg or .pdf.
    :raises ValueError: for another suffix, and where there are no errors or properties to be shown.
    """
    from aiida_mlip.report.electrolyte_still import draw_liquids  # noqa: PLC0415
    from aiida_mlip.report.heatmap import draw_matrix  # noqa: PLC0415 - matplotlib is needed here only
    from aiida_mlip.report.loop_still import draw_loop  # noqa: PLC0415
    from aiida_mlip.report.still import draw_errors  # noqa: PLC0415
    from aiida_mlip.report.subject import Subject  # noqa: PLC0415

    subject = Subject(node)
    if subject.liquids is not None:
        return draw_liquids(subject.liquids, path)
    if subject.loop is not None:
        return draw_loop(subject.loop, path)
    if subject.kind in ("mlip.defects", "mlip.property", "mlip.property.base"):
        if subject.measured is None:
            raise ValueError(f"process {node.pk} has no numbers to draw: it has not come that far")
        return draw_matrix(subject.measured, path)
    return draw_errors(node, path)
