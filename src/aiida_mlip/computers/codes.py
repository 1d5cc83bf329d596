"""Registering the programs of a computer as AiiDA codes: the worker, which travels with each job, and others."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mlip import __version__
from aiida_mlip.computers.config import InstalledCode, Worker
from aiida_mlip.computers.defaults import WORKER_PREFIX, job_defaults
from aiida_mlip.worker.bundle import WORKER_FILE, build_worker


def worker_prepend_text(worker: Worker, threads: int) -> str:
    """Return the shell lines before the worker: its Python environment and its number of threads.

    Idle OpenMP threads sleep instead of spinning: on shared cores spinning costs more than it saves.
    """
    variables = {
        "OMP_NUM_THREADS": f"${{SLURM_CPUS_PER_TASK:-{threads}}}",
        "OMP_WAIT_POLICY": "PASSIVE",
        **worker.environment,
    }
    exports = [f'export {name}="{value}"' for name, value in variables.items()]
    return "\n".join([worker.activate.strip(), *exports])


def register_worker(computer: orm.Computer, worker: Worker, zipapp: Path | None = None) -> orm.PortableCode:
    """Register the worker for a computer; a code with the same content and environment is used again.

    The label is ``mlip-worker-<version>-<first 8 digits of the file's sha256>``. Workers registered here before are
    hidden and kept, since finished jobs link to them.

    :param computer: a stored computer with job defaults.
    :param worker: the Python environment on its compute nodes.
    :param zipapp: a worker that was built already; None builds one from the installed package.
    """
    prepend_text = worker_prepend_text(worker, worker.threads or job_defaults(computer).cpus)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / WORKER_FILE
        if zipapp is None:
            build_worker(target)
        else:
            shutil.copyfile(zipapp, target)
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        label = f"{WORKER_PREFIX}{__version__}-{digest[:8]}"
        current, others = _split(_registered(computer), label, prepend_text)
        for code in others:
            _retire(code, label)
        if current is not None:
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
        return code.store()


def _registered(computer: orm.Computer) -> list[orm.PortableCode]:
    query = orm.QueryBuilder()
    query.append(orm.Computer, filters={"id": computer.pk}, tag="computer")
    query.append(orm.PortableCode, with_computer="computer", filters={"label": {"like": f"{WORKER_PREFIX}%"}})
    return [code for code in query.all(flat=True) if not code.is_hidden]


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
