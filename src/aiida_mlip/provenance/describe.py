"""One line of words for one node or group of nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from aiida import orm

from aiida_mlip.provenance.ancestry import Row
from aiida_mlip.provenance.condense import Group

PLUGIN_OF = {"aiida.calculations:quantumespresso.pw": "creator_version"}
"""Process type of a code's jobs -> the attribute of ``output_parameters`` that holds the code's version."""


def facts(row: Row) -> str:
    """Return what tells this node from others of its class, e.g. ``83 configurations, 612 atoms``."""
    known = row.facts
    parts: list[str] = []
    if row.label and row.label != row.class_name:
        parts.append(row.label)
    if "num_frames" in known:
        parts.append(f"{known['num_frames']} configurations, {known['num_atoms']} atoms")
    elif row.node_type.startswith("data.mlip.potential."):
        parts += [f"sha256 {str(known.get('sha256', ''))[:12]}", str(known.get("licence", "")).replace("unknown", "")]
    elif "element" in known:
        parts.append(str(known["element"]))
    if row.is_process and row.exit_status is not None:
        parts.append("finished" if row.exit_status == 0 else f"exit code {row.exit_status}")
    if row.is_job:
        parts.append(_versions([row]))
    return ", ".join(part for part in parts if part)


def group_facts(group: Group) -> str:
    """Return what the nodes of a group have in common, and their sums."""
    if len(group.rows) == 1:
        return facts(group.row)
    if group.row.is_process:
        outcome = "finished" if not group.failed else f"exit code {group.row.exit_status}"
        return ", ".join(filter(None, [outcome, _versions(group.rows), software(group.rows)]))
    labels = Counter(row.label for row in group.rows if row.label)
    if 0 < len(labels) <= 3:
        return ", ".join(labels)
    return ""


def _versions(rows: Iterable[Row]) -> str:
    """Return the versions of aiida-core and of the plugin, where the calculations ran on a computer and agree."""
    sets = {(row.versions.get("core"), row.versions.get("plugin")) for row in rows if row.is_job}
    if len(sets) != 1:
        return "several versions" if sets else ""
    return ", ".join(f"{name} {value}" for name, value in zip(("aiida", "plugin"), sets.pop(), strict=True) if value)


def software(rows: Iterable[Row]) -> str:
    """Return the versions of the external programs that these jobs report having run, e.g. ``pw.x 7.2``."""
    by_type: dict[str, list[int]] = {}
    for row in rows:
        by_type.setdefault(row.process_type, []).append(row.pk)
    found: Counter[str] = Counter()
    for process_type, attribute in PLUGIN_OF.items():
        if pks := by_type.get(process_type):
            query = orm.QueryBuilder()
            query.append(orm.CalcJobNode, filters={"id": {"in": pks}}, tag="job")
            query.append(
                orm.Dict,
                with_incoming="job",
                edge_filters={"label": "output_parameters"},
                project=[f"attributes.{attribute}"],
            )
            name = process_type.rpartition(".")[2]
            found.update(f"{name}.x {version}" for version in query.all(flat=True) if version)
    return ", ".join(found)
