"""Why a job left no result: what its output and the scheduler's say, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Diagnosis(NamedTuple):
    """What happened, as the label of an exit code and a message with a remedy."""

    label: str
    message: str


class _Sign(NamedTuple):
    """A pattern in an output and what it means; ``{}`` in the meaning is replaced by the line."""

    pattern: str
    label: str
    meaning: str


SIGNAL_9 = "Signal 9 is how an operating system ends what needs too much memory."
"""Said where nothing but the signal is known: a person, or the end of a session, may have sent it as well."""

_MEMORY = "Use a smaller batch_size, dtype = 'float32', or ask for more memory."
_ENVIRONMENT = "Check prepend_text of the code: it has to activate an environment with Python >= 3.11 and mace-torch."

_SIGNS = (
    _Sign(r"oom[-_ ]?kill|Out Of Memory|exceeded .*memory limit", "ERROR_OUT_OF_MEMORY", f"{{}}. {_MEMORY}"),
    _Sign(r"MemoryError|std::bad_alloc|Cannot allocate memory|CUDA out of memory", "ERROR_OUT_OF_MEMORY",
          f"{{}}. {_MEMORY}"),
    _Sign(r"DUE TO NODE FAILURE|NODE_FAIL", "ERROR_SCHEDULER_NODE_FAILURE", "{}"),
    _Sign(r"DUE TO TIME LIMIT|TIME ?LIMIT exceeded|PBS: job killed: walltime", "ERROR_WALLTIME_WITHOUT_CHECKPOINT",
          "{}. Raise metadata.options.max_wallclock_seconds, or restart from the remote folder."),
    _Sign(r"(ModuleNotFoundError|ImportError): .*", "ERROR_BACKEND_IMPORT", f"{{}}. {_ENVIRONMENT}"),
    _Sign(r"python[0-9.]*.?: (command not found|No such file or directory)", "ERROR_BACKEND_IMPORT",
          f"{{}}. {_ENVIRONMENT}"),
    _Sign(r"(GLIBC|GLIBCXX)_[0-9.]+.* not found|error while loading shared libraries", "ERROR_BACKEND_IMPORT",
          f"{{}}. {_ENVIRONMENT}"),
    _Sign(r"mlip-worker\.pyz.?: (Permission denied|cannot execute)", "ERROR_BACKEND_IMPORT",
          "{}. The file system of the working directory does not run programs: choose another work_dir."),
    _Sign(r"No space left on device|Disk quota exceeded", "ERROR_WORKER_EXCEPTION",
          "{}. Make space in the working directory and submit again."),
    _Sign(r"(Segmentation fault|Bus error|Illegal instruction|Aborted)", "ERROR_WORKER_EXCEPTION",
          "{}. A library crashed: check that torch was built for this processor and driver."),
    _Sign(r"\bKilled\b", "ERROR_OUT_OF_MEMORY",
          f"{{}}. {SIGNAL_9} {_MEMORY}"),
)  # fmt: skip
"""In order of priority: the first that is found anywhere decides."""


def diagnose(outputs: Sequence[str]) -> Diagnosis:
    """Tell from the texts that a job left why it has no result.

    :param outputs: what the worker printed, and the scheduler's standard error and output.
    """
    text = "\n".join(outputs)
    for sign in _SIGNS:
        if match := re.search(sign.pattern, text, re.IGNORECASE if sign.pattern != r"\bKilled\b" else 0):
            return Diagnosis(sign.label, sign.meaning.format(_line_around(text, match.start()).rstrip(".")))
    if error := last_exception(text):
        return Diagnosis("ERROR_WORKER_EXCEPTION", f"{error}. The traceback is in the output of the job.")
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    said = f"its last words were: {last[:200]}" if last else "it printed nothing"
    return Diagnosis(
        "ERROR_NO_RESULT",
        f"{said}. It was ended from outside, or its node failed: submit again, and look at the remote folder with "
        "`verdi calcjob gotocomputer` if it happens twice.",
    )


def last_exception(text: str) -> str:
    """Return the last line of the last Python traceback in ``text``, or an empty text."""
    blocks = text.split("Traceback (most recent call last):")[1:]
    if not blocks:
        return ""
    lines = [line for line in blocks[-1].splitlines() if line.strip()]
    return next((line.strip() for line in lines if not line.startswith(" ")), "")


def _line_around(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return text[start : end if end >= 0 else len(text)].strip()[:300]
