"""Summaries as ``mlip.defects`` writes them, computed here with the potentials of Finnis and Sinclair.

The second potential is the first one scaled: its lattice constants are the same, its energies and elastic constants
smaller by a factor that is known. Curves and dislocations, which take longer, are invented.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from ase.calculators.calculator import all_changes

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.science import properties, reference
from aiida_mlip.science.tolerances import grade
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair

SCALE = 0.7
REFERENCE = reference.load()
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "eos": {"phases": ["fcc", "A15"], "points": 5},
    "elastic": {},
    "vacancy": {"sizes": [2, 3]},
}


class Scaled(FinnisSinclair):
    """The same crystal with weaker bonds."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {key: SCALE * value for key, value in self.results.items()}


POTENTIALS = {"fs": FinnisSinclair, "fs_soft": Scaled}


@cache
def _case(potential: str, element: str, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, tuple[Atoms, ...]]]:
    records, structures = {}, {}
    for name in names:
        inputs = {"element": element, "structure": "bcc", **SETTINGS[name]}
        record, kept = properties.compute(properties.get(name), inputs, POTENTIALS[potential]())
        assert record.error is None, record.error
        records[name], structures[name] = record.model_dump(mode="json"), kept
    return records, structures


def invented(element: str, strength: float) -> dict[str, Any]:
    """Return records of curves and dislocations: the published ones, times ``strength``."""
    known = {key: REFERENCE.get(element, key) for key in REFERENCE.keys(element)}
    x = np.linspace(0, 1, 21)

    def record(name: str, keys: Mapping[str, str], curves: Mapping[str, str], **extra: Any) -> dict[str, Any]:
        rows = [{"key": k, "value": known[k].value * strength, "unit": known[k].unit, "label": label}
                for k, label in keys.items() if k in known]  # fmt: skip
        lines = []
        for key, label in curves.items():
            curve = REFERENCE.curve(element, key)
            if curve is not None:
                y = strength * max(curve.y) * np.sin(np.pi * x) ** 2
                lines.append({"key": key, "label": label, "x": x.tolist(), "y": y.tolist(), "x_label": "displacement",
                              "x_unit": curve.x_unit, "y_label": "energy", "y_unit": curve.y_unit})  # fmt: skip
        return {"property": name, "inputs": {"element": element, "structure": "bcc"}, "result": {}, "error": None,
                "quantities": rows, "series": lines, "flags": [], "force_calls": 210, "atom_calls": 25200,
                "seconds": 310.5, **extra}  # fmt: skip

    hump = {"name": "camel_hump", "message": "the middle of the path is 4.1 meV per b below its ends", "unusable": True}
    return {
        "interstitial": record("interstitial", {"interstitial_formation_111": "E_f (<111> dumbbell)"}, {}),
        "gamma_line": record(
            "gamma_line",
            {"gamma_max_110": "γ_max {110}", "gamma_max_112": "γ_max {112}"},
            {"gamma_110": "γ line on {110}", "gamma_112": "γ line on {112}"},
        ),
        "screw_dislocation": record(
            "screw_dislocation", {"screw_glide_barrier": "Peierls barrier"}, {"screw_glide": "glide of a screw"},
            flags=[hump] if strength < 0.6 else [],
        ),
    }  # fmt: skip


