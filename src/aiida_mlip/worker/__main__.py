"""Entry point of the worker: ``mlip-worker.pyz job.json`` runs a job, ``... inspect FILE`` describes a model.

Only the standard library is imported here, so that a compute node that lacks pydantic, ASE or a recent Python still
gets a ``result.json`` that says so. The exit status is 0 wherever a ``result.json`` was written: its content is the
outcome, and whoever starts the worker reads that.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_CONTRACT = 1  # of the plain answer below; a test compares it with ``schema.job.CONTRACT``
_PYTHON = (3, 11)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # busy-waiting threads slow shared nodes down several times
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["inspect"]:
        return _inspect(arguments[1:])
    parser = argparse.ArgumentParser(prog="mlip-worker", description=__doc__)
    parser.add_argument("job", type=Path, help="job.json, or: inspect FILE")
    parser.add_argument("--version", action="version", version=_version())
    return _run(parser.parse_args(arguments).job)


def _version() -> str:
    from aiida_mlip import __version__

    return __version__


def _run(job_file: Path) -> int:
    job_file = job_file.absolute()
    start = time.time()
    if sys.version_info < _PYTHON:
        _write_plain(job_file, ImportError(f"Python {sys.version.split()[0]} is older than 3.11"), start)
        return 0
    try:
        from aiida_mlip.worker.runner import run_job
    except ImportError as error:
        _write_plain(job_file, error, start)
        return 0
    return run_job(job_file)


def _write_plain(job_file: Path, error: ImportError, start: float) -> None:
    """Write a failure without the help of anything outside the standard library."""
    missing = error.name or str(error)
    result: dict[str, Any] = {
        "contract": _CONTRACT,
        "task": _task_of(job_file),
        "error": {
            "kind": "backend_import",
            "message": f"The worker cannot start with {sys.executable}: {error}.",
            "remedy": f"Activate an environment with Python >= 3.11 that has {missing} in prepend_text of the code "
            "(needed: numpy, scipy, ase, matscipy, spglib, pydantic, and the backend, e.g. mace-torch).",
            "traceback": "",
            "details": {},
        },
        "versions": {"python": sys.version.split()[0], "worker": _version()},
        "timings": {"total": time.time() - start},
        "payload": {},
    }
    temporary = job_file.with_name("result.json.tmp")
    temporary.write_text(json.dumps(result), encoding="utf-8")
    temporary.replace(job_file.with_name("result.json"))
    sys.stderr.write(f"{result['error']['message']} {result['error']['remedy']}\n")


def _task_of(job_file: Path) -> str:
    try:
        task = json.loads(job_file.read_text(encoding="utf-8"))["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return "evaluate"
    return str(task) if task in ("train", "evaluate", "property") else "evaluate"


def _inspect(arguments: list[str]) -> int:
    """Print the PotentialInfo of a model file as JSON; whatever libraries print goes to stderr."""
    parser = argparse.ArgumentParser(prog="mlip-worker inspect", description=_inspect.__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--architecture", default=None, help="backend to read it with (default: told from the file)")
    options = parser.parse_args(arguments)
    sys.stdout.flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        from aiida_mlip.worker.runner import inspect_file

        text, status = inspect_file(options.file, options.architecture)
    except ImportError as error:
        text, status = json.dumps({"error": {"kind": "backend_import", "message": str(error)}}), 1
    finally:
        sys.stdout.flush()
        os.dup2(answer, 1)
        os.close(answer)
    sys.stdout.write(text + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
