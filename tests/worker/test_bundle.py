"""The worker as one file: the same bytes each time, nothing but the worker in it, and it runs by itself."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import aiida_mlip
from aiida_mlip.worker import bundle


def test_two_builds_from_sources_of_different_age_are_the_same(tmp_path, monkeypatch):
    first = bundle.build_worker(tmp_path / "first.pyz").read_bytes()
    root = Path(aiida_mlip.__file__).parent
    copy = shutil.copytree(root, tmp_path / "copy" / "aiida_mlip", ignore=shutil.ignore_patterns("__pycache__"))
    for index, path in enumerate(sorted(copy.rglob("*.py"), reverse=True)):
        path.chmod(0o600)
        os.utime(path, (10**9 + index, 10**9 + index))
    monkeypatch.setattr(bundle.aiida_mlip, "__file__", str(copy / "__init__.py"))
    monkeypatch.setattr(bundle, "__file__", str(copy / "worker" / "bundle.py"))
    assert bundle.build_worker(tmp_path / "second.pyz").read_bytes() == first


def test_a_changed_source_changes_the_label(tmp_path, monkeypatch):
    before = bundle.worker_label()
    root = Path(aiida_mlip.__file__).parent
    copy = shutil.copytree(root, tmp_path / "aiida_mlip", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "worker" / "versions.py").write_text("# changed\n")
    monkeypatch.setattr(bundle.aiida_mlip, "__file__", str(copy / "__init__.py"))
    monkeypatch.setattr(bundle, "__file__", str(copy / "worker" / "bundle.py"))
    assert bundle.worker_label() != before
    assert bundle.worker_label().startswith(f"mlip-worker-{aiida_mlip.__version__}-")


def test_the_label_holds_the_hash_of_the_file(tmp_path):
    path = bundle.build_worker(tmp_path)
    assert path.name == bundle.WORKER_FILE
    assert bundle.worker_label().endswith(hashlib.sha256(path.read_bytes()).hexdigest()[:8])


def test_only_the_rooms_of_the_worker_are_inside(tmp_path):
    names = zipfile.ZipFile(bundle.build_worker(tmp_path)).namelist()
    rooms = {name.split("/")[1] for name in names if name.startswith("aiida_mlip/") and name.count("/") > 1}
    assert rooms == {"science", "schema", "worker"}
    assert {name for name in names if name.count("/") <= 1} == {"__main__.py", "aiida_mlip/__init__.py"}
    assert not [name for name in names if name.endswith((".pyc", "bundle.py"))]
    assert names[1:] == sorted(names[1:])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A job run by the archive with -I (no site directory of the user, no PYTHONPATH, no current folder)."""
    folder = tmp_path_factory.mktemp("job")
    worker = bundle.build_worker(folder)
    (folder / "model.json").write_text('{"architecture": "emt", "elements": ["Cu"]}')
    (folder / "cells.xyz").write_text(
        '2\nLattice="3.7 0 0 0 3.6 0 0 0 5.2" Properties=species:S:1:pos:R:3 pbc="T T T"\nCu 0 0 0\nCu 1.8 1.9 2.6\n'
    )
    info = {"architecture": "emt", "elements": ["Cu"], "r_max": 5.0, "dtype": "float64", "num_parameters": 0}
    job = {"contract": 1, "task": "evaluate", "settings": {}, "potential": info}
    job["files"] = {"potential": "model.json", "set_cells": "cells.xyz"}
    (folder / "job.json").write_text(json.dumps(job))
    trace = "import sys, runpy; sys.argv = ['w', 'job.json']\n"
    trace += f"try: runpy.run_path({str(worker)!r}, run_name='__main__')\nexcept SystemExit: pass\n"
    trace += "print([n for n in sys.modules if n.split('.')[0] == 'aiida'], sys.modules['aiida_mlip'].__file__)"
    ran = subprocess.run([sys.executable, "-I", "-c", trace], cwd=folder, capture_output=True, text=True, check=True)
    return folder, ran.stdout


def test_it_runs_from_the_archive_and_never_imports_aiida(done):
    modules, origin = done[1].strip().splitlines()[-1].split("] ")
    assert modules == "["
    assert bundle.WORKER_FILE in origin


def test_it_writes_a_result_of_this_contract(done):
    result = json.loads((done[0] / "result.json").read_text())
    assert result["contract"] == 1
    assert result["error"] is None
    assert result["versions"]["worker"] == aiida_mlip.__version__


def test_it_is_executable(tmp_path):
    path = bundle.build_worker(tmp_path)
    assert path.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert os.access(path, os.X_OK)
    assert subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
