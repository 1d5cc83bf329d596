"""SevenNet: an equivariant network of the NequIP family for many elements (package ``sevenn``).

The package computes in single precision only. Here positions, cell and weights can also be in double precision.
A model with several modalities (levels of theory) has them as heads.
Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi:10.1021/acs.jctc.4c00190.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from typing_extensions import override

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import DEFAULT_HEAD, Device, Dtype, PotentialInfo
from aiida_mlip.worker.backends import Backend, sha256_of
from aiida_mlip.worker.backends._torch import TORCH_DTYPES, default_dtype, package_version, require_device, silent
from aiida_mlip.worker.backends.ase_calculators import CalculatorPotential, with_head

PACKAGE = "sevenn"


class SevenNetCalculator(Calculator):
    """ASE calculator for a SevenNet model, in single or double precision.

    :param original: the package's own calculator, whose model is moved to the type; it must not be used afterwards.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, original: Any, dtype: Dtype = "float64") -> None:
        super().__init__()
        self._original = original
        self._dtype = dtype
        self._original.model = original.model.to(TORCH_DTYPES[dtype])
        if dtype == "float64":
            _embed_in_double(self._original.model)

    @override
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        with default_dtype(self._dtype):
            found = self._original.output_to_results(self._original.model(self._graph(self.atoms)))
        names = ("energy", "free_energy", "energies", "forces")
        self.results = {name: found[name] for name in names}
        if self.atoms.cell.rank == 3:
            self.results["stress"] = np.asarray(found["stress"], dtype=float)

    def _graph(self, atoms: Atoms) -> Any:
        """Return the package's graph, with vectors between neighbours in the type that is asked for."""
        from sevenn import _keys
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        arrays = unlabeled_atoms_to_graph(atoms, self._original.cutoff, with_shift=False)
        graph = AtomGraphData(**{name: self._tensor(value) for name, value in arrays.items()})
        if self._original.modal:
            graph[_keys.DATA_MODALITY] = self._original.modal
        return graph.to(self._original.device)

    def _tensor(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        floating = np.issubdtype(value.dtype, np.floating)
        return torch.from_numpy(value).to(TORCH_DTYPES[self._dtype] if floating else torch.int64)


def _embed_in_double(model: Any) -> None:
    """Let the embedding of the elements, which the package makes in single precision, come in double precision."""
    from sevenn.nn.node_embedding import OnehotEmbedding

    def convert(module: Any, _arguments: Any, data: Any) -> Any:
        for key in (module.key_output, module.key_additional_output):
            if key is not None:
                data[key] = data[key].double()
        return data

    for module in model.modules():
        if isinstance(module, OnehotEmbedding):
            module.register_forward_hook(convert)


class SevenNetBackend(Backend):
    """Checkpoints of the package ``sevenn``; they are described without it."""

    @override
    def inspect(self, path: Path) -> PotentialInfo:
        content = read(path)
        config, weights = content["config"], content["model_state_dict"]
        modalities: dict[str, int] = config.get("_modal_map") or {}
        heads = tuple(sorted(modalities, key=lambda name: modalities[name])) or (DEFAULT_HEAD,)
        return PotentialInfo(
            architecture="sevennet",
            elements=tuple(sorted(config["chemical_species"], key=lambda symbol: atomic_numbers[symbol])),
            r_max=float(config["cutoff"]),
            num_interactions=int(config["num_convolution_layer"]),
            heads=heads,
            head="PBE" if "PBE" in heads else heads[0],
            dtype="float32",
            num_parameters=sum(value.numel() for name, value in weights.items() if name.endswith(WEIGHTS)),
            sha256=sha256_of(path),
            backend_version=package_version(PACKAGE),
            extra={"written_by": f"{PACKAGE} {config['version']}"},
        )

    @override
    def load(
        self,
        path: Path,
        *,
        info: PotentialInfo | None = None,
        device: Device = "cpu",
        dtype: Dtype = "float64",
        head: str | None = None,
    ) -> CalculatorPotential:
        require_device(device)
        found = self.inspect(path)
        described = with_head(info or found, head)
        original_class = _original_class()
        modality = described.head if found.heads != (DEFAULT_HEAD,) else None

        def make() -> SevenNetCalculator:
            with silent():
                original = original_class(str(path), device=device, modal=modality)
            return SevenNetCalculator(original, dtype)

        backend_version = f"{PACKAGE} {metadata.version(PACKAGE)}"
        return CalculatorPotential(described.model_copy(update={"backend_version": backend_version}), make)


def _original_class() -> Any:
    """Import the package's own calculator.

    :raises ImportError: where the package is not there.
    :raises TaskError: of kind ``backend_import`` where it is there beside packages that it refuses.
    """
    try:
        from sevenn.calculator import SevenNetCalculator as Original
    except ValueError as error:  # the package compares the version of e3nn
        raise TaskError(
            ErrorKind.BACKEND_IMPORT,
            f"The package {PACKAGE} does not work in this environment: {error}.",
            "It needs another e3nn than mace-torch: give it an environment of its own (`aiida-mlip setup`, workers).",
        ) from error
    return Original


WEIGHTS = ("weight", "bias", "coeffs")


def read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint. This unpickles it: the caller has to know where the file comes from.

    :raises TaskError: of kind ``input`` where it is not a checkpoint of SevenNet.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
        if content["config"]["_model_type"] == "E3_equivariant_model" and content["model_state_dict"]:
            return dict(content)
        reason = "its model is of another type"
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
    raise TaskError(
        ErrorKind.INPUT,
        f"{path.name} cannot be read as a SevenNet model: {reason}.",
        "Give a checkpoint (.pth) of the package sevenn; if it is one, compare its size and sha256 with the original.",
    )
