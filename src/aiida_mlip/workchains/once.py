"""Submissions that a killed daemon does not double.

AiiDA writes a checkpoint between the steps of a work chain. A daemon that is killed within a step begins the step again
when it is started, and what the step had submitted by then would be submitted a second time and run beside the first.
"""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import Process, ProcessState, WorkChain

_CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)


def label_of_call(node: orm.ProcessNode) -> str:
    """Return the label under which a process was called by its work chain."""
    (link,) = node.base.links.get_incoming(link_type=_CALLS).all()
    return str(link.link_label)


class SubmitsOnce(WorkChain):
    """A work chain that submits under each label of a call one process only; the labels of its calls differ."""

    def submit(self, process: type[Process], inputs: dict[str, Any] | None = None, **kwargs: Any) -> orm.ProcessNode:
        """Submit a process, or return the one that this step had submitted before the daemon was killed.

        One that nobody has begun may have been lost on its way to the daemon: it is called off, and submitted anew.
        """
        label = (kwargs or inputs or {}).get("metadata", {}).get("call_link_label")
        for earlier in self._submitted_as(label) if label else ():
            if earlier.process_state not in (None, ProcessState.CREATED):
                self.report(f"{label}: {earlier.process_label}<{earlier.pk}> was submitted before the daemon stopped")
                return earlier
            earlier.set_process_status("called off: the daemon was killed before anybody began it")
            earlier.set_process_state(ProcessState.KILLED)
            earlier.seal()
        return super().submit(process, inputs, **kwargs)

    def give_up(self, node: orm.ProcessNode) -> None:
        """Let another process have the label of one that has ended."""
        self.ctx.given_up = [*self.ctx.get("given_up", []), node.pk]

    def was_second(self, node: orm.ProcessNode) -> bool:
        """Return whether another process was given up for this one."""
        given_up = self.ctx.get("given_up", [])
        return any(other.pk < node.pk and other.pk in given_up for other in self._called_as(label_of_call(node)))

    def _submitted_as(self, label: str) -> list[orm.ProcessNode]:
        """Return what was called under a label, and neither called off nor given up, the latest first."""
        given_up = self.ctx.get("given_up", [])
        nodes = [node for node in self._called_as(label) if node.pk not in given_up]
        return [node for node in nodes if node.process_state != ProcessState.KILLED]

    def _called_as(self, label: str) -> list[orm.ProcessNode]:
        links = self.node.base.links.get_outgoing(node_class=orm.ProcessNode, link_label_filter=label).all()
        return sorted((link.node for link in links if link.link_label == label), key=lambda node: -int(node.pk))


__all__ = ("SubmitsOnce", "label_of_call")
