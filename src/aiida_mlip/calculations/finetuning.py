"""Calcfunctions of ``mlip.finetune``: the settings of members, the sets made for it, and the summary."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.calculations.datasets import predictions_of
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.finetuning import AcceptSettings, CommitteeSettings, ReplaySettings
from aiida_mlip.science.comparison import best_member, compare_tables, describe_row, worse_rows
from aiida_mlip.science.forgetting import drift, forgetting_frames
from aiida_mlip.science.replay import choose_frames, prototype_pool

FORGETTING = "forgetting"


@calcfunction
def member_numbers(committee: orm.Dict) -> dict[str, orm.Int]:
    """Return the number of each member, so that what differs between members has a creator."""
    return {member_name(number): orm.Int(number) for number in range(CommitteeSettings(**committee.get_dict()).size)}


def member_name(number: int) -> str:
    """Return what a member of a committee is called in the graph."""
    return f"member_{number:02d}"


@calcfunction
def member_settings(settings: orm.Dict, committee: orm.Dict, member: orm.Int) -> orm.Dict:
    """Return the training settings of one member: its own seed and, where asked for, its own learning rate."""
    options = CommitteeSettings(**committee.get_dict())
    changed = settings.get_dict()
    changed["seed"] = int(changed["seed"]) + member.value
    if "hyperparameters" in options.vary:
        factors = options.learning_rate_factors
        changed["learning_rate"] = float(changed["learning_rate"]) * factors[member.value % len(factors)]
    return orm.Dict(changed)


@calcfunction
def labelling_settings(settings: orm.Dict) -> orm.Dict:
    """Return the evaluation settings with which a potential labels configurations."""
    return orm.Dict({**settings.get_dict(), "labelled": True, "align_on": None})


@calcfunction
def aligned_settings(settings: orm.Dict) -> orm.Dict:
    """Return the evaluation settings with which energies are shifted per element, fitted on ``training``."""
    return orm.Dict({**settings.get_dict(), "align_on": "training"})


@calcfunction
def select_replay(potential: PotentialData, settings: orm.Dict, pool: DatasetData | None = None) -> DatasetData:
    """Return the configurations to replay, without labels: from the pool, or crystals of the potential's elements."""
    options = ReplaySettings(**settings.get_dict())
    if pool is None:
        frames = prototype_pool(potential.elements, options.num_frames, options.seed)
    else:
        frames = choose_frames(list(pool.frames()), potential.elements, options.num_frames, options.seed)
    return _labelled_as(DatasetData(frames, level_of_theory="none"), "replay set, unlabelled")


@calcfunction
def forgetting_set(potential: PotentialData, training: DatasetData) -> DatasetData:
    """Return common crystals of the potential's elements that are not trained, to measure what fine-tuning changed."""
    frames = forgetting_frames(potential.elements, exclude=training.elements)
    return _labelled_as(DatasetData(frames, level_of_theory="none"), "forgetting set")


@calcfunction
def summarize(accept: orm.Dict, evaluation_baseline: orm.Dict, **nodes: Any) -> orm.Dict:
    """Return before and after side by side.

    :param nodes: by prefix and member: ``evaluation_``, ``training_``, ``properties_`` (results), ``forgetting_``
        (predictions on ``forgetting_frames``).
    """
    options = AcceptSettings(**accept.get_dict())
    members = sorted(name.removeprefix("evaluation_") for name in nodes if name.startswith("evaluation_"))
    errors = {name: nodes[f"evaluation_{name}"]["errors"] for name in members}
    best = best_member({name: errors[name]["validation"] for name in members})
    before = evaluation_baseline["errors"]
    rows = {name: compare_tables(before[name], errors[best][name]) for name in before if name in errors[best]}
    worse = worse_rows(rows[options.on_set], options.max_ratio.model_dump(), options.floor.model_dump())
    forgetting = _forgetting(nodes, members)
    return orm.Dict(
        {
            "best": best,
            "members": members,
            "errors": rows,
            "properties": _properties(nodes, ["baseline", *members]),
            "forgetting": forgetting,
            "training": {name: nodes[f"training_{name}"].get_dict() for name in members if f"training_{name}" in nodes},
            "verdict": {
                "worse": [describe_row(row) for row in worse],
                "forgotten": _forgotten(forgetting.get(best), options.max_forgotten_forces),
            },
        }
    )


def _labelled_as(node: DatasetData, label: str) -> DatasetData:
    node.label = label
    return node


def _properties(nodes: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: nodes[f"properties_{name}"]["properties"] for name in names if f"properties_{name}" in nodes}


def _forgetting(nodes: dict[str, Any], members: list[str]) -> dict[str, Any]:
    """Return member -> how far its predictions moved from the foundation model's on the forgetting set."""
    if "forgetting_frames" not in nodes:
        return {}
    frames = list(nodes["forgetting_frames"].frames())
    reference = predictions_of(nodes["forgetting_baseline"])
    return {name: drift(frames, reference, predictions_of(nodes[f"forgetting_{name}"])) for name in members}


def _forgotten(result: dict[str, Any] | None, limit: float | None) -> list[str]:
    if result is None or limit is None:
        return []
    rmse = float(result["all"]["forces_rmse"])
    text = f"forces on other elements moved by {rmse:.3g} eV/angstrom, accepted are {limit:.3g}"
    return [text] if rmse > limit else []
