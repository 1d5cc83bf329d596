"""What the calculations of a labelling left: the nodes that labels are read from, the reasons of failures, the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_mlip.calculations.labelling import FRAME
from aiida_mlip.workchains.reasons import reason_of

Failed = dict[str, list[str]]
"""Index of a configuration -> reason and uuid of the process."""


def of_runs(
    node: orm.WorkChainNode, queue: Sequence[int], reused: Mapping[int, orm.Node], _broken: str
) -> tuple[dict[str, Any], Failed]:
    """Return the outputs of pw.x by configuration, and what failed.

    :param queue: indices of the configurations that were to be run.
    :param reused: index -> calculation of an earlier labelling.
    """
    children = _children(node)
    sources: dict[str, Any] = {FRAME.format(index): _outputs(run) for index, run in reused.items()}
    failed: Failed = {}
    for index in queue:
        name = FRAME.format(index)
        run = children.get(name)
        if run is None:
            failed[str(index)] = ["not submitted: too many others had failed", ""]
        elif not run.is_finished_ok:
            failed[str(index)] = [reason_of(run), run.uuid]
        else:
            sources[name] = _outputs(run)
    return sources, failed


def of_batch(
    node: orm.WorkChainNode, queue: Sequence[int], reused: Mapping[int, orm.Node], broken: str
) -> tuple[dict[str, Any], Failed]:
    """Return the labelled sets, and what failed.

    :param queue: indices of the configurations that were to be labelled, in the order of the job.
    :param reused: index -> labelled set that has it.
    :param broken: why the job did not get to its end.
    """
    sets = {data.uuid: data for data in reused.values()}
    job = _children(node).get("label_batch")
    failed: Failed = {}
    if job is not None:
        if broken:
            failed |= {str(index): [broken, job.uuid] for index in queue}
        if "labelled" in job.outputs:
            sets[job.outputs.labelled.uuid] = job.outputs.labelled
        results = job.outputs.results.get_dict() if "results" in job.outputs else {}
        for item in results.get("failed", []):
            failed[str(queue[item["index"]])] = [item["reason"], job.uuid]
    return {f"batch_{number:03d}": data for number, data in enumerate(sets.values())}, failed


def core_seconds(node: orm.WorkChainNode) -> float:
    """Return wall time times cores [s] of the jobs that a labelling ran itself, as far as they left their times."""
    return sum(_cost(job) for child in _children(node).values() for job in child.called if _is_job(job))


def _children(node: orm.WorkChainNode) -> dict[str, orm.WorkChainNode]:
    """Return the work chains that were called, by the label of the call."""
    links = node.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()
    return {link.link_label: link.node for link in links}


def _outputs(node: orm.ProcessNode) -> dict[str, orm.Data]:
    return {"parameters": node.outputs.output_parameters, "trajectory": node.outputs.output_trajectory}


def _is_job(node: orm.ProcessNode) -> bool:
    return isinstance(node, orm.CalcJobNode)


def _cost(job: orm.CalcJobNode) -> float:
    """Return wall time times cores of one job [s]; 0 where it left no time, or came from the cache."""
    if job.base.caching.is_created_from_cache:
        return 0.0
    if "output_parameters" in job.outputs:
        seconds = job.outputs.output_parameters.get_dict().get("wall_time_seconds")
    elif "results" in job.outputs:
        seconds = job.outputs.results.get_dict().get("timings", {}).get("total")
    else:
        seconds = None
    return float(seconds or 0.0) * cores_of(job.get_option("resources") or {})


def cores_of(resources: Mapping[str, Any]) -> int:
    """Return the number of cores that the resources of a job ask for."""
    machines = int(resources.get("num_machines") or 1)
    processes = resources.get("tot_num_mpiprocs") or machines * int(resources.get("num_mpiprocs_per_machine") or 1)
    return int(processes) * int(resources.get("num_cores_per_mpiproc") or 1)
