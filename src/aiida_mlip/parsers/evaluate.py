"""Parser of ``mlip.evaluate``."""

from __future__ import annotations

from pathlib import Path

from aiida_mlip.parsers.base import MlipParser, arrays_of, dataset_of, results_node
from aiida_mlip.schema.job import Result


class EvaluateParser(MlipParser):
    """Turn errors, predictions and labelled configurations into nodes."""

    def _attach(self, result: Result, folder: Path) -> None:
        self.out("results", results_node(result))
        potential = self.node.inputs.potential.info
        theory = f"{potential.architecture} potential {potential.name or potential.sha256[:12]}"
        for name in self.node.inputs.datasets:
            self.out(f"predictions.{name}", arrays_of(folder, f"predictions_{name}.npz"))
            if self.node.inputs.settings.get("labelled"):
                self.out(f"labelled.{name}", dataset_of(folder, f"labelled_{name}.xyz", theory))
