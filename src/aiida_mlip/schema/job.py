"""The contract between a CalcJob and the worker: ``job.json`` in, ``result.json`` and ``progress.jsonl`` out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aiida_mlip.schema.errors import ErrorKind
from aiida_mlip.science.models import StrictModel

CONTRACT = 1
"""Version of the contract; it grows when an old reader could misread a new file (see ``upgrade``)."""

JOB_FILE = "job.json"
RESULT_FILE = "result.json"
PROGRESS_FILE = "progress.jsonl"

Task = Literal["train", "evaluate", "property", "md", "uncertainty", "select", "label", "liquid"]


class Job(StrictModel):
    """What the worker is asked to do. Paths are relative to the working directory."""

    contract: int = CONTRACT
    task: Task
    settings: dict[str, Any]
    files: dict[str, str] = Field(default_factory=dict, description="role -> file name, e.g. 'train' -> 'train.xyz'")
    potential: dict[str, Any] | None = Field(default=None, description="PotentialInfo of files['potential']")
    potentials: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="member of a committee -> PotentialInfo of files['potential_<member>']"
    )
    time_limit: float | None = Field(default=None, gt=0, description="the worker stops itself after this many seconds")


class Failure(StrictModel):
    """Why there is no payload."""

    kind: ErrorKind
    message: str
    remedy: str = ""
    traceback: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class Result(BaseModel):
    """What the worker did. Written whole or not at all; on failure ``error`` is set and the payload may be partial."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = CONTRACT
    task: Task
    error: Failure | None = None
    versions: dict[str, str] = Field(default_factory=dict, description="worker, python, torch, mace, ase, device, ...")
    timings: dict[str, float] = Field(default_factory=dict, description="stage -> wall time [s], and 'total'")
    payload: dict[str, Any] = Field(default_factory=dict)


class Progress(StrictModel):
    """One line of ``progress.jsonl``; AiiDA reads the last one while the job runs."""

    time: float = Field(description="seconds since the epoch")
    stage: str
    step: int = 0
    total: int = 0
    eta: float | None = Field(default=None, description="seconds left in this stage, where it can be told")
    metrics: dict[str, float] = Field(default_factory=dict)
