"""Load what a job runs on: one potential or a committee, with its calibrated uncertainty where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.science.uncertainty.model import UncertaintyModel
from aiida_mlip.worker.backends import Potential, load_potential, sha256_of
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.uncertainty import Estimator
from aiida_mlip.worker.uncertainty.committee import CommitteeEstimator, PlainEstimator
from aiida_mlip.worker.uncertainty.dispersion import DispersionEstimator, bare

ROLE = "potential_"
"""Role of a member's file in the job: this and its name."""


def load_estimator(context: Context, *, device: Device, dtype: Dtype, head: str | None) -> Estimator:
    """Return the estimator of a job.

    Files: ``potential_<member>`` for each member, or ``potential``; and ``uncertainty``, where there is one. Without
    it, one potential has no uncertainty, and several are a deep committee with raw spreads.

    :raises TaskError: of kind ``input`` where a file is missing or damaged, or the uncertainty belongs to others.
    """
    potentials = load_members(context, device=device, dtype=dtype, head=head)
    if "uncertainty" not in context.job.files:
        return estimator_of(list(potentials.values()))
    model = _read(context.path("uncertainty"))
    _check_ownership(model, [sha256_of(path) for path in member_files(context).values()], potentials)
    return estimator_of(list(potentials.values()), model)


def member_files(context: Context) -> dict[str, Path]:
    """Return member -> model file, in the order of the names."""
    roles = sorted(role for role in context.job.files if role.startswith(ROLE)) or ["potential"]
    return {role.removeprefix(ROLE): context.path(role) for role in roles}


def load_members(context: Context, *, device: Device, dtype: Dtype, head: str | None) -> dict[str, Potential]:
    """Return member -> potential, in the order of the names."""
    infos = context.job.potentials
    return {
        name: load_potential(path, infos.get(name, context.job.potential), device=device, dtype=dtype, head=head)
        for name, path in member_files(context).items()
    }


def estimator_of(loaded: Sequence[Potential], model: UncertaintyModel | None = None) -> Estimator:
    """Return the estimator of potentials in memory.

    :raises TaskError: of kind ``input`` where the uncertainty is of a kind that these potentials cannot have, or the
        members differ in the dispersion that is added.
    """
    potentials, d3 = bare(loaded)
    estimator = _bare_estimator(potentials, model)
    return estimator if d3 is None else DispersionEstimator(estimator, loaded[0].info, d3)


def _bare_estimator(potentials: Sequence[Potential], model: UncertaintyModel | None) -> Estimator:
    if model is None or model.header.kind == "deep":
        return PlainEstimator(potentials[0]) if len(potentials) == 1 else CommitteeEstimator(potentials, model)
    from aiida_mlip.worker.uncertainty.last_layer import LastLayerEstimator  # torch only where it is needed

    return LastLayerEstimator(potentials[0], model)


def _read(path: Path) -> UncertaintyModel:
    try:
        return UncertaintyModel.read(path)
    except ValueError as error:
        raise TaskError(ErrorKind.INPUT, f"files['uncertainty']: {error}.", "Run mlip.uncertainty again.") from error


def _check_ownership(model: UncertaintyModel, found: Sequence[str], potentials: Mapping[str, Potential]) -> None:
    """Raise where an uncertainty was made for other potentials, or for another head."""
    if tuple(found) != model.header.sha256:
        expected, given = (", ".join(item[:12] for item in items) for items in (model.header.sha256, found))
        raise TaskError(
            ErrorKind.INPUT,
            f"files['uncertainty'] belongs to potentials with sha256 {expected}, and given are {given}.",
            "Run mlip.uncertainty for these potentials, with the same names of the members.",
        )
    for name, potential in potentials.items():
        if potential.info.head != model.header.head:
            raise TaskError(
                ErrorKind.INPUT,
                f"files['uncertainty'] belongs to head {model.header.head!r}, and {name} uses {potential.info.head!r}.",
                "Set settings.head to the head of the uncertainty, or run mlip.uncertainty for this one.",
            )
