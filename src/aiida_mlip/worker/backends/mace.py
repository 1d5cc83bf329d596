"""MACE models: description, loading, and evaluation in batches with mace's own graphs and data loader.

A model file is a pickle: loading it runs code. The caller has to know where the file comes from (its checksum is in
:class:`~aiida_mlip.schema.potential.PotentialInfo`).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from typing_extensions import override

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import DEFAULT_HEAD, Device, Dtype, PotentialInfo
from aiida_mlip.schema.training import REPLAY_HEAD
from aiida_mlip.science.predictions import FloatArray, Predictions
from aiida_mlip.worker.backends import Backend, ProgressCallback, refuse_unknown_elements, sha256_of
from aiida_mlip.worker.backends._torch import TORCH_DTYPES, default_dtype, require_device


class MacePotential:
    """A MACE model on a device, in one floating-point type, for one head."""

    def __init__(self, model: Any, info: PotentialInfo, device: Device, dtype: Dtype) -> None:
        self.model = model
        self.info = info
        self.device = device
        self.dtype = dtype
        self._e0s = np.zeros(len(chemical_symbols))
        for symbol, value in info.e0s[info.head].items():
            self._e0s[chemical_symbols.index(symbol)] = value

    def calculator(self) -> Calculator:
        """Return mace's own ASE calculator for the head in use."""
        from mace.calculators import MACECalculator

        return MACECalculator(models=[self.model], device=self.device, default_dtype=self.dtype, head=self.info.head)

    def evaluate(
        self,
        frames: Sequence[Atoms],
        *,
        batch_size: int = 8,
        stress: bool = True,
        descriptors: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> Predictions:
        """See :class:`aiida_mlip.worker.backends.Potential`."""
        refuse_unknown_elements(frames, self.info.elements, what="the model")
        energies, forces = np.zeros(len(frames)), []
        stresses = np.full((len(frames), 6), np.nan)
        features: list[FloatArray] = []
        done = 0
        with default_dtype(self.dtype):
            for batch in self.batches(frames, batch_size):
                out = self.model(batch.to_dict(), compute_force=True, compute_stress=stress, training=False)
                ends = np.cumsum(np.diff(_array(batch.ptr)).astype(int))
                size = len(ends)
                energies[done : done + size] = self.total_energies(out, frames[done : done + size])
                forces.extend(np.split(_array(out["forces"]), ends[:-1]))
                if stress:
                    stresses[done : done + size] = _voigt(_array(out["stress"]))
                if descriptors:
                    features.extend(
                        part.mean(axis=0) for part in np.split(_invariants(self.model, out["node_feats"]), ends[:-1])
                    )
                done += size
                if on_progress:
                    on_progress(done)
        stresses[[not frame.pbc.all() for frame in frames]] = np.nan
        return Predictions(energies, forces, stresses, np.array(features) if descriptors else None)

    def energies(self, frames: Sequence[Atoms], *, batch_size: int = 8) -> FloatArray:
        """Return total energies [eV] only, which is several times cheaper than :meth:`evaluate`."""
        refuse_unknown_elements(frames, self.info.elements, what="the model")
        parts: list[FloatArray] = []
        with default_dtype(self.dtype), torch.no_grad():
            for batch in self.batches(frames, batch_size):
                out = self.model(batch.to_dict(), compute_force=False, training=False)
                done = sum(len(part) for part in parts)
                parts.append(self.total_energies(out, frames[done : done + batch.num_graphs]))
        return np.concatenate(parts) if parts else np.zeros(0)

    def atomic_descriptors(self, frames: Sequence[Atoms], *, batch_size: int = 8) -> Iterator[FloatArray]:
        """See :class:`aiida_mlip.worker.descriptors.Describes`: the invariant node features of all layers."""
        refuse_unknown_elements(frames, self.info.elements, what="the model")
        for start in range(0, len(frames), batch_size):
            with default_dtype(self.dtype), torch.no_grad():
                for batch in self.batches(frames[start : start + batch_size], batch_size):
                    out = self.model(batch.to_dict(), compute_force=False, training=False)
                    ends = np.cumsum(np.diff(_array(batch.ptr)).astype(int))
                    parts = np.split(_invariants(self.model, out["node_feats"]), ends[:-1])
            yield from parts

    def total_energies(self, out: dict[str, Any], frames: Sequence[Atoms]) -> FloatArray:
        """Return total energies [eV] of an output of the model, shape (frames,), with E0s summed in double precision.

        E0s of pseudopotentials are thousands of eV; a sum over a hundred atoms has steps of 0.03 eV in float32.
        """
        if "interaction_energy" not in out:
            return _array(out["energy"])
        reference = np.array([self._e0s[atoms.numbers].sum() for atoms in frames])
        total: FloatArray = _array(out["interaction_energy"]) + reference
        return total

    def batches(self, frames: Sequence[Atoms], batch_size: int) -> Iterator[Any]:
        """Yield batches of graphs, made when they are needed; labels in the frames are not looked at."""
        from mace.data import AtomicData, KeySpecification, config_from_atoms
        from mace.tools import AtomicNumberTable
        from mace.tools.torch_geometric import Batch

        table = AtomicNumberTable([int(z) for z in self.model.atomic_numbers])
        keys = KeySpecification(info_keys={}, arrays_keys={})
        heads = list(self.info.heads)
        for first in range(0, len(frames), batch_size):
            graphs = []
            for frame in frames[first : first + batch_size]:
                bare = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
                config = config_from_atoms(bare, key_specification=keys, head_name=self.info.head)
                graphs.append(
                    AtomicData.from_config(config, z_table=table, cutoff=float(self.model.r_max), heads=heads)
                )
            yield Batch.from_data_list(graphs).to(self.device)


class MaceBackend(Backend):
    """Models of mace-torch."""

    @override
    def inspect(self, path: Path) -> PotentialInfo:
        return describe(read_model(path), sha256=sha256_of(path))

    @override
    def load(
        self,
        path: Path,
        *,
        info: PotentialInfo | None = None,
        device: Device = "cpu",
        dtype: Dtype = "float64",
        head: str | None = None,
    ) -> MacePotential:
        model = read_model(path, device=device)
        return bind(model, info=info, device=device, dtype=dtype, head=head)


def bind(
    model: Any, *, info: PotentialInfo | None = None, device: Device = "cpu", dtype: Dtype = "float64", head: str | None
) -> MacePotential:
    """Return a potential around a model in memory, which is moved to the device and type.

    :raises TaskError: of kind ``input`` where the model has no such head.
    """
    found = describe(model)
    wanted = head or (info.head if info else None) or found.head
    if wanted not in found.heads:
        raise TaskError(
            ErrorKind.INPUT, f"head = {wanted!r} is not in the model.", f"Its heads are: {', '.join(found.heads)}."
        )
    facts = info.model_dump() if info else found.model_dump()
    facts.update(elements=found.elements, heads=found.heads, head=wanted, e0s=found.e0s, r_max=found.r_max)
    model = model.to(device=device, dtype=TORCH_DTYPES[dtype]).eval()
    for parameter in model.parameters():
        parameter.requires_grad = False
    return MacePotential(model, PotentialInfo.model_validate(facts), device, dtype)


def read_model(path: Path, *, device: Device = "cpu") -> Any:
    """Unpickle a MACE model.

    :raises TaskError: of kind ``device`` where the device is not there, ``input`` where the file is not such a model.
    """
    import mace.modules  # noqa: F401 - the pickle refers to it

    require_device(device)
    try:
        model = torch.load(path, map_location=device, weights_only=False)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError, KeyError, ValueError) as error:
        raise TaskError(
            ErrorKind.INPUT,
            f"{path.name} cannot be read as a MACE model: {str(error).splitlines()[0] if str(error) else error!r}.",
            "The file may be cut short or damaged: compare its size and sha256 with the original.",
        ) from error
    if not all(hasattr(model, name) for name in ("atomic_numbers", "r_max", "atomic_energies_fn", "interactions")):
        raise TaskError(
            ErrorKind.INPUT,
            f"{path.name} holds a {type(model).__name__}, which is not a MACE model.",
            "Give the .model file of a MACE training, not a checkpoint or a compiled model.",
        )
    return model


