"""Walkers of molecular dynamics as a report reads them: how each ended, and its time series."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from aiida import orm
from aiida.common.links import LinkType
from ase.formula import Formula
from plotly.subplots import make_subplots

from aiida_mlip.report.subject import results
from aiida_mlip.report.theme import INK, TEMPLATE, styles
from aiida_mlip.schema.dynamics import WalkerResult

Arrays = Mapping[str, Any]

SERIES = "series__"
"""Beginning of the labels of the links to time series."""

SHOWN: Mapping[str, tuple[str, float]] = {
    "temperature": ("Temperature [K]", 1.0),
    "energy": ("Potential energy from the start [meV/atom]", 1e3),
    "max_forces_sigma": ("Largest force uncertainty [eV/Å]", 1.0),
    "density": ("Density [g/cm³]", 1.0),
    "pressure": ("Pressure [GPa]", 1.0),
    "tau": ("Strength of the bias τ", 1.0),
}
"""Array of a time series -> its title and factor."""

MOST_POINTS = 1500
"""Points of one line."""

MOST_WALKERS = 40
"""Walkers in one figure."""


def walkers(node: orm.ProcessNode) -> Mapping[str, WalkerResult]:
    """Return name -> how it ended; empty where there are no results."""
    found = results(node).get("walkers", {})
    return {name: WalkerResult.model_validate(found[name]) for name in sorted(found, key=natural)}


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names with numbers as a reader does: t600 before t1800."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name)]


def series(node: orm.ProcessNode) -> Mapping[str, Arrays]:
    """Return name of a walker -> its time series, of the first :data:`MOST_WALKERS`."""
    links = node.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).all()
    nodes = {link.link_label.removeprefix(SERIES): link.node for link in links if link.link_label.startswith(SERIES)}
    return {
        name: {key: nodes[name].get_array(key) for key in nodes[name].get_arraynames()}
        for name in sorted(nodes, key=natural)[:MOST_WALKERS]
    }


def atoms_of(result: WalkerResult) -> int:
    """Return the number of atoms, from the formula."""
    return len(Formula(result.formula))


def time_series(lines: Mapping[str, Arrays], found: Mapping[str, WalkerResult]) -> go.Figure | None:
    """Return temperature, energy, uncertainty and what else was recorded over time, a line for each walker."""
    keys = [key for key in SHOWN if any(_known(arrays.get(key)) for arrays in lines.values())]
    if not any(_moves(arrays.get("density")) for arrays in lines.values()):
        keys = [key for key in keys if key != "density"]
    if not keys:
        return None
    columns = min(2, len(keys))
    rows = -(-len(keys) // columns)
    made = make_subplots(
        rows=rows, cols=columns, subplot_titles=[SHOWN[key][0] for key in keys], shared_xaxes=True,
        horizontal_spacing=0.09, vertical_spacing=0.2 / rows,
    )  # fmt: skip
    made.update_layout(template=TEMPLATE, height=230 * rows + 110, margin={"t": 78}, hovermode="closest")
    made.update_annotations(font={"size": 13.5, "color": INK}, yshift=4)
    look = styles(list(lines))
    for name, arrays in lines.items():
        atoms = atoms_of(found[name]) if name in found else 1
        for place, key in enumerate(keys):
            where = {"row": place // columns + 1, "col": place % columns + 1}
            _add_line(made, arrays, (name, key, look[name][0]), atoms, where, first=place == 0)
    for place in range(len(keys)):
        if place + columns >= len(keys):
            where = {"row": place // columns + 1, "col": place % columns + 1}
            made.update_xaxes(title_text="time [ps]", showticklabels=True, **where)
    made.update_layout(legend={"y": 1 + 42 / (230 * rows), "font": {"size": 11}})
    return made


def _add_line(
    made: go.Figure, arrays: Arrays, what: tuple[str, str, str], atoms: int, where: Mapping[str, int], *, first: bool
) -> None:
    """Add one array of one walker; ``what``: walker, array, colour."""
    name, key, colour = what
    values = np.asarray(arrays.get(key, ()), dtype=float)
    if not _known(values):
        return
    known = np.isfinite(values)
    values = values * SHOWN[key][1]
    if key == "energy":
        values = (values - values[known][0]) / max(atoms, 1)
    x = np.asarray(arrays["time_fs"], dtype=float)[known] / 1e3
    thin = slice(None, None, max(1, -(-len(x) // MOST_POINTS)))
    made.add_scatter(
        x=x[thin].astype(np.float32), y=values[known][thin].astype(np.float32), mode="lines", name=name,
        legendgroup=name, showlegend=first, line={"color": colour, "width": 1.5}, **where,
        hovertemplate=f"{name}<br>%{{x:.3f}} ps: %{{y:.4g}}<extra></extra>",
    )  # fmt: skip
    if key == "temperature" and "target_temperature" in arrays:
        target = np.asarray(arrays["target_temperature"], dtype=float)[known]
        made.add_scatter(
            x=x[thin].astype(np.float32), y=target[thin], mode="lines", legendgroup=name, showlegend=False,
            line={"color": colour, "width": 1, "dash": "dot"}, hoverinfo="skip", **where,
        )  # fmt: skip


def _known(values: Any) -> bool:
    return values is not None and bool(np.isfinite(np.asarray(values, dtype=float)).any())


def _moves(values: Any) -> bool:
    """Return whether a density is not that of a cell that cannot change."""
    if not _known(values):
        return False
    finite = np.asarray(values, dtype=float)[np.isfinite(np.asarray(values, dtype=float))]
    return bool(np.ptp(finite) > 1e-6 * abs(finite[0]))
