"""Tiny labelled data sets, and tiny MACE models that stand in for a foundation model.

Trainings run the real mace, once per strategy and session; tests look at the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, STRESS
from aiida_mlip.worker.runner import run_job


class Bed:
    """Makes data sets and jobs, and runs them in this process (mace still runs in its own)."""

    shift = {"Cu": -3.7, "Ni": -5.1, "Al": -2.4, "Pd": -1.3}  # noqa: RUF012
    """E0s of the made-up level of theory [eV]; all different, so that a wrong element shows."""

    def label(self, atoms: Atoms) -> Atoms:
        """Return a copy with EMT labels; energies get a constant for each element."""
        labelled, atoms = atoms.copy(), atoms.copy()
        atoms.calc = EMT()
        energy = atoms.get_potential_energy() + sum(self.shift[symbol] for symbol in atoms.get_chemical_symbols())
        labelled.info[ENERGY] = float(energy)
        labelled.new_array(FORCES, atoms.get_forces())
        if atoms.pbc.all():
            labelled.info[STRESS] = atoms.get_stress(voigt=True)
        return labelled

    def cell(self, symbols: tuple[str, str], seed: int) -> Atoms:
        """Return a rattled, strained fcc cell of four atoms, the first of them of the first element."""
        rng = np.random.default_rng(seed)
        atoms = bulk(symbols[0], "fcc", a=3.7, cubic=True)
        atoms.set_chemical_symbols([symbols[0], *(symbols[int(rng.integers(2))] for _ in range(3))])
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.08, seed=seed)
        atoms.info[CONFIG_TYPE] = "rattled" if seed % 2 else "strained"
        return self.label(atoms)

    def cells(self, symbols: tuple[str, str], count: int, seed: int) -> list[Atoms]:
        """Return several different cells."""
        return [self.cell(symbols, seed + index) for index in range(count)]

    def lone(self, symbol: str, energy: float) -> Atoms:
        """Return an isolated atom of the type that mace takes for a reference energy."""
        atoms = Atoms(symbol, cell=[12.0, 12.5, 13.0], pbc=True)
        atoms.info.update({ENERGY: energy, CONFIG_TYPE: "IsolatedAtom"})
        atoms.new_array(FORCES, np.zeros((1, 3)))
        return atoms

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return settings of a short training of the tiny model."""
        return {
            "strategy": {"kind": "naive"},
            "learning_rate": 0.002,
            "e0_policy": {"kind": "estimated"},
            "max_epochs": 2,
            "batch_size": 4,
            "loss": {"kind": "stress", "forces_weight": 10.0, "stress_weight": 1.0},
            **changes,
        }

    def job(
        self,
        folder: Path,
        settings: dict[str, Any],
        *,
        potential: Path | None = None,
        files: dict[str, str] | None = None,
        info: dict[str, Any] | None = None,
        time_limit: float | None = None,
        **sets: list[Atoms],
    ) -> Path:
        """Write a training job and return its file; without sets it gets small ones of Cu and Ni."""
        folder.mkdir(exist_ok=True)
        sets = sets or {
            "train": self.cells(("Cu", "Ni"), 8, 400),
            "valid": self.cells(("Cu", "Ni"), 3, 500),
            "test_held": self.cells(("Cu", "Ni"), 2, 600),
        }
        files = dict(files or {})
        for name, frames in sets.items():
            ase.io.write(folder / f"{name}.xyz", frames, format="extxyz")
            files[name] = f"{name}.xyz"
        if potential:
            files["potential"] = str(potential)
        document = {"contract": 1, "task": "train", "settings": settings, "files": files}
        (folder / "job.json").write_text(json.dumps({**document, "potential": info, "time_limit": time_limit}))
        return folder / "job.json"

    def run(self, folder: Path, settings: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """Run a training and return the whole result."""
        run_job(self.job(folder, settings, **arguments))
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result

    def payload(self, folder: Path, settings: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        """Run a training that has to succeed and return its payload."""
        result = self.run(folder, settings, **arguments)
        assert result["error"] is None, result["error"]
        payload: dict[str, Any] = result["payload"]
        return payload


@pytest.fixture(scope="session")
def bed() -> Bed:
    """Maker of data sets and jobs."""
    return Bed()


@pytest.fixture(scope="session", autouse=True)
def _one_thread_each() -> Any:
    """One thread for mace in the trainings of session fixtures, which are made before the function fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        yield


@pytest.fixture(scope="session")
def scratch(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder and payload of a tiny model of Al, Ni and Cu, trained from scratch."""
    folder = tmp_path_factory.mktemp("scratch")
    strategy = {"kind": "scratch", "num_channels": 4, "max_L": 0, "correlation": 2, "r_max": 3.5, "num_radial_basis": 4}
    e0s = {symbol: bed.shift[symbol] for symbol in ("Al", "Ni", "Cu")}
    payload = bed.payload(
        folder,
        bed.settings(
            strategy=strategy, learning_rate=0.02, e0_policy={"kind": "explicit", "values": e0s}, max_epochs=12
        ),
        train=bed.cells(("Cu", "Ni"), 8, 0) + bed.cells(("Al", "Cu"), 8, 100),
        valid=bed.cells(("Al", "Ni"), 3, 200),
        test_held=bed.cells(("Cu", "Ni"), 2, 300),
    )
    return folder, payload


@pytest.fixture(scope="session")
def foundation(scratch: tuple[Path, dict[str, Any]]) -> Path:
    """The file of the tiny model, which serves as foundation model."""
    return scratch[0] / "potential.model"


@pytest.fixture(scope="session")
def tune(
    bed: Bed, foundation: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Fine-tune the tiny model: ``tune(name, settings, **sets)`` returns folder and payload, made once per name."""
    made: dict[str, tuple[Path, dict[str, Any]]] = {}

    def once(name: str, settings: dict[str, Any], **arguments: Any) -> tuple[Path, dict[str, Any]]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = folder, bed.payload(folder, settings, potential=foundation, **arguments)
        return made[name]

    return once
