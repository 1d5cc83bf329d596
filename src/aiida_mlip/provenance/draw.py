"""Pictures of an ancestry: with graphviz through AiiDA's own ``Graph``, and as plain SVG without it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from aiida.tools.visualization import Graph
from graphviz import ExecutableNotFound  # type: ignore[import-untyped]

from aiida_mlip.provenance.ancestry import Ancestry, Row
from aiida_mlip.provenance.condense import Condensed, Group, condense
from aiida_mlip.provenance.describe import facts
from aiida_mlip.provenance.layout import layered

FORMATS = (".svg", ".pdf", ".png")

COLOURS: Mapping[str, tuple[str, str]] = {
    "job": ("#fdf0e3", "#c8641b"),
    "function": ("#fbf6ef", "#b9a48c"),
    "failed": ("#fbe9e9", "#b3261e"),
    "created": ("#eaf3ee", "#2f7d5b"),
    "given": ("#e8f0fa", "#2b5c9e"),
}
"""Kind of box -> (fill, line)."""

BOX, GAP_X, LAYER, TEXT = (184, 40), 14, 72, 25
"""Width and height of a box, space between boxes, height of a layer [px], and characters that fit on a line."""


class GraphvizMissingError(RuntimeError):
    """The program ``dot`` is not installed."""


def draw(graph: Ancestry, path: Path, *, settings: bool = False) -> Path:
    """Draw the ancestry, alike nodes folded into one box, and return the path written.

    :param path: its suffix chooses the format, one of :data:`FORMATS`.
    :raises ValueError: for another suffix.
    :raises GraphvizMissingError: for PDF and PNG where ``dot`` is not installed; SVG needs nothing.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"--graph {path.name}: the suffix {path.suffix!r} is not one of {', '.join(FORMATS)}")
    condensed = visible(graph, settings=settings)
    try:
        content = graphviz(condensed).graphviz.pipe(format=path.suffix[1:])
    except ExecutableNotFound as error:
        if path.suffix != ".svg":
            raise GraphvizMissingError(
                f"{path.name} needs the program `dot` and it is not on the PATH: install graphviz "
                "(Debian and Ubuntu: apt install graphviz), or ask for an .svg, which needs nothing"
            ) from error
        content = svg(condensed).encode()
    path.write_bytes(content)
    return path


def visible(graph: Ancestry, *, settings: bool = False) -> Condensed:
    """Return the groups that are drawn: all that was computed, and what was given but for codes and settings."""

    def keep(row: Row) -> bool:
        made = row.pk in graph.parents
        return made or not (row.is_code or "remote" in row.node_type or (row.is_settings and not settings))

    return condense(graph, keep=keep)


def graphviz(condensed: Condensed) -> Graph:
    """Return AiiDA's graph with one node for each group, its first member standing for all."""
    graph = Graph(
        engine="dot",
        graph_attr={"rankdir": "TB", "nodesep": "0.25", "ranksep": "0.45", "fontname": "Helvetica"},
        global_edge_style={"color": "#6b7280", "fontname": "Helvetica", "fontsize": "9", "fontcolor": "#6b7280"},
    )
    for group in condensed.groups:
        fill, line = COLOURS[kind(group)]
        style = {"shape": "rectangle", "style": "filled,rounded", "fillcolor": fill, "color": line, "penwidth": 1.2}
        text = "\n".join(filter(None, lines(group)))
        graph.add_node(group.row.pk, style_override={**style, "fontname": "Helvetica", "label": text})
    for edge in condensed.edges:
        source, target = condensed.groups[edge.source], condensed.groups[edge.target]
        label = ", ".join(edge.labels) if target.row.is_process and len(edge.labels) < 3 else ""
        graph.add_edge(source.row.pk, target.row.pk, style={"label": label})
    return graph


def svg(condensed: Condensed) -> str:
    """Return the drawing as one SVG element, without any program but this."""
    layout = layered([group.index for group in condensed.groups], [(e.source, e.target) for e in condensed.edges])
    step = BOX[0] + GAP_X
    width, height = layout.width * step + GAP_X, layout.height * LAYER

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return point[0] * step + GAP_X / 2, point[1] * LAYER + LAYER / 2

    parts = [_line([at(point) for point in line]) for line in layout.lines.values()]
    parts += [_box(group, *at(layout.boxes[group.index])) for group in condensed.groups]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="provenance graph" font-family="Helvetica, Arial, sans-serif">'
        f"{''.join(parts)}</svg>"
    )


def kind(group: Group) -> str:
    """Return the name in :data:`COLOURS` of the colours of a group."""
    if group.failed:
        return "failed"
    if group.row.is_process:
        return "job" if group.row.is_job else "function"
    return "created" if group.created else "given"


def lines(group: Group) -> tuple[str, str]:
    """Return the two lines of text in a box."""
    if len(group.rows) > 1:
        return group.title, ""
    row = group.row
    known: dict[str, Any] = dict(row.facts)
    if "num_frames" in known:
        return row.class_name, f"{known['num_frames']} configurations"
    if row.is_process or not row.label:
        return row.class_name, f"pk {row.pk}" if row.is_process else str(known.get("element", f"pk {row.pk}"))
    return row.class_name, row.label


def _line(points: list[tuple[float, float]]) -> str:
    half = BOX[1] / 2
    (x, y), *bends, (u, v) = points
    path = [f"M{x:.1f},{y + half:.1f}"]
    last = (x, y + half)
    for point in [*bends, (u, v - half)]:
        middle = (last[1] + point[1]) / 2
        path.append(f"C{last[0]:.1f},{middle:.1f} {point[0]:.1f},{middle:.1f} {point[0]:.1f},{point[1]:.1f}")
        last = point
    return f'<path d="{" ".join(path)}" fill="none" stroke="#9aa3af" stroke-width="1.2"/>'


def _box(group: Group, x: float, y: float) -> str:
    (w, h), (fill, line) = BOX, COLOURS[kind(group)]
    first, second = (_short(text) for text in lines(group))
    rows = [(first, "600", "#1f2933", 11.5)] + ([(second, "400", "#52606d", 10.5)] if second else [])
    top = y + 4 - 7.5 * (len(rows) - 1)
    text = "".join(
        f'<text x="{x:.1f}" y="{top + 14.5 * i:.1f}" text-anchor="middle" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(words)}</text>'
        for i, (words, weight, colour, size) in enumerate(rows)
    )
    tip = f"{group.title}\n{facts(group.row)}\n{group.row.uuid}"
    return (
        f'<g><title>{escape(tip)}</title><rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w}" height="{h}" '
        f'rx="6" fill="{fill}" stroke="{line}" stroke-width="1.2"/>{text}</g>'
    )


def _short(text: str) -> str:
    return text if len(text) <= TEXT + 2 else text[: TEXT + 1] + "…"
