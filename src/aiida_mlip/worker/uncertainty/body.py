"""The body of a MACE model: features whose linear combination is its energy, and their derivatives.

The readouts of a MACE model end in a linear map of each atom's features: of the scalars of a layer in the linear
readouts, and of the hidden layer in the nonlinear one. Summed over the atoms and put one after the other they are the
features ``f`` of a configuration, and E = w f + rest, where w are the weights of the head in use, and the rest (E0s,
pair repulsion, shifts) does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.science.predictions import FloatArray
from aiida_mlip.worker.backends import Potential
from aiida_mlip.worker.backends._torch import default_dtype
from aiida_mlip.worker.backends.mace import MacePotential

MODELS = ("MACE", "ScaleShiftMACE")


@dataclass(frozen=True)
class Pass:
    """One forward pass over a batch; its graph is kept, so that derivatives can be asked for.

    :param energies: total energies [eV], shape (frames,).
    :param features: tensor of shape (frames, features).
    :param interaction: tensor of the energies that are differentiated [eV], shape (frames,).
    :param positions: tensor that the energies are differentiated by, shape (atoms, 3).
    :param strain: tensor of shape (frames, 3, 3), or None where no stress is wanted.
    :param volumes: of the cells [Å^3], shape (frames,).
    """

    energies: FloatArray
    features: Any
    interaction: Any
    positions: Any
    strain: Any
    volumes: FloatArray

    def forces_along(self, weights: Any, *, last: bool) -> FloatArray:
        """Return minus the derivative of ``weights`` times the features by the positions, shape (atoms, 3)."""
        (found,) = torch.autograd.grad(self.features, self.positions, weights, retain_graph=not last, allow_unused=True)
        return np.zeros(tuple(self.positions.shape)) if found is None else -_array(found)

    def gradients(self, output: Any, cotangent: Any, *, last: bool) -> tuple[FloatArray, FloatArray | None]:
        """Return minus the derivative by the positions, shape (atoms, 3), and the one by strain over the volume.

        :param output: tensor to differentiate: ``interaction`` or ``features``.
        :param cotangent: what its entries are multiplied by before they are summed.
        :param last: whether the graph may be freed.
        :return: the second is in Voigt order, shape (frames, 6); None without a strain.
        """
        inputs = [self.positions] if self.strain is None else [self.positions, self.strain]
        found = torch.autograd.grad(output, inputs, cotangent, retain_graph=not last, allow_unused=True)
        arrays = [np.zeros(tuple(x.shape)) if g is None else _array(g) for g, x in zip(found, inputs, strict=True)]
        if self.strain is None:
            return -arrays[0], None
        full = arrays[1] / self.volumes[:, None, None]
        full = 0.5 * (full + full.transpose(0, 2, 1))
        return -arrays[0], full[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


class MaceBody:
    """A MACE model as a map from a configuration to features.

    :raises TaskError: of kind ``input`` where the potential is no MACE model, or ends in an unknown readout.
    """

    def __init__(self, potential: Potential) -> None:
        if not isinstance(potential, MacePotential) or type(potential.model).__name__ not in MODELS:
            raise TaskError(
                ErrorKind.INPUT,
                f"potentials: a potential of architecture {potential.info.architecture!r} has no last layer that is "
                "known here.",
                "Use kind 'deep' with several potentials, or a MACE potential.",
            )
        self.potential = potential
        self._head = potential.info.heads.index(potential.info.head)
        with default_dtype(potential.dtype):
            self._layers = [_LastLayer(readout, self._head) for readout in potential.model.readouts]
            scale = _scale(potential.model, self._head)
        self._scale = scale
        self.weights: FloatArray = np.concatenate([layer.weights for layer in self._layers])
        """The weights of the head in use, shape (features,); features carry the model's scale."""

    def run(self, frames: Sequence[Atoms], *, stress: bool = False) -> Pass:
        """Return one forward pass over all frames as one batch; call it within the potential's type."""
        batch = next(self.potential.batches(frames, len(frames)))
        data = batch.to_dict()
        positions = data["positions"].requires_grad_(True)
        with self._inputs_of_last_layers() as inputs:
            out = self.potential.model(data, compute_force=False, compute_displacement=stress)
        atoms = torch.cat([layer.select(x) for layer, x in zip(self._layers, inputs, strict=True)], dim=1)
        sums = torch.zeros((len(frames), atoms.shape[1]), dtype=atoms.dtype, device=atoms.device)
        volumes = np.array([frame.cell.volume if frame.pbc.all() else np.nan for frame in frames])
        return Pass(
            energies=self.potential.total_energies(out, frames),
            features=self._scale * sums.index_add(0, batch.batch, atoms),
            interaction=out.get("interaction_energy", out["energy"]),
            positions=positions,
            strain=out["displacement"] if stress else None,
            volumes=volumes,
        )

    @contextmanager
    def _inputs_of_last_layers(self) -> Iterator[list[Any]]:
        """Collect what goes into the last linear maps, in the order of the readouts."""
        found: list[Any] = []
        hooks = [
            layer.linear.register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0]))
            for layer in self._layers
        ]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()


class _LastLayer:
    """The last linear map of one readout, restricted to the scalars that reach one head."""

    def __init__(self, readout: Any, head: int) -> None:
        from mace.modules.irreps_tools import mask_head

        self.linear: Any = getattr(readout, "linear_2", None) or getattr(readout, "linear", None)
        if self.linear is None:
            raise TaskError(
                ErrorKind.INPUT,
                f"potentials: a readout {type(readout).__name__} has no last linear map that is known here.",
                "Use kind 'deep' with several potentials.",
            )
        size = int(self.linear.irreps_in.dim)
        device = next(self.linear.parameters()).device
        with torch.no_grad():
            nothing = self.linear(torch.zeros((1, size), device=device))
            columns = _array(self.linear(torch.eye(size, device=device)) - nothing)[:, head]
        reached = np.zeros(size, dtype=bool)
        for part, (_, irrep) in zip(self.linear.irreps_in.slices(), self.linear.irreps_in, strict=True):
            reached[part] = irrep.l == 0 and irrep.p == 1
        heads = int(getattr(readout, "num_heads", 1))
        if heads > 1:
            ones = torch.ones((1, size), device=device)
            reached &= _array(mask_head(ones, torch.tensor([head], device=device), heads))[0] > 0
        self._columns = torch.tensor(np.flatnonzero(reached), device=device)
        self.weights: FloatArray = columns[reached]

    def select(self, inputs: Any) -> Any:
        """Return the features of each atom that reach the head, shape (atoms, features)."""
        return inputs[:, self._columns]


def _scale(model: Any, head: int) -> float:
    """Return what the model multiplies the sum of its readouts by."""
    block = getattr(model, "scale_shift", None)
    return 1.0 if block is None else float(torch.atleast_1d(block.scale)[head])


def _array(tensor: Any) -> FloatArray:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=float)
