"""Figures of the tests of forces: volume scans, dimers, parity and errors by part, potentials side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from aiida_mlip.report.canvas import Canvas, Place, canvas, place
from aiida_mlip.report.electrolyte import Array, ForceTests
from aiida_mlip.report.figures import log_axis, panels
from aiida_mlip.report.liquid_structure_figures import species_of
from aiida_mlip.report.theme import INK, MUTED, styles
from aiida_mlip.science.liquids.force_results import PARTS, PartError, Well

MOST_POINTS = 2500
"""Points of one panel and potential; of more, evenly chosen ones are drawn."""

COLUMNS = 3

REFERENCE = {"color": INK, "width": 2, "dash": "dash"}

PARITY = (
    ("intra_forces", "Forces within molecules [eV/Å]"),
    ("inter_forces", "Forces between molecules [eV/Å]"),
    ("intra_energies", "Energies within molecules [meV/atom]"),
    ("inter_energies", "Energies between molecules [meV/atom]"),
)
"""Curve -> title of its panel."""

WHOLE = (("total_forces", "Forces [eV/Å]"), ("total_energies", "Energies [meV/atom]"))
"""What is drawn where the reference knows no molecules alone."""

FEW = 60
"""Fewer points are drawn larger."""

WORDS: Mapping[str, str] = {
    "total": "total", "intra": "within molecules", "inter": "between molecules", "trans": "translation",
    "rot": "rotation", "vib": "vibration",
}  # fmt: skip
"""Part -> its name."""


def _grid(titles: list[str], height: int) -> tuple[Canvas, int]:
    columns = min(COLUMNS, len(titles))
    return canvas((-(-len(titles) // columns), columns), height, titles=titles), columns


def volume_scans(forces: Mapping[str, ForceTests]) -> go.Figure | None:
    """Return energy against density, molecules rigid: a panel for each box, a line for each potential."""
    boxes = list(dict.fromkeys(scan.name for tests in forces.values() for scan in tests.result.scans))
    if not boxes:
        return None
    made, columns = _grid(boxes, 320)
    look = styles(list(forces))
    for index, box in enumerate(boxes):
        where, seen = place(index, columns), []
        for name, tests in forces.items():
            curve = _curve(tests, f"scan_{box}_density", f"scan_{box}_predicted")
            if curve is not None:
                seen.append(curve[1])
                _add_curve(made, curve, (name, {"color": look[name][0], "width": 2}), where, "g/cm³")
                _add_well(made, _scan(tests, box, "predicted"), (name, look[name][0]), where)
        if (known := _with_reference(forces, f"scan_{box}_true")) is not None:
            name = f"reference ({known.result.level_of_theory})"
            curve = _curve(known, f"scan_{box}_density", f"scan_{box}_true")
            if curve is not None:
                seen.append(curve[1])
                _add_curve(made, curve, (name, REFERENCE), where, "g/cm³")
                _add_well(made, _scan(known, box, "true"), (name, INK), where)
        _finish(made, seen, where)
    made.figure.update_xaxes(title_text="density [g/cm³]")
    made.figure.update_yaxes(title_text="energy [eV/molecule]", col=1)
    return made.figure


def _scan(tests: ForceTests, box: str, which: str) -> Well | None:
    scan = next((item for item in tests.result.scans if item.name == box), None)
    found: Well | None = getattr(scan, which) if scan is not None else None
    return found


def _with_reference(forces: Mapping[str, ForceTests], curve: str) -> ForceTests | None:
    """Return the first tests that hold a curve of the reference, which is the same for all potentials."""
    return next((tests for tests in forces.values() if curve in tests.curves), None)


def _finish(made: Canvas, seen: list[Array], where: Place) -> None:
    """Let the well be seen, and the zero."""
    made.figure.update_yaxes(range=_well_range(seen), **where)
    made.figure.add_hline(y=0, line={"color": MUTED, "width": 1, "dash": "dot"}, **where)


def _curve(tests: ForceTests, x: str, y: str) -> tuple[Array, Array] | None:
    one, other = tests.curves.get(x), tests.curves.get(y)
    if one is None or other is None or len(one) != len(other):
        return None
    known = np.isfinite(one) & np.isfinite(other)
    return (one[known], other[known]) if known.any() else None


def _add_curve(
    made: Canvas, curve: tuple[Array, Array], look: tuple[str, Mapping[str, Any]], where: Place, unit: str
) -> None:
    """Add a curve with its points; ``look``: name and line."""
    name, line = look
    made.add(
        curve, name, where, mode="lines+markers", line=dict(line), marker={"size": 5, "color": line["color"]},
        hovertemplate=f"{name}<br>%{{x:.3g}} {unit}: %{{y:.4g}} eV<extra></extra>",
    )  # fmt: skip


def _add_well(made: Canvas, well: Well | None, look: tuple[str, str], where: Place) -> None:
    """Mark a minimum; ``look``: name and colour."""
    if well is None:
        return
    marker = {"symbol": "star", "size": 14, "color": look[1], "line": {"color": "white", "width": 1}}
    made.add(
        ([well.density], [-well.depth]), "well", where, mode="markers", marker=marker,
        hovertemplate=f"{look[0]}<br>well of {well.depth:.3f} eV at {well.density:.3f} g/cm³<extra></extra>",
    )  # fmt: skip


def _well_range(curves: list[Array]) -> list[float] | None:
    """Return a range in which the wells are seen: the wall is many times higher."""
    lowest = min((float(values.min()) for values in curves if len(values)), default=0.0)
    highest = max((float(values.max()) for values in curves if len(values)), default=0.0)
    depth = max(-lowest, 0.05)
    return [lowest - 0.2 * depth, max(min(highest, 1.6 * depth), 0.1 * depth)]


def dimers(forces: Mapping[str, ForceTests]) -> go.Figure | None:
    """Return the energy of pairs of molecules against the distance of their centres."""
    first = next((tests for tests in forces.values() if tests.result.dimers), None)
    if first is None:
        return None
    shown = first.result.dimers[:6]
    titles = [" + ".join(species_of(formula) for formula in item.formulas) for item in shown]
    made, columns = _grid(titles, 280)
    look = styles(list(forces))
    for index, item in enumerate(shown):
        where, seen = place(index, columns), []
        begin = f"dimer_{item.number}"
        for name, tests in forces.items():
            curve = _curve(tests, f"{begin}_distance", f"{begin}_predicted")
            if curve is not None:
                seen.append(curve[1])
                _add_curve(made, curve, (name, {"color": look[name][0], "width": 2}), where, "Å")
        if (known := _with_reference(forces, f"{begin}_true")) is not None:
            curve = _curve(known, f"{begin}_distance", f"{begin}_true")
            if curve is not None:
                seen.append(curve[1])
                _add_curve(made, curve, (f"reference ({known.result.level_of_theory})", REFERENCE), where, "Å")
        _finish(made, seen, where)
    made.figure.update_xaxes(title_text="distance of the centres [Å]")
    made.figure.update_yaxes(title_text="energy [eV]", col=1)
    return made.figure


def parity(forces: Mapping[str, ForceTests]) -> go.Figure | None:
    """Return prediction against reference, within and between molecules, forces above and energies below."""
    shown = _parity_panels(forces, PARITY) or _parity_panels(forces, WHOLE)
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    made = canvas((rows, columns), 350, titles=[title for _, title in shown], vertical_spacing=0.16)
    look = styles(list(forces))
    for index, (key, _) in enumerate(shown):
        where, ends = place(index, columns), list[float]()
        for name, tests in forces.items():
            ends += _add_points(made, tests, key, (name, *look[name]), where)
        if ends:
            line = {"color": MUTED, "width": 1, "dash": "dot"}
            both = [min(ends), max(ends)]
            made.add((both, both), "prediction = reference", where, line=line, hoverinfo="skip")
    made.figure.update_layout(legend={"itemsizing": "constant"})
    made.figure.update_yaxes(title_text="potential", col=1)
    made.figure.update_xaxes(title_text="reference", row=rows)
    return made.figure


def _parity_panels(forces: Mapping[str, ForceTests], wanted: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the panels with more than one number to compare."""
    return [
        (key, title)
        for key, title in wanted
        if any(np.size(tests.curves.get(f"parity_{key}_true", ())) > 1 for tests in forces.values())
    ]


