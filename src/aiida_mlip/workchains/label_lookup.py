"""Labels that are in the database already, found by their address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aiida import orm

from aiida_mlip.calculations.from_pw import PW_PROCESS_TYPE
from aiida_mlip.calculations.label import LabelCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.labelling import LABEL_EXTRA
from aiida_mlip.science.keys import SOURCE
from aiida_mlip.science.labelling.address import geometry_digest

CHUNK = 500
"""Addresses in one query: databases limit the number of values."""


def find_pw(addresses: Sequence[str]) -> dict[str, int]:
    """Return address -> pk of the oldest calculation of pw.x that ended well and made this label."""
    found: dict[str, int] = {}
    unique = list(dict.fromkeys(addresses))
    for start in range(0, len(unique), CHUNK):
        filters = {
            f"extras.{LABEL_EXTRA}": {"in": unique[start : start + CHUNK]},
            "process_type": PW_PROCESS_TYPE,
            "attributes.exit_status": 0,
        }
        query = orm.QueryBuilder()
        query.append(orm.CalcJobNode, filters=filters, project=[f"extras.{LABEL_EXTRA}", "id"], tag="run")
        query.append(orm.TrajectoryData, with_incoming="run", edge_filters={"label": "output_trajectory"})
        query.order_by({"run": "id"})
        for address, pk in query.all():
            found.setdefault(address, pk)
    return found


def find_batches(method: str, digests: Sequence[str]) -> dict[str, int]:
    """Return digest of the geometry -> pk of a labelled set of the same method that has it.

    The labels of jobs that ended in an error count too: what is in the set was finished.
    """
    wanted = set(digests)
    found: dict[str, int] = {}
    for node in _sets_of(method):
        digests_of_set = {geometry_digest(atoms) for atoms in node.frames() if atoms.info.get(SOURCE)}
        for digest in wanted & digests_of_set:
            found.setdefault(digest, node.pk)
        if len(found) == len(wanted):
            break
    return found


def _sets_of(method: str) -> Iterator[DatasetData]:
    query = orm.QueryBuilder()
    filters = {f"extras.{LABEL_EXTRA}": method, "process_type": LabelCalculation.build_process_type()}
    query.append(orm.CalcJobNode, filters=filters, tag="job")
    query.append(DatasetData, with_incoming="job", edge_filters={"label": "labelled"}, project="id", tag="set")
    query.order_by({"set": {"id": "desc"}})  # a job that was continued has all labels of those before it
    # The frames of a set take time to read. SQLite lets nobody write for 5 s at most, so no query may be open by then.
    for pk in query.all(flat=True):
        yield orm.load_node(pk)
