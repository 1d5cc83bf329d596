"""Fixtures for all rooms: a temporary AiiDA profile, this machine as a computer, and the real worker on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

pytest_plugins = ["aiida.tools.pytest_fixtures"]

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes of the tests share few cores: one thread each, and no spinning while they wait."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def worker_zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker as one file, built once for the session."""
    from aiida_mlip.worker.bundle import build_worker

    target = tmp_path_factory.mktemp("worker") / "mlip-worker.pyz"
    build_worker(target)
    return target


@pytest.fixture
def localhost(tmp_path: Path):
    """The AiiDA computer `localhost` of the temporary profile: no waiting between connections or polls."""
    from aiida_mlip.computers.local import local_config
    from aiida_mlip.computers.register import register_computer

    config = local_config(work_dir=tmp_path / "work", cpus=1, poll_interval=0.0)
    return register_computer(config)


@pytest.fixture
def worker_code(localhost, worker_zipapp: Path):
    """The worker as a PortableCode on `localhost`, run by the Python that runs the tests."""
    from aiida_mlip.computers.codes import register_worker
    from aiida_mlip.computers.local import local_worker

    return register_worker(localhost, local_worker(cpus=1), worker_zipapp)


@pytest.fixture
def clean_profile(aiida_profile_clean) -> None:
    """An empty database."""


@pytest.fixture(scope="session")
def tiny_mace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A tiny MACE model of Al, Ni and Cu that stands in for a foundation model: its file and its description."""
    target = tmp_path_factory.mktemp("tiny_mace") / "tiny.model"
    script = REPOSITORY / "tests" / "tiny_mace.py"
    done = subprocess.run([sys.executable, str(script), str(target)], check=True, capture_output=True, text=True)
    return target, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def tiny_potential(aiida_profile, tiny_mace: tuple[Path, dict]):
    """The tiny MACE model as an unstored PotentialData."""
    from aiida_mlip.data.potential import PotentialData

    path, info = tiny_mace
    return PotentialData(path, {**info, "name": "tiny"})


@pytest.fixture
def emt_frames() -> Callable[..., list[Atoms]]:
    """A function that makes distorted Cu-Ni cells of four atoms, labelled with ASE's EMT potential.

    ``emt_frames(count, seed)``: frames of one seed are always the same, and differ from those of all others.
    """
    return _emt_frames


def _emt_frames(count: int, seed: int = 0) -> list[Atoms]:
    from aiida_mlip.science import keys

    frames = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        atoms = bulk("Cu", "fcc", a=3.65, cubic=True)
        atoms.symbols[1:] = rng.choice(["Cu", "Ni"], size=3)
        atoms.symbols[0] = "Ni"
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.06, size=atoms.positions.shape)
        calculated = atoms.copy()
        calculated.calc = EMT()
        atoms.info[keys.ENERGY] = float(calculated.get_potential_energy()) - 4.0 * len(atoms)
        atoms.arrays[keys.FORCES] = calculated.get_forces()
        atoms.info[keys.STRESS] = calculated.get_stress()
        atoms.info[keys.CONFIG_TYPE] = "rattled" if index % 2 else "strained"
        frames.append(atoms)
    return frames


@pytest.fixture(scope="session")
def emt_trajectory() -> Callable[..., str]:
    """A function that runs Langevin dynamics of a Cu-Ni cell of eight atoms with ASE's EMT, and returns its text.

    ``emt_trajectory(temperature, frames, seed)``: a frame each 5 fs; the uncertainty of a force is a fifth of it.
    ``sigma=False`` leaves the uncertainties out.
    """
    return _emt_trajectory


def _emt_trajectory(temperature: float, frames: int = 20, seed: int = 1, *, sigma: bool = True) -> str:
    import io

    from ase import units
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    from aiida_mlip.science.trajectory import Moment, write_frame

    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 1, 1)
    atoms.symbols[[1, 4]] = "Ni"
    atoms.calc = EMT()
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(atoms, 5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng)
    text = io.StringIO()
    for index in range(frames):
        forces = atoms.get_forces()
        spread = 0.2 * np.linalg.norm(forces, axis=1) if sigma else None
        write_frame(
            text,
            atoms,
            Moment(
                step=index,
                time_fs=5.0 * index,
                stage=0,
                temperature=temperature,
                instantaneous_temperature=atoms.get_temperature(),
                energy=atoms.get_potential_energy(),
                forces=forces,
                energy_sigma=0.08 if sigma else None,
                forces_sigma=spread,
            ),
        )
        dynamics.run(1)
    return text.getvalue()
