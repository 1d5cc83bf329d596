"""Inputs of each calculation on tiny systems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiida import orm
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData

SETTINGS = {
    "strategy": {"kind": "naive"},
    "learning_rate": 1e-3,
    "e0_policy": {"kind": "estimated"},
    "max_epochs": 2,
    "batch_size": 2,
    "loss": {"kind": "stress", "stress_weight": 1.0},
}


@pytest.fixture
def runtime(worker_code: orm.PortableCode, localhost: orm.Computer) -> dict[str, Any]:
    return {"code": worker_code, "metadata": {"computer": localhost, "options": {}}}


@pytest.fixture
def training(
    runtime: dict[str, Any], tiny_potential: PotentialData, emt_frames: Callable[..., list[Atoms]]
) -> dict[str, Any]:
    """Two epochs of fine-tuning on six cells."""
    return {
        **runtime,
        "settings": dict(SETTINGS),
        "potential": tiny_potential,
        "training_set": DatasetData(emt_frames(6, 0), level_of_theory="EMT"),
        "validation_set": DatasetData(emt_frames(2, 1)),
        "test_sets": {"held_out": DatasetData(emt_frames(2, 2))},
    }


@pytest.fixture
def evaluation(
    runtime: dict[str, Any], tiny_potential: PotentialData, emt_frames: Callable[..., list[Atoms]]
) -> dict[str, Any]:
    """Predictions for three cells, as labels too."""
    return {
        **runtime,
        "settings": {"labelled": True},
        "potential": tiny_potential,
        "datasets": {"alloys": DatasetData(emt_frames(3, 4))},
    }


@pytest.fixture
def emt_potential(aiida_profile) -> PotentialData:
    """ASE's EMT potential, which needs no torch."""
    import io

    document = b'{"architecture": "emt", "elements": ["Ni", "Cu"]}'
    known = {"architecture": "emt", "elements": ["Ni", "Cu"], "r_max": 6.0, "dtype": "float64", "num_parameters": 0}
    return PotentialData(io.BytesIO(document), {**known, "name": "EMT"})


@pytest.fixture
def properties(runtime: dict[str, Any], emt_potential: PotentialData) -> dict[str, Any]:
    """The equation of state of copper with EMT."""
    return {
        **runtime,
        "settings": {"properties": {"copper": {"property": "eos", "element": "Cu", "structure": "fcc"}}},
        "potential": emt_potential,
    }
