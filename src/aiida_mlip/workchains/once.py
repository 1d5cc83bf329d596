"""Submissions that a killed daemon does not double.

AiiDA writes a checkpoint between the steps of a work chain. A daemon that is killed within a step begins the step again
when it is started, and what the step had submitted by then would be submitted a second time and run beside the first.
"""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import Process, ProcessState, WorkChain


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

    def _submitted_as(self, label: str) -> list[orm.ProcessNode]:
        """Return what was called under a label and not called off, the latest first."""
        links = self.node.base.links.get_outgoing(node_class=orm.ProcessNode, link_label_filter=label).all()
        nodes = sorted((link.node for link in links if link.link_label == label), key=lambda node: -int(node.pk))
        return [node for node in nodes if node.process_state != ProcessState.KILLED]


__all__ = ("SubmitsOnce",)
