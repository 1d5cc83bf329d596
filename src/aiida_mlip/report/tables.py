"""The numbers of a process as files for other programs: comma-separated values, and the summary as it is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from aiida_mlip.report.measured import Measured
from aiida_mlip.report.subject import Subject
from aiida_mlip.report.verdict import FIELDS, table


def write_tables(subject: Subject, page: Path) -> dict[str, Path]:
    """Write the numbers of ``mlip.defects`` beside its page; nothing for other processes, or without numbers.

    :param page: the files have its name, with other suffixes.
    :return: ``table`` and ``summary`` -> path.
    """
    if subject.kind != "mlip.defects" or subject.measured is None:
        return {}
    paths = {"table": write_csv(subject.measured, page.with_suffix(".csv"))}
    if subject.summary:
        paths["summary"] = page.with_suffix(".json")
        text = json.dumps(subject.summary, indent=1, sort_keys=True, ensure_ascii=False)
        paths["summary"].write_text(text + "\n", encoding="utf-8")
    return paths


def write_csv(measured: Measured, path: Path) -> Path:
    """Write one line for each number, and one for each property without a result."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, FIELDS, restval="")
        writer.writeheader()
        for line in table(measured):
            writer.writerow({key: "" if item is None else item for key, item in line.items()})
    return path
