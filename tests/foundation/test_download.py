"""One download from a real server: resumed, restarted, timed out, refused."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from aiida_mlip.foundation.download import CHUNK, Limits, download
from aiida_mlip.foundation.errors import ConnectionFailedError, FetchError

LIMITS = Limits(connect=2.0, read=0.6, attempts=3, pause=0.01)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "file.part"


def validator(part: Path) -> Path:
    return part.with_name(part.name + ".validator")


def test_whole_file_with_progress(site, part: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(site.address, part, limits=LIMITS, report=lambda stage, done, total: seen.append((done, total)))
    assert part.read_bytes() == site.content
    assert seen[-1] == (len(site.content), len(site.content))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert not validator(part).exists()


def test_cut_connections_are_resumed_where_they_ended(site, part: Path) -> None:
    site.cuts = [10 * CHUNK + 1, 3 * CHUNK, CHUNK + 77]
    download(site.address, part, limits=LIMITS)
    assert part.read_bytes() == site.content
    assert site.asked == ["", *(f"bytes={blocks * CHUNK}-" for blocks in (10, 13, 14))]


def test_server_without_ranges_starts_anew(site, part: Path) -> None:
    site.ranges, site.cuts = False, [700_001]
    download(site.address, part, limits=LIMITS)
    assert part.read_bytes() == site.content
    assert site.asked == ["", ""]


def test_an_interrupted_download_is_resumed_by_the_next_call(site, part: Path) -> None:
    site.cuts = [5 * CHUNK, 0, 0]
    with pytest.raises(FetchError, match="3 attempts without a new byte"):
        download(site.address, part, limits=LIMITS)
    assert part.stat().st_size == 5 * CHUNK
    download(site.address, part, limits=LIMITS)
    assert part.read_bytes() == site.content
    assert site.asked[-1] == f"bytes={5 * CHUNK}-"


def test_two_versions_of_a_file_are_never_mixed(site, part: Path) -> None:
    site.cuts = [5 * CHUNK, 0, 0]
    with pytest.raises(FetchError):
        download(site.address, part, limits=LIMITS)
    site.content = b"new" * 400_000
    download(site.address, part, limits=LIMITS)
    assert part.read_bytes() == site.content


def test_leftovers_without_a_validator_are_not_continued(site, part: Path) -> None:
    part.write_bytes(b"of another time")
    download(site.address, part, limits=LIMITS)
    assert part.read_bytes() == site.content
    assert site.asked == [""]


def test_a_range_that_cannot_be_satisfied_starts_anew(site, part: Path) -> None:
    part.write_bytes(site.content + b"too long")
    validator(part).write_text(site.etag())
    site.statuses = [416]
    download(site.address, part, limits=LIMITS)
    assert part.read_bytes() == site.content


def test_server_error_is_tried_again(site, part: Path) -> None:
    site.statuses = [503, 500]
    download(site.address, part, limits=LIMITS)
    assert part.read_bytes() == site.content


def test_server_error_that_stays(site, part: Path) -> None:
    site.statuses = [503] * 9
    with pytest.raises(FetchError, match="503"):
        download(site.address, part, limits=LIMITS)
    assert len(site.asked) == LIMITS.attempts


def test_missing_file_is_not_tried_again(site, part: Path) -> None:
    site.statuses = [404]
    with pytest.raises(FetchError, match=r"127\.0\.0\.1 answered 404 Not Found"):
        download(site.address, part, limits=LIMITS)
    assert len(site.asked) == 1


def test_web_page_instead_of_the_file(site, part: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="web page"):
        download(site.address, part, limits=LIMITS)


def test_silent_server_is_left_after_the_time_out(site, part: Path) -> None:
    site.hang = 5.0
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"sent nothing for 0\.6 s"):
        download(site.address, part, limits=LIMITS)
    assert time.monotonic() - start < 4.0


def test_no_server_fails_at_once_without_further_attempts(part: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="could not be reached"):
        download(f"http://127.0.0.1:{port}/x", part, limits=Limits(pause=5.0))
    assert time.monotonic() - start < 2.0


def test_connection_time_out(part: Path) -> None:
    """A listening socket whose queue is full accepts nothing: the connection attempt hangs."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        address = busy.getsockname()
        waiting = []
        try:
            for _ in range(4):
                client = socket.socket()
                client.setblocking(False)
                client.connect_ex(address)
                waiting.append(client)
            time.sleep(0.1)
            start = time.monotonic()
            with pytest.raises(ConnectionFailedError):
                download(f"http://127.0.0.1:{address[1]}/x", part, limits=Limits(connect=0.5, read=0.5))
            assert time.monotonic() - start < 3.0
        finally:
            for client in waiting:
                client.close()


def test_name_that_nobody_answers(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver of the system is replaced by one that never answers in time."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3.0))
    start = time.monotonic()
    with pytest.raises(ConnectionFailedError, match=r"name models\.example was not answered within 0\.2 s"):
        download("http://models.example/x", part, limits=Limits(connect=0.2))
    assert time.monotonic() - start < 2.0
