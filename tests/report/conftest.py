"""Finished, failed and running processes made by hand, for reports."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


def load(name: str, path: Path) -> ModuleType:
    """Return the module of a file that is not in a package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def graphs() -> ModuleType:
    """The module that builds provenance by hand."""
    return load("provenance_graphs", HERE.parent / "provenance" / "graphs.py")


@pytest.fixture(scope="session")
def finished() -> ModuleType:
    """The module that builds whole fine-tunings by hand."""
    return load("report_finished", HERE / "finished.py")


@pytest.fixture(scope="module")
def builder(aiida_profile, graphs, finished):
    """A fine-tuning that went well."""
    made = finished.Builder(graphs, finished.Story(labels=24))
    made.whole()
    return made


@pytest.fixture(scope="module")
def finetuning(builder):
    """Its work chain."""
    return builder.chain


@pytest.fixture(scope="session")
def evaluated() -> ModuleType:
    """The module that computes summaries of ``mlip.defects``."""
    return load("report_evaluated", HERE / "evaluated.py")


@pytest.fixture(scope="session")
def explored() -> ModuleType:
    """The module that computes a small iterative training."""
    return load("report_explored", HERE / "explored.py")


@pytest.fixture(scope="session")
def looped() -> ModuleType:
    """The module that builds whole iterative trainings by hand."""
    return load("report_looped", HERE / "looped.py")


@pytest.fixture(scope="module")
def loop_builder(aiida_profile, graphs, finished, explored, looped):
    """An iterative training that converged; ``early`` is its page after the first generation."""
    made = looped.Builder(graphs, finished, explored)
    made.whole()
    return made


@pytest.fixture(scope="session")
def simmered() -> ModuleType:
    """The module that makes trajectories of a liquid, and lets the checks look at them."""
    return load("report_simmered", HERE / "simmered.py")


@pytest.fixture(scope="session")
def judged() -> ModuleType:
    """The module that builds whole runs of ``mlip.electrolyte`` by hand."""
    return load("report_judged", HERE / "judged.py")


@pytest.fixture(scope="session")
def pairs() -> ModuleType:
    """The module with a pair potential of a liquid."""
    return load("liquid_pairs", HERE.parent / "science" / "liquids" / "pair_liquid.py")
