"""``mlip.property.base``: properties that are computed to the end, in as many jobs as their wall time needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessHandlerReport, ProcessSpec, process_handler
from aiida.manage.caching import get_use_cache
from aiida.orm import CalcJobNode

from aiida_mlip.calculations.property import PropertyCalculation
from aiida_mlip.schema.tasks import PARTIAL_FILE
from aiida_mlip.workchains.restart_families import RestartChain, families_of

_FAMILIES = families_of(PropertyCalculation)


class PropertyBaseWorkChain(RestartChain):
    """Run ``mlip.property`` until it is done.

    A job that ran out of time is continued from the properties and steps that it finished. Each family of failures has
    one handler below. What is finished is returned also where the rest failed.
    """

    _process_class = PropertyCalculation

    FAILED = "ERROR_PROPERTY_FAILED"

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        cls.define_restarts(spec, "property")
        spec.exit_code(450, "ERROR_PROPERTY_FAILED", message="A restart does not repair this: {message}")
        spec.exit_code(451, "ERROR_NO_PROGRESS", message="Nothing was finished since the last restart: {message}")
        spec.exit_code(452, "ERROR_WALLTIME_TOO_SHORT", message="Not even one step fits into the time: {message}")
        spec.exit_code(453, "ERROR_MEMORY_TOO_SMALL", message="The configurations do not fit: {message}")
        spec.exit_code(455, "ERROR_JOB_LOST_AGAIN", message="The job was lost twice: {message}")
        spec.exit_code(710, "WARNING_NO_PROPERTY", message="Every property failed: {message}")

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        self.setup_restarts("property")
        self.ctx.finished = None
        inputs = self.ctx.inputs
        if "restart_folder" not in inputs and self._uses_cache(inputs) and (folder := _folder_of_last_job(inputs)):
            inputs.restart_folder = folder

    @process_handler(priority=600, exit_codes=_FAMILIES.out_of_time)
    def handle_out_of_time(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Go on from what is finished; remedy where nothing was gained: ask for more time."""
        finished = _finished(node)
        if finished is None:
            return self._stop("ERROR_WALLTIME_TOO_SHORT", node)
        if finished == self.ctx.finished:
            return self._stop("ERROR_NO_PROGRESS", node)
        self.ctx.finished = finished
        self.ctx.inputs.restart_folder = node.outputs.remote_folder
        return self._repaired(node, f"out of time after {_count(finished)}; going on from there")

    @process_handler(priority=580, exit_codes=_FAMILIES.out_of_memory)
    def handle_out_of_memory(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Stop: the same configurations need the same memory. Remedy: more memory, ``float32``, or smaller cells."""
        return self._stop("ERROR_MEMORY_TOO_SMALL", node)

    @process_handler(priority=560, exit_codes=_FAMILIES.lost)
    def handle_lost_job(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Submit again, once, from what is finished if there is anything: a node failed, or a disk was full."""
        if not self._may_resubmit():
            return self._stop("ERROR_JOB_LOST_AGAIN", node)
        return self._go_on_after(node, "the job was lost", left_something=_finished(node) is not None)

    @process_handler(priority=550, exit_codes=PropertyCalculation.exit_codes.WARNING_NO_PROPERTY)
    def handle_no_property(self, node: CalcJobNode) -> ProcessHandlerReport:
        """End as the job did: it ran to the end, and its results say why there is no property."""
        return self._stop("WARNING_NO_PROPERTY", node)

    def _uses_cache(self, inputs: AttributeDict) -> bool:
        disabled: bool = inputs.metadata.get("disable_cache", False)
        return not disabled and get_use_cache(identifier=PropertyCalculation.build_process_type())


def _folder_of_last_job(inputs: Mapping[str, Any]) -> orm.RemoteData | None:
    """Return the folder from which the last job of an earlier chain with the same inputs went on, or None.

    Only that job has the whole result. Started from the same folder, a job has the same inputs, and comes from AiiDA's
    cache; on another computer it would not, and could not reach the folder.
    """
    query = orm.QueryBuilder()
    finished = {"process_type": PropertyCalculation.build_process_type(), "attributes.exit_status": 0}
    query.append(CalcJobNode, filters=finished, tag="job", project="id")
    computer = inputs["metadata"].get("computer") or inputs["code"].computer
    query.append(orm.Computer, filters={"uuid": computer.uuid}, with_node="job")
    for name in ("settings", "potential", "code"):
        same = {"extras._aiida_hash": inputs[name].base.caching.get_hash()}
        query.append(orm.Data, filters=same, with_outgoing="job", edge_filters={"label": name})
    query.append(orm.RemoteData, with_outgoing="job", edge_filters={"label": "restart_folder"}, project="*")
    query.order_by({"job": [{"id": "desc"}]})
    found = query.first()
    return None if found is None else found[1]


def _finished(node: CalcJobNode) -> dict[str, Any] | None:
    """Return what a job left for its successor, without the cost, or None where it left nothing."""
    if (
        "retrieved" not in node.outputs
        or PARTIAL_FILE not in node.outputs.retrieved.base.repository.list_object_names()
    ):
        return None
    try:
        document = json.loads(node.outputs.retrieved.base.repository.get_object_content(PARTIAL_FILE))
    except ValueError:  # cut short while it was written
        return None
    steps = {name: item["notebook"]["steps"] for name, item in document.get("unfinished", {}).items()}
    properties = sorted(document.get("properties", {}))
    return {"properties": properties, "steps": steps} if properties or any(steps.values()) else None


def _count(finished: Mapping[str, Any]) -> str:
    properties, steps = len(finished["properties"]), sum(len(names) for names in finished["steps"].values())
    return f"{properties} properties and {steps} steps of the next"


__all__ = ("PropertyBaseWorkChain",)
