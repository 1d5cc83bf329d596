"""Reactions of molecules as a page shows them: equations with names and drawings, and when they happened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from aiida_mlip.report.electrolyte import Liquids, Run
from aiida_mlip.report.theme import LINE, MUTED, PALETTE, SYMBOLS, figure
from aiida_mlip.science.liquids.findings import Event, Species
from aiida_mlip.science.liquids.naming import name_of, named

MOST_EQUATIONS = 8
"""Equations that have a colour and are drawn; more are counted."""

MOST_SPECIES = 24
"""Species that are drawn."""

MOST_ATOMS = 60
"""Atoms of a species that is drawn: larger ones are a collapsed box, not a molecule."""

SIDE = 6
"""Molecules of one side of an equation that are drawn."""

SIZE = (150, 110)
"""Of a drawing [px]."""


@dataclass(frozen=True)
class Kind:
    """A species with its name, and where it appeared or went.

    :param counts: (trajectory, molecules at the start, at the end) where these differ.
    :param first_ps: when it was first seen, and ``first_in`` in which trajectory.
    """

    species: Species
    drawing: str
    counts: tuple[tuple[str, int, int], ...]
    first_ps: float
    first_in: str


@dataclass(frozen=True)
class Equation:
    """A reaction: what became what, how often and when first.

    :param before: (number, key of the species); ``after`` alike.
    """

    text: str
    before: tuple[tuple[int, str], ...]
    after: tuple[tuple[int, str], ...]
    count: int
    first_ps: float
    first_in: str


class Book:
    """Names and drawings of all species of some trajectories, each made once."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._known: dict[str, Species] = {}
        for run in runs:
            for species in run.findings.species:
                self._known.setdefault(species.key, species)
        self._named: dict[str, Species] = {}
        self._drawn: dict[str, str] = {}

    def species(self, key: str) -> Species | None:
        """Return a species with its name and SMILES; None where only its key is known."""
        if key not in self._named and key in self._known:
            self._named[key] = named(self._known[key])
        return self._named.get(key)

    def name(self, key: str) -> str:
        """Return what a species is called."""
        found = self.species(key)
        return found.name if found is not None and found.name else name_of(key)

    def drawing(self, key: str) -> str:
        """Return the species as SVG; empty where it cannot be drawn."""
        if key not in self._drawn:
            found = self.species(key)
            self._drawn[key] = draw(found) if found is not None else ""
        return self._drawn[key]

    def equation(self, event: Event) -> str:
        """Return a reaction in words, e.g. ``EMC -> CO2 + C3H8O``."""
        return " → ".join(self._side(self._counted(keys)) for keys in (event.before, event.after))

    def _side(self, counted: Sequence[tuple[int, str]]) -> str:
        words = [self.name(key) if number == 1 else f"{number} {self.name(key)}" for number, key in counted]
        return " + ".join(words[:SIDE]) + (" + …" if len(words) > SIDE else "")

    def _counted(self, keys: Sequence[str]) -> tuple[tuple[int, str], ...]:
        counts = Counter(keys)
        return tuple((counts[key], key) for key in sorted(counts, key=lambda key: (-len(key), self.name(key))))

    def equations(self, runs: Sequence[Run]) -> list[Equation]:
        """Return the reactions of some trajectories, the most frequent first."""
        found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[float, Run, Event]]] = {}
        for run in runs:
            for event in run.findings.events:
                sides = (tuple(sorted(event.before)), tuple(sorted(event.after)))
                found.setdefault(sides, []).append((event.time_fs / 1000, run, event))
        made = []
        for (before, after), items in found.items():
            time, run, event = min(items, key=lambda item: item[0])
            counted = self._counted(before), self._counted(after)
            made.append(Equation(self.equation(event), *counted, len(items), time, run.name))
        return sorted(made, key=lambda item: (-item.count, item.first_ps))

    def kinds(self, runs: Sequence[Run]) -> list[Kind]:
        """Return the species that appeared or became more or fewer, those that appeared first."""
        changes: dict[str, list[tuple[str, int, int]]] = {}
        first: dict[str, tuple[float, str]] = {}
        for run in runs:
            for species in run.findings.species:
                seen = (species.first_time_fs or 0.0) / 1000
                new = not species.count_first and seen > 0
                if species.count_first == species.count_last and not new:
                    continue
                changes.setdefault(species.key, []).append((run.name, species.count_first, species.count_last))
                first[species.key] = min(first.get(species.key, (seen, run.name)), (seen, run.name))
        order = sorted(changes, key=lambda key: (-first[key][0] if not first[key][0] else 0, first[key][0]))
        return [
            Kind(found, self.drawing(key), tuple(changes[key]), *first[key])
            for key in order[:MOST_SPECIES]
            if (found := self.species(key)) is not None
        ]


