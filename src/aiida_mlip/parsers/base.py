"""Parsing what the worker left: the content of ``result.json`` decides, never an exit status."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from aiida.engine import ExitCode
from aiida.orm import ArrayData, Dict
from aiida.parsers import Parser
from pydantic import ValidationError

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.parsers.diagnosis import diagnose
from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.job import RESULT_FILE, Failure, Result
from aiida_mlip.schema.upgrade import upgrade
from aiida_mlip.science.datasets.canonical import read_extxyz
from aiida_mlip.science.models import explain

_LABELS: Mapping[str, str] = {
    ErrorKind.INPUT: "ERROR_REFUSED_INPUT",
    ErrorKind.CONTRACT: "ERROR_CONTRACT",
    ErrorKind.BACKEND_IMPORT: "ERROR_BACKEND_IMPORT",
    ErrorKind.DEVICE: "ERROR_DEVICE_UNAVAILABLE",
    ErrorKind.OUT_OF_MEMORY: "ERROR_OUT_OF_MEMORY",
    ErrorKind.DIVERGED: "ERROR_TRAINING_DIVERGED",
    ErrorKind.STRATEGY: "ERROR_STRATEGY_NOT_APPLIED",
    ErrorKind.EXCEPTION: "ERROR_WORKER_EXCEPTION",
}
"""Kind of failure -> exit code; running out of time depends on whether there is a checkpoint."""


_SCHEDULER_CODES = range(100, 200)
"""Exit codes that AiiDA's scheduler plugins set before the parser is called."""


class ParsingError(Exception):
    """The retrieved files do not hold what they should.

    :param label: label of the exit code.
    :param message: what is wrong and what to do.
    """

    def __init__(self, label: str, message: str) -> None:
        super().__init__(message)
        self.label = label
        self.message = message


class MlipParser(Parser):
    """Parser of one task; subclasses turn the payload into nodes in :meth:`_attach`."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse the retrieved files and return an exit code.

        A complete result is a success even where the scheduler had something to say about the end of the job. None
        leaves the scheduler's exit code as it is.
        """
        folder = Path(kwargs.get("retrieved_temporary_folder") or "/nonexistent")
        try:
            result = self._read_result()
            if result is None:
                return self._without_result()
            if result.error is not None:
                self._attach_what_there_is(result)
                return self._failure(result.error)
            self._attach(result, folder)
        except ParsingError as error:
            return self._exit(error.label, error.message)
        return self._verdict(result)

    @abstractmethod
    def _attach(self, result: Result, folder: Path) -> None:
        """Turn the payload of a finished task into output nodes.

        :param folder: holds the files that are retrieved for parsing only.
        :raises ParsingError: where something is missing or damaged.
        """

    def _verdict(self, result: Result) -> ExitCode:  # noqa: ARG002 - for subclasses
        """Return the exit code of a task that ran to its end."""
        return ExitCode(0)

    def _attach_partial(self, result: Result) -> None:
        """Turn what an unfinished task has into output nodes; by default its payload."""
        self.out("results", results_node(result))

    def _has_checkpoint(self, error: Failure) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether a task that ran out of time left something to restart from."""
        return False

    def _read_result(self) -> Result | None:
        """Return the validated result, or None where there is no file.

        :raises ParsingError: where the file is not a result that is known here.
        """
        try:
            text = self.retrieved.base.repository.get_object_content(RESULT_FILE)
        except FileNotFoundError:
            return None
        try:
            document = json.loads(text)
            if not isinstance(document, dict):
                raise ParsingError("ERROR_UNREADABLE_RESULT", f"{RESULT_FILE} is not a JSON object. Submit again.")
            result = Result.model_validate(upgrade(document))
        except TaskError as error:
            raise ParsingError("ERROR_CONTRACT", str(error)) from error
        except ValidationError as error:
            raise ParsingError("ERROR_UNREADABLE_RESULT", explain(error, what="result", model=Result)) from error
        except ValueError as error:
            raise ParsingError("ERROR_UNREADABLE_RESULT", f"{error}. The file is cut short: submit again.") from error
        expected = self.node.process_class.TASK
        if result.task != expected and result.error is None:
            raise ParsingError(
                "ERROR_CONTRACT", f"result.task = {result.task!r}, and {expected!r} was asked for. Submit again."
            )
        return result

    def _without_result(self) -> ExitCode | None:
        """Say why there is no result; what the scheduler's plugin found out stays as it is."""
        if self.node.exit_status in _SCHEDULER_CODES:
            self.logger.error(f"no {RESULT_FILE}: {self.node.exit_message}")
            return None
        found = diagnose(list(self._printed()))
        return self._exit(found.label, found.message)

    def _printed(self) -> Iterator[str]:
        """Yield what worker and scheduler printed."""
        for option in ("output_filename", "scheduler_stderr", "scheduler_stdout"):
            name = self.node.get_option(option)
            if name and name in self.retrieved.base.repository.list_object_names():
                yield self.retrieved.base.repository.get_object_content(name)

    def _failure(self, error: Failure) -> ExitCode:
        if error.traceback:
            self.logger.error(error.traceback)
        if error.kind == ErrorKind.WALLTIME:
            label = f"ERROR_WALLTIME_WITH{'' if self._has_checkpoint(error) else 'OUT'}_CHECKPOINT"
        else:
            label = _LABELS[error.kind]
        return self._exit(label, f"{error.message} {error.remedy}".strip())

    def _attach_what_there_is(self, result: Result) -> None:
        if not result.payload:
            return
        try:
            self._attach_partial(result)
        except ParsingError as error:
            self.logger.warning(f"what was done until then is not complete: {error.message}")

    def _exit(self, label: str, message: str) -> ExitCode:
        code: ExitCode = self.exit_codes[label]
        self.logger.error(message)
        return code.format(message=message)


def results_node(result: Result, *without: str) -> Dict:
    """Return the payload with versions and timings as a node.

    :param without: keys of the payload that become nodes of their own.
    """
    payload = {key: value for key, value in result.payload.items() if key not in without}
    return Dict({**storable(payload), "versions": result.versions, "timings": result.timings})


def storable(value: Any) -> Any:
    """Return a copy in which NaN and infinities, which the database cannot hold, are None."""
    if isinstance(value, Mapping):
        return {str(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def find_file(folder: Path, name: str) -> Path:
    """Return the path of a retrieved file.

    :raises ParsingError: where it is not there.
    """
    path = folder / name
    if not path.is_file():
        raise ParsingError(
            "ERROR_MISSING_FILE",
            f"{name} was not retrieved: the disk of the compute node may be full, or the file was removed. "
            "Submit again.",
        )
    return path


def arrays_of(folder: Path, name: str) -> ArrayData:
    """Return all arrays of an npz file as a node.

    :raises ParsingError: where the file is missing or damaged.
    """
    path = find_file(folder, name)
    node = ArrayData()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                node.set_array(key, arrays[key])
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ParsingError("ERROR_MISSING_FILE", f"{name} is damaged ({error}). Submit again.") from error
    return node


def dataset_of(folder: Path, name: str, level_of_theory: str) -> DatasetData:
    """Return the configurations of a file of the worker as a node.

    :raises ParsingError: where the file is missing or damaged.
    """
    path = find_file(folder, name)
    try:
        with path.open(encoding="utf-8") as handle:
            return DatasetData(read_extxyz(handle), level_of_theory=level_of_theory)
    except ValueError as error:
        raise ParsingError("ERROR_MISSING_FILE", f"{name} is damaged ({error}). Submit again.") from error
