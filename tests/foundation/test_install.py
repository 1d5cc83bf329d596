"""Files of an ASE calculator, from a local server, become potentials; the worker that inspects them is the real one."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from aiida.orm import QueryBuilder

from aiida_mlip.data.potential import PotentialData
from aiida_mlip.foundation import registry
from aiida_mlip.foundation.download import Limits
from aiida_mlip.foundation.errors import (
    ChecksumError,
    FetchError,
    FoundationError,
    InspectionError,
    UnknownModelError,
    UntrustedFileError,
)
from aiida_mlip.foundation.fetch import cached_path
from aiida_mlip.foundation.install import find, import_potential, install, install_foundation, load_foundation

pytestmark = pytest.mark.usefixtures("aiida_profile_clean")

EMT = json.dumps({"architecture": "emt", "elements": ["Cu", "Au"], "r_max": 6.5}).encode()
CACHE_OF_THE_USER = os.environ.get("AIIDA_MLIP_CACHE")
LIMITS = Limits(connect=2.0, read=2.0, attempts=2, pause=0.01)


@pytest.fixture
def serve(site, make_model, monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes the server's file the only model of the registry."""

    def put(content: bytes = EMT, **changes: object) -> registry.FoundationModel:
        site.content = content
        fields = {"sha256": hashlib.sha256(content).hexdigest(), "nbytes": len(content), "mirrors": ()}
        model = make_model(**(fields | changes))
        monkeypatch.setattr(registry, "registry", lambda: {model.name: model})
        return model

    return put


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIIDA_MLIP_CACHE", str(cache))


def count() -> int:
    return QueryBuilder().append(PotentialData).count()


def test_installed_node_carries_file_and_facts(serve) -> None:
    model = serve()
    done = install("test", limits=LIMITS)
    assert done.created
    assert done.source == "official address"
    node, info = done.node, done.node.info
    with node.open(mode="rb") as handle:
        assert handle.read() == EMT
    assert node.is_stored
    assert node.label == info.name == "test-model"
    assert (info.architecture, info.elements, info.r_max) == ("emt", ("Cu", "Au"), 6.5)
    assert (info.licence, info.level_of_theory, info.sha256) == ("ASL", "PBE", model.sha256)
    assert info.extra["licence_restricts_use"] is True
    assert info.extra["citation"] == "arXiv:0000.00000"
    assert info.extra["source"] == "official address"
    assert not node.trusted


def test_same_file_is_the_same_node_and_is_not_fetched_again(site, serve) -> None:
    serve()
    first = install("test-model", limits=LIMITS)
    again = install("test", limits=LIMITS)
    assert again.node.uuid == first.node.uuid
    assert not again.created
    assert install_foundation("test-model").uuid == first.node.uuid == load_foundation("test").uuid
    assert count() == 1
    assert len(site.asked) == 1


def test_local_file(site, serve, tmp_path: Path) -> None:
    serve()
    mine = tmp_path / "mine.json"
    mine.write_bytes(EMT)
    done = install("test", path=mine)
    assert (done.source, site.asked) == ("local file", [])
    assert "mine.json" not in json.dumps(done.node.base.attributes.all)


def test_damaged_local_file(serve, tmp_path: Path) -> None:
    serve()
    mine = tmp_path / "mine.json"
    mine.write_bytes(EMT[:-1])
    with pytest.raises(ChecksumError, match=r"mine\.json: this is not the file of test-model"):
        install("test", path=mine)
    assert count() == 0


def test_unknown_checksum_is_refused_before_anything_is_loaded(
    site, serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(sha256=None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "never-started"))
    with pytest.raises(UntrustedFileError, match="--trust"):
        install("test", limits=LIMITS)
    assert (site.asked, count()) == ([], 0)


def test_trust_is_recorded(serve) -> None:
    serve(sha256=None)
    node = install("test", trust=True, limits=LIMITS).node
    assert node.trusted
    assert node.base.attributes.get("trusted") is True
    assert node.info.extra["checksum"] == "unknown"


