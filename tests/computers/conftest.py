"""Descriptions of computers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiida_mlip.computers.config import ComputerConfig

SLURM = {
    "label": "cluster",
    "transport": {"kind": "core.local"},
    "scheduler": "core.slurm",
    "work_dir": "/scratch/{username}/aiida",
    "jobs": {
        "device": "cuda",
        "cpus": 8,
        "gpus": 2,
        "memory_gb": 64,
        "walltime": "1-02:03:04",
        "queue": "gpu",
        "account": "project",
        "scheduler_lines": ["#SBATCH --constraint=a100"],
    },
    "worker": {"activate": "source /opt/mlip/bin/activate"},
}


@pytest.fixture
def slurm_config() -> Callable[..., ComputerConfig]:
    """Describe a SLURM computer that is reached as this machine, with changes."""

    def factory(**changes) -> ComputerConfig:
        return ComputerConfig.model_validate(SLURM | changes)

    return factory
