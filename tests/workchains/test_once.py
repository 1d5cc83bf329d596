"""A step that a killed daemon begins again submits nothing a second time."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import ProcessState, WorkChain, run_get_node

from aiida_mlip.workchains.once import SubmitsOnce

pytestmark = pytest.mark.usefixtures("aiida_profile_clean")


class Child(WorkChain):
    """Does nothing."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.nothing)

    def nothing(self) -> None:
        """Nothing."""


class Twice(SubmitsOnce):
    """Submits under one label twice, as a step does that is begun again."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input("state", valid_type=str, non_db=True)
        spec.outline(cls.submit_twice)

    def submit_twice(self) -> None:
        first = self.submit(Child, metadata={"call_link_label": "step_01"})
        first.set_process_state(ProcessState(self.inputs.state) if self.inputs.state else None)
        self.node.base.extras.set("second", self.submit(Child, metadata={"call_link_label": "step_01"}).pk)
        self.submit(Child, metadata={"call_link_label": "step_02"})
        self.submit(Child)


def children(node: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    return sorted(node.called, key=lambda child: child.pk)


@pytest.mark.parametrize("state", ["waiting", "running", "finished", "excepted"])
def test_what_has_begun_is_taken(state: str) -> None:
    _, node = run_get_node(Twice, state=state)
    assert node.is_finished_ok, node.exit_message
    first, *others = children(node)
    assert node.base.extras.get("second") == first.pk
    assert len(others) == 2


@pytest.mark.parametrize("state", ["created", ""])
def test_what_nobody_has_begun_is_called_off_and_submitted_anew(state: str) -> None:
    """Without a state it was stored, and the daemon was killed before it had a checkpoint."""
    _, node = run_get_node(Twice, state=state)
    first, second, *others = children(node)
    assert first.is_killed
    assert first.is_sealed
    assert node.base.extras.get("second") == second.pk
    assert len(others) == 2
