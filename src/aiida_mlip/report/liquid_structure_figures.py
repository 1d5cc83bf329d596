"""Figures of the structure of liquids and of how their molecules move: g(r), coordination, displacements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from ase.data import atomic_numbers

from aiida_mlip.report.canvas import Canvas, Place, canvas, place
from aiida_mlip.report.electrolyte import Array, Condition, Liquids, Run, conditions_of
from aiida_mlip.report.figures import log_axis
from aiida_mlip.report.liquid_figures import colours
from aiida_mlip.report.theme import LINE, MUTED, PALETTE
from aiida_mlip.science.liquids.molecules import IONS
from aiida_mlip.science.liquids.naming import name_of

MOST_LINES = 8
"""Trajectories in one figure."""

COLUMNS = 3

MOST_PAIRS = 9
"""Pairs of elements that have a panel."""

SOLVENT = ("C", "H", "O", "N")
"""Elements whose pairs are drawn first."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")

_CURVE = re.compile(r"structure_(?P<one>\w+?)_(?P<other>\w+)_(?P<kind>inter|intra|number)")
_MSD = re.compile(r"transport_(?P<key>.+)_(?P<kind>msd|slope)")


@dataclass(frozen=True)
class Line:
    """How a trajectory is drawn."""

    run: Run
    colour: str
    dash: str

    @property
    def look(self) -> dict[str, Any]:
        """Return it as plotly has it."""
        return {"color": self.colour, "dash": self.dash, "width": 1.8}


def lines(liquids: Liquids, runs: Sequence[Run]) -> list[Line]:
    """Return the looks of some trajectories: colours are potentials, or conditions where there is one potential."""
    shown = list(runs)[:MOST_LINES]
    conditions: list[Condition] = list(conditions_of(shown))
    several = len(liquids.potentials) > 1
    look = colours(liquids)
    made = []
    for run in shown:
        place = conditions.index(run.condition)
        colour = look[run.potential] if several else PALETTE[place % len(PALETTE)]
        made.append(Line(run, colour, DASHES[place % len(DASHES)] if several else "solid"))
    return made


def pair_name(name: str) -> str:
    """Return a type of atom as it is printed: ``OofC3H4O3`` is O of EC."""
    element, of, formula = name.partition("of")
    return f"{element} ({species_of(formula)})" if of else element


def species_of(formula: str) -> str:
    """Return the usual name of what a formula stands for in an electrolyte, e.g. EC; else the formula."""
    plain = formula.partition("x")[0]
    return _by_formula().get(plain, plain)


def _by_formula() -> Mapping[str, str]:
    from aiida_mlip.science.liquids.components import KNOWN  # noqa: PLC0415

    found: dict[str, list[str]] = {}
    for name, component in KNOWN.items():
        found.setdefault(component.formula, []).append(name)
    return {formula: names[0] for formula, names in found.items() if len(names) == 1}


def pairs_of(runs: Sequence[Run], kind: str) -> list[tuple[str, str]]:
    """Return the pairs of elements or types that have a curve of this kind: inter, intra or number."""
    found: dict[tuple[str, str], None] = {}
    for run in runs:
        for name in run.curves:
            match = _CURVE.fullmatch(name)
            if match is not None and match["kind"] == kind:
                found[match["one"], match["other"]] = None
    return list(found)


def distributions(liquids: Liquids, runs: Sequence[Run], kind: str) -> go.Figure | None:
    """Return g(r) of pairs of elements, a panel for each pair.

    :param kind: ``inter``: between molecules; ``intra``: within them.
    """
    pairs = sorted(filter(_of_molecules, pairs_of(runs, kind)), key=_rank)[:MOST_PAIRS]
    if not pairs:
        return None
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    made = canvas((rows, columns), 190, titles=[f"{one}–{other}" for one, other in pairs])
    for line in lines(liquids, runs):
        for index, (one, other) in enumerate(pairs):
            if (curve := _radial(line.run, f"{one}_{other}_{kind}")) is not None:
                _add(made, curve, line, place(index, columns), "Å")
    made.figure.update_xaxes(title_text="r [Å]", row=rows)
    made.figure.update_yaxes(title_text="g(r)", col=1)
    made.figure.update_yaxes(rangemode="tozero")
    if kind == "inter":
        made.figure.add_hline(y=1, line={"color": MUTED, "width": 1, "dash": "dot"})
    else:
        made.figure.update_xaxes(range=[0.8, 4.5])
    return made.figure


def _of_molecules(pair: tuple[str, str]) -> bool:
    """Return whether both are elements that are in molecules; ions have a figure of their own."""
    return all(name in atomic_numbers and atomic_numbers[name] not in IONS for name in pair)


