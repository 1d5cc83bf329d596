"""A profile of its own with a real daemon that can be killed, and a small loop of iterative training in it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest
from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import submit
from aiida.engine.daemon.client import get_daemon_client
from aiida.manage import get_manager
from aiida.manage.configuration import get_config, get_profile, load_profile
from ase import Atoms
from ase.build import bulk

from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.cli import _profile
from aiida_mlip.cli._daemon import idle_reason
from aiida_mlip.computers.codes import register_worker
from aiida_mlip.computers.defaults import job_options
from aiida_mlip.computers.local import local_config, local_worker
from aiida_mlip.computers.register import register_computer
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science.labelling.address import geometry_digest
from aiida_mlip.workchains.iterative import IterativeTrainingWorkChain

PROFILE = "faults"
BIN = Path(sys.executable).parent
PATIENCE = 1800.0
"""Seconds after which something does not come any more; loops take a minute or two each where nobody else computes."""


class House:
    """The profile, its daemon and its jobs, all of which may be killed.

    :param work: folder of the jobs: a process whose working directory is in it is one of ours.
    """

    def __init__(self, work: Path, zipapp: Path, tiny: tuple[Path, dict[str, Any]]) -> None:
        self.work = work
        self.killed = 0
        self.restarts = 0
        self.sockets: list[Path] = []
        self.computer = register_computer(local_config(work_dir=work, cpus=1, poll_interval=0.2))
        self.code = register_worker(self.computer, local_worker(cpus=1), zipapp)
        self.foundation = PotentialData(tiny[0], {**tiny[1], "name": "tiny"}).store()

    # -- the daemon

    def verdi(self, *arguments: str) -> str:
        """Run ``verdi`` as a user would, and return what it printed."""
        command = [str(BIN / "verdi"), "-p", PROFILE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start the daemon as a user does after a crash: again, where its worker does not reach the broker."""
        self.verdi("daemon", "start", "1")
        get_manager().reset_broker()
        get_manager().reset_runner()
        if not self.works(30.0):
            assert "daemon restart" in (idle_reason() or "")
            self.verdi("daemon", "restart")
            self.restarts += 1
            assert self.works(60.0)

    def works(self, seconds: float) -> bool:
        """Wait until a worker of the daemon has reached the broker, whose address changes with each start."""
        end = time.monotonic() + seconds
        folder = Path(get_config().filepaths(get_profile())["broker_service"]["dir"])
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):  # the status is written by the broker, again and again
                status = json.loads((folder / "broker.status").read_text())
                if status["pid"] in {process.pid for process in self.daemon()} and status["task_subscribers"] > 0:
                    return True
            time.sleep(0.2)
        return False

    def daemon(self) -> list[psutil.Process]:
        """The processes of the daemon: circus, and what it started (worker, broker, statistics); not the jobs."""
        pid = get_daemon_client(PROFILE).get_daemon_pid()
        if pid is None or not psutil.pid_exists(pid):
            return []
        circus = psutil.Process(pid)
        return [circus, *circus.children()]

    def kill(self, processes: list[psutil.Process] | None = None) -> None:
        """Kill the whole daemon at once with signal 9; jobs that run go on running, as on a cluster.

        :param processes: of the daemon, where they were looked up before and every millisecond counts.
        """
        processes = processes or self.daemon()
        self.sockets.append(Path(get_daemon_client(PROFILE).get_circus_socket_directory()))
        assert len(processes) >= 3, processes
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(processes, timeout=20)
        assert not [process for process in processes if process.is_running() and process.status() != "zombie"]
        self.killed += 1

    def repair(self) -> str:
        """Do what the manual says after a crash: stop the daemon, repair, start it."""
        self.verdi("daemon", "stop")
        said = self.verdi("process", "repair", "--force")
        self.start()
        return said

    def close(self) -> None:
        """Stop the daemon, and see that nothing is left."""
        processes, jobs = self.daemon(), self.processes()
        with contextlib.suppress(AssertionError):
            self.verdi("daemon", "stop")
        _, alive = psutil.wait_procs(processes, timeout=20)
        for process in (*alive, *jobs):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for folder in self.sockets:  # circus removes its sockets when it is stopped, and was killed
            shutil.rmtree(folder, ignore_errors=True)
        get_manager().reset_profile()
        assert not alive
        assert not jobs

    # -- the jobs

    def processes(self, node: orm.CalcJobNode | None = None) -> list[psutil.Process]:
        """The processes of the jobs that are alive, or those of one job."""
        folder = str(self.work) if node is None else node.get_remote_workdir()
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if folder and process.cwd().startswith(folder) and process.status() != "zombie":
                    found.append(process)
        return found

    def program(self, name: str, node: orm.CalcJobNode | None = None) -> int | None:
        """The number of a process that runs a program in the folder of a job, not of the shell around it."""
        folder = str(self.work) if node is None else node.get_remote_workdir()
        for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            entry = Path("/proc") / str(pid)
            with contextlib.suppress(OSError):
                if not (entry / "comm").read_text().startswith(name):
                    continue
                if folder and str((entry / "cwd").readlink()).startswith(folder):
                    return pid
        return None

    def kill_program(self, name: str, node: orm.CalcJobNode | None = None) -> bool:
        """Kill it with signal 9; False where it does not run."""
        pid = self.program(name, node)
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    # -- the processes of AiiDA

    def submit(self, builder: Any) -> orm.WorkChainNode:
        node: orm.WorkChainNode = submit(builder)
        return node

    def wait(self, node: orm.ProcessNode, seconds: float = PATIENCE) -> None:
        """Wait until a process has ended."""
        self.until(lambda: node.is_terminated, f"the end of {node.process_label}<{node.pk}>", node, seconds)

    def until(
        self,
        condition: Callable[[], Any],
        what: str,
        node: orm.ProcessNode | None = None,
        seconds: float = PATIENCE,
    ) -> Any:
        """Wait for something, and return it; look often, since some things are over soon."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            assert node is None or not node.is_terminated or condition(), f"{what}: {ending(node)}"
            time.sleep(0.01)
        raise AssertionError(f"{what}: not within {seconds} s\n{ending(node) if node is not None else ''}")


def ending(node: orm.ProcessNode) -> str:
    """What a process says, and those that it called, for messages of failed tests."""
    called = "\n".join(
        f"  {child.pk} {child.process_label} {child.process_state} {child.exit_status} {child.exit_message}"
        for child in node.called_descendants
    )
    logs = "\n".join(log.message for log in orm.Log.collection.get_logs_for(node))
    return f"{node.process_state} {node.exit_status} {node.exit_message}\n{called}\n{logs}"


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory,
    aiida_config_factory: Any,
    aiida_profile: Any,
    worker_zipapp: Path,
    tiny_mace: tuple[Path, dict[str, Any]],
) -> Iterator[House]:
    """A profile like that of ``aiida-mlip setup --local``, in a folder of its own, and its running daemon."""
    folder = tmp_path_factory.mktemp("faults")
    with aiida_config_factory(folder):
        _profile.make(PROFILE)
        made = House(folder / "work", worker_zipapp, tiny_mace)
        try:
            made.start()
            yield made
        finally:
            made.close()
    load_profile(aiida_profile.name, allow_switch=True)


@pytest.fixture(scope="session")
def pw() -> ModuleType:
    """Where pw.x and its pseudopotentials are; tests are skipped where they are not."""
    name = "pw_for_tests"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "workchains" / "pw.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    if not sys.modules[name].IS_HERE:
        pytest.skip("needs Debian's quantum-espresso and quantum-espresso-data: make system-deps")
    return sys.modules[name]


def cells(element: str, seed: int) -> list[Atoms]:
    """Two distorted cubic cells of four atoms."""
    frames = []
    for index in range(2):
        atoms = bulk(element, "fcc", a={"Al": 4.05, "Cu": 3.65}[element], cubic=True)
        rng = np.random.default_rng([seed, index])
        atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(scale=0.01, size=(3, 3))), scale_atoms=True)
        frames.append(atoms)
    return frames


def teacher() -> PotentialData:
    """The effective medium theory of ASE."""
    known = {"architecture": "emt", "elements": ["Al", "Cu", "Ni"]}
    info = {**known, "r_max": 6.0, "dtype": "float64", "num_parameters": 0, "level_of_theory": "EMT"}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), info)


OVERRIDES: dict[str, Any] = {
    "settings": {
        "max_generations": 2,
        "conditions": [{"name": "t500", "stages": [{"steps": 80, "temperature": 500.0}]}],
        "committee": {"size": 2, "vary": ["seed", "bootstrap"]},
        "levels": {"kind": "absolute", "lower": 1e-6, "upper": 1e3},
        "augmentation": {"rattles": 3, "strains": 1, "volumes": []},
        "convergence": {"candidate_fraction": 0.0},
    },
    "training": {"max_epochs": 2, "learning_rate": 1e-3, "batch_size": 2, "dtype": "float64"},
    "md": {"checkpoint_stride": 10, "timestep": 1.0},
    "selection": {"budget": 2},
}
"""Of the loop: two generations, two potentials, two walkers; frames are always asked for."""


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested changes to nested values."""
    found = dict(base)
    for name, value in changes.items():
        nested = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = merged(found[name], value) if nested else value
    return found