def summary(
    elements: Sequence[str] = ("W", "Mo", "Nb", "Ta"),
    potentials: Sequence[str] = ("fs", "fs_soft"),
    *,
    names: tuple[str, ...] = ("eos", "elastic", "vacancy"),
    uuids: Mapping[str, str] | None = None,
    more: bool = True,
) -> tuple[dict[str, Any], dict[tuple[str, str, str], tuple[Atoms, ...]]]:
    """Return a summary, and (potential, element, property) -> structures.

    :param more: add the invented records, and one failure and one skipped property.
    """
    cases: dict[str, Any] = {}
    structures = {}
    for potential in potentials:
        for element in elements:
            records, kept = _case(potential, element, names)
            records, failed = dict(records), {}
            if more and element in REFERENCE.elements:
                records |= invented(element, 0.9 if potential == "fs" else 0.55)
            elif more:
                failed["screw_dislocation"] = {
                    "type": "UnstableConstants",
                    "message": "C44 = -15.9 GPa: a dislocation in an unstable crystal has no elastic solution",
                }
            if more and element == "Mo":
                failed["surface"] = {"type": "PropertyError", "message": "surface 710: no convergence in 200 steps"}
            cases.setdefault(potential, {})[element] = {"records": records, "failed": failed, "jobs": {}}
            structures |= {(potential, element, name): frames for name, frames in kept.items()}
    made = {
        "elements": list(elements),
        "potentials": {
            name: {"uuid": (uuids or {}).get(name, ""), "label": f"Finnis-Sinclair {name}",
                   "architecture": "finnis_sinclair", "level_of_theory": "none"} for name in potentials
        },
        "cases": cases,
        "reference": {element: references(element) for element in elements if element in REFERENCE.elements},
    }  # fmt: skip
    return {**made, "deviations": deviations(made)}, structures


def references(element: str) -> dict[str, Any]:
    """Return what is published of an element, as the summary holds it."""
    curves = ("eos_BCC", "eos_FCC", "eos_A15", "gamma_110", "gamma_112", "screw_glide")
    return {
        "values": {key: REFERENCE.get(element, key).model_dump(mode="json") for key in REFERENCE.keys(element)},
        "curves": {
            key: curve.model_dump(mode="json") for key in curves if (curve := REFERENCE.curve(element, key)) is not None
        },
    }


def deviations(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return potential -> element -> key -> deviation and grade."""
    found: dict[str, Any] = {}
    for potential, of_potential in made["cases"].items():
        for element, case in of_potential.items():
            known = made["reference"].get(element, {}).get("values", {})
            for record in case["records"].values():
                for item in record["quantities"]:
                    if item["key"] in known:
                        value, entry = item["value"], known[item["key"]]["value"]
                        found.setdefault(potential, {}).setdefault(element, {}).setdefault(
                            item["key"],
                            {"value": value, "reference": entry, "unit": item["unit"], "deviation": value - entry,
                             "relative": value / entry - 1, "grade": grade(item["key"], value, entry)},
                        )  # fmt: skip
    return found


def node(
    graphs: ModuleType, *, status: int = 0, message: str = "", trained: bool = False, **options: Any
) -> orm.WorkChainNode:
    """Store a finished ``mlip.defects`` with its potentials, summary and structures.

    :param trained: the second potential was trained from the first one, on tungsten.
    """
    names = options.get("potentials", tuple(POTENTIALS))
    nodes = {name: graphs.potential(name, architecture="finnis_sinclair") for name in names}
    first = nodes[names[0]].store()
    if trained:
        data = DatasetData([graphs.tungsten(i, "vacancy") for i in range(4)], level_of_theory="PBE").store()
        job = graphs.start(orm.CalcJobNode, "TrainCalculation", {"potential": first, "training_set": data},
                           kind="aiida.calculations:mlip.train")  # fmt: skip
        graphs.end(job, {"potential": nodes[names[1]]})
    for item in nodes.values():
        item.store()
    content, structures = summary(uuids={name: item.uuid for name, item in nodes.items()}, **options)
    chain = graphs.start(
        orm.WorkChainNode, "DefectsWorkChain", {f"potentials__{name}": item for name, item in nodes.items()},
        kind="aiida.workflows:mlip.defects", label_text="bcc metals, two potentials",
    )  # fmt: skip
    outputs: dict[str, orm.Data] = {"summary": orm.Dict(content).store()}
    for (potential, element, name), frames in structures.items():
        data = DatasetData(list(frames), level_of_theory="structures of a property").store()
        outputs[f"structures__{potential}__{element}__{name}"] = data
    return graphs.end(chain, outputs, status, message)
