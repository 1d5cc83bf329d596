"""One HTTP download: with time-outs, resumed where it was cut, and never trusted to be whole."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from aiida_mlip.foundation.errors import ConnectionFailedError, FetchError
from aiida_mlip.foundation.progress import Report, silent

CHUNK = 32 * 1024
"""Bytes read at once; what is lost of them when a connection is cut."""


@dataclass(frozen=True)
class Limits:
    """How patient a download is.

    :param connect: seconds to wait for a connection; short, so that a machine without internet turns to the next
        source at once.
    :param read: seconds to wait for the next bytes.
    :param attempts: failures in a row, without one new byte between them, that end the download.
    :param pause: seconds before the second attempt; doubled before each further one.
    """

    connect: float = 10.0
    read: float = 30.0
    attempts: int = 4
    pause: float = 1.0


class _InterruptedError(Exception):
    """The transfer stopped early; it can be taken up again."""


def download(url: str, part: Path, *, limits: Limits | None = None, report: Report = silent) -> None:
    """Download into ``part``, continuing from the bytes that are there if the server allows it.

    A server that offers a validator (a strong ETag, or a modification time) is asked to continue with ``Range`` and
    ``If-Range``, so that bytes of two versions are never mixed. From any other server the file comes anew.

    :param url: where the file is; proxies come from the environment (``HTTPS_PROXY`` and so on).
    :param part: file to write; it is kept when the download fails, to be resumed.
    :raises ConnectionFailedError: if the server never answered.
    :raises FetchError: if it answered with an error, or was cut too often.
    """
    limits = limits or Limits()
    _look_up(url, limits)
    failures, received_any = 0, False
    with requests.Session() as session:
        while True:
            before = _size(part)
            try:
                return _transfer(session, url, part, limits, report)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                problem = _describe(error, url, limits)
            except _InterruptedError as error:
                problem = str(error)
                received_any = True
            except requests.RequestException as error:
                raise FetchError(f"{_host(url)} could not be asked: {error}") from error
            progressed = _size(part) > before
            received_any |= progressed
            if not received_any:
                raise ConnectionFailedError(problem)
            failures = 1 if progressed else failures + 1
            if failures >= limits.attempts:
                raise FetchError(f"{problem}; gave up after {failures} attempts without a new byte")
            time.sleep(limits.pause * 2 ** (failures - 1))


def _look_up(url: str, limits: Limits) -> None:
    """Raise where the host's name is not answered in time: a look-up knows no time-out of its own.

    Behind a proxy there is nothing to do: the proxy looks the name up.
    """
    if requests.utils.get_environ_proxies(url):
        return

    def ask() -> None:
        with contextlib.suppress(OSError):  # the request that follows says it better
            socket.getaddrinfo(_host(url), None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(limits.connect)
    if thread.is_alive():
        raise ConnectionFailedError(f"the name {_host(url)} was not answered within {limits.connect:g} s")


def _transfer(session: requests.Session, url: str, part: Path, limits: Limits, report: Report) -> None:
    """Do one request and write what comes; raise where it is not the whole file."""
    validator_file = part.with_name(part.name + ".validator")
    validator = validator_file.read_text() if validator_file.exists() else ""
    offset = _size(part) if validator else 0
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    with session.get(url, headers=headers, stream=True, timeout=(limits.connect, limits.read)) as response:
        offset = _accepted_offset(response, offset, part)
        validator_file.write_text(_validator(response))
        total = _total(response, offset)
        done = offset
        with part.open("ab" if offset else "wb") as target:
            for block in response.iter_content(CHUNK):
                target.write(block)
                done += len(block)
                report("downloading", done, total)
    if total is not None and done != total:
        raise _InterruptedError(f"{_host(url)} closed the connection after {done} of {total} bytes")
    validator_file.unlink()


def _accepted_offset(response: requests.Response, offset: int, part: Path) -> int:
    """Return from which byte the response continues; raise where it is no file at all."""
    where = _host(response.url)
    if response.status_code == requests.codes.partial_content:
        start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if start == str(offset):
            return offset
        part.unlink(missing_ok=True)
        raise _InterruptedError(f"{where} continued from byte {start or '?'} instead of {offset}")
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        part.unlink(missing_ok=True)
        raise _InterruptedError(f"{where} cannot continue from byte {offset}")
    if response.status_code >= requests.codes.internal_server_error:
        raise _InterruptedError(f"{where} answered {response.status_code} {response.reason}")
    if response.status_code != requests.codes.ok:
        raise FetchError(f"{where} answered {response.status_code} {response.reason}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise FetchError(f"{where} answered with a web page instead of the file; a proxy or a log-in may be in between")
    return 0


def _validator(response: requests.Response) -> str:
    """Return what identifies this version of the file to the server; empty where nothing does."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified", "")


def _total(response: requests.Response, offset: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdigit() else None


def _describe(error: requests.RequestException, url: str, limits: Limits) -> str:
    """Return what happened to the connection, without the stack of library names."""
    host = _host(url)
    if isinstance(error, requests.ConnectTimeout):
        return f"{host} could not be reached within {limits.connect:g} s"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"{host} sent nothing for {limits.read:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy for {host} could not be reached"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} was not accepted"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the connection to {host} was cut"
    return f"{host} could not be reached"


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
