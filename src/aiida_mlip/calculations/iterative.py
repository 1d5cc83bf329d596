"""Calcfunctions of ``mlip.iterative_training``: the sets of each generation, and the settings that follow from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mlip.calculations.iterative_records import rungs_of
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.dynamics import MDSettings, StopRules, Walker
from aiida_mlip.schema.iterative import History, IterativeSettings
from aiida_mlip.schema.labelling import LabelSettings
from aiida_mlip.schema.selection import AbsoluteLevels, SelectionSettings
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.schema.uncertainty import UncertaintyResult, trust_levels
from aiida_mlip.science.augmentation import augment
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.isolated_atoms import is_isolated
from aiida_mlip.science.iterative.ladder import walker_name, walker_seed
from aiida_mlip.science.iterative.sets import apart_from, hold_out, validation_indices


def _settings(node: orm.Dict) -> IterativeSettings:
    return IterativeSettings(**node.get_dict())


def _history(node: orm.Dict) -> History:
    return History(**node.get_dict())


def _set(frames: list[Atoms], label: str, *sources: DatasetData | None) -> DatasetData:
    """Return a data set with the level of theory of what it was made from."""
    levels = {source.level_of_theory for source in sources if source is not None}
    node = DatasetData(frames, level_of_theory="; ".join(sorted(levels - {"unknown", "none"})) or "unknown")
    node.label = label
    return node


def labels_left(settings: IterativeSettings, used: int) -> int | None:
    """Return how many labels may still be asked for; None: any number."""
    return None if settings.label_budget is None else max(settings.label_budget - used, 0)


def elements_to_isolate(
    training: TrainSettings, labels: LabelSettings, configurations: DatasetData, given: DatasetData | None
) -> tuple[str, ...]:
    """Return the elements whose isolated atom is labelled with the first set.

    Those that the settings of the labels name, and those that the E0s need and the given set lacks.
    """
    asked = dict.fromkeys(labels.isolated_atoms)
    if training.e0_policy.kind != "isolated_atoms":
        return tuple(asked)
    cutoff = training.strategy.r_max if training.strategy.kind == "scratch" else 6.0
    known = {element for element, has_energy in given.isolated_atoms(cutoff) if has_energy} if given else set()
    return tuple(asked | dict.fromkeys(element for element in configurations.elements if element not in known))


@calcfunction
def start_configurations(
    structures: DatasetData,
    settings: orm.Dict,
    training: orm.Dict,
    labels: orm.Dict,
    training_set: DatasetData | None = None,
) -> DatasetData:
    """Return the configurations of the first set, without labels, as many as the label budget allows.

    Of more than that, a part is drawn at random; isolated atoms that the E0s need come first.

    :param labels: settings of the labels; isolated atoms that they name count too.
    :raises DatasetError: where the label budget does not suffice for one configuration.
    """
    options = _settings(settings)
    if options.augmentation is None:
        raise DatasetError("settings.augmentation is None: there is nothing to make a first set of")
    frames = augment(list(structures.frames()), **options.augmentation.model_dump())
    needed = elements_to_isolate(
        TrainSettings(**training.get_dict()), LabelSettings(**labels.get_dict()), structures, training_set
    )
    left = labels_left(options, len(needed))
    if left is not None and left < len(frames):
        if left == 0:
            raise DatasetError(
                f"settings.label_budget = {options.label_budget} leaves nothing for a first set besides "
                f"{len(needed)} isolated atoms: give more, or a labelled training_set"
            )
        chosen = np.random.default_rng(options.seed).choice(len(frames), size=left, replace=False)
        frames = [frames[index] for index in sorted(chosen.tolist())]
    return _set(frames, "first configurations, unlabelled")


@calcfunction
def start_label_settings(
    settings: orm.Dict, training: orm.Dict, configurations: DatasetData, training_set: DatasetData | None = None
) -> orm.Dict:
    """Return the settings with which the first set is labelled: with the isolated atoms that the E0s need."""
    options = LabelSettings(**settings.get_dict())
    isolated = elements_to_isolate(TrainSettings(**training.get_dict()), options, configurations, training_set)
    return orm.Dict(options.model_copy(update={"isolated_atoms": isolated}).model_dump(mode="json"))


@calcfunction
def generation_label_settings(settings: orm.Dict) -> orm.Dict:
    """Return the settings with which frames of the dynamics are labelled: isolated atoms were labelled before."""
    options = LabelSettings(**settings.get_dict())
    return orm.Dict(options.model_copy(update={"isolated_atoms": ()}).model_dump(mode="json"))


@calcfunction
def start_sets(settings: orm.Dict, **nodes: Any) -> dict[str, Any]:
    """Return the first ``training_set``, the ``holdout`` set and a ``report``.

    :param nodes: ``given`` and ``labelled``: data sets to put together, at least one; ``holdout``: the hold-out set,
        where the user has one, and then nothing is split off.
    :raises DatasetError: where nothing could be held out, or nothing is left to train on.
    """
    options = _settings(settings)
    sources = [nodes[name] for name in ("given", "labelled") if name in nodes]
    frames = [atoms for source in sources for atoms in source.frames()]
    warnings = _mixed_levels(sources)
    kept: list[int] = list(range(len(frames)))
    held: list[int] = []
    if "holdout" not in nodes:
        kept, held, more = hold_out(frames, options.holdout_fraction, options.seed)
        warnings += more
    others = list(nodes["holdout"].frames()) if "holdout" in nodes else [frames[index] for index in held]
    chosen = [frames[index] for index in kept]
    apart, near = apart_from(chosen, others) if others else (list(range(len(chosen))), [])
    if near:
        warnings.append(f"{len(near)} frames are near-duplicates of hold-out frames and are not trained on")
    if not apart:
        raise DatasetError("holdout: every configuration of the first set is in it, or nearly so; give others")
    made: dict[str, Any] = {"training_set": _set([chosen[index] for index in apart], "training set, start", *sources)}
    if held:
        made["holdout"] = _set([frames[index] for index in held], "hold-out set", *sources)
    return made | {"report": orm.Dict({"frames": len(frames), "holdout": held, "left_out": near, "warnings": warnings})}


def _mixed_levels(sources: list[DatasetData]) -> list[str]:
    levels = sorted({source.level_of_theory for source in sources})
    if len(levels) < 2:
        return []
    return [f"labels of different levels of theory are put together: {' and '.join(map(repr, levels))}"]


@calcfunction
def generation_sets(training_set: DatasetData, settings: orm.Dict) -> dict[str, Any]:
    """Return ``training`` and ``validation``; what validated in an earlier generation validates again.

    :raises DatasetError: where there is too little to divide.
    """
    options = _settings(settings)
    frames = list(training_set.frames())
    chosen = set(validation_indices(frames, options.validation_fraction, options.seed))
    parts = {"training": [], "validation": []}  # type: dict[str, list[Atoms]]
    for index, atoms in enumerate(frames):
        parts["validation" if index in chosen else "training"].append(atoms)
    return {name: _set(part, name, training_set) for name, part in parts.items()}


@calcfunction
def committee_of(settings: orm.Dict) -> orm.Dict:
    """Return how the members of a committee differ, from the settings of the loop."""
    return orm.Dict(settings["committee"])


@calcfunction
def fitting_batch(settings: orm.Dict, training: DatasetData) -> orm.Dict:
    """Return training settings whose batches are not larger than the training set, which mace refuses."""
    return orm.Dict({**settings.get_dict(), "batch_size": min(int(settings["batch_size"]), batch_limit(training))})


def batch_limit(training: DatasetData) -> int:
    """Return the largest batch that a training set fills."""
    return max(sum(not is_isolated(atoms) for atoms in training.frames()), 1)


def _levels(settings: IterativeSettings, uncertainty: orm.Dict) -> AbsoluteLevels:
    """Return the trust levels [eV/Å] of a generation from the results of ``mlip.uncertainty``."""
    known = {name: value for name, value in uncertainty.get_dict().items() if name in UncertaintyResult.model_fields}
    return trust_levels(settings.levels, UncertaintyResult(**known))


def walkers(settings: IterativeSettings, structures: int, generation: int, rungs: int) -> dict[str, Walker]:
    """Return the walkers of a generation: conditions x structures x copies, each with its own seed."""
    found: dict[str, Walker] = {}
    conditions = settings.conditions[:rungs]
    for condition in conditions:
        for structure in range(structures):
            for copy in range(settings.walkers):
                seed = walker_seed(settings.seed, generation, len(found))
                name = walker_name(condition.name, structure, copy)
                found[name] = Walker(structure=structure, stages=condition.stages, seed=seed)
    return found


@calcfunction
def md_settings(
    dynamics: orm.Dict, settings: orm.Dict, uncertainty: orm.Dict, history: orm.Dict, structures: DatasetData
) -> orm.Dict:
    """Return the settings of the dynamics of the next generation, with walkers, seeds and the limit of uncertainty.

    A walker is stopped above the upper trust level, unless the user gave a limit of his own.

    :param uncertainty: results of ``mlip.uncertainty``.
    """
    options, past = _settings(settings), _history(history)
    made = walkers(options, len(structures), len(past.generations) + 1, rungs_of(options, past))
    full = MDSettings(**{**dynamics.get_dict(), "walkers": made})
    if full.stop.uncertainty is None:
        stop = StopRules(**{**full.stop.model_dump(), "uncertainty": _levels(options, uncertainty).upper})
        full = full.model_copy(update={"stop": stop})
    return orm.Dict(full.model_dump(mode="json"))


@calcfunction
def selection_settings(choice: orm.Dict, settings: orm.Dict, uncertainty: orm.Dict, history: orm.Dict) -> orm.Dict:
    """Return the settings of the selection of the next generation: levels, budget and seed of its own."""
    options, past = _settings(settings), _history(history)
    levels = _levels(options, uncertainty)
    full = SelectionSettings(**{**choice.get_dict(), "levels": levels.model_dump()})
    generation = len(past.generations) + 1
    left = labels_left(options, past.labels_used)
    changes = {
        "generation": generation,
        "seed": walker_seed(full.seed, generation, 0),
        "budget": full.budget if left is None else max(min(full.budget, left), 1),
    }
    return orm.Dict(full.model_copy(update=changes).model_dump(mode="json"))


@calcfunction
def within_budget(selected: DatasetData, settings: orm.Dict, history: orm.Dict) -> DatasetData:
    """Return as many of the selected frames, the first ones, as the label budget still allows.

    :raises DatasetError: where it allows none.
    """
    left = labels_left(_settings(settings), _history(history).labels_used)
    frames = list(selected.frames())[:left]
    if not frames:
        raise DatasetError("settings.label_budget is used up: raise it to go on")
    return _set(frames, selected.label, selected)


@calcfunction
def extend_set(training_set: DatasetData, labelled: DatasetData, holdout: DatasetData | None = None) -> DatasetData:
    """Return the training set with the new labels behind it, without near-duplicates of hold-out frames."""
    new = list(labelled.frames())
    if holdout is not None:
        kept, _ = apart_from(new, list(holdout.frames()))
        new = [new[index] for index in kept]
    return _set([*training_set.frames(), *new], "training set", training_set, labelled)
