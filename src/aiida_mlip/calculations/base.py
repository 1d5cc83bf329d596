"""What every calculation of the worker shares: its job file, what is uploaded and retrieved, and its exit codes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJob, CalcJobProcessSpec
from aiida.engine.processes.calcjobs.calcjob import validate_calc_job
from aiida.engine.processes.ports import PortNamespace
from aiida.orm import AbstractCode, Computer, Data, Dict, PortableCode, RemoteData

from aiida_mlip.calculations import checks
from aiida_mlip.computers.defaults import PROPERTY
from aiida_mlip.schema.job import JOB_FILE, PROGRESS_FILE, RESULT_FILE, Job, Task
from aiida_mlip.science.models import StrictModel

TIME_FRACTION = 0.9
"""Share of the job's wall time after which the worker stops itself; the rest is for writing and copying."""

RESTART_FOLDER = "restart"
"""Folder of the job into which files of the folder to restart from are copied."""


class FileNode(Protocol):
    """A node that is one file."""

    FILENAME: ClassVar[str]
    uuid: str


class ExitCodeSpec(NamedTuple):
    """One exit code of all calculations."""

    status: int
    label: str
    message: str
    invalidates_cache: bool = True


EXIT_CODES = (
    ExitCodeSpec(300, "ERROR_NO_RESULT", "The job left no result.json: {message}"),
    ExitCodeSpec(301, "ERROR_UNREADABLE_RESULT", "result.json cannot be read: {message}"),
    ExitCodeSpec(302, "ERROR_MISSING_FILE", "A file that the result promises is missing or damaged: {message}"),
    ExitCodeSpec(310, "ERROR_CONTRACT", "Worker and package do not understand each other: {message}"),
    ExitCodeSpec(320, "ERROR_WORKER_EXCEPTION", "The worker raised an exception: {message}"),
    ExitCodeSpec(321, "ERROR_REFUSED_INPUT", "The worker refused its input: {message}", False),
    ExitCodeSpec(330, "ERROR_BACKEND_IMPORT", "The environment of the compute node is not complete: {message}"),
    ExitCodeSpec(331, "ERROR_DEVICE_UNAVAILABLE", "The device asked for is not there: {message}"),
    ExitCodeSpec(340, "ERROR_OUT_OF_MEMORY", "Out of memory: {message}"),
    ExitCodeSpec(400, "ERROR_WALLTIME_WITH_CHECKPOINT", "Out of time, and a restart is possible: {message}"),
    ExitCodeSpec(401, "ERROR_WALLTIME_WITHOUT_CHECKPOINT", "Out of time, and nothing to restart from: {message}"),
    ExitCodeSpec(430, "ERROR_TRAINING_DIVERGED", "The training diverged: {message}", False),
    ExitCodeSpec(440, "ERROR_STRATEGY_NOT_APPLIED", "What was applied is not what was asked for: {message}", False),
)
"""Numbers are never used again for something else."""


