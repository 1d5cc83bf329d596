"""Committees in work chains: members that differ as asked, trained side by side, and those that came through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict

from aiida_mlip.calculations import datasets as dataset_functions
from aiida_mlip.calculations import finetuning as finetune_functions
from aiida_mlip.calculations.finetuning import member_name
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.reasons import reason_of

NOT_EXPOSED = tuple(
    f"train.{name}"
    for name in ("potential", "training_set", "validation_set", "test_sets", "replay_set", "restart_folder")
)
"""Inputs of ``mlip.train.base`` that a workflow fills in itself."""


def member_names(committee: Mapping[str, Any] | orm.Dict) -> list[str]:
    """Return the names of all members."""
    return [member_name(index) for index in range(int(committee["size"]))]


def member_inputs(train: AttributeDict, committee: orm.Dict, prefix: str = "") -> dict[str, AttributeDict]:
    """Return member -> inputs of its ``mlip.train``, varied as ``committee`` asks; one member alone is not varied.

    To be called inside a work chain: what differs between members is made by calcfunctions.

    :param train: inputs that all have in common; not changed.
    :param prefix: of the labels of the calls, e.g. ``g01_``.
    """
    names = member_names(committee)
    if len(names) == 1:
        return {names[0]: AttributeDict(train)}
    link = {"call_link_label": f"{prefix}member_numbers"}
    numbers = finetune_functions.member_numbers(committee, metadata=link)
    return {name: _varied(train, committee, numbers[name], f"{prefix}{{}}_{name[-2:]}") for name in names}


def _varied(train: AttributeDict, committee: orm.Dict, number: orm.Int, label: str) -> AttributeDict:
    varied = AttributeDict(train)
    varied.settings = finetune_functions.member_settings(
        train.settings, committee, number, metadata={"call_link_label": label.format("settings")}
    )
    if "bootstrap" in committee["vary"]:
        varied.training_set = dataset_functions.bootstrap_dataset(
            train.training_set, committee, number, metadata={"call_link_label": label.format("bootstrap")}
        )
    return varied


def trained(jobs: Mapping[str, orm.ProcessNode]) -> tuple[dict[str, PotentialData], str]:
    """Return the potentials of the members that were trained, and why the others were not, in words.

    :param jobs: member -> its ``mlip.train.base``, ended.
    """
    members = {
        name: job.outputs.potential for name, job in jobs.items() if job.is_finished_ok and "potential" in job.outputs
    }
    reasons = "; ".join(f"{name}: {reason_of(job)}" for name, job in jobs.items() if name not in members)
    return members, reasons
