"""``mlip.iterative_training``: train, doubt, explore, select, label, and again, until converged."""

from __future__ import annotations

from typing import Any

from aiida.common import AttributeDict
from aiida.engine import ProcessSpec, ToContext, if_, while_

from aiida_mlip.calculations import iterative as functions
from aiida_mlip.calculations import iterative_records as records
from aiida_mlip.calculations.evaluate import EvaluateCalculation
from aiida_mlip.calculations.select import SelectCalculation
from aiida_mlip.calculations.uncertainty import UncertaintyCalculation
from aiida_mlip.schema.iterative import History
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.workchains.committee import member_inputs, member_names, trained
from aiida_mlip.workchains.iterative_builder import iterative_builder
from aiida_mlip.workchains.iterative_spec import define_inputs, define_outcome
from aiida_mlip.workchains.iterative_steps import LoopWorkChain, output_of, there
from aiida_mlip.workchains.md_base import MDBaseWorkChain
from aiida_mlip.workchains.reasons import reason_of
from aiida_mlip.workchains.train_base import TrainBaseWorkChain

_ENDS = {
    "max_generations": "WARNING_NOT_CONVERGED",
    "label_budget": "WARNING_LABEL_BUDGET",
}
"""Why the loop ended -> label of its exit code, where it did not end well."""


