"""Properties of the material before and after, beside published reference values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from aiida_mlip.report import figures
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import BASELINE, Subject, results
from aiida_mlip.science.reference import ReferenceSet
from aiida_mlip.science.reference import load as load_reference


def collect(subject: Subject) -> Content:
    """Return one row for each number, the citations of the references, flags, and what failed."""
    found = {name: results(node) for name, node in subject.properties.items()}
    after_name = subject.best if subject.best in found else next((n for n in found if n != BASELINE), None)
    before = found.get(BASELINE, {}).get("properties", {})
    after = found.get(after_name or "", {}).get("properties", {})
    rows = list(_rows(before, after))
    citations = list(dict.fromkeys(row["citation"] for row in rows if row["citation"]))
    for row in rows:
        row["note"] = citations.index(row["citation"]) + 1 if row["citation"] else None
    failed = [
        {"which": "before" if name == BASELINE else "after", "name": key, **(record.get("error") or {})}
        for name in (BASELINE, after_name)
        for key, record in found.get(name or "", {}).get("failed", {}).items()
    ]
    if not rows and not failed:
        return {}
    return {
        "rows": rows,
        "citations": citations,
        "flags": [*_flags("before", before), *_flags("after", after)],
        "failed": failed,
        "compared": bool(before) and bool(after),
        "figure": figures.deviations(rows) if any(row["reference"] for row in rows) else None,
        "conditions": list(_conditions(after or before)),
    }


def _rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield one row for each comparable number; a number that two properties give is labelled with its property."""
    reference = _reference()
    records = {name: after.get(name) or before[name] for name in dict.fromkeys((*before, *after))}
    elements = {str(record.get("inputs", {}).get("element", "")) for record in records.values()}
    seen: set[str] = set()
    for name, record in records.items():
        old, new = _by_key(before.get(name, {})), _by_key(after.get(name, {}))
        element = str(record.get("inputs", {}).get("element", ""))
        for key in dict.fromkeys((*old, *new)):
            item = new.get(key) or old[key]
            label = str(item["label"]) if len(elements) == 1 else f"{element} {item['label']}"
            known = reference.get(element, key)
            yield {
                "label": f"{label} ({name})" if label in seen else label,
                "again": label in seen,
                "unit": item["unit"],
                "before": old[key]["value"] if key in old else None,
                "after": new[key]["value"] if key in new else None,
                "reference": known.value if known is not None else None,
                "citation": known.citation if known is not None else "",
                "remark": known.note if known is not None else "",
            }
            seen.add(label)


@cache
def _reference() -> ReferenceSet:
    return load_reference()


def _by_key(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {item["key"]: item for item in record.get("quantities", ())}


def _flags(which: str, records: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name, record in records.items():
        for flag in record.get("flags", ()):
            yield {"which": which, "property": name, **flag}


def _conditions(records: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name, record in records.items():
        yield {
            "name": name,
            "inputs": record.get("inputs", {}),
            "calls": record.get("force_calls"),
            "seconds": record.get("seconds"),
        }


SECTION = Section("Properties", collect, applies=lambda subject: bool(subject.properties))
