"""Parser of ``mlip.property``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from aiida_mlip.parsers.base import MlipParser, dataset_of, results_node
from aiida_mlip.schema.job import Result


class PropertyParser(MlipParser):
    """Turn the records of the properties and their structures into nodes."""

    RESTARTABLE: ClassVar[bool] = True

    def _attach(self, result: Result, folder: Path) -> None:
        self.out("results", results_node(result))
        for path in sorted(folder.glob("structures_*.xyz")):
            name = path.stem.removeprefix("structures_")
            self.out(f"structures.{name}", dataset_of(folder, path.name, "structures of a property"))
