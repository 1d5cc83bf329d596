"""The real pw.x as a module of tests, and a worker that does not work."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from aiida import orm


@pytest.fixture(scope="session")
def pw() -> ModuleType:
    """The module that knows where pw.x and its pseudopotentials are; tests are skipped where they are not."""
    name = "pw_for_tests"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "pw.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    if not sys.modules[name].IS_HERE:
        pytest.skip("needs Debian's quantum-espresso and quantum-espresso-data: make system-deps")
    return sys.modules[name]


@pytest.fixture
def broken_code(localhost: orm.Computer, worker_zipapp: Path) -> orm.PortableCode:
    """A worker on a node without Python."""
    return orm.PortableCode(
        label="mlip-worker-broken",
        computer=localhost,
        filepath_executable=worker_zipapp.name,
        filepath_files=str(worker_zipapp.parent),
        prepend_text="export PATH=/nonexistent",
    ).store()
