"""Calcfunctions on data sets: thin wrappers, so that every set in the graph has a creator."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.finetuning import AuditOptions, CommitteeSettings, SplitSettings
from aiida_mlip.science.datasets.audit import Baseline, audit
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.splitting import split
from aiida_mlip.science.keys import CONFIG_TYPE
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


def _baseline(node: orm.ArrayData) -> Baseline:
    found = predictions_of(node)
    return Baseline(energies=found.energies, forces=found.forces, stresses=found.stresses)


@calcfunction
def audit_sets(settings: orm.Dict, **nodes: Any) -> orm.Dict:
    """Return the findings on one or more data sets.

    :param settings: of :class:`~aiida_mlip.schema.finetuning.AuditOptions`.
    :param nodes: data sets by name; the other sets are what ``training`` must not leak into. ``predictions_<name>``:
        the predictions of a baseline potential for that set. ``split``: the report of :func:`split_dataset`, so that
        findings also have the numbers of the frames in the data set that was split.
    :return: ``findings``, each with its ``set`` and perhaps ``dataset_frames``; ``not_judged`` and ``sets``.
    """
    options = AuditOptions(**settings.get_dict())
    sets = {name: list(node.frames()) for name, node in nodes.items() if isinstance(node, DatasetData)}
    origin = (
        {SET_NAMES[name]: numbers for name, numbers in nodes["split"]["frames"].items()} if "split" in nodes else {}
    )
    findings: list[dict[str, Any]] = []
    not_judged: dict[str, dict[str, str]] = {}
    for name, frames in sets.items():
        others = [atoms for other, held in sets.items() if other != name for atoms in held]
        node = nodes.get(f"predictions_{name}")
        report = audit(
            frames,
            settings=options.settings,
            baseline=_baseline(node) if node is not None else None,
            against=others if name == "training" and others else None,
        )
        not_judged[name] = report.not_judged
        for finding in report.findings:
            findings.append({"set": name, **finding.model_dump(mode="json")})
            if name in origin:
                findings[-1]["dataset_frames"] = [origin[name][index] for index in finding.frames]
    counts = {name: len(frames) for name, frames in sets.items()}
    return orm.Dict({"findings": findings, "not_judged": not_judged, "sets": counts})


@calcfunction
def bootstrap_dataset(dataset: DatasetData, committee: orm.Dict, member: orm.Int) -> DatasetData:
    """Return as many frames drawn with replacement; isolated atoms are all kept, once."""
    seed = CommitteeSettings(**committee.get_dict()).seed + member.value
    return _part(dataset, bootstrap(list(dataset.frames()), np.random.default_rng(seed)), f"bootstrap {member.value}")


@calcfunction
def select_types(dataset: DatasetData, config_types: orm.List) -> DatasetData:
    """Return the frames of the configuration types named.

    :raises DatasetError: where none is left.
    """
    names = set(config_types.get_list())
    chosen = [atoms for atoms in dataset.frames() if atoms.info.get(CONFIG_TYPE) in names]
    if not chosen:
        raise DatasetError(f"config_types = {sorted(names)}: no frame of {dataset.label or 'the data set'} has one")
    return _part(dataset, chosen, dataset.label)
