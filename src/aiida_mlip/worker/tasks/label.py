"""Label configurations with a potential or any ASE calculator, one after the other; one that fails is left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.labelling import LABELS_FILE, BatchLabelSettings
from aiida_mlip.science.labelling.address import digest_of, potential_method
from aiida_mlip.worker.backends import Potential, sha256_of
from aiida_mlip.worker.context import Context, Stopped
from aiida_mlip.worker.given import frames_of, potential_of
from aiida_mlip.worker.settings import parse_settings

Line = dict[str, Any]
"""``index`` and either ``energy`` [eV], ``forces`` [eV/Å] and perhaps ``stress`` [eV/Å^3], or ``reason``."""


@dataclass
class Labels:
    """The open file of labels, and what is in it.

    :param failed: index -> reason.
    :param done: indices with a label.
    """

    handle: TextIO
    failed: dict[int, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    def add(self, line: Line) -> None:
        """Write one line and hand it to the operating system at once, so that a killed job loses nothing."""
        self.handle.write(json.dumps(line) + "\n")
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.count(line)

    def count(self, line: Line) -> None:
        """Take note of a line."""
        if "reason" in line:
            self.failed[line["index"]] = line["reason"]
        else:
            self.done.add(line["index"])

    def payload(self, total: int) -> dict[str, Any]:
        """Return the payload of the result."""
        failed = [{"index": index, "reason": reason} for index, reason in sorted(self.failed.items())]
        left = total - len(self.done) - len(failed)
        return {"failed": failed, "counts": {"asked": total, "labelled": len(self.done), "not_reached": left}}


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``potential``, ``configurations`` (extended XYZ in canonical form), and ``restart`` (folder of an earlier
    job): what is labelled there is not computed again. Writes ``labels.jsonl``: a first line with the ``key`` of what
    is labelled how, then one line for each configuration.

    :return: ``failed`` (index and reason of each configuration without a label) and ``counts`` (``asked``,
        ``labelled``, ``not_reached``).
    :raises TaskError: of kind ``input`` where files are damaged, or the restart folder is of other labels.
    """
    settings = parse_settings(BatchLabelSettings, context.job.settings)
    context.reporter.stage("load")
    frames = frames_of(context, "configurations")
    key = digest_of(
        [sha256_of(context.path("configurations")), potential_method(context.job.potential or {}, context.job.settings)]
    )
    earlier = list(_earlier(context, key))
    path = context.directory / LABELS_FILE
    with path.open("w", encoding="utf-8") as handle:
        labels = Labels(handle)
        handle.write(json.dumps({"key": key}) + "\n")
        for line in earlier:
            labels.add(line)
        context.partial.update(labels.payload(len(frames)))
        potential = potential_of(context, settings)
        _label_all(context, frames, potential, settings, labels)
    return labels.payload(len(frames))


def _earlier(context: Context, key: str) -> Iterator[Line]:
    """Yield the lines of an earlier job; one that was cut short while it was written ends them.

    :raises TaskError: of kind ``input`` where they are of other configurations or another potential.
    """
    if "restart" not in context.job.files:
        return
    path = context.path("restart")
    path = path / LABELS_FILE if path.is_dir() else path
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as handle:
        for number, text in enumerate(handle):
            try:
                line = json.loads(text)
            except ValueError:
                return
            if number > 0:
                yield line
            elif line.get("key") != key:
                raise TaskError(
                    ErrorKind.INPUT,
                    "files['restart'] has labels of other configurations, another potential or other settings.",
                    "Restart from the folder of a job with the same inputs, or without one.",
                )


def _label_all(
    context: Context, frames: list[Atoms], potential: Potential, settings: BatchLabelSettings, labels: Labels
) -> None:
    context.reporter.stage("label", len(frames), done=len(labels.done) + len(labels.failed))
    make: Callable[[], Calculator] = potential.calculator
    calculator = make()
    known = set(potential.info.elements)
    for index, atoms in enumerate(frames):
        if index in labels.done or index in labels.failed:
            continue
        context.check_time()
        if missing := sorted(set(atoms.get_chemical_symbols()) - known):
            line: Line = {"index": index, "reason": f"the potential lacks {', '.join(missing)}"}
        else:
            line = _line(index, atoms, calculator, stress=settings.stress)
        if "reason" in line:
            calculator = make()  # one that raised may be left half-way
        labels.add(line)
        context.partial.update(labels.payload(len(frames)))
        context.reporter.update(len(labels.done) + len(labels.failed), {"failed": float(len(labels.failed))})


def _line(index: int, frame: Atoms, calculator: Calculator, *, stress: bool) -> Line:
    """Return the label of one configuration, or why it has none."""
    atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    calculator.reset()  # no label depends on the configuration before it
    atoms.calc = calculator
    try:
        energy = atoms.get_potential_energy()
        label: Line = {
            "index": index,
            "energy": float(calculator.results.get("free_energy", energy)),  # the one that the forces belong to
            "forces": np.asarray(atoms.get_forces(), dtype=float).tolist(),
        }
        if stress and atoms.pbc.all() and "stress" in calculator.implemented_properties:
            label["stress"] = np.asarray(atoms.get_stress(voigt=True), dtype=float).tolist()
    except Stopped:
        raise
    except Exception as error:  # whatever a calculator raises is a reason, and the other configurations go on
        text = str(error).strip().splitlines()
        return {"index": index, "reason": f"{type(error).__name__}: {text[0] if text else '(no message)'}"}
    bad = [name for name, value in label.items() if not np.isfinite(value).all()]
    return {"index": index, "reason": f"{' and '.join(bad)} not finite"} if bad else label
