"""The Python environment with CHGNet and SevenNet (`make test-backends`), and the weights in their wheels."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiida_mlip.foundation import registry
from aiida_mlip.foundation.fetch import sha256_of

VARIABLE = "AIIDA_MLIP_TEST_BACKENDS"


@pytest.fixture(scope="session")
def other_python(repository: Path) -> Path:
    """The Python of the environment with both packages."""
    python = Path(os.environ.get(VARIABLE) or repository / ".venv-backends" / "bin" / "python")
    if not python.is_file():
        pytest.skip(f"needs an environment with chgnet and sevenn: make test-backends, or {VARIABLE}=PYTHON")
    return python


@pytest.fixture(scope="session")
def weights(other_python: Path) -> Callable[[str], Path]:
    """Return a function: name of a foundation model -> its file, where pip has put it."""

    def find(name: str) -> Path:
        model = registry.get(name)
        program = f"import {model.mirrors[0].member.split('/')[0]} as package; print(package.__file__)"
        done = subprocess.run([str(other_python), "-c", program], capture_output=True, text=True, check=True)
        path = Path(done.stdout.splitlines()[-1]).parent.parent / model.mirrors[0].member
        assert sha256_of(path) == model.sha256
        return path

    return find
