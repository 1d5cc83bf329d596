"""Checks of uncertainties: as many potentials as the kind needs, that fit together, and labels to calibrate on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiida_mlip.calculations.checks.dispersion import check_same_dispersion
from aiida_mlip.calculations.checks.potential import check_head
from aiida_mlip.calculations.checks.sets import check_finite, check_overlap
from aiida_mlip.calculations.checks.wording import LabelledSet, describe, listed, refusal
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.uncertainty import UncertaintySettings
from aiida_mlip.science import keys

LAST_LAYER = ("mace",)
"""Architectures with a last layer that the worker knows."""


def check_members(settings: UncertaintySettings, infos: Mapping[str, PotentialInfo]) -> Iterator[str]:
    """Refuse too few or too many potentials for the kind, and members that do not fit together or lack the head."""
    yield from check_same_dispersion(infos)
    kind, field = settings.method.kind, f"<{len(infos)} potentials: {listed(infos)}>"
    if kind == "deep" and len(infos) < 2:
        remedy = "Give at least two potentials, or use kind 'shallow' or 'last_layer_bayes'"
        yield refusal("potentials", field, "settings.method.kind = 'deep' is the spread of several", remedy)
    if kind != "deep" and len(infos) != 1:
        remedy = "Give that one only, or use kind 'deep'"
        yield refusal("potentials", field, f"settings.method.kind = {kind!r} is of one potential", remedy)
    elements = {name: set(info.elements) for name, info in infos.items()}
    for name, info in infos.items():
        if kind != "deep" and info.architecture not in LAST_LAYER:
            yield refusal(
                f"potentials.{name}",
                info.architecture,
                f"settings.method.kind = {kind!r} needs the last layer of a MACE potential",
                "Use kind 'deep' with several potentials",
            )
        if other := sorted(set.union(*elements.values()) - elements[name]):
            yield refusal(
                f"potentials.{name}",
                info.name or listed(info.elements),
                f"it lacks {listed(other)}, which another member knows",
                "Train all members on the same elements",
            )
        yield from check_head("settings.head", settings.head, info)


def check_uncertainty_sets(
    settings: UncertaintySettings,
    training: LabelledSet | None,
    calibration: LabelledSet | None,
    *,
    complete: bool,
) -> Iterator[str]:
    """Refuse sets that nothing can be fitted to or calibrated on.

    :param complete: whether a missing set is missing rather than not known yet.
    """
    kind = settings.method.kind
    yield from check_finite({"training_set": training, "calibration_set": calibration})
    if kind != "deep" and training is None and complete:
        yield refusal(
            "training_set",
            None,
            f"settings.method.kind = {kind!r} is fitted to it",
            "Give the data set that the potential was trained on, or use kind 'deep'",
        )
    if training is not None and calibration is not None:
        yield from check_overlap(training, calibration, ("training_set", "calibration_set"))
    for field, data in (("training_set", training), ("calibration_set", calibration)):
        if data is not None and (field == "calibration_set" or kind != "deep") and not data.labels.get(keys.FORCES, 0):
            yield refusal(
                field, describe(data), f"no configuration has {keys.FORCES}", "Label the configurations with forces"
            )