class IterativeTrainingWorkChain(LoopWorkChain):
    """Train a committee, let it explore where it is unsure, label what it asks for, and train it again.

    A generation trains the members side by side, measures them on a hold-out set that is never trained on, calibrates
    their uncertainty on the validation set, runs the dynamics of the ladder's conditions from the start structures,
    and selects frames. The next generation begins with their labels. The last one asks for labels that it does not
    make: a run that goes on from it (``previous``) makes them first.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.setup,
            if_(cls.should_start)(
                if_(cls.should_augment)(cls.augment, cls.label_start, cls.inspect_start),
                cls.make_first_sets,
            ),
            while_(cls.should_go_on)(
                if_(cls.should_label)(cls.label, cls.inspect_labels),
                if_(cls.should_train)(
                    cls.divide,
                    cls.train,
                    cls.inspect_training,
                    cls.measure,
                    while_(cls.has_lost_jobs)(cls.submit_lost_jobs),
                    cls.inspect_measurement,
                ),
                cls.explore,
                cls.inspect_exploration,
                cls.select,
                while_(cls.has_lost_jobs)(cls.submit_lost_jobs),
                cls.inspect_selection,
                cls.record,
            ),
            cls.finish,
        )
        define_outcome(spec)

    get_builder_from_protocol = classmethod(iterative_builder)

    def setup(self) -> None:
        """Begin anew, or with what an earlier run left."""
        previous = AttributeDict(self.inputs.get("previous", {}))
        self.ctx.unfinished = AttributeDict(previous.get("unfinished", {}))
        self.ctx.members = dict(previous.get("potentials", {}))
        self.ctx.trained_on = None
        self.ctx.uncertainty = None
        self.ctx.selected = previous.get("selected", None)
        self.ctx.training_set = previous.get("training_set", self.inputs.get("training_set", None))
        self.ctx.holdout = previous.get("holdout", self.inputs.get("holdout", None))
        if "history" in previous:
            self.ctx.history = records.continue_history(
                previous.history, metadata={"call_link_label": "continue_history"}
            )
            self.report(f"going on after {self._done} generations, {len(self.ctx.training_set)} frames to train on")

    def should_start(self) -> bool:
        """Return whether there is a first set to be made."""
        return "history" not in self.inputs.get("previous", {})

    def should_augment(self) -> bool:
        """Return whether changed copies of the start structures are to be labelled."""
        return self._settings.augmentation is not None

    def augment(self) -> Any:
        """Make the configurations of the first set."""
        try:
            self.ctx.start = functions.start_configurations(
                self.inputs.structures,
                self.inputs.settings,
                self.inputs.training.train.settings,
                self.inputs.label.settings,
                **self._given("training_set"),
                metadata={"call_link_label": "start_configurations"},
            )
        except DatasetError as error:
            return self.exit_codes.ERROR_SETS.format(reasons=str(error))
        self.report(f"{len(self.ctx.start)} configurations for the first set")
        return None

    def label_start(self) -> None:
        """Label them, and the isolated atoms that the reference energies need."""
        settings = functions.start_label_settings(
            self.inputs.label.settings,
            self.inputs.training.train.settings,
            self.inputs.structures,
            **self._given("training_set"),
            metadata={"call_link_label": "start_label_settings"},
        )
        self._submit_labels("start_labels", self.ctx.start, settings, "label_start")

    def inspect_start(self) -> Any:
        """Go on with what was labelled, as long as not too much failed."""
        job = self.ctx.start_labels
        self._report_labels(job)
        if not job.is_finished_ok and "training_set" not in self.inputs:
            return self.exit_codes.ERROR_FIRST_SET_FAILED.format(reason=reason_of(job))
        return None

    def make_first_sets(self) -> Any:
        """Put the first set together, and hold out what is never trained on."""
        job = self.ctx.get("start_labels")
        nodes = {"given": self.ctx.training_set, "holdout": self.ctx.holdout, "labelled": output_of(job, "labelled")}
        labels = output_of(job, "report")
        try:
            made = functions.start_sets(
                self.inputs.settings, **there(nodes), metadata={"call_link_label": "start_sets"}
            )
        except DatasetError as error:
            return self.exit_codes.ERROR_SETS.format(reasons=str(error))
        for warning in made["report"]["warnings"]:
            self.report(f"first set: {warning}")
        self.ctx.training_set = made["training_set"]
        self.ctx.holdout = made.get("holdout", self.ctx.holdout)
        self.ctx.history = records.start_history(
            **there({"labels": labels}), metadata={"call_link_label": "start_history"}
        )
        return None

    def should_go_on(self) -> bool:
        """Return whether nothing has ended the loop yet."""
        return str(self.ctx.history["ended"]) == ""

    def should_label(self) -> bool:
        """Return whether the last generation asked for labels."""
        return self.ctx.selected is not None

    def label(self) -> None:
        """Label what the last generation asked for, within the budget."""
        selected, left = self.ctx.selected, self._labels_left
        if left is not None and left < len(selected):
            link = {"call_link_label": f"{self._last}_within_budget"}
            selected = functions.within_budget(selected, self.inputs.settings, self.ctx.history, metadata=link)
        link = {"call_link_label": f"{self._last}_label_settings"}
        settings = functions.generation_label_settings(self.inputs.label.settings, metadata=link)
        self._submit_labels("labels", selected, settings, f"{self._last}_label")

    def inspect_labels(self) -> Any:
        """Add what was labelled to the training set; stop where too much failed."""
        job, step = self.ctx.labels, self._last
        self.ctx.selected = None
        self._report_labels(job)
        if "labelled" in job.outputs:
            before = len(self.ctx.training_set)
            self.ctx.training_set = functions.extend_set(
                self.ctx.training_set,
                job.outputs.labelled,
                **there({"holdout": self.ctx.holdout}),
                metadata={"call_link_label": f"{step}_extend_set"},
            )
            if dropped := before + len(job.outputs.labelled) - len(self.ctx.training_set):
                self.report(f"{dropped} labelled frames are near-duplicates of hold-out frames and are not trained on")
        if "report" in job.outputs:
            self.ctx.history = records.add_labels(
                self.ctx.history, job.outputs.report, metadata={"call_link_label": f"{step}_label_record"}
            )
        return None if job.is_finished_ok else self._fail("ERROR_LABELLING_FAILED", reason=reason_of(job))

    def should_train(self) -> bool:
        """Return whether the set has changed since the members were trained."""
        return bool(self.ctx.trained_on != self.ctx.training_set.uuid)

    def divide(self) -> Any:
        """Part the set into training and validation; what validated once is never trained on."""
        try:
            self.ctx.sets = functions.generation_sets(
                self.ctx.training_set, self.inputs.settings, metadata={"call_link_label": f"{self._now}_sets"}
            )
        except DatasetError as error:
            return self._fail("ERROR_SETS", reasons=str(error))
        self.report(f"{self._now}: {', '.join(f'{name} {len(part)}' for name, part in self.ctx.sets.items())} frames")
        return None

    def train(self) -> None:
        """Train the members of the committee side by side; what an interrupted run trained is taken as it is."""
        inputs = AttributeDict(self.exposed_inputs(TrainBaseWorkChain, namespace="training"))
        train, done = AttributeDict(inputs.train), dict(self.ctx.unfinished.get("potentials", {}))
        train.training_set, train.validation_set = self.ctx.sets["training"], self.ctx.sets["validation"]
        if int(train.settings["batch_size"]) > functions.batch_limit(train.training_set):
            link = {"call_link_label": f"{self._now}_fitting_batch"}
            train.settings = functions.fitting_batch(train.settings, train.training_set, metadata=link)
        link = {"call_link_label": f"{self._now}_committee"}
        committee = functions.committee_of(self.inputs.settings, metadata=link)
        for name, varied in member_inputs(train, committee, f"{self._now}_").items():
            if name in done:
                continue
            if (start := self._start_of(name)) is not None:
                varied.potential = start
            inputs.train = varied
            label = f"{self._now}_train_{name[-2:]}"
            inputs.metadata = {"call_link_label": label, "label": label}
            self.to_context(**{f"train_{name}": self.submit(TrainBaseWorkChain, **inputs)})

    def inspect_training(self) -> Any:
        """Keep the members that were trained; a committee that is left without disagreement ends the run."""
        done = dict(self.ctx.unfinished.get("potentials", {}))
        names = [name for name in member_names(self._committee) if name not in done]
        jobs = {name: self.ctx[f"train_{name}"] for name in names}
        members, reasons = trained(jobs)
        results = {name: jobs[name].outputs.results for name in members}
        results |= dict(self.ctx.unfinished.get("trained", {}))
        found = dict(sorted((members | done).items()))
        if members:  # what was measured before belongs to another committee
            self.ctx.unfinished = AttributeDict({"potentials": done})
        if reasons:
            self.report(f"{self._now}: members that failed: {reasons}")
        needed = 2 if len(member_names(self._committee)) > 1 else 1
        if len(found) < needed:
            return self._fail("ERROR_TRAINING_FAILED", left=len(found), needed=needed, reason=reasons)
        self.ctx.members = found
        self.ctx.trained = results
        self.ctx.trained_on = self.ctx.training_set.uuid
        return None

    def measure(self) -> None:
        """Evaluate every member on all sets, and calibrate the uncertainty of the committee on the validation set."""
        sets = there({**self.ctx.sets, "holdout": self.ctx.holdout})
        for name, potential in self.ctx.members.items():
            inputs = AttributeDict(self.exposed_inputs(EvaluateCalculation, namespace="evaluation"))
            label = f"{self._now}_evaluate_{name[-2:]}"
            self._submit_as(f"evaluate_{name}", EvaluateCalculation, inputs, label, potential=potential, datasets=sets)
        if "uncertainty" in self.ctx.unfinished:
            return
        inputs = AttributeDict(self.exposed_inputs(UncertaintyCalculation, namespace="uncertainty"))
        given = {"training_set": self.ctx.sets["training"], "calibration_set": self.ctx.sets["validation"]}
        label = f"{self._now}_uncertainty"
        self._submit_as("uncertain", UncertaintyCalculation, inputs, label, potentials=self.ctx.members, **given)

    def inspect_measurement(self) -> Any:
        """Name the best member, and stop where the committee cannot be measured."""
        jobs = {name: self.ctx[f"evaluate_{name}"] for name in self.ctx.members}
        found = {"uncertainty": self.ctx.unfinished.get("uncertainty"), "results": self.ctx.unfinished.get("doubts")}
        failed = [reason_of(job) for job in jobs.values() if not job.is_finished_ok]
        if found["uncertainty"] is None:
            job = self.ctx.uncertain
            failed += [] if job.is_finished_ok else [reason_of(job)]
            found = {name: output_of(job, name) for name in found}
        if failed:
            return self._fail("ERROR_MEASUREMENT_FAILED", reason="; ".join(failed))
        self.ctx.uncertainty, self.ctx.doubts = found["uncertainty"], found["results"]
        self.ctx.evaluations = jobs
        return None

    def explore(self) -> Any:
        """Run the dynamics of the conditions that the ladder asks for."""
        if "md" in self.ctx.unfinished:
            return None
        inputs = AttributeDict(self.exposed_inputs(MDBaseWorkChain, namespace="md"))
        inputs.md = AttributeDict(inputs.md)
        inputs.md.settings = functions.md_settings(
            self.inputs.md.settings,
            self.inputs.settings,
            self.ctx.doubts,
            self.ctx.history,
            self.inputs.structures,
            metadata={"call_link_label": f"{self._now}_md_settings"},
        )
        inputs.md.potentials, inputs.md.structures = self.ctx.members, self.inputs.structures
        inputs.md.uncertainty = self.ctx.uncertainty
        inputs.metadata = {"call_link_label": f"{self._now}_md", "label": f"{self._now}_md"}
        self.ctx.md_settings = inputs.md.settings
        return ToContext(md=self.submit(MDBaseWorkChain, **inputs))

    def inspect_exploration(self) -> Any:
        """Take the trajectories, also of dynamics that failed at once: their frames are the ones to learn from."""
        done, self.ctx.unfinished = self.ctx.unfinished, AttributeDict()
        if "md" in done:
            self.ctx.md_results, self.ctx.md_settings = done.md, done.md_settings
            self.ctx.trajectories = dict(done.trajectories)
            return None
        job = self.ctx.md
        if "trajectories" not in job.outputs or "results" not in job.outputs:
            return self._fail("ERROR_EXPLORATION_FAILED", reason=reason_of(job))
        if not job.is_finished_ok:
            self.report(f"{self._now}: {reason_of(job)}; going on with the frames there are")
        self.ctx.md_results, self.ctx.trajectories = job.outputs.results, dict(job.outputs.trajectories)
        return None

    def select(self) -> None:
        """Choose the frames to label: uncertain, new, and within the budget."""
        inputs = AttributeDict(self.exposed_inputs(SelectCalculation, namespace="selection"))
        self.ctx.selection_settings = inputs.settings = functions.selection_settings(
            self.inputs.selection.settings,
            self.inputs.settings,
            self.ctx.doubts,
            self.ctx.history,
            metadata={"call_link_label": f"{self._now}_select_settings"},
        )
        given = {"trajectories": self.ctx.trajectories, "known": self.ctx.training_set}
        potential = self.ctx.members[self._best()]
        self._submit_as("selection", SelectCalculation, inputs, f"{self._now}_select", potential=potential, **given)

    def inspect_selection(self) -> Any:
        """Take what was chosen; nothing is a success."""
        job = self.ctx.selection
        if not job.is_finished_ok:
            return self._fail("ERROR_SELECTION_FAILED", reason=reason_of(job))
        self.ctx.selected = output_of(job, "selected")
        return None

    def record(self) -> None:
        """Write down what the generation did, and decide whether another one follows."""
        step, members = self._now, self.ctx.members
        nodes: dict[str, Any] = {"training_set": self.ctx.training_set, "holdout": self.ctx.holdout, **self.ctx.sets}
        nodes |= {f"potential_{name}": node for name, node in members.items()}
        nodes |= {f"trained_{name}": node for name, node in self.ctx.trained.items() if name in members}
        for name, job in self.ctx.evaluations.items():
            nodes[f"evaluation_{name}"] = job.outputs.results
            predictions = dict(job.outputs.predictions)
            nodes |= {f"predictions_{name}_{part}": node for part, node in predictions.items()}
        nodes |= {"uncertainty": self.ctx.doubts, "md": self.ctx.md_results, "md_settings": self.ctx.md_settings}
        nodes |= {"selection": self.ctx.selection.outputs.results, "selected": self.ctx.selected}
        nodes["selection_settings"] = self.ctx.selection_settings
        self.ctx.history = records.add_generation(
            self.ctx.history, self.inputs.settings, **there(nodes), metadata={"call_link_label": f"{step}_record"}
        )
        last = History(**self.ctx.history.get_dict()).generations[-1]
        for line in (*last.warnings, *(f"not converged: {reason}" for reason in last.reasons)):
            self.report(f"{step}: {line}")

    def finish(self) -> Any:
        """Return what was made, with a warning where the loop did not converge."""
        self._attach()
        history = History(**self.ctx.history.get_dict())
        reasons = "; ".join(history.generations[-1].reasons)
        if history.ended == "no_candidates" and records.left_open(self._settings, history.generations[-1]):
            return self.exit_codes.WARNING_NOTHING_TO_LABEL.format(reasons=reasons)
        if history.ended in _ENDS:
            code = self.exit_codes[_ENDS[history.ended]]
            return code.format(reasons=reasons, budget=self._settings.label_budget, generations=self._done)
        return None


__all__ = ("IterativeTrainingWorkChain",)