def _rank(pair: tuple[str, str]) -> tuple[int, tuple[str, str]]:
    """Return a key that sorts the elements of solvents before those of anions."""
    return sum(name not in SOLVENT for name in pair), pair


def _radial(run: Run, name: str) -> tuple[Array, Array] | None:
    """Return distances [Å] and values of a curve, or None."""
    radii, values = run.curves.get("structure_r"), run.curves.get(f"structure_{name}")
    return None if radii is None or values is None or len(values) != len(radii) else (radii, values)


def _add(made: Canvas, points: tuple[Array, Array], line: Line, where: Place, unit: str) -> None:
    name = line.run.name
    made.add(
        points, name, where, line=line.look, hovertemplate=f"{name}<br>%{{x:.3g}} {unit}: %{{y:.3g}}<extra></extra>"
    )


def coordination(liquids: Liquids, runs: Sequence[Run]) -> go.Figure | None:
    """Return g(r) around ions above and the running number of neighbours below, a column for each kind of neighbour."""
    pairs = [pair for pair in pairs_of(runs, "number") if "of" in pair[1]][:4]
    if not pairs:
        return None
    titles = [f"{one}–{pair_name(other)}" for one, other in pairs]
    made = canvas((2, len(pairs)), 190, titles=titles, shared_xaxes=True, vertical_spacing=0.07)
    for line in lines(liquids, runs):
        for column, (one, other) in enumerate(pairs, start=1):
            for row, kind in ((1, "inter"), (2, "number")):
                if (curve := _radial(line.run, f"{one}_{other}_{kind}")) is not None:
                    _add(made, curve, line, {"row": row, "col": column}, "Å")
    furthest = max((float(run.curves["structure_r"][-1]) for run in runs if "structure_r" in run.curves), default=6.0)
    made.figure.update_xaxes(range=[1.0, min(furthest, 6.0)])
    made.figure.update_xaxes(title_text="r [Å]", row=2)
    made.figure.update_yaxes(title_text="g(r)", row=1, col=1)
    made.figure.update_yaxes(rangemode="tozero", row=1)
    made.figure.update_yaxes(title_text="neighbours within r", row=2, col=1)
    made.figure.update_yaxes(range=[0, 8], row=2)
    return made.figure


def displacements(liquids: Liquids, runs: Sequence[Run]) -> go.Figure | None:
    """Return mean squared displacements above and the slope of their logarithms below, a column for each species."""
    found: dict[str, None] = {}
    for run in runs:
        for name in run.curves:
            match = _MSD.fullmatch(name)
            if match is not None and match["kind"] == "msd":
                found[match["key"]] = None
    keys = list(found)[:4]
    if not keys:
        return None
    titles = [name_of(key) for key in keys]
    made = canvas(
        (2, len(keys)), 215, titles=titles, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.06
    )
    for column, key in enumerate(keys, start=1):
        shown = [line for line in lines(liquids, runs) if f"transport_{key}_msd" in line.run.curves]
        points = [point for line in shown for point in _add_walk(made, line, key, column)]
        axis = log_axis([lag for lag, _ in points])
        made.figure.update_yaxes(row=1, col=column, **log_axis([msd for _, msd in points]))
        made.figure.update_xaxes(row=1, col=column, **axis)
        made.figure.update_xaxes(row=2, col=column, title_text="lag time [ps]", **axis)
        made.figure.add_hrect(y0=0.9, y1=1.1, fillcolor=LINE, opacity=0.45, line_width=0, row=2, col=column)
    made.figure.update_yaxes(title_text="MSD [Å²]", row=1, col=1)
    made.figure.update_yaxes(title_text="slope", row=2, col=1)
    made.figure.update_yaxes(range=[-0.1, 2.2], row=2)
    return made.figure


def _add_walk(made: Canvas, line: Line, key: str, column: int) -> list[tuple[float, float]]:
    """Add one trajectory, and return its points."""
    curves = line.run.curves
    lags, msd = curves["transport_lag_ps"], curves[f"transport_{key}_msd"]
    if len(lags) != len(msd):
        return []
    known = (lags > 0) & (msd > 0)
    _add(made, (lags[known], msd[known]), line, {"row": 1, "col": column}, "ps")
    slope = curves.get(f"transport_{key}_slope")
    if slope is not None and len(slope) == len(lags):
        _add(made, (lags[known], slope[known]), line, {"row": 2, "col": column}, "ps")
    return list(zip(lags[known].tolist(), msd[known].tolist(), strict=True))