@pytest.fixture(scope="module")
def loop(house: House) -> Callable[..., Any]:
    """A function that returns a builder of the loop; ``seed`` and ``element`` make it one of its own."""

    def function(
        element: str = "Cu",
        seed: int = 1,
        changes: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        **inputs: Any,
    ) -> Any:
        if "previous" in inputs:
            given = {"overrides": changes or {}, **inputs}
            return IterativeTrainingWorkChain.get_builder_from_protocol(code=house.code, **given)
        settings = {"settings": {"seed": seed}}
        given = {
            "structures": DatasetData(cells(element, seed)),
            "potential": house.foundation,
            "protocol": "fast",
            "overrides": merged(merged(OVERRIDES, settings), changes or {}),
            "options": {**job_options(house.computer), **(options or {})},
            **({} if "pw" in inputs else {"teacher": teacher()}),
            **inputs,
        }
        return IterativeTrainingWorkChain.get_builder_from_protocol(code=house.code, **given)

    return function


def called(node: orm.ProcessNode, label: str) -> orm.ProcessNode | None:
    """The last process that was called under a label, if there is any yet."""
    try:
        found = node.base.links.get_outgoing(link_label_filter=label).all_nodes()
    except NotExistent:
        return None
    processes = [child for child in found if isinstance(child, orm.ProcessNode)]
    return max(processes, key=lambda child: int(child.pk), default=None)


