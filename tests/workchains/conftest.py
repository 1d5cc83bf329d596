"""The real pw.x as a module of tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


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
