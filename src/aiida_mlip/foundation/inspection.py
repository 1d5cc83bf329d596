"""Asking the worker, in a process of its own, what a model file contains.

Loading a model file runs the code inside it. The process that talks to the AiiDA database therefore never does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aiida_mlip.foundation.errors import InspectionError
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.models import explain

TIME_LIMIT = 600.0
"""Seconds the worker may take; importing the backend takes most of the few it needs."""


def inspect(path: Path, *, architecture: str | None = None, time_limit: float = TIME_LIMIT) -> PotentialInfo:
    """Return what a model file says of itself. Call this only for files that are trusted.

    :param architecture: backend to read the file with; None: the worker tells from the file.
    :param time_limit: seconds after which the worker is stopped.
    :raises InspectionError: if the worker cannot load the file.
    """
    command = [sys.executable, "-m", "aiida_mlip.worker", "inspect", str(path)]
    command += ["--architecture", architecture] if architecture else []
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=time_limit,
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
    except subprocess.TimeoutExpired as error:
        raise InspectionError(f"{path} could not be inspected within {time_limit:g} s") from error
    answer = _answer(done.stdout)
    if done.returncode or "error" in answer:
        failure = answer.get("error") or {"message": done.stderr.strip()[-300:] or f"exit status {done.returncode}"}
        reason = f"{failure.get('message', '')} {failure.get('remedy', '')}".strip()
        raise InspectionError(f"{path} could not be loaded as a potential: {reason}")
    try:
        return PotentialInfo(**answer)
    except ValidationError as error:
        raise InspectionError(f"{path}: {explain(error, what='info', model=PotentialInfo)}") from error


def _answer(stdout: str) -> dict[str, Any]:
    """Return the JSON object on the last line, or an empty one."""
    lines = stdout.strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