def job_of(node: orm.ProcessNode, label: str) -> orm.CalcJobNode | None:
    """The last job under a step of the loop, if there is any yet."""
    step = called(node, label)
    if step is None or isinstance(step, orm.CalcJobNode):
        return step
    jobs = [child for child in step.called_descendants if isinstance(child, orm.CalcJobNode)]
    return max(jobs, key=lambda job: job.pk, default=None)


def jobs(*nodes: orm.ProcessNode) -> list[orm.CalcJobNode]:
    """All jobs of some processes."""
    return [child for node in nodes for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]


def finished(*nodes: orm.ProcessNode) -> Counter[str]:
    """How many jobs of each kind ended well."""
    return Counter(job.process_label for job in jobs(*nodes) if job.is_finished_ok)


def labels_made() -> Counter[str]:
    """Digest of a configuration -> how often the whole database has it labelled by a teacher."""
    query = orm.QueryBuilder()
    query.append(orm.CalcJobNode, filters={"process_type": LabelCalculation.build_process_type()}, tag="job")
    query.append(DatasetData, with_incoming="job", edge_filters={"label": "labelled"})
    return Counter(geometry_digest(atoms) for data in query.all(flat=True) for atoms in data.frames())


def active() -> list[orm.ProcessNode]:
    """The processes of the profile that have not ended."""
    nodes = orm.QueryBuilder().append(orm.ProcessNode).all(flat=True)
    return [node for node in nodes if not node.is_terminated]


def excepted() -> list[orm.ProcessNode]:
    """The processes of the profile that an exception ended."""
    return [node for node in orm.QueryBuilder().append(orm.ProcessNode).all(flat=True) if node.is_excepted]


@pytest.fixture(scope="session")
def look() -> ModuleType:
    """The functions of this file that look at graphs, for the tests of this folder."""
    return sys.modules[__name__]
