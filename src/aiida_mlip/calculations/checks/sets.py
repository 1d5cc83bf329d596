"""Checks of the data sets: the labels they carry, and that they do not overlap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiida_mlip.calculations.checks.wording import LabelledSet, describe, listed, refusal
from aiida_mlip.schema.training import Loss
from aiida_mlip.science import keys

_TERMS = (("energy_weight", keys.ENERGY), ("forces_weight", keys.FORCES), ("stress_weight", keys.STRESS))


def check_finite(sets: Mapping[str, LabelledSet | None]) -> Iterator[str]:
    """Refuse a data set with a NaN: mace would train with it, end with exit status 0, and save a NaN model."""
    for field, data in sets.items():
        if data is not None and data.not_finite:
            yield refusal(
                field,
                describe(data),
                f"configurations {listed(map(str, data.not_finite))} have a label or position that is NaN or infinite",
                "Remove or correct them: `aiida-mlip dataset audit` lists all",
            )


def check_labels(loss: Loss, sets: Mapping[str, LabelledSet | None]) -> Iterator[str]:
    """Refuse a data set that has none of the labels that a term of the loss needs.

    :param sets: input name -> data set.
    """
    for field, data in sets.items():
        if data is None:
            continue
        for term, key in _TERMS:
            weight, count = getattr(loss, term), data.labels.get(key, 0)
            if weight > 0 and count == 0:
                yield refusal(
                    field,
                    describe(data),
                    f"no configuration has {key}, which settings.loss.{term} = {weight} needs",
                    f"Label the configurations, or set settings.loss.{term} to 0",
                )
            elif weight > 0 and loss.kind == "huber" and count < len(data):
                yield refusal(
                    field,
                    describe(data),
                    f"{len(data) - count} configurations lack {key}, which mace's 'huber' loss takes for 0",
                    "Use settings.loss.kind = 'universal', or remove them",
                )


def check_validation(loss: Loss, validation: LabelledSet, cutoff: float) -> Iterator[str]:
    """Refuse a validation set that cannot tell a good model from a bad one.

    :param cutoff: of the potential [Å].
    """
    if len(validation.isolated_atoms(cutoff)) == len(validation):
        yield refusal(
            "validation_set",
            describe(validation),
            "it is empty without its isolated atoms",
            "Put configurations of the kinds that you want to be good at into validation_set",
        )
    elif loss.forces_weight > 0 and validation.max_force is not None and validation.max_force < 1e-8:
        yield refusal(
            "validation_set",
            describe(validation),
            "all its forces are 0, so that the choice of the best epoch would be blind to forces",
            "Add distorted configurations, or set settings.loss.forces_weight to 0",
        )


def check_replay_set(replay: LabelledSet) -> Iterator[str]:
    """Refuse a replay set of which a configuration has no energy or no forces."""
    if len(replay) < 2:
        yield refusal(
            "replay_set",
            describe(replay),
            "one configuration cannot be parted into training and validation",
            "Give at least two; hundreds are usual",
        )
    missing = [key for key in (keys.ENERGY, keys.FORCES) if replay.labels.get(key, 0) < len(replay)]
    if missing:
        counts = ", ".join(f"{replay.labels.get(key, 0)} of {len(replay)} have {key}" for key in missing)
        yield refusal(
            "replay_set",
            describe(replay),
            f"it is not labelled throughout ({counts}), and mace would train what is there only",
            "Label it with the foundation model first: mlip.evaluate with labelled = True",
        )


def check_overlap(first: LabelledSet, second: LabelledSet, fields: tuple[str, str]) -> Iterator[str]:
    """Refuse two data sets that share a geometry.

    :param fields: the input names of the two.
    """
    mine, theirs = first.fingerprints(), second.fingerprints()
    common = sorted(set(mine) & set(theirs), key=lambda digest: theirs[digest])
    if common:
        shown = ", ".join(str(theirs[digest]) for digest in common[:5]) + (", ..." if len(common) > 5 else "")
        yield refusal(
            fields[1],
            describe(second),
            f"{len(common)} of its configurations are in {fields[0]} too (numbers {shown}): its errors would flatter",
            "Split again so that no configuration is in both",
        )


def check_test_sets(tests: Mapping[str, LabelledSet]) -> Iterator[str]:
    """Refuse a test set without any label."""
    for name, data in tests.items():
        if not any(data.labels.values()):
            yield refusal(
                f"test_sets.{name}",
                describe(data),
                f"it has neither {keys.ENERGY} nor {keys.FORCES} nor {keys.STRESS}",
                "Label it, or leave it out and use mlip.evaluate for predictions",
            )


def check_alignment(align_on: str | None, sets: Mapping[str, LabelledSet]) -> Iterator[str]:
    """Refuse to fit energy shifts on a data set that is not there or has no energies."""
    if align_on is None:
        return
    if align_on not in sets:
        yield refusal(
            "settings.align_on", align_on, "there is no such data set", f"Name one of: {listed(sets)}; or None"
        )
    elif sets[align_on].labels.get(keys.ENERGY, 0) == 0:
        yield refusal(
            "settings.align_on",
            align_on,
            f"no configuration of this data set has {keys.ENERGY}",
            "Align on a data set with energies, or set align_on to None",
        )