class MlipCalculation(CalcJob):
    """A calculation that runs one task of the worker.

    Subclasses set the class attributes and :meth:`define` their inputs, name their files in :meth:`_files`, and
    check their inputs in :meth:`_check`.
    """

    TASK: ClassVar[Task]
    SETTINGS: ClassVar[type[StrictModel]]
    LOG_FILES: ClassVar[tuple[str, ...]] = ()
    """Further small files to keep in ``retrieved``; patterns are allowed."""
    LARGE_FILES: ClassVar[tuple[str, ...]] = ()
    """Files that the parser turns into nodes and that are not kept otherwise; patterns are allowed."""
    RESTART_FILES: ClassVar[tuple[str, ...]] = ()
    """Files and folders that are copied from ``restart_folder``."""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define what all calculations share; subclasses call this first."""
        super().define(spec)
        spec.inputs.validator = cls._validate_all
        spec.inputs["code"].help = "The worker: a PortableCode made by `aiida-mlip setup`."
        spec.input(
            "settings",
            valid_type=Dict,
            serializer=cls._complete_settings,
            validator=cls._validate_settings,
            help=f"Fields of {cls.SETTINGS.__name__}; a plain dict is completed with all defaults.",
        )
        options = spec.inputs["metadata"]["options"]
        options["resources"].default = lambda: {"num_machines": 1, "num_mpiprocs_per_machine": 1}
        options["withmpi"].default = False
        options["input_filename"].default = JOB_FILE
        options["output_filename"].default = "worker.out"
        options["parser_name"].default = f"mlip.{cls.TASK}"
        for code in EXIT_CODES:
            spec.exit_code(code.status, code.label, message=code.message, invalidates_cache=code.invalidates_cache)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job file and list what is uploaded and retrieved."""
        if "restart_folder" in self.inputs:
            folder.get_subfolder(RESTART_FOLDER, create=True)
        files = self._files()
        job = Job(
            task=self.TASK,
            settings=self.inputs.settings.get_dict(),
            files={role: name for role, (_, name) in files.items()} | self._other_files(),
            potential=self._potential_info(),
            potentials=self._potential_infos(),
            time_limit=self._time_limit(),
        )
        with folder.open(JOB_FILE, "w", encoding="utf-8") as handle:
            handle.write(job.model_dump_json(indent=1))
        code = CodeInfo()
        code.code_uuid = self.inputs.code.uuid
        code.cmdline_params = [JOB_FILE]
        code.stdout_name = self.metadata.options.output_filename
        code.join_files = True
        info = CalcInfo()
        info.codes_info = [code]
        info.local_copy_list = [(node.uuid, node.FILENAME, name) for node, name in files.values()]
        info.remote_copy_list = list(self._remote_files())
        info.retrieve_list = [RESULT_FILE, PROGRESS_FILE, code.stdout_name, *_directives(self.LOG_FILES)]
        info.retrieve_temporary_list = [*_directives(self._large_files())]
        return info

    @abstractmethod
    def _files(self) -> Mapping[str, tuple[FileNode, str]]:
        """Return role -> (node, name of its file in the job)."""

    def _other_files(self) -> dict[str, str]:
        """Return role -> file or folder that gets into the job by other means."""
        return {"restart": RESTART_FOLDER} if "restart_folder" in self.inputs else {}

    @classmethod
    @abstractmethod
    def _check(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
        """Yield what is wrong with the inputs taken together.

        :param inputs: what is given; a work chain may validate before it knows everything.
        :param ctx: the ports that are to be given here.
        """

    def _large_files(self) -> tuple[str, ...]:
        """Return which files the parser turns into nodes."""
        return self.LARGE_FILES

    def _potential_info(self) -> dict[str, Any] | None:
        potential = self.inputs.get("potential")
        return potential.info.model_dump(mode="json") if potential is not None else None

    def _potential_infos(self) -> dict[str, dict[str, Any]]:
        """Return member -> description, of calculations with a committee in ``potentials``."""
        return {name: node.info.model_dump(mode="json") for name, node in self.inputs.get("potentials", {}).items()}

    def _time_limit(self) -> float | None:
        seconds = self.inputs.metadata.options.get("max_wallclock_seconds")
        return TIME_FRACTION * seconds if seconds else None

    def _remote_files(self) -> Iterator[tuple[str, str, str]]:
        restart: RemoteData | None = self.inputs.get("restart_folder")
        if restart is not None:
            root = restart.get_remote_path()
            for name in self.RESTART_FILES:
                yield restart.computer.uuid, f"{root}/{name}", f"{RESTART_FOLDER}/"

    @classmethod
    def _complete(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings with all defaults.

        :raises ValueError: where they are wrong.
        """
        return checks.complete(cls.SETTINGS, values)

    @classmethod
    def _complete_settings(cls, values: Any) -> Dict:
        """Turn a plain dict into a node; what is wrong is left for the validator to explain."""
        try:
            return Dict(cls._complete(values))
        except (ValueError, TypeError):
            return Dict(dict(values) if isinstance(values, Mapping) else {"settings": repr(values)})

    @classmethod
    def _validate_settings(cls, node: Dict | None, _port: Any) -> str | None:
        return None if node is None else checks.problems_of(cls.SETTINGS, node.get_dict())

    @classmethod
    def _validate_all(cls, inputs: Mapping[str, Any], ctx: PortNamespace) -> str | None:
        """Check the inputs together: what AiiDA knows of, the code and its computer, then the task's own."""
        messages = [*_check_runtime(inputs, ctx), *cls._check(inputs, ctx)]
        return "\n".join(messages) or validate_calc_job(inputs, ctx)


def _check_runtime(inputs: Mapping[str, Any], ctx: PortNamespace) -> Iterator[str]:
    code: AbstractCode | None = inputs.get("code")
    if code is None:
        if "code" in ctx and "remote_folder" not in inputs:
            yield checks.refusal("code", None, "the worker is required", "Use the code that `aiida-mlip setup` makes")
        return
    executable = str(code.filepath_executable) if isinstance(code, PortableCode) else None
    made_for = code.computer.label if code.computer else code.base.extras.get("mlip_computer", None)
    asked: Computer | None = inputs.get("metadata", {}).get("computer")
    yield from checks.check_code(code.label, executable, made_for, asked.label if asked else None)
    computer = asked or code.computer
    settings: Dict | None = inputs.get("settings")
    if computer is not None and settings is not None:
        jobs = computer.get_property(PROPERTY, None) or {}
        yield from checks.check_device(settings.get("device", "cpu"), computer.label, jobs.get("gpus"))
    restart: Data | None = inputs.get("restart_folder")
    if restart is not None and computer is not None:
        yield from checks.check_restart(restart.computer.label, computer.label)


def _directives(patterns: tuple[str, ...]) -> Iterator[str | tuple[str, str, int]]:
    """Yield retrieve directives; a pattern keeps the relative path of what it matches."""
    for pattern in patterns:
        yield (pattern, ".", pattern.count("/") + 1) if "*" in pattern else pattern
