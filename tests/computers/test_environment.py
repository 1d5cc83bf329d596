"""Judging the Python environment of a compute node."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aiida_mlip.computers import probe_node
from aiida_mlip.computers.environment import BACKENDS, MARK, NodeReport, modules, parse_report, problems, requirements
from aiida_mlip.worker import backends

GOOD = {
    "node": "gpu01",
    "executable": "/opt/mlip/bin/python3",
    "python": "3.11.9",
    "versions": {
        "ase": "3.29.0",
        "mace-torch": "0.3.16",
        "matscipy": "1.3.1",
        "numpy": "2.4.6",
        "pydantic": "2.14.3",
        "scipy": "1.17.1",
        "spglib": "2.8.0",
        "torch": "2.12.1+cu124",
    },
    "import_errors": {},
    "gpus": ["NVIDIA A100-SXM4-80GB"],
}


def report(**changes) -> NodeReport:
    """A report of a node where all is well, with changes."""
    return NodeReport.model_validate(GOOD | changes)


def without(name: str) -> dict[str, str]:
    """The good versions without one."""
    return {key: value for key, value in GOOD["versions"].items() if key != name}


def test_a_good_environment_has_no_problems():
    assert problems(report(), needs_gpu=True) == []


def test_the_requirements_are_those_the_package_declares():
    assert set(requirements()) == set(modules())
    assert str(requirements()["mace-torch"]) == "==0.3.16"


def test_every_architecture_says_what_it_needs():
    assert set(BACKENDS) == set(backends.BACKENDS)
    for architecture in BACKENDS:
        assert all(requirements([architecture]).values()) or architecture == "ase"


def test_an_environment_is_judged_by_the_potentials_it_is_for():
    bare = report(versions=without("mace-torch"))
    assert problems(bare, needs_gpu=True, architectures=["emt"]) == []
    (message,) = problems(report(), needs_gpu=True, architectures=["sevennet"])
    assert "sevenn~=0.13.0 is not installed" in message
    assert "pip install 'matscipy" in message
    assert "mace" not in message
    old = report(versions=without("mace-torch") | {"sevenn": "0.11.0"})
    assert "pip install 'sevenn~=0.13.0'" in problems(old, needs_gpu=True, architectures=["sevennet"])[0]


CASES = {
    "old python": (report(python="3.9.18"), ["3.9.18", "3.11", "worker.activate"]),
    "missing package": (report(versions=without("mace-torch")), ["mace-torch==0.3.16 is not installed", "pip install"]),
    "wrong version": (
        report(versions=GOOD["versions"] | {"mace-torch": "0.3.10"}),
        ["mace-torch is 0.3.10", "pip install 'mace-torch==0.3.16'"],
    ),
    "broken import": (report(import_errors={"torch": "OSError: libcudart.so.12"}), ["importing torch", "libcudart"]),
    "no GPU": (report(gpus=[]), ["sees no GPU", "jobs.gpu_request"]),
}


@pytest.mark.parametrize(("found", "words"), CASES.values(), ids=CASES)
def test_each_problem_is_named_with_its_remedy(found, words):
    messages = "; ".join(problems(found, needs_gpu=True))
    for word in words:
        assert word in messages


def test_a_login_node_needs_no_gpu():
    assert problems(report(gpus=[]), needs_gpu=False) == []


def test_the_report_is_found_between_other_output():
    noise = "Loading module CUDA\n" + MARK + json.dumps(GOOD) + "\nbye\n"
    assert parse_report(noise) == report()
    with pytest.raises(ValueError, match="python3: command not found"):
        parse_report("bash: python3: command not found")


def test_the_probe_runs_alone_and_reports_this_environment():
    command = [sys.executable, "-I", probe_node.__file__, "numpy:numpy", "no-such-distribution:no_such_module"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = parse_report(done.stdout)
    assert found.python == ".".join(str(part) for part in sys.version_info[:3])
    assert set(found.versions) == {"numpy"}
    assert found.import_errors == {}


def test_the_probe_reports_an_import_that_fails(monkeypatch):
    errors = probe_node.import_errors(["json", "no_such_module"])
    assert set(errors) == {"no_such_module"}
    assert "ModuleNotFoundError" in errors["no_such_module"]
