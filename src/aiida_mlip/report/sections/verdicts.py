"""The verdict on each potential: traffic lights of all checks under all conditions, why, and what is missing."""

from __future__ import annotations

from typing import Any

from aiida_mlip.report import lights
from aiida_mlip.report.electrolyte import STAGES, Liquids
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject
from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.conditions import in_words

MOST_REASONS = 6
"""Failures that are listed at once."""


def collect(subject: Subject) -> Content:
    """Return the tables of lights."""
    liquids = subject.liquids
    if liquids is None:
        return {}
    potentials = [_potential(liquids, name) for name in liquids.potentials]
    shown = [item for item in potentials if item["verdict"] is not None or item["blocks"]]
    names, force_rows = lights.force_rows(liquids.forces)
    if not shown and not force_rows:
        return {}
    told = lights.answers(liquids.runs, lambda result: result.aspect == "stability")
    return {
        "potentials": shown,
        "force_names": names,
        "force_rows": force_rows,
        "overview": _overview(liquids) if len(liquids.verdicts) > 1 else [],
        "names": list(liquids.verdicts),
        "told": told,
        "signs": lights.SIGNS,
        "kinds": lights.KINDS,
        "most": MOST_REASONS,
        "checks": _sources(told),
        "transfer": _transfer(liquids),
    }


def _potential(liquids: Liquids, name: str) -> dict[str, Any]:
    verdict = liquids.verdicts.get(name)
    table = lights.table_of(liquids.of(name), verdict)
    reasons = [
        {
            "where": in_words(reason.box, _stage(reason.stage), reason.temperature, reason.pressure),
            "title": lights.title_of(reason.check),
            "sentence": lights.readable(reason.sentence),
        }
        for reason in (verdict.reasons if verdict is not None else ())
    ]
    return {
        "name": name,
        "verdict": verdict,
        "reasons": reasons,
        "blocks": list(lights.blocks_of(table)) if table is not None else [],
    }


def _stage(name: str) -> str:
    return name.upper() if name in STAGES else name


def _overview(liquids: Liquids) -> list[dict[str, Any]]:
    """Return a row for each condition with the light of each potential, so that they stand side by side."""
    found: dict[Any, dict[str, lights.Light]] = {}
    for name, verdict in liquids.verdicts.items():
        table = lights.table_of(liquids.of(name), verdict)
        for condition, light in zip(table.conditions, table.totals, strict=True) if table is not None else ():
            if light is not None:
                found.setdefault(condition, {})[name] = light
    return [
        {"where": condition.words, "lights": [found[condition].get(name) for name in liquids.verdicts]}
        for condition in sorted(found, key=lambda item: item.rank)
    ]


def _transfer(liquids: Liquids) -> list[lights.Answer]:
    return [
        lights.Answer(name, "", result) for name, verdict in liquids.verdicts.items() for result in verdict.transfer
    ]


def _sources(told: list[lights.Answer]) -> list[dict[str, str]]:
    """Return how each check that said something is computed, and where its limits are from."""
    names = dict.fromkeys(item.result.check for item in told)
    return [
        {"title": checks.get(name).title, "formula": checks.get(name).formula, "source": checks.get(name).source}
        for name in names
        if name in checks.names()
    ]


SECTION = Section("Verdict", collect)
