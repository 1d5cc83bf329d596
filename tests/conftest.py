"""Fixtures for all rooms: a temporary AiiDA profile, this machine as a computer, and the real worker on it."""

from __future__ import annotations

from pathlib import Path

import pytest

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
