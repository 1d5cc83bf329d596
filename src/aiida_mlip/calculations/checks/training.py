"""Checks of a training as a whole: settings, potential and data sets against one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ase.data import atomic_numbers

from aiida_mlip.calculations.checks.potential import check_head, check_potential, check_trainable
from aiida_mlip.calculations.checks.sets import (
    check_finite,
    check_labels,
    check_overlap,
    check_replay_set,
    check_test_sets,
    check_validation,
)
from aiida_mlip.calculations.checks.wording import LabelledSet, describe, listed, refusal
from aiida_mlip.schema import mace_options
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.science import keys

_TYPICAL_CUTOFF = 6.0


@dataclass(frozen=True)
class Training:
    """All that a training gets; None for what is not known yet."""

    settings: TrainSettings
    potential: PotentialInfo | None = None
    training: LabelledSet | None = None
    validation: LabelledSet | None = None
    replay: LabelledSet | None = None
    tests: Mapping[str, LabelledSet] = field(default_factory=dict)

    @property
    def cutoff(self) -> float:
        """Return the cut-off [Å] within which an isolated atom has no neighbour."""
        strategy = self.settings.strategy
        if strategy.kind == "scratch":
            return strategy.r_max
        return self.potential.r_max if self.potential is not None else _TYPICAL_CUTOFF

    @property
    def fitted(self) -> dict[str, LabelledSet | None]:
        """Return the sets whose labels enter a loss."""
        return {"training_set": self.training, "validation_set": self.validation}

    @property
    def sets(self) -> dict[str, LabelledSet | None]:
        """Return all data sets by input name."""
        tests = {f"test_sets.{name}": data for name, data in self.tests.items()}
        return {**self.fitted, "replay_set": self.replay, **tests}


def check_training(job: Training, *, complete: bool = True) -> list[str]:
    """Return everything that is wrong with a training.

    :param job: settings, potential and data sets.
    :param complete: whether what is None is missing rather than not known yet.
    """
    return [message for check in _CHECKS for message in check(job, complete)]


def check_extra(extra: Mapping[str, Any]) -> Iterator[str]:
    """Refuse further options that mace does not know, that a typed field sets, or that the worker has to set."""
    for name, value in extra.items():
        option = f"settings.extra.{name}"
        if name in mace_options.TYPED:
            typed = mace_options.TYPED[name]
            yield refusal(option, value, f"it contradicts settings.{typed}", f"Set settings.{typed} instead")
        elif name in mace_options.UNSUPPORTED:
            yield refusal(option, value, mace_options.UNSUPPORTED[name], "Remove it from settings.extra")
        elif name in mace_options.MANAGED:
            yield refusal(option, value, "the worker sets this option itself", "Remove it from settings.extra")
        elif name not in mace_options.OPTIONS:
            yield refusal(
                option,
                value,
                f"mace_run_train {mace_options.MACE_VERSION} has no such option",
                "Write its name as in `mace_run_train --help`, without the dashes",
            )


def _check_potential(job: Training, complete: bool) -> Iterator[str]:
    scratch = job.settings.strategy.kind == "scratch"
    if job.potential is None:
        if complete and not scratch:
            yield refusal(
                "potential",
                None,
                f"settings.strategy = {job.settings.strategy.kind!r} starts from one",
                "Give a PotentialData, e.g. from `aiida-mlip foundation install`, or use strategy 'scratch'",
            )
        return
    if scratch:
        yield refusal(
            "settings.strategy",
            "scratch",
            "it starts from random weights, and a potential was given",
            "Remove the potential, or use one of: naive, frozen, lora, replay",
        )
        return
    yield from check_trainable(job.potential)
    yield from check_potential(job.potential, job.sets)
    yield from check_head("settings.foundation_head", job.settings.foundation_head, job.potential)


def _check_replay(job: Training, complete: bool) -> Iterator[str]:
    wanted = job.settings.strategy.kind == "replay"
    if job.replay is None:
        if wanted and complete:
            yield refusal(
                "replay_set",
                None,
                "settings.strategy = 'replay' trains on one beside the training set",
                "Give a data set labelled by the foundation model, or use another strategy",
            )
        return
    if not wanted:
        yield refusal(
            "replay_set",
            describe(job.replay),
            f"settings.strategy = {job.settings.strategy.kind!r} would ignore it",
            "Remove it, or use strategy 'replay'",
        )
        return
    yield from check_replay_set(job.replay)


def _check_e0s(job: Training, _complete: bool) -> Iterator[str]:
    policy = job.settings.e0_policy
    needed = sorted({element for data in job.fitted.values() if data is not None for element in data.elements})
    if policy.kind == "explicit":
        if unknown := [symbol for symbol in policy.values if atomic_numbers.get(symbol, 0) < 1]:
            yield refusal(
                "settings.e0_policy.values",
                policy.values,
                f"{listed(unknown)}: not a chemical symbol",
                "Write the keys as in the periodic table, e.g. 'W'",
            )
        if missing := [symbol for symbol in needed if symbol not in policy.values]:
            yield refusal(
                "settings.e0_policy.values",
                policy.values,
                f"E0 of {listed(missing)} is missing",
                f"Add the energy [eV] of the isolated atom for {listed(missing)}",
            )
    if policy.kind == "isolated_atoms" and job.training is not None:
        found = {symbol for symbol, has_energy in job.training.isolated_atoms(job.cutoff) if has_energy}
        missing = [symbol for symbol in needed if symbol not in found]
        if missing:
            yield refusal(
                "settings.e0_policy",
                policy.kind,
                f"training_set has no isolated atom with an energy of {listed(missing)}",
                f"Add one configuration for each: a single atom with {keys.ENERGY} and no neighbour within "
                f"{job.cutoff} Å; or use another policy",
            )


def _check_batch(job: Training, _complete: bool) -> Iterator[str]:
    if job.training is None:
        return
    usable = len(job.training) - len(job.training.isolated_atoms(job.cutoff))
    processes = job.settings.distributed.num_processes if job.settings.distributed else 1
    available = (usable + (len(job.replay) if job.replay is not None else 0)) // processes
    if usable == 0:
        yield refusal(
            "training_set",
            describe(job.training),
            "it is empty without its isolated atoms",
            "Add configurations with more than one atom",
        )
    elif job.settings.batch_size > available:
        yield refusal(
            "settings.batch_size",
            job.settings.batch_size,
            f"there are {available} training configurations for each process (without isolated atoms), and mace leaves "
            "out a batch that is not full",
            f"Use at most {max(available, 1)}",
        )


def _check_sets(job: Training, _complete: bool) -> Iterator[str]:
    loss = job.settings.loss
    yield from check_finite(job.sets)
    yield from check_labels(loss, job.fitted)
    if job.validation is not None:
        yield from check_validation(loss, job.validation, job.cutoff)
    if job.training is not None and job.validation is not None:
        yield from check_overlap(job.training, job.validation, ("training_set", "validation_set"))
    yield from check_test_sets(job.tests)


def _check_kept_elements(job: Training, _complete: bool) -> Iterator[str]:
    """Refuse test sets of elements that the trained potential will not know."""
    scratch = job.settings.strategy.kind == "scratch"
    if job.training is None or job.validation is None or not (scratch or job.settings.keep_elements == "training"):
        return
    why = "settings.strategy = 'scratch'" if scratch else "settings.keep_elements = 'training'"
    used = (job.training, job.validation, *([job.replay] if job.replay is not None else []))
    kept = {element for data in used for element in data.elements}
    for name, data in job.tests.items():
        if missing := sorted(set(data.elements) - kept):
            yield refusal(
                f"test_sets.{name}",
                describe(data),
                f"with {why} the potential will not know {listed(missing)}",
                f"Add configurations with {listed(missing)} to training_set, or remove them here",
            )


def _check_config_types(job: Training, _complete: bool) -> Iterator[str]:
    weights = job.settings.loss.config_type_weights
    if weights and job.settings.loss.kind == "huber":
        yield refusal(
            "settings.loss.config_type_weights",
            weights,
            "mace's 'huber' loss ignores it",
            "Use settings.loss.kind = 'universal'",
        )
    if job.training is not None:
        known = {name for data in job.fitted.values() if data is not None for name in data.config_types}
        if unknown := [name for name in weights if name not in known]:
            yield refusal(
                "settings.loss.config_type_weights",
                weights,
                f"training_set has no config_type {listed(unknown)}",
                f"Its types are: {listed(sorted(known))}",
            )
    negative = {name: weight for name, weight in weights.items() if weight < 0}
    if negative:
        yield refusal(
            "settings.loss.config_type_weights", negative, "a weight is negative", "Use 0 to leave a type out"
        )


def _check_extra(job: Training, _complete: bool) -> Iterator[str]:
    yield from check_extra(job.settings.extra)


_CHECKS: tuple[Callable[[Training, bool], Iterator[str]], ...] = (
    _check_potential,
    _check_replay,
    _check_e0s,
    _check_batch,
    _check_sets,
    _check_kept_elements,
    _check_config_types,
    _check_extra,
)
