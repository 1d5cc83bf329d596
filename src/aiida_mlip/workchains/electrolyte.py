"""``mlip.electrolyte``: boxes, tests of forces, dynamics and checks of liquids, and a verdict on each potential."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiida import orm
from aiida.engine import ProcessSpec, if_, while_

from aiida_mlip.calculations import electrolyte as functions
from aiida_mlip.calculations.electrolyte_verdict import join_verdicts, judge_potential
from aiida_mlip.computers.defaults import max_concurrent
from aiida_mlip.science.liquids.force_results import ForceTestResult
from aiida_mlip.workchains.electrolyte_builder import electrolyte_builder
from aiida_mlip.workchains.electrolyte_spec import define_inputs, define_outcome
from aiida_mlip.workchains.electrolyte_steps import ElectrolyteSteps, NoResultError

_EXITS = {
    "box": "ERROR_BOXES_FAILED",
    "probes": "ERROR_PROBES_FAILED",
    "reference": "ERROR_REFERENCE_FAILED",
    "labels": "ERROR_LABELS_FAILED",
    "force_tests": "ERROR_FORCE_TESTS_FAILED",
    "dynamics": "ERROR_DYNAMICS_FAILED",
    "checks": "ERROR_CHECKS_FAILED",
}
"""Kind of a step that failed -> exit code; the first kind that failed decides."""


class ElectrolyteWorkChain(ElectrolyteSteps):
    """Say of potentials whether a liquid electrolyte is stable with them.

    The tests of forces come first, since they are cheap. Then every potential runs at constant volume from the boxes,
    and goes on from there at constant pressure and at constant energy; each part is checked as soon as it has ended.
    A potential under which the liquid falls apart is a finding, not a failure of the workflow. A step that fails takes
    nothing else down: what was computed is attached, and the exit code says what is missing.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.setup,
            if_(cls.should_state_dispersion)(cls.state_dispersion),
            cls.make_boxes,
            if_(cls.should_test_forces)(
                cls.make_probes,
                while_(cls.has_work)(cls.keep_window_full),
                cls.score_forces,
            ),
            if_(cls.should_run_dynamics)(
                cls.plan_dynamics,
                while_(cls.has_work)(cls.keep_window_full),
            ),
            cls.judge,
            cls.finish,
        )
        define_outcome(spec)

    get_builder_from_protocol = classmethod(electrolyte_builder)

    def setup(self) -> None:
        """Begin with an empty window, and find out how many jobs may run at a time."""
        self.setup_window()
        self.setup_steps()
        limit = self.inputs.get("max_concurrent")
        code = self.inputs.md.md.code
        computer = self.inputs.md.md.get("metadata", {}).get("computer") or code.computer
        self.ctx.window_size = limit.value if limit is not None else max_concurrent(computer)

    def should_state_dispersion(self) -> bool:
        """Return whether the user says what dispersion a potential has, or adds some."""
        return bool(self.inputs.get("dispersion", {}))

    def state_dispersion(self) -> None:
        """Take the potentials with what is said of their dispersion, or with what is added."""
        self.ctx.potentials = self.with_dispersion()

    def make_boxes(self) -> Any:
        """Pack the boxes that are asked for, and put them together with those that are given."""
        boxes = dict(self.inputs.get("boxes", {}))
        boxes |= self.pack_boxes()
        if not boxes:
            return self.exit_codes.ERROR_BOXES_FAILED.format(reasons=self.reasons("box"))
        self.ctx.boxes = dict(sorted(boxes.items()))
        self.ctx.structures = functions.join_boxes(**self.ctx.boxes, metadata={"call_link_label": "join_boxes"})
        self.out("boxes", dict(self.ctx.boxes))
        return None

    def should_test_forces(self) -> bool:
        """Return whether tests of energies and forces are asked for."""
        return self.settings.force_tests is not None

    def make_probes(self) -> None:
        """Make all configurations that the tests need labels of, and queue the labelling of all potentials."""
        made = self.probe_frames()
        if made is None:
            return
        self.ctx.probes, self.ctx.plan, self.ctx.test_settings = made
        self.report(f"{len(self.ctx.probes)} configurations for the tests of forces")
        if "reference" in self.inputs:
            self.enqueue("reference", "labels")
        for name in self.ctx.potentials:
            self.enqueue(name, "labels")

    def has_work(self) -> bool:
        """Return whether a step waits or is in the window."""
        return bool(self.ctx.running) or bool(self.ctx.queue)

    def keep_window_full(self) -> Any:
        """Look at the steps that have ended, queue what follows from them, and wait for the first that ends."""
        for label, node in self.leave_window():
            self.take(label, node)
        size = self.ctx.window_size or len(self.ctx.queue) + len(self.ctx.running)
        while self.ctx.queue and len(self.ctx.running) < size:
            self.submit_next()
        return self.wait_for_any()

    def score_forces(self) -> None:
        """Compare what each potential says of the probes with the reference, as far as there is one."""
        truth = self.labels_of("reference")
        for name in self.ctx.potentials:
            predicted = self.labels_of(name)
            if predicted is None:
                continue
            try:
                made = self.scores(name, predicted, truth)
            except NoResultError as failure:
                self.note_failure(f"{name}_force_tests", "force_tests", str(failure))
                continue
            self.ctx.force_tests = {**self.ctx.force_tests, name: made}
            failed = Counter(c.aspect for c in ForceTestResult(**made.get_dict()).checks if c.status == "fail")
            self.report(
                f"{name}: of the tests of forces {failed['stability'] or 'none'} failed"
                + (f", and {failed['accuracy']} comparisons with the reference" if failed["accuracy"] else "")
            )

    def should_run_dynamics(self) -> bool:
        """Return whether any dynamics is asked for."""
        return any(functions.steps_of(self.settings, stage) for stage in functions.STAGES)

    def plan_dynamics(self) -> None:
        """Queue the first stage of every potential; the others follow from it."""
        first = next(stage for stage in functions.STAGES if functions.steps_of(self.settings, stage))
        stages = ("nvt",) if first == "nvt" else [s for s in ("npt", "nve") if functions.steps_of(self.settings, s)]
        for stage in stages:
            for name in self.ctx.potentials:
                self.enqueue(name, stage)

    def judge(self) -> None:
        """Put together what is known of each potential, and then of all."""
        verdicts = {}
        for name, potential in self.ctx.potentials.items():
            outcome = orm.Dict(
                {
                    "potential": name,
                    "dispersion": potential.info.dispersion_words,
                    "failed_steps": self.failed_steps_of(name),
                }
            )
            verdicts[name] = judge_potential(
                self.inputs.settings,
                outcome,
                **self.findings_of(name),
                metadata={"call_link_label": f"{name}_verdict"},
            )
            self.report(str(verdicts[name]["sentence"]))
        self.ctx.verdict = join_verdicts(**verdicts, metadata={"call_link_label": "verdict"})

    def finish(self) -> Any:
        """Attach the verdict and what it rests on; say what is missing where a step failed."""
        self.out("verdict", self.ctx.verdict)
        if results := self.all_results():
            self.out("results", results)
        for kind, label in _EXITS.items():
            if kind in self.ctx.failed.values():
                return self.exit_codes[label].format(reasons=self.reasons(kind))
        return None


__all__ = ("ElectrolyteWorkChain",)
