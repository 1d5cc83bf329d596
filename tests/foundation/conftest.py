"""A real HTTP server on this machine that misbehaves on demand, and registry entries that point to it."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from aiida_mlip.foundation.registry import FoundationModel, Licence

CONTENT = bytes(range(256)) * 8192  # 2 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What the server does, and what it was asked."""

    address: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    """Whether it honours Range and sends an ETag."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes each of the next responses is cut."""
    statuses: list[int] = field(default_factory=list)
    """The status of each of the next responses; 200 once they are used up."""
    hang: float = 0.0
    """Seconds of silence before the first byte of the body."""
    content_type: str = "application/octet-stream"
    asked: list[str] = field(default_factory=list)
    """The Range header of each request so far; empty where there was none."""

    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    """Answers GET as its site says."""

    site: ClassVar[Site]

    def do_GET(self) -> None:
        site = self.site
        site.asked.append(self.headers.get("Range", ""))
        status = site.statuses.pop(0) if site.statuses else 200
        if status != 200:
            self.send_error(status)
            return
        start = 0
        if site.ranges and self.headers.get("Range") and self.headers.get("If-Range") == site.etag():
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        body = site.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", site.content_type)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        if site.ranges:
            self.send_header("ETag", site.etag())
            self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()
        if site.hang:
            time.sleep(site.hang)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch):
    """A server on 127.0.0.1, reached without a proxy."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneSite", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def make_model(site: Site):
    """Return a factory of registry entries whose official address is the server."""

    def make(**changes: object) -> FoundationModel:
        fields = {
            "name": "test-model",
            "family": "TEST",
            "mace_name": "test",
            "mace_function": "mace_mp",
            "url": f"{site.address}/files/test.model",
            "sha256": SHA256,
            "checksum": "measured",
            "nbytes": len(CONTENT),
            "licence": Licence(
                name="ASL", title="Academic", url="https://example.org", restricts_use=True, summary="academic use"
            ),
            "level_of_theory": "PBE",
            "training_data": "none",
            "elements": ("Cu", "Au"),
            "citation": ("arXiv:0000.00000",),
        }
        fields |= changes
        if fields["sha256"] is None:
            fields["checksum"] = "unknown"
        return FoundationModel(**fields)

    return make


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty folder for downloads."""
    return tmp_path / "cache"
