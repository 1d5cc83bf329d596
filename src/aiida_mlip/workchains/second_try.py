"""Jobs that a work chain calls by themselves, without a restart chain: one that was lost or killed is submitted again.

They are short and leave nothing to go on from, so that a chain of their own would add a process for each and nothing
else. In an outline::

    cls.measure,
    while_(cls.has_lost_jobs)(cls.submit_lost_jobs),
    cls.inspect_measurement,
"""

from __future__ import annotations

from aiida.common import AttributeDict
from aiida.engine import ToContext
from aiida.orm import CalcJobNode

from aiida_mlip.calculations.base import MlipCalculation
from aiida_mlip.workchains.once import SubmitsOnce, label_of_call
from aiida_mlip.workchains.reasons import reason_of
from aiida_mlip.workchains.restart_families import families_of, was_killed


class TriesTwice(SubmitsOnce):
    """A work chain that submits its lost jobs once more, under the same labels, and looks at the second ones only."""

    def has_lost_jobs(self) -> bool:
        """Return whether a job in the context was lost, and no other one had its label before it."""
        return bool(self._lost_jobs())

    def submit_lost_jobs(self) -> ToContext:
        """Submit them again with the same inputs; the context then holds the new ones."""
        again = {}
        for key, node in self._lost_jobs().items():
            self.report(f"{reason_of(node)}; submitting it again")
            self.give_up(node)
            inputs = AttributeDict(node.get_builder_restart()._inputs(prune=True))
            inputs.metadata = {**inputs.get("metadata", {}), "call_link_label": label_of_call(node)}
            again[key] = self.submit(node.process_class, **inputs)
        return ToContext(**again)

    def _lost_jobs(self) -> dict[str, CalcJobNode]:
        jobs = {key: node for key, node in self.ctx.items() if isinstance(node, CalcJobNode)}
        return {key: node for key, node in jobs.items() if _is_lost(node) and not self.was_second(node)}


def _is_lost(node: CalcJobNode) -> bool:
    if not issubclass(node.process_class, MlipCalculation) or node.is_finished_ok or not node.is_finished:
        return False
    lost = {code.status for code in families_of(node.process_class).lost}
    return node.exit_status in lost or was_killed(node)


__all__ = ("TriesTwice",)
