"""Trying out a registered computer: connection, queue, work directory, Python environment, and one small job."""

from __future__ import annotations

import shlex
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aiida import orm
from aiida.common.datastructures import CodeRunMode
from aiida.engine import ExitCode
from aiida.schedulers.datastructures import JobState, JobTemplate, JobTemplateCodeInfo

from aiida_mlip.computers import probe_node
from aiida_mlip.computers.defaults import job_defaults, job_options, worker_extra
from aiida_mlip.computers.environment import modules, parse_report, problems

PROBE = "probe.py"
OUTPUT = "probe.out"
SCRIPT = "probe.sh"
PROBE_WALLTIME = 600


class CheckError(Exception):
    """A check failed; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What one check found."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True)
class Site:
    """A computer with an open connection, and a folder there that the checks may use."""

    computer: orm.Computer
    transport: Any
    scheduler: Any
    folder: PurePosixPath
    activate: str
    job_wait: float
    architectures: tuple[str, ...] = ("mace",)

    def run(self, command: str) -> tuple[int, str, str]:
        """Run a shell command in the folder; return status, standard output and standard error."""
        code, out, err = self.transport.exec_command_wait(command, workdir=str(self.folder))
        return int(code), str(out), str(err)

    def write(self, name: str, content: str) -> None:
        """Write a file in the folder."""
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            self.transport.putfile(file.name, str(self.folder / name))

    def read(self, name: str) -> str:
        """Return the content of a file in the folder, or an empty text where there is none."""
        if not self.transport.path_exists(str(self.folder / name)):
            return ""
        with tempfile.TemporaryDirectory() as local:
            self.transport.getfile(str(self.folder / name), str(Path(local) / name))
            return (Path(local) / name).read_text(encoding="utf-8", errors="replace")


def shell_is_silent(site: Site) -> str:
    """Check that the shell prints nothing of its own: AiiDA would take it for the output of its commands."""
    code, out, err = site.run("echo -n")
    if code or out or err:
        raise CheckError(
            f"an empty command printed {(out + err).strip()[:200]!r} with status {code}: remove what prints from "
            "~/.bashrc and ~/.profile there, or set transport.login_shell: false"
        )
    return "no output of its own"


def queue_answers(site: Site) -> str:
    """Check that the scheduler can be asked for its jobs."""
    return f"{len(site.scheduler.get_jobs(as_dict=True))} jobs in the queue"


def files_arrive(site: Site) -> str:
    """Check that a file can be written in the work directory and comes back as it was."""
    content = f"σ {uuid.uuid4()}\n"
    site.write("echo.txt", content)
    if (back := site.read("echo.txt")) != content:
        raise CheckError(f"a file came back from {site.folder} as {back!r} instead of {content!r}")
    return str(site.folder.parent)


def python_on_login_node(site: Site) -> str:
    """Check the Python environment where the connection ends; GPUs are not asked for there."""
    site.write(PROBE, Path(probe_node.__file__).read_text(encoding="utf-8"))
    site.write(SCRIPT, f"{site.activate}\npython3 {shlex.join(_probe_arguments(site))}\n")
    _, out, err = site.run(f"bash {SCRIPT}")
    return _judge(site, out + err, needs_gpu=False)


def python_in_job(site: Site) -> str:
    """Check the Python environment inside a small job, with the resources that real jobs ask for."""
    site.write(PROBE, Path(probe_node.__file__).read_text(encoding="utf-8"))
    site.write(SCRIPT, site.scheduler.get_submit_script(_job_template(site)))
    job = site.scheduler.submit_job(str(site.folder), SCRIPT)
    if isinstance(job, ExitCode):
        raise CheckError(f"the scheduler refused the job: {job.message}")
    deadline = time.monotonic() + site.job_wait
    while not _finished(site, job):
        if time.monotonic() > deadline:
            raise CheckError(
                f"job {job} has not ended after {site.job_wait:.0f} s: it may be waiting in the queue; "
                "run the set-up again with a longer --wait, or with --no-job"
            )
        time.sleep(min(5.0, max(0.2, site.computer.get_minimum_job_poll_interval())))
    output = site.read(OUTPUT) + site.read("_scheduler-stderr.txt")
    return _judge(site, output, needs_gpu=job_defaults(site.computer).device == "cuda")


def _finished(site: Site, job: str) -> bool:
    info = site.scheduler.get_jobs(jobs=[job], as_dict=True).get(job)
    return info is None or info.job_state == JobState.DONE


def _judge(site: Site, output: str, *, needs_gpu: bool) -> str:
    report = parse_report(output)
    if found := problems(report, needs_gpu=needs_gpu, architectures=site.architectures):
        raise CheckError("; ".join(found))
    return report.summary()


def _probe_arguments(site: Site) -> list[str]:
    return [PROBE, *(f"{name}:{module}" for name, module in modules(site.architectures).items())]


def _job_template(site: Site) -> JobTemplate:
    options = job_options(site.computer, walltime=PROBE_WALLTIME)
    run = JobTemplateCodeInfo(
        cmdline_params=["python3", *_probe_arguments(site)], stdout_name=OUTPUT, use_double_quotes=[False, False]
    )
    template = JobTemplate()
    template.job_name = "mlip-setup"
    template.shebang = site.computer.get_shebang()
    template.prepend_text = site.activate
    template.job_resource = site.scheduler.create_job_resource(**options["resources"])
    template.import_sys_environment = True
    template.sched_output_path = "_scheduler-stdout.txt"
    template.sched_error_path = "_scheduler-stderr.txt"
    template.sched_join_files = False
    template.codes_info = [run]
    template.codes_run_mode = CodeRunMode.SERIAL
    same_name = ("queue_name", "account", "qos", "max_memory_kb", "max_wallclock_seconds", "custom_scheduler_commands")
    for name in same_name:
        if name in options:
            setattr(template, name, options[name])
    return template


CHECKS: dict[str, Callable[[Site], str]] = {
    "shell": shell_is_silent,
    "queue": queue_answers,
    "files": files_arrive,
    "python": python_on_login_node,
    "job": python_in_job,
}


def try_out(
    computer: orm.Computer, worker: orm.PortableCode, *, job: bool, job_wait: float = 600.0
) -> Iterator[Outcome]:
    """Run the checks one after the other; each is reported as it ends, and a failure does not stop the next.

    :param worker: the code whose environment is looked at.
    :param job: also send one small job through the scheduler.
    :param job_wait: how long that job may wait and run [s].
    """
    names = [name for name in CHECKS if job or name != "job"]
    try:
        with computer.get_transport() as transport:
            scheduler = computer.get_scheduler()
            scheduler.set_transport(transport)
            site = Site(
                computer,
                transport,
                scheduler,
                _make_folder(computer, transport),
                _activation(computer, worker),
                job_wait,
                tuple(worker_extra(worker).get("architectures", ("mace",))),
            )
            yield Outcome("connection", ok=True, message=f"as {transport.whoami()}")
            for name in names:
                yield _attempt(name, site)
            transport.rmtree(str(site.folder))
    except Exception as error:  # transports raise errors of many kinds; the user has to see which
        yield Outcome("connection", ok=False, message=_words(error))


def _make_folder(computer: orm.Computer, transport: Any) -> PurePosixPath:
    base = PurePosixPath(computer.get_workdir().format(username=transport.whoami()))
    folder = base / f"mlip-setup-{uuid.uuid4().hex[:8]}"
    transport.makedirs(str(folder), ignore_existing=True)
    return folder


def _activation(computer: orm.Computer, worker: orm.PortableCode) -> str:
    return "\n".join(text for text in (computer.get_prepend_text(), worker.prepend_text) if text)


def _attempt(name: str, site: Site) -> Outcome:
    try:
        return Outcome(name, ok=True, message=CHECKS[name](site))
    except CheckError as error:
        return Outcome(name, ok=False, message=str(error))
    except Exception as error:  # plugins raise errors of many kinds; the user has to see which
        return Outcome(name, ok=False, message=_words(error))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
