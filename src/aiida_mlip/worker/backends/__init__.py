"""Registry of the backends: how a potential of each architecture is inspected, loaded and applied.

A backend is one file here; adding one touches nothing else but the table below.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms
from ase.calculators.calculator import Calculator

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import Device, Dtype, PotentialInfo
from aiida_mlip.science.predictions import Predictions

ProgressCallback = Callable[[int], None]


class Potential(Protocol):
    """A potential in memory, bound to a device, a floating-point type and a head."""

    @property
    def info(self) -> PotentialInfo:
        """The description of the potential; ``info.head`` is the head in use."""

    def calculator(self) -> Calculator:
        """Return an ASE calculator with energy, free_energy, forces and stress."""

    def evaluate(
        self,
        frames: Sequence[Atoms],
        *,
        batch_size: int = 8,
        stress: bool = True,
        descriptors: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> Predictions:
        """Apply the potential to many frames.

        :param batch_size: frames in one call of the model.
        :param stress: compute stresses of the frames that are periodic in three directions.
        :param descriptors: compute descriptors averaged over the atoms of each frame.
        :param on_progress: called with the number of frames done after every batch.
        :raises TaskError: of kind ``input`` where the potential lacks an element or cannot do what is asked.
        """


class Backend(Protocol):
    """One potential architecture; backends inherit from it, so that its methods are described here only."""

    def inspect(self, path: Path) -> PotentialInfo:
        """Describe a model file, without the package of its architecture where that is possible.

        :raises TaskError: of kind ``input`` where it is not a model of this architecture.
        """

    def load(
        self,
        path: Path,
        *,
        info: PotentialInfo | None = None,
        device: Device = "cpu",
        dtype: Dtype = "float64",
        head: str | None = None,
    ) -> Potential:
        """Load a model file.

        :param info: its description; where given, its facts that the file does not hold (level of theory, licence,
            head that is meant) are kept.
        :param dtype: type of the arithmetic, whatever type the weights are stored in.
        :param head: head to use; None: the one of ``info``.
        :raises TaskError: of kind ``input`` for a wrong file or head, ``device`` where the device is not there.
        """


BACKENDS: Mapping[str, str] = {
    "ase": "aiida_mlip.worker.backends.ase_calculators:AseBackend",
    "chgnet": "aiida_mlip.worker.backends.chgnet:ChgnetBackend",
    "emt": "aiida_mlip.worker.backends.ase_calculators:EmtBackend",
    "finnis_sinclair": "aiida_mlip.worker.backends.finnis_sinclair:FinnisSinclairBackend",
    "lj": "aiida_mlip.worker.backends.ase_calculators:LennardJonesBackend",
    "mace": "aiida_mlip.worker.backends.mace:MaceBackend",
    "sevennet": "aiida_mlip.worker.backends.sevennet:SevenNetBackend",
}
"""Architecture -> ``module:class``."""

MARKS: Mapping[str, bytes] = {"chgnet": b"atom_graph_cutoff", "sevennet": b"E3_equivariant_model"}
"""Architecture -> a text in the pickle of its files; it is looked for without loading anything."""


def backend_of(architecture: str) -> Backend:
    """Import and return the backend of an architecture.

    :raises TaskError: of kind ``input`` where there is none of this name.
    """
    if architecture not in BACKENDS:
        raise TaskError(
            ErrorKind.INPUT,
            f"potential.architecture = {architecture!r} is not known.",
            f"Known are: {', '.join(sorted(BACKENDS))}.",
        )
    module, name = BACKENDS[architecture].split(":")
    backend: Backend = getattr(import_module(module), name)()
    return backend


def detect(path: Path) -> str:
    """Return the architecture of a model file, without loading it.

    A JSON object names its own, files of torch with one of :data:`MARKS` are told by it, and all others are mace's.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        return str(document["architecture"])
    except (ValueError, KeyError, TypeError):
        pass
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            content = archive.read(name)
    except (OSError, zipfile.BadZipFile, StopIteration):
        return "mace"
    return next((architecture for architecture, mark in MARKS.items() if mark in content), "mace")


def load_potential(
    path: Path,
    info: Mapping[str, Any] | PotentialInfo | None,
    *,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    head: str | None = None,
) -> Potential:
    """Load the model file of a job with the backend that its description names, and add the dispersion it asks for.

    :raises TaskError: as :meth:`Backend.load`; of kind ``backend_import`` where what computes dispersion is missing.
    """
    described = PotentialInfo.model_validate(info) if isinstance(info, Mapping) else info
    backend = backend_of(described.architecture if described else detect(path))
    potential = backend.load(path, info=described, device=device, dtype=dtype, head=head)
    if described is None or described.dispersion is None:
        return potential
    from aiida_mlip.worker.dispersion import with_dispersion  # it needs this module

    return with_dispersion(potential, described.dispersion)


def refuse_unknown_elements(frames: Sequence[Atoms], elements: Sequence[str], *, what: str = "the potential") -> None:
    """Raise where a frame has an element that is not among ``elements``.

    :raises TaskError: of kind ``input`` that names the elements and the first frame with one.
    """
    known = set(elements)
    for index, atoms in enumerate(frames):
        if missing := sorted(set(atoms.get_chemical_symbols()) - known):
            raise TaskError(
                ErrorKind.INPUT,
                f"Frame {index} ({atoms.get_chemical_formula()}) has {', '.join(missing)}, which {what} lacks.",
                f"Known elements: {', '.join(elements)}. Use a potential that has it, or remove the frame.",
                details={"frame": index, "missing": missing},
            )


def sha256_of(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