def draw(species: Species) -> str:
    """Return a species as SVG without a background; empty where its SMILES cannot be drawn, or it is too large."""
    from rdkit import Chem, rdBase  # noqa: PLC0415 - RDKit takes a second to import
    from rdkit.Chem.Draw import rdMolDraw2D  # noqa: PLC0415

    if len(species.symbols) > MOST_ATOMS or not species.smiles:
        return ""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(species.smiles, sanitize=False)
        if molecule is None:
            return ""
        molecule.UpdatePropertyCache(strict=False)
        drawer = rdMolDraw2D.MolDraw2DSVG(*SIZE)
        options: Any = drawer.drawOptions()
        options.clearBackground = False
        options.padding = 0.08
        options.fixedBondLength = 26
        options.bondLineWidth = 1.6
        try:
            rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule, kekulize=False)
        except (ValueError, RuntimeError):
            return ""
        drawer.FinishDrawing()
        return _inline(drawer.GetDrawingText())


def _inline(svg: str) -> str:
    """Return an SVG file as an element of a page: no declaration, no name spaces of other programs."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s+xmlns:(rdkit|xlink)='[^']*'", "", body)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    return re.sub(r"\s+class='[^']*'", "", body).strip()


def time_line(liquids: Liquids, book: Book, equations: Sequence[Equation]) -> go.Figure | None:
    """Return when each reaction happened: a line for each trajectory, as long as it was."""
    runs = [run for run in liquids.runs if run.results("molecules") or run.findings.events]
    if not runs or not any(run.findings.events for run in runs):
        return None
    names = list(dict.fromkeys(run.name for run in runs))[::-1]
    made = figure(120 + 34 * len(names), margin={"l": 200, "t": 64, "b": 50})
    x, y = list[float | None](), list[float | None]()
    for run in runs:
        x += [0.0, run.findings.time_ps, None]
        y += [names.index(run.name)] * 2 + [None]
    made.add_scatter(
        x=x, y=y, mode="lines", line={"color": LINE, "width": 5}, name="length of the run", hoverinfo="skip"
    )
    look = _looks(equations)
    for text, (colour, symbol) in look.items():
        points = [
            (event.time_fs / 1000, names.index(run.name), f"{run.name}<br>step {event.step}: {told}")
            for run in runs
            for event in run.findings.events
            if (told := book.equation(event)) == text or (text == "others" and told not in look)
        ]
        if points:
            made.add_scatter(
                x=[time for time, _, _ in points], y=[row for _, row, _ in points], mode="markers", name=text,
                marker={"color": colour, "symbol": symbol, "size": 11, "line": {"color": "white", "width": 1}},
                text=[words for _, _, words in points], hovertemplate="%{text}<br>%{x:.4g} ps<extra></extra>",
            )  # fmt: skip
    made.update_xaxes(title_text="time [ps]", rangemode="tozero")
    made.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[-0.6, len(names) - 0.4], showgrid=False)
    rows = 1 + sum(len(text) for text in look) // 110
    made.update_layout(margin={"t": 40 + 20 * rows}, height=100 + 20 * rows + 34 * len(names))
    return made


def _looks(equations: Sequence[Equation]) -> Mapping[str, tuple[str, str]]:
    shown = [item.text for item in equations[:MOST_EQUATIONS]]
    looks = {text: (PALETTE[place], SYMBOLS[place]) for place, text in enumerate(dict.fromkeys(shown))}
    return {**looks, "others": (MUTED, "circle-open")} if len(equations) > MOST_EQUATIONS else looks
