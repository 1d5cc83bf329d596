"""Registering the programs of a computer as AiiDA codes: the worker, which travels with each job, and others."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mlip import __version__
from aiida_mlip.computers.config import ComputerConfig, ExtraWorker, InstalledCode, Worker
from aiida_mlip.computers.defaults import (
    LOCAL,
    WORKER_EXTRA,
    WORKER_PREFIX,
    job_defaults,
    registered_workers,
    worker_extra,
)
from aiida_mlip.worker.bundle import WORKER_FILE, build_worker


def worker_prepend_text(worker: Worker, threads: int, *, local: bool = False) -> str:
    """Return the shell lines before the worker: its Python environment and its number of threads.

    :param local: whether jobs inherit the variables of AiiDA's daemon, whose PYTHONPATH would put the packages of its
        own environment before those of the worker's.

    Idle OpenMP threads sleep instead of spinning: on shared cores spinning costs more than it saves.
    """
    variables = {
        "OMP_NUM_THREADS": f"${{SLURM_CPUS_PER_TASK:-{threads}}}",
        "OMP_WAIT_POLICY": "PASSIVE",
        **worker.environment,
    }
    exports = [f'export {name}="{value}"' for name, value in variables.items()]
    return "\n".join([*(["unset PYTHONPATH"] if local else []), worker.activate.strip(), *exports])


def register_workers(computer: orm.Computer, config: ComputerConfig, *, keep: bool = False) -> list[orm.PortableCode]:
    """Register the worker once for each environment of a computer: the main one first.

    :param keep: also those that an earlier set-up registered and ``config`` does not name; they are brought up to date
        with the package. False: they are hidden.
    """
    extra = dict(config.workers)
    for code in registered_workers(computer):
        known = worker_extra(code)
        if known and known["name"] not in extra:
            if keep:
                extra[known["name"]] = ExtraWorker.model_validate(known["worker"])
            else:
                _retire(code, code.label)
    with tempfile.TemporaryDirectory() as folder:
        zipapp = build_worker(Path(folder) / WORKER_FILE)
        main = register_worker(computer, config.worker, zipapp)
        return [main, *(register_worker(computer, worker, zipapp, name=name) for name, worker in extra.items())]


def register_worker(
    computer: orm.Computer, worker: Worker, zipapp: Path | None = None, *, name: str = ""
) -> orm.PortableCode:
    """Register the worker for a computer; a code with the same content and environment is used again.

    The label is ``mlip-worker-<version>-<first 8 digits of the file's sha256>``, and for a further environment its name
    is added. Workers registered for the same environment before are hidden and kept, since finished jobs link to them.

    :param computer: a stored computer with job defaults.
    :param worker: the Python environment on its compute nodes.
    :param zipapp: a worker that was built already; None builds one from the installed package.
    :param name: of a further environment; empty for the main one.
    """
    threads = worker.threads or job_defaults(computer).cpus
    prepend_text = worker_prepend_text(worker, threads, local=computer.transport_type == LOCAL)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / WORKER_FILE
        if zipapp is None:
            build_worker(target)
        else:
            shutil.copyfile(zipapp, target)
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        label = "-".join([f"{WORKER_PREFIX}{__version__}", digest[:8], *([name] if name else [])])
        same_name = [code for code in registered_workers(computer) if worker_extra(code).get("name", "") == name]
        current, others = _split(same_name, label, prepend_text)
        for code in others:
            _retire(code, label)
        if current is not None:
            _describe(current, worker, name)
            return current
        code = orm.PortableCode(
            label=label,
            description=f"worker of aiida-mlip-workchains {__version__}, sha256 {digest}",
            computer=computer,
            filepath_executable=WORKER_FILE,
            filepath_files=folder,
            prepend_text=prepend_text,
            with_mpi=False,
        )
        code.store()
        _describe(code, worker, name)
        return code


def _describe(code: orm.PortableCode, worker: Worker, name: str) -> None:
    """Write down, on the code of a further environment, what it is for and how it was described."""
    if name:
        given = worker.architectures if isinstance(worker, ExtraWorker) else ()
        extra = {"name": name, "architectures": list(given or (name,)), "worker": worker.model_dump(mode="json")}
        code.base.extras.set(WORKER_EXTRA, extra)


def _split(
    codes: list[orm.PortableCode], label: str, prepend_text: str
) -> tuple[orm.PortableCode | None, list[orm.PortableCode]]:
    """Return the code that is what is wanted, if there is one, and all others."""
    same = [code for code in codes if code.label == label and code.prepend_text == prepend_text]
    return (same[0] if same else None), [code for code in codes if code not in same[:1]]


def _retire(code: orm.PortableCode, label: str) -> None:
    """Hide a code; where it has the label of its successor, make its own label distinct."""
    code.is_hidden = True
    if code.label == label:
        code.label = f"{label}-pk{code.pk}"


def register_installed(computer: orm.Computer, label: str, config: InstalledCode) -> orm.InstalledCode:
    """Register a program of the computer; one with the same label and settings is used again, another is hidden.

    :param label: label of the code; it is addressed as ``label@computer``.
    """
    wanted = {
        "filepath_executable": config.executable,
        "default_calc_job_plugin": config.plugin,
        "prepend_text": config.activate,
        "with_mpi": config.with_mpi,
    }
    try:
        code = orm.load_code(f"{label}@{computer.label}")
    except NotExistent:
        code = None
    if code is not None:
        if all(str(getattr(code, name)) == str(value) for name, value in wanted.items()):
            return code
        code.is_hidden = True
        code.label = f"{label}-pk{code.pk}"
    return orm.InstalledCode(label=label, computer=computer, **wanted).store()
