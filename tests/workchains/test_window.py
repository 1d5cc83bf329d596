"""The window goes on with the first process that ends, and loses none."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import ToContext, run_get_node, while_
from aiida.plugins import CalculationFactory

from aiida_mlip.workchains.window import WindowedWorkChain

Add = CalculationFactory("core.arithmetic.add")


class Sleepers(WindowedWorkChain):
    """Jobs that sleep for given numbers of seconds, some at a time."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input("code", valid_type=orm.AbstractCode)
        spec.input("seconds", valid_type=orm.List)
        spec.input("size", valid_type=orm.Int)
        spec.outline(cls.start, while_(cls.has_work)(cls.keep_window_full), cls.two_more, cls.finish)
        spec.output("order", valid_type=orm.List)

    def start(self):
        self.setup_window()
        self.ctx.next = 0
        self.ctx.order = []

    def has_work(self):
        return self.ctx.next < len(self.inputs.seconds) or bool(self.ctx.running)

    def job(self, index, seconds):
        builder = Add.get_builder()
        builder.code, builder.x, builder.y = self.inputs.code, orm.Int(index), orm.Int(1)
        if seconds:
            builder.metadata.options.sleep = seconds
        return self.submit(builder)

    def keep_window_full(self):
        for label, node in self.leave_window():
            assert node.is_finished_ok
            self.ctx.order.append(label)
        seconds = self.inputs.seconds.get_list()
        while self.ctx.next < len(seconds) and len(self.ctx.running) < self.inputs.size.value:
            self.enter_window(f"job_{self.ctx.next}", self.job(self.ctx.next, seconds[self.ctx.next]))
            self.ctx.next += 1
        return self.wait_for_any()

    def two_more(self):
        """An ordinary step, which waits for both."""
        return ToContext(first=self.job(7, 0), second=self.job(8, 1))

    def finish(self):
        assert self.ctx.first.is_finished_ok
        assert self.ctx.second.is_finished_ok
        self.out("order", orm.List(self.ctx.order).store())


@pytest.fixture
def bash(localhost):
    return orm.InstalledCode(label="bash", computer=localhost, filepath_executable="/bin/bash").store()


def test_a_slow_process_does_not_hold_the_others_up(bash) -> None:
    """One of 6 s beside six of none: a window that waited for its slowest would take the first job with the second.

    How many of the others end before it depends on how busy the machine is; two are enough to tell.
    """
    outputs, node = run_get_node(Sleepers, code=bash, seconds=orm.List([6, 0, 0, 0, 0, 0, 0]), size=orm.Int(2))
    assert node.is_finished_ok, node.exception
    order = outputs["order"].get_list()
    assert sorted(order) == [f"job_{index}" for index in range(7)]
    assert order.index("job_0") >= 2
    times = sorted((child.ctime, child.mtime) for child in node.called)
    at_a_time = [sum(start <= begun < end for start, end in times) for begun, _ in times[:7]]
    assert max(at_a_time) <= 2


def test_an_empty_window_ends_at_once(bash) -> None:
    outputs, node = run_get_node(Sleepers, code=bash, seconds=orm.List([]), size=orm.Int(2))
    assert node.is_finished_ok, node.exception
    assert outputs["order"].get_list() == []
