"""Parser of ``mlip.label``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aiida.engine import ExitCode
from aiida.orm import Dict
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.parsers.base import MlipParser, ParsingError, find_file, results_node
from aiida_mlip.schema.job import Failure, Result
from aiida_mlip.schema.labelling import LABEL_EXTRA, LABELS_FILE
from aiida_mlip.science.keys import ENERGY, FORCES, SOURCE, STRESS
from aiida_mlip.science.labelling.address import potential_method

Line = dict[str, Any]
"""``index`` and either ``energy``, ``forces`` and perhaps ``stress``, or ``reason``, as the worker writes it."""


class LabelParser(MlipParser):
    """Put the labels on the configurations of the input, and leave the method where it can be looked up."""

    _folder = Path("/nonexistent")

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Parse; the labels of a job that ran out of time are kept too."""
        self._folder = Path(kwargs.get("retrieved_temporary_folder") or self._folder)
        return super().parse(**kwargs)

    def _attach(self, result: Result, folder: Path) -> None:
        lines = _lines(find_file(folder, LABELS_FILE))
        labelled = sum("reason" not in line for line in lines.values())
        if labelled != result.payload["counts"]["labelled"]:
            message = f"{LABELS_FILE} has {labelled} labels, and the result says {result.payload['counts']['labelled']}"
            raise ParsingError("ERROR_MISSING_FILE", f"{message}. Submit again.")
        self.out("results", results_node(result))
        self._attach_labels(lines)

    def _attach_partial(self, result: Result) -> None:
        self._attach(result, self._folder)

    def _without_result(self) -> ExitCode | None:
        """Keep the labels that a killed job had written."""
        path = self._folder / LABELS_FILE
        lines = _lines(path) if path.is_file() else {}
        if lines:
            failed = [line for line in lines.values() if "reason" in line]
            asked = len(self.node.inputs.configurations)
            done = {"asked": asked, "labelled": len(lines) - len(failed), "not_reached": asked - len(lines)}
            self.out("results", Dict({"failed": failed, "counts": done}))
            self._attach_labels(lines)
        return super()._without_result()

    def _attach_labels(self, lines: Mapping[int, Line]) -> None:
        frames = list(self._labelled(lines))
        info = self.node.inputs.potential.info
        if frames:
            theory = info.level_of_theory if info.level_of_theory != "unknown" else info.name or info.sha256[:12]
            if info.architecture not in theory:
                theory = f"{info.architecture} potential {theory}"
            self.out("labelled", DatasetData(frames, level_of_theory=theory))
        method = potential_method(info.model_dump(mode="json"), self.node.inputs.settings.get_dict())
        self.node.base.extras.set(LABEL_EXTRA, method)

    def _labelled(self, lines: Mapping[int, Line]) -> Iterator[Atoms]:
        for index, atoms in enumerate(self.node.inputs.configurations.frames()):
            if (line := lines.get(index)) is None or "reason" in line:
                continue
            atoms.info[ENERGY] = line["energy"]
            atoms.arrays[FORCES] = np.array(line["forces"], dtype=float).reshape(-1, 3)
            atoms.info.pop(STRESS, None)
            if "stress" in line:
                atoms.info[STRESS] = np.array(line["stress"], dtype=float)
            atoms.info[SOURCE] = self.node.uuid
            yield atoms

    def _has_checkpoint(self, error: Failure) -> bool:  # noqa: ARG002 - the payload says it
        results = self.outputs.get("results")
        counts = results.get_dict().get("counts", {}) if results is not None else {}
        return bool(counts.get("asked", 0) > counts.get("not_reached", 0))

    def _verdict(self, result: Result) -> ExitCode:
        if result.payload["counts"]["labelled"]:
            return ExitCode(0)
        failed = result.payload["failed"]
        first = failed[0]["reason"] if failed else "there is nothing to label"
        return self._exit("ERROR_NO_LABEL", f"{len(failed)} failed, the first with: {first}")


def _lines(path: Path) -> dict[int, Line]:
    """Return the line of each configuration that was reached; one that was cut short ends them."""
    lines: dict[int, Line] = {}
    for text in path.read_text(encoding="utf-8").splitlines()[1:]:
        try:
            line = json.loads(text)
        except ValueError:
            break
        lines[line["index"]] = line
    return lines