def _add_points(
    made: Canvas, tests: ForceTests, key: str, look: tuple[str, str, str], where: Place
) -> list[float]:  # fmt: skip
    """Add one potential to a panel, and return the ends of its points; ``look``: name, colour, symbol."""
    true, predicted = (tests.curves.get(f"parity_{key}_{which}") for which in ("true", "predicted"))
    if true is None or predicted is None or true.shape != predicted.shape:
        return []
    x, y = true.ravel(), predicted.ravel()
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return []
    x, y = x[known], y[known]
    step, few = max(1, -(-len(x) // MOST_POINTS)), len(x) < FEW
    name, colour, symbol = look
    made.add(
        (x[::step], y[::step]), name, where, mode="markers",
        hovertemplate=f"{name}<br>reference %{{x:.4g}}, potential %{{y:.4g}}<extra></extra>",
        marker={"color": colour, "symbol": symbol, "size": 8 if few else 4, "opacity": 0.75 if few else 0.35},
    )  # fmt: skip
    return [float(x.min()), float(x.max()), float(y.min()), float(y.max())]


def errors_by_part(forces: Mapping[str, ForceTests]) -> go.Figure | None:
    """Return the error of the forces by part, and that error over the spread of the reference, on logarithmic axes."""
    rows = {name: list(_force_errors(tests)) for name, tests in forces.items()}
    parts = [part for part in PARTS if any(item.part == part for items in rows.values() for item in items)]
    if not parts:
        return None
    titles = ["Error of force components, RMSE [eV/Å]", "Error over the spread of the reference"]
    made = panels(titles, 130 + 40 * len(parts), shared_yaxes=True)
    names = [WORDS[part] for part in parts][::-1]
    look = styles(list(forces))
    spread = 0.5 / max(len(forces), 1)
    for number, (name, items) in enumerate(rows.items()):
        for column, field in ((1, "rmse"), (2, "relative")):
            points = [(item.part, getattr(item, field), item.count) for item in items if getattr(item, field)]
            made.add_scatter(
                x=[value for _, value, _ in points], name=name, legendgroup=name, showlegend=column == 1,
                y=[names.index(WORDS[part]) - (number - (len(rows) - 1) / 2) * spread for part, _, _ in points],
                mode="markers", marker={"color": look[name][0], "symbol": look[name][1], "size": 11},
                text=[f"{name}, {WORDS[part]}: {count} numbers" for part, _, count in points],
                hovertemplate="%{text}<br>%{x:.3g}<extra></extra>", row=1, col=column,
            )  # fmt: skip
    for column, field in ((1, "rmse"), (2, "relative")):
        values = [getattr(item, field) for items in rows.values() for item in items]
        made.update_xaxes(row=1, col=column, **log_axis(values))
    made.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4])
    made.update_layout(margin={"t": 76, "l": 130, "b": 40}, legend={"y": 1, "yref": "container", "yanchor": "top"})
    return made


def _force_errors(tests: ForceTests) -> Iterator[PartError]:
    yield from (item for item in tests.result.errors if item.quantity == "forces")