def describe(model: Any, *, sha256: str = "") -> PotentialInfo:
    """Return what is known of a model in memory."""
    symbols = tuple(chemical_symbols[int(z)] for z in model.atomic_numbers)
    heads = tuple(getattr(model, "heads", None) or (DEFAULT_HEAD,))
    energies = _array(model.atomic_energies_fn.atomic_energies).reshape(-1, len(symbols))
    if len(energies) == 1 < len(heads):
        energies = np.repeat(energies, len(heads), axis=0)
    parameters = list(model.parameters())
    return PotentialInfo(
        architecture="mace",
        elements=symbols,
        r_max=float(model.r_max),
        num_interactions=int(model.num_interactions),
        heads=heads,
        head=_default_head(heads),
        dtype="float32" if parameters[0].dtype == torch.float32 else "float64",
        num_parameters=sum(parameter.numel() for parameter in parameters),
        e0s={
            head: {symbol: float(value) for symbol, value in zip(symbols, row, strict=True)}
            for head, row in zip(heads, energies, strict=True)
        },
        sha256=sha256,
        backend_version=f"mace-torch {metadata.version('mace-torch')}",
        extra={"model_class": type(model).__name__, "zbl": hasattr(model, "pair_repulsion_fn")},
    )


def _default_head(heads: Sequence[str]) -> str:
    """Return the head that is meant when none is named: the default one, else the first that is not replay."""
    for head in heads:
        if head.lower() == "default":
            return head
    return next((head for head in heads if head != REPLAY_HEAD), heads[0])


def _array(tensor: Any) -> FloatArray:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=float)


def _voigt(stress: FloatArray) -> FloatArray:
    """Return stresses of shape (n, 3, 3) in Voigt order xx, yy, zz, yz, xz, xy, shape (n, 6)."""
    full = stress.reshape(-1, 3, 3)
    return full[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _invariants(model: Any, node_features: Any) -> FloatArray:
    """Return the invariant part of the node features, shape (atoms, layers * channels)."""
    from e3nn import o3
    from mace.modules.utils import extract_invariant

    irreps = o3.Irreps(str(model.products[0].linear.irreps_out))
    channels = irreps.dim // (irreps.lmax + 1) ** 2
    layers = int(model.num_interactions)
    return _array(extract_invariant(node_features, num_layers=layers, num_features=channels, l_max=irreps.lmax))
