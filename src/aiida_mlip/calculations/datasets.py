"""Calcfunctions on data sets: thin wrappers, so that every set in the graph has a creator."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.finetuning import AuditOptions, CommitteeSettings, SplitSettings
from aiida_mlip.science.datasets.audit import Baseline, audit
from aiida_mlip.science.datasets.splitting import split
from aiida_mlip.science.parity import predictions_from
from aiida_mlip.science.predictions import Predictions
from aiida_mlip.science.resampling import bootstrap

SET_NAMES = {"train": "training", "valid": "validation", "test": "test"}


def _part(dataset: DatasetData, frames: list[Any], label: str) -> DatasetData:
    part = DatasetData(frames, level_of_theory=dataset.level_of_theory)
    part.label = label
    return part


@calcfunction
def split_dataset(dataset: DatasetData, settings: orm.Dict) -> dict[str, Any]:
    """Return ``training``, ``validation``, ``test`` (where not empty) and a ``report`` of how it was done."""
    frames = list(dataset.frames())
    options = SplitSettings(**settings.get_dict())
    result = split(frames, fractions=options, seed=options.seed, by_group=options.by_group)
    parts = {SET_NAMES[name]: [frames[i] for i in indices] for name, indices in result.items() if indices}
    nodes: dict[str, Any] = {name: _part(dataset, chosen, name) for name, chosen in parts.items()}
    return nodes | {"report": orm.Dict({"frames": dict(result), "warnings": result.warnings})}


def predictions_of(node: orm.ArrayData) -> Predictions:
    """Return the predictions that ``mlip.evaluate`` stored."""
    return predictions_from({name: node.get_array(name) for name in node.get_arraynames()})


@calcfunction
def audit_sets(settings: orm.Dict, **nodes: Any) -> orm.Dict:
    """Return the findings on one or more data sets.

    :param settings: of :class:`~aiida_mlip.schema.finetuning.AuditOptions`.
    :param nodes: data sets by name; the other sets are what ``training`` must not leak into. ``predictions_<name>``:
        the predictions of a baseline potential for that set.
    """
    options = AuditOptions(**settings.get_dict())
    sets = {name: list(node.frames()) for name, node in nodes.items() if isinstance(node, DatasetData)}
    findings = []
    for name, frames in sets.items():
        others = (
            [atoms for other, held in sets.items() if other != name for atoms in held] if name == "training" else None
        )
        node = nodes.get(f"predictions_{name}")
        baseline = Baseline.from_predictions(predictions_of(node)) if node is not None else None
        report = audit(frames, settings=options.settings, baseline=baseline, against=others)
        findings += [{"set": name, **finding.model_dump(mode="json")} for finding in report.findings]
    return orm.Dict({"findings": findings, "sets": {name: len(frames) for name, frames in sets.items()}})


@calcfunction
def bootstrap_dataset(dataset: DatasetData, committee: orm.Dict, member: orm.Int) -> DatasetData:
    """Return as many frames drawn with replacement; isolated atoms are all kept, once."""
    seed = CommitteeSettings(**committee.get_dict()).seed + member.value
    return _part(dataset, bootstrap(list(dataset.frames()), np.random.default_rng(seed)), f"bootstrap {member.value}")
