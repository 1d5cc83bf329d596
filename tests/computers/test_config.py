"""Reading the file that describes a computer."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from aiida.plugins import TransportFactory

from aiida_mlip.computers.config import ComputerConfig, load_config, parse_walltime
from aiida_mlip.computers.local import local_config

GOOD = {
    "label": "cluster",
    "hostname": "login.example.org",
    "transport": {"kind": "core.ssh", "username": "me"},
    "scheduler": "core.slurm",
    "work_dir": "/scratch/{username}",
    "worker": {"activate": "source /opt/mlip/bin/activate"},
}
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "computers").glob("*.yaml"))

BAD = {
    "unknown field": ({"workdir": "/x"}, ["computer.workdir", "is not a known field", "work_dir"]),
    "missing field": ({"worker": None}, ["computer.worker"]),
    "relative work_dir": ({"work_dir": "scratch"}, ["computer.work_dir = 'scratch'"]),
    "at sign in label": ({"label": "me@cluster"}, ["computer.label = 'me@cluster'"]),
    "unknown scheduler": ({"scheduler": "slurm"}, ["computer.scheduler = 'slurm'", "core.slurm"]),
    "unknown transport": ({"transport": {"kind": "ssh"}}, ["computer.transport", "core.ssh_async"]),
    "ssh option of the other plugin": (
        {"transport": {"kind": "core.ssh", "username": "me", "host": "x"}},
        ["transport.core.ssh.host", "is not a known field"],
    ),
    "cuda without GPUs": ({"jobs": {"device": "cuda"}}, ["jobs", "gpus: 1"]),
    "unknown device": ({"jobs": {"device": "gpu"}}, ["computer.jobs.device = 'gpu'", "'cuda'"]),
    "environment for nothing known": (
        {"workers": {"other": {"activate": "source x"}}},
        ["workers.other", "'other' is no architecture", "sevennet"],
    ),
    "two environments for one architecture": (
        {"workers": {"chgnet": {"activate": "a"}, "both": {"activate": "b", "architectures": ["chgnet"]}}},
        ["workers.both and workers.chgnet are both for 'chgnet'"],
    ),
    "no cores": ({"jobs": {"cpus": 0}}, ["computer.jobs.cpus = 0"]),
    "walltime in words": ({"jobs": {"walltime": "12h"}}, ["computer.jobs.walltime = '12h'", "HH:MM:SS"]),
    "queue without scheduler": (
        {"scheduler": "core.direct", "jobs": {"queue": "gpu"}},
        ["jobs.queue", "set scheduler: core.slurm"],
    ),
    "relative program": (
        {"codes": {"pw": {"executable": "pw.x", "plugin": "quantumespresso.pw"}}},
        ["computer.codes.pw.executable = 'pw.x'"],
    ),
}


def write(folder: Path, content: object) -> Path:
    """Write a computer file."""
    path = folder / "computer.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_wrong_field_is_named_with_its_value_and_the_remedy(tmp_path, change, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the words are checked one by one)
        load_config(write(tmp_path, GOOD | change))
    for word in ["computer.yaml", *words]:
        assert word in str(caught.value)


def test_a_file_that_is_no_mapping_or_no_yaml_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dictionary"):
        load_config(write(tmp_path, ["label"]))
    (tmp_path / "broken.yaml").write_text("label: [")
    with pytest.raises(ValueError, match=r"broken.yaml is not valid YAML"):
        load_config(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("00:30:00", 1800),
        ('"00:30:00"', 1800),
        ("12:00:00", 43200),  # YAML 1.1 reads this as a number to base 60
        ('"12:00:00"', 43200),
        ("36:00:05", 129605),
        ("2-01:00:00", 176400),
        ("90", 90),
    ],
)
def test_walltime_means_the_same_quoted_and_unquoted(tmp_path, written, seconds):
    path = tmp_path / "computer.yaml"
    path.write_text(f"{yaml.safe_dump(GOOD)}jobs:\n  walltime: {written}\n")
    assert load_config(path).jobs.walltime == seconds


def test_parse_walltime_refuses_ambiguous_times():
    with pytest.raises(ValueError, match="HH:MM:SS"):
        parse_walltime("12:00")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_and_configure_their_transport(path):
    config = load_config(path)
    accepted = set(TransportFactory(config.transport.kind).get_valid_auth_params())
    assert set(config.transport.auth_params()) <= accepted


def test_there_are_examples_for_a_gpu_cluster_a_cpu_cluster_and_this_machine():
    assert {path.stem for path in EXAMPLES} == {"localhost", "slurm-cpu", "slurm-gpu"}


def test_threads_are_those_of_the_worker_or_the_cores_of_the_job(tmp_path):
    assert ComputerConfig.model_validate(GOOD | {"jobs": {"cpus": 6}}).threads == 6
    worker = {"activate": "", "threads": 2}
    assert ComputerConfig.model_validate(GOOD | {"jobs": {"cpus": 6}, "worker": worker}).threads == 2
    assert local_config(tmp_path, cpus=3).threads == 3
