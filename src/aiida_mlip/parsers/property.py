"""Parser of ``mlip.property``."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import ExitCode

from aiida_mlip.parsers.base import MlipParser, dataset_of, results_node
from aiida_mlip.parsers.diagnosis import diagnose
from aiida_mlip.schema.job import Failure, Result
from aiida_mlip.schema.tasks import PARTIAL_FILE


class PropertyParser(MlipParser):
    """Turn the records of the properties and their structures into nodes."""

    def _has_checkpoint(self, error: Failure) -> bool:  # noqa: ARG002 - the file says it
        return PARTIAL_FILE in self.retrieved.base.repository.list_object_names()

    def _verdict(self, result: Result) -> ExitCode:
        failed = result.payload.get("failed", {})
        if result.payload.get("properties") or not failed:
            return ExitCode(0)
        errors = {name: record["error"] for name, record in failed.items()}
        found = diagnose([f"{error['type']}: {error['message']}" for error in errors.values()])
        if found.label == "ERROR_OUT_OF_MEMORY":  # of the machine, not of the property
            return self._exit(found.label, found.message)
        return self._exit("WARNING_NO_PROPERTY", "; ".join(f"{name}: {e['message']}" for name, e in errors.items()))

    def _attach(self, result: Result, folder: Path) -> None:
        self.out("results", results_node(result))
        for path in sorted(folder.glob("structures_*.xyz")):
            name = path.stem.removeprefix("structures_")
            self.out(f"structures.{name}", dataset_of(folder, path.name, "structures of a property"))