def test_trust_is_not_recorded_where_the_checksum_is_known(serve) -> None:
    serve()
    assert not install("test", trust=True, limits=LIMITS).node.trusted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elements": ("Cu", "Ag")}, r"not test-model: elements = .*'Au'"),
        ({"r_max": 5.0}, r"r_max = 6\.5 instead of 5\.0"),
        ({"heads": ("pbe",)}, "heads = "),
    ],
)
def test_trusted_file_must_be_what_the_registry_describes(serve, changes: dict, message: str) -> None:
    serve(sha256=None, **changes)
    with pytest.raises(InspectionError, match=message):
        install("test", trust=True, limits=LIMITS)
    assert count() == 0


def test_unknown_head(serve) -> None:
    serve()
    with pytest.raises(InspectionError, match="head = 'r2scan' is not in the file, which has "):
        install("test", head="r2scan", limits=LIMITS)


def test_unknown_name_and_missing_node(serve) -> None:
    serve()
    with pytest.raises(UnknownModelError, match="did you mean test-model"):
        install("test-modle")
    with pytest.raises(FoundationError, match="aiida-mlip foundation install test-model"):
        load_foundation("test")


def test_file_that_is_no_potential(serve) -> None:
    serve(b'{"architecture": "no-such-thing"}')
    with pytest.raises(InspectionError, match=r"could not be loaded as a potential: .*no-such-thing"):
        install("test", limits=LIMITS)
    assert count() == 0


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "copper.json"
    path.write_text(json.dumps({"architecture": "emt", "elements": ["Cu"], "r_max": 6.5}))
    return path


def test_own_file_needs_trust(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/never-started")
        with pytest.raises(UntrustedFileError, match=hashlib.sha256(own.read_bytes()).hexdigest()):
            import_potential(own)
    node = import_potential(own, trust=True, licence="CC0", level_of_theory="EMT").node
    assert node.trusted
    assert (node.label, node.info.licence, node.info.level_of_theory) == ("copper", "CC0", "EMT")


def test_own_file_that_the_database_knows_needs_no_trust(own: Path) -> None:
    first = import_potential(own, trust=True)
    assert not import_potential(own).created
    named = import_potential(own, name="second name")
    assert named.created
    assert named.node.trusted
    assert find(first.node.info.sha256).uuid == first.node.uuid


def test_own_file_of_a_trained_potential_needs_no_trust(own: Path) -> None:
    """What a training of ours made is in the database with trusted = False."""
    info = {"architecture": "emt", "elements": ["Cu"], "r_max": 6.5, "dtype": "float64", "num_parameters": 0}
    PotentialData(own, info).store()
    again = import_potential(own, name="exported and back")
    assert again.created
    assert not again.node.trusted


def test_own_file_of_the_registry_gets_its_facts(serve, tmp_path: Path) -> None:
    serve()
    path = tmp_path / "downloaded"
    path.write_bytes(EMT)
    node = import_potential(path).node
    assert (node.label, node.info.licence, node.trusted) == ("test-model", "ASL", False)


def test_own_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="is not a file"):
        import_potential(tmp_path / "nowhere.model", trust=True)


def test_own_file_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.model"
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(InspectionError, match=r"cut\.model could not be loaded as a potential"):
        import_potential(path, trust=True)
    assert count() == 0


@pytest.mark.foundation
def test_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the real file says of itself is what the registry says of it."""
    monkeypatch.delenv("AIIDA_MLIP_CACHE")
    if CACHE_OF_THE_USER:
        monkeypatch.setenv("AIIDA_MLIP_CACHE", CACHE_OF_THE_USER)
    model = registry.get("small-omat-0")
    if not cached_path(model).exists():
        pytest.skip("run `aiida-mlip foundation install mace-omat-0-small` first")
    info = install_foundation("small-omat-0").info
    assert (info.elements, info.r_max, info.heads) == (model.elements, model.r_max, model.heads)
    assert info.num_parameters == 8_222_244
    assert (info.licence, info.head, info.dtype) == ("ASL", "omat_pbe", "float64")
