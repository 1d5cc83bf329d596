"""An uncertainty and its calibration in a few sentences and numbers."""

from __future__ import annotations

from collections.abc import Iterator

from aiida_mlip.report.calibration import result_of
from aiida_mlip.report.cards import Card, card
from aiida_mlip.report.numbers import significant
from aiida_mlip.report.subject import Subject

KINDS = {
    "deep": "a committee of {members} independent potentials",
    "shallow": "{members} readouts of the last layer of one potential",
    "last_layer_bayes": "the last-layer features of one potential in closed form ({members} samples for forces)",
}
"""Kind of an uncertainty -> where it is from."""


def sentences(subject: Subject) -> Iterator[str]:
    """Yield what the uncertainty is from, and how well it ranks and covers the errors of forces."""
    result = result_of(subject.node)
    if result is None:
        return
    source = KINDS.get(result.kind, result.kind).format(members=result.members)
    forces = result.forces
    rank = "no rank correlation" if forces.rank_correlation is None else f"{forces.rank_correlation:.2f}"
    yield (
        f"The uncertainty is from {source}. On {forces.count} forces of the calibration set its rank correlation with "
        f"the true error is {rank}; it was multiplied by {significant(forces.scale)}."
    )
    yield (
        f"Within one sigma lie {100 * forces.coverage_after:.0f} % of the errors ({100 * forces.coverage_before:.0f} % "
        f"before scaling); a Gaussian error of the same size would give {100 * forces.expected_coverage:.0f} %."
    )


def cards(subject: Subject) -> Iterator[Card]:
    """Yield the rank correlations, the scale and the typical size."""
    result = result_of(subject.node)
    if result is None:
        return
    for name, item in (("force", result.forces), ("largest force", result.max_force), ("energy", result.energy)):
        if item is not None and item.rank_correlation is not None:
            number = f"{item.rank_correlation:.2f}".replace("-", "−")
            yield card(f"Rank correlation, {name}", number, "", f"Spearman, {item.count} pairs")
    yield card("Scale of forces", significant(result.forces.scale), "", "factor on the raw uncertainty")
    typical = significant(result.median_max_forces_sigma * 1e3)
    yield card("Largest force uncertainty", typical, "meV/Å", "median over the frames")
