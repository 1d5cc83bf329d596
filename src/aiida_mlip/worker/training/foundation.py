"""The foundation model, made ready for mace: one head, the asked floating-point type, reference energies in one row."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.worker.backends import sha256_of
from aiida_mlip.worker.backends._torch import TORCH_DTYPES, default_dtype
from aiida_mlip.worker.backends.mace import MacePotential, bind, describe, read_model

SAME_ENERGY = 1e-4
"""Largest difference [eV/atom] between the model with all heads and with one, in float32."""


@dataclass(frozen=True)
class FoundationModel:
    """A foundation model with one head.

    :param path: the file that mace reads.
    :param potential: the same model, bound for evaluation.
    :param head: the head of the original file that was kept.
    :param source: the description of the original file.
    """

    path: Path
    potential: MacePotential
    head: str
    source: PotentialInfo


def prepare_foundation(
    path: Path, info: PotentialInfo | None, settings: TrainSettings, target: Path, probes: Sequence[Atoms]
) -> FoundationModel:
    """Read a foundation model and write the file that mace fine-tunes.

    :param info: its description; a checksum in it has to be that of the file.
    :param target: the file to write.
    :param probes: frames on which the model with one head is compared with the original.
    :raises TaskError: of kind ``input`` where the file is another one, of an unknown kind, or lacks the head.
    """
    digest = sha256_of(path)
    if info and info.sha256 and info.sha256 != digest:
        raise TaskError(
            ErrorKind.INPUT,
            f"{path.name} has sha256 {digest[:12]}..., its description says {info.sha256[:12]}....",
            "Upload the file that the description is of.",
        )
    model = read_model(path)
    found = describe(model, sha256=digest)
    head = settings.foundation_head or (info.head if info else found.head)
    _refuse(model, found, head)
    single = _one_head(model, head, probes) if len(found.heads) > 1 else model
    single = deepcopy(single).to(device="cpu", dtype=TORCH_DTYPES[settings.dtype])
    _flatten_reference_energies(single)
    torch.save(single, target)
    potential = bind(single, device=settings.device, dtype=settings.dtype, head=None)
    return FoundationModel(target, potential, head, found)


def _refuse(model: Any, found: PotentialInfo, head: str) -> None:
    if type(model).__name__ != "ScaleShiftMACE":
        raise TaskError(
            ErrorKind.INPUT,
            f"The foundation model is a {type(model).__name__}.",
            "Only models of class ScaleShiftMACE (MACE-MP, MPA, OMAT, MatPES, OFF) can be fine-tuned here.",
        )
    if hasattr(model, "joint_embedding"):
        raise TaskError(
            ErrorKind.INPUT,
            "The foundation model is conditioned on charge or spin (it has a joint embedding).",
            "The data sets here hold no such labels: use a model without.",
        )
    if head not in found.heads:
        raise TaskError(
            ErrorKind.INPUT,
            f"foundation_head = {head!r} is not in the foundation model.",
            f"Its heads are: {', '.join(found.heads)}.",
        )


def _one_head(model: Any, head: str, probes: Sequence[Atoms]) -> Any:
    """Return the model with one head only, after a check that it says the same as before.

    :raises TaskError: of kind ``strategy`` where mace's removal of heads changed the energies.
    """
    from mace.tools.scripts_utils import remove_pt_head

    dtype = describe(model).dtype
    with default_dtype(dtype):
        single = remove_pt_head(deepcopy(model), head).to(dtype=TORCH_DTYPES[dtype])
    before = bind(deepcopy(model), dtype=dtype, head=head).energies(probes)
    after = bind(deepcopy(single), dtype=dtype, head=head).energies(probes)
    difference = float(np.max(np.abs(before - after) / [len(atoms) for atoms in probes]))
    if not difference < SAME_ENERGY:
        raise TaskError(
            ErrorKind.STRATEGY,
            f"Taking head {head!r} out of the foundation model changed its energies by {difference:.2g} eV/atom.",
            "Extract the head with mace_select_head and use the result as foundation model.",
        )
    return single


def _flatten_reference_energies(model: Any) -> None:
    """Give the buffer of E0s another shape than in any new model.

    mace copies every tensor of the foundation model whose name and shape agree, E0s included, over what was asked.
    """
    block = model.atomic_energies_fn
    block.atomic_energies = block.atomic_energies.detach().flatten().clone()
