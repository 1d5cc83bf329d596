"""CHGNet: graphs with bond angles and magnetic moments, trained on the Materials Project (package ``chgnet``).

The package computes in single precision only. Here positions, cell and weights can also be in double precision, and
the fitted energies of the elements are always added in double precision.
B. Deng et al., Nature Machine Intelligence 5, 1031 (2023), doi:10.1038/s42256-023-00716-3.
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
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa
from typing_extensions import override

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import Device, Dtype, PotentialInfo
from aiida_mlip.worker.backends import Backend, sha256_of
from aiida_mlip.worker.backends._torch import TORCH_DTYPES, default_dtype, package_version, require_device, silent
from aiida_mlip.worker.backends.ase_calculators import CalculatorPotential, with_head

PACKAGE = "chgnet"
NOT_TRAINED = frozenset({"Po", "At", "Rn", "Fr", "Ra"})
"""Elements with random weights in all published models: the training data have none of them."""


class ChgnetCalculator(Calculator):
    """ASE calculator for a CHGNet model, in single or double precision; without magnetic moments.

    :param model: a ``chgnet.model.CHGNet``; it is moved to the device and type and must not be used for other things.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, model: Any, device: Device = "cpu", dtype: Dtype = "float64") -> None:
        super().__init__()
        self._references = np.zeros(len(chemical_symbols))
        if model.composition_model is not None:
            weights = model.composition_model.fc.weight.detach().cpu().numpy().ravel()
            self._references[1 : len(weights) + 1] = weights
        self._model = model.to(device=device, dtype=TORCH_DTYPES[dtype]).eval()
        self._model.graph_converter.set_isolated_atom_response("ignore")
        self._device = device
        self._dtype = dtype

    @override
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        with default_dtype(self._dtype), silent():
            batch = self._graph(self.atoms)
            references, self._model.composition_model = self._model.composition_model, None
            try:
                found = self._model.predict_graph(batch, task="efs", return_site_energies=True)
            finally:
                self._model.composition_model = references
        energies = np.asarray(found["site_energies"], dtype=float).ravel() + self._references[self.atoms.numbers]
        self.results = {
            "energy": float(energies.sum()),
            "free_energy": float(energies.sum()),
            "energies": energies,
            "forces": np.asarray(found["f"], dtype=float),
        }
        if self.atoms.cell.rank == 3:
            self.results["stress"] = full_3x3_to_voigt_6_stress(np.asarray(found["s"], dtype=float)) * GPa

    def _graph(self, atoms: Atoms) -> Any:
        """Return the package's graph, with positions and cell in the type that is asked for."""
        from pymatgen.core import Lattice, Structure

        cell = atoms.cell.complete()
        lattice = Lattice(cell.array, pbc=tuple(bool(flag) for flag in atoms.pbc))
        fractional = cell.scaled_positions(atoms.positions)
        structure = Structure(lattice, atoms.get_chemical_symbols(), fractional)
        graph = self._model.graph_converter(structure)
        dtype = TORCH_DTYPES[self._dtype]
        graph.atom_frac_coord = torch.tensor(structure.frac_coords, dtype=dtype, requires_grad=True)
        graph.lattice = torch.tensor(cell.array.copy(), dtype=dtype, requires_grad=True)
        graph.neighbor_image = graph.neighbor_image.to(dtype)
        return graph.to(self._device)


class ChgnetBackend(Backend):
    """Model files of the package ``chgnet``; they are described without it."""

    @override
    def inspect(self, path: Path) -> PotentialInfo:
        content = read(path)
        arguments, weights = content["model_args"], content["state_dict"]
        symbols = chemical_symbols[1 : weights["atom_embedding.embedding.weight"].shape[0] + 1]
        return PotentialInfo(
            architecture="chgnet",
            elements=tuple(symbol for symbol in symbols if symbol not in NOT_TRAINED),
            r_max=float(arguments["atom_graph_cutoff"]),
            num_interactions=int(arguments["n_conv"]),
            dtype="float32",
            num_parameters=sum(value.numel() for value in weights.values()),
            sha256=sha256_of(path),
            backend_version=package_version(PACKAGE),
            extra={"angle_cutoff": float(arguments["bond_graph_cutoff"])},
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
        described = with_head(info or self.inspect(path), head)
        content = read(path)
        from chgnet.model import CHGNet

        def make() -> ChgnetCalculator:
            bias = any(name.endswith("mlp_out.layers.1.bias") for name in content["state_dict"])
            with silent():  # the package prints at every step
                model = CHGNet.from_dict(content, mlp_out_bias=bias)
            return ChgnetCalculator(model, device, dtype)

        backend_version = f"{PACKAGE} {metadata.version(PACKAGE)}"
        return CalculatorPotential(described.model_copy(update={"backend_version": backend_version}), make)


def read(path: Path) -> dict[str, Any]:
    """Return ``model_args`` and ``state_dict`` of a model file; no code in the file is run.

    :raises TaskError: of kind ``input`` where it is not a file of CHGNet.
    """
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
        content = document["model"]
        if content["model_args"]["atom_graph_cutoff"] and "atom_embedding.embedding.weight" in content["state_dict"]:
            return dict(content)
        reason = "its weights are not those of CHGNet"
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else repr(error)
    raise TaskError(
        ErrorKind.INPUT,
        f"{path.name} cannot be read as a CHGNet model: {reason}.",
        "Give a .pth.tar file of the package chgnet; where it is one, compare its size and sha256 with the original.",
    )
