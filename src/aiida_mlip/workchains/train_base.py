"""``mlip.train.base``: a training that goes on after what can be repaired, and stops when it no longer improves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiida.common import AttributeDict
from aiida.engine import (
    ProcessHandlerReport,
    ProcessSpec,
    ToContext,
    append_,
    process_handler,
    while_,
)
from aiida.engine.processes.exit_code import ExitCode
from aiida.orm import CalcJobNode, Node

from aiida_mlip.calculations import train_settings
from aiida_mlip.calculations.train import TrainCalculation
from aiida_mlip.schema.job import PROGRESS_FILE
from aiida_mlip.schema.training import EarlyStopping
from aiida_mlip.workchains.early_stopping import should_stop
from aiida_mlip.workchains.restart_families import RestartChain, families_of, was_killed

_CODES = TrainCalculation.exit_codes
_OUT_OF_TIME = [_CODES.ERROR_WALLTIME_WITH_CHECKPOINT, _CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME]
_FAMILIES = families_of(TrainCalculation)


class TrainBaseWorkChain(RestartChain):
    """Run ``mlip.train`` until it is done.

    Each family of failures has one handler below. With ``settings.early_stopping`` the epochs are trained in slices,
    each of which continues from the checkpoints of the one before; a slice in which nothing improves counts against
    the patience. The potential that comes out is that of the best epoch of the whole chain.
    """

    _process_class = TrainCalculation

    defaults = AttributeDict(
        {
            "learning_rate_factor": train_settings.LEARNING_RATE_FACTOR,
            "batch_divisor": train_settings.BATCH_DIVISOR,
            # A second divergence says that the data or the E0s are wrong rather than the learning rate.
            "max_divergences": 1,
            # A job that is lost twice is not lost by chance.
            "max_resubmissions": 1,
        }
    )

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.expose_inputs(TrainCalculation, namespace="train")
        spec.outline(
            cls.setup,
            while_(cls.should_run_slice)(
                cls.start_slice,
                while_(cls.should_run_process)(
                    cls.run_process,
                    cls.inspect_process,
                ),
                cls.inspect_slice,
            ),
            cls.results,
        )
        spec.expose_outputs(TrainCalculation)
        spec.exit_code(450, "ERROR_TRAINING_FAILED", message="A restart does not repair this: {message}")
        spec.exit_code(451, "ERROR_NO_PROGRESS", message="No epoch was finished since the last restart: {message}")
        spec.exit_code(452, "ERROR_WALLTIME_TOO_SHORT", message="Not even one epoch fits into the time: {message}")
        spec.exit_code(453, "ERROR_MEMORY_TOO_SMALL", message="Even batches of one do not fit: {message}")
        spec.exit_code(454, "ERROR_DIVERGED_AGAIN", message="It diverged again with a lower learning rate: {message}")
        spec.exit_code(455, "ERROR_JOB_LOST_AGAIN", message="The job was lost twice: {message}")

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        super().setup()
        inputs = AttributeDict(self.exposed_inputs(TrainCalculation, "train"))
        inputs.metadata = AttributeDict(inputs.metadata)
        self.ctx.inputs = inputs
        self.ctx.asked = inputs.settings
        self.ctx.slice = 0
        self.ctx.slices_done = False
        self.ctx.jobs = []
        self.ctx.last_epoch = -1
        self.ctx.divergences = 0
        self.ctx.resubmissions = 0

    def should_run_slice(self) -> bool:
        """Return whether there are epochs left to train that may improve the potential."""
        return not self.ctx.slices_done

    def start_slice(self) -> None:
        """Set how far the next slice goes; without early stopping there is one, with all epochs."""
        self.ctx.slice += 1
        self.ctx.is_finished = False
        self.ctx.iteration = 0
        self.ctx.children = []
        if self._early_stopping is None:
            return
        link = {"call_link_label": f"settings_slice_{self.ctx.slice:02d}"}
        if self.ctx.slice == 1:
            self.ctx.inputs.settings = train_settings.first_slice(self.ctx.asked, metadata=link)
        else:
            self.ctx.inputs.settings = train_settings.next_slice(
                self.ctx.inputs.settings, self.ctx.asked, metadata=link
            )

    def run_process(self) -> ToContext:
        """Submit the next job, as the base class does, with the slice in the label of the link."""
        self.ctx.iteration += 1
        label = f"iteration_{self.ctx.iteration:02d}"
        if self._early_stopping is not None:
            label = f"slice_{self.ctx.slice:02d}_{label}"
        self.ctx.inputs.metadata.call_link_label = label
        node = self.submit(TrainCalculation, **self.ctx.inputs)
        handlers = self.node.base.extras.get(self._considered_handlers_extra, [])
        self.node.base.extras.set(self._considered_handlers_extra, [*handlers, []])
        self.ctx.jobs.append(node)
        self.report(f"launching TrainCalculation<{node.pk}> as {label}")
        return ToContext(children=append_(node))

    def inspect_slice(self) -> None:
        """Decide from the learning curve whether to train another slice."""
        options, node = self._early_stopping, self.ctx.jobs[-1]
        self.ctx.slices_done = True
        if options is None:
            return
        epochs = self.ctx.inputs.settings["max_epochs"]
        if should_stop(node.outputs.history.get_array("valid_loss").tolist(), options):
            self.report(
                f"early stopping after {epochs} epochs: {options.patience} slices of {options.slice_epochs} epochs "
                f"without improvement; the best epoch is {node.outputs.results['chosen_epoch']}"
            )
        elif epochs < self.ctx.asked["max_epochs"]:
            self.ctx.inputs.restart_folder = node.outputs.remote_folder
            self.ctx.last_epoch = _last_epoch(node)
            self.ctx.slices_done = False

    def results(self) -> None:
        """Attach the outputs of the last job, which are those of the whole chain."""
        self.report(f"completed after {len(self.ctx.jobs)} jobs")
        self._attach_outputs(self.ctx.jobs[-1])

    def get_outputs(self, node: CalcJobNode) -> Mapping[str, Node]:
        """Return the outputs of the last job, and results over the whole chain where there were several."""
        outputs = dict(self.exposed_outputs(node, TrainCalculation))
        earlier = {
            f"earlier_{index:02d}": job.outputs.results
            for index, job in enumerate(self.ctx.jobs[:-1], start=1)
            if "results" in job.outputs
        }
        if len(self.ctx.jobs) > 1:
            outputs["results"] = train_settings.chain_results(
                self.ctx.asked,
                node.inputs.settings,
                outputs["results"],
                **earlier,
                metadata={"call_link_label": "chain_results"},
            )
        return outputs

    @process_handler(priority=600, exit_codes=_OUT_OF_TIME)
    def handle_out_of_time(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Go on from the checkpoint; remedy where nothing was gained: ask for more time."""
        last = _last_epoch(node)
        if last is not None and last <= self.ctx.last_epoch:
            return self._stop("ERROR_NO_PROGRESS", node)
        if last is None and not self._may_resubmit():
            return self._stop("ERROR_WALLTIME_TOO_SHORT", node)
        self.ctx.last_epoch = self.ctx.last_epoch if last is None else last
        self._continue_from(node)
        done = "an unknown number of epochs" if last is None else f"epoch {last}"
        return self._repaired(node, f"out of time after {done}; going on from the checkpoint")

    @process_handler(priority=590, exit_codes=_CODES.ERROR_WALLTIME_WITHOUT_CHECKPOINT)
    def handle_no_epoch_in_time(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Stop: the next job would not get further. Remedy: more time, or smaller sets."""
        return self._stop("ERROR_WALLTIME_TOO_SHORT", node)

    @process_handler(priority=580, exit_codes=_FAMILIES.out_of_memory)
    def handle_out_of_memory(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Divide the batch size; mace 0.3.16 cannot accumulate gradients, so the effective batch shrinks too.

        Where the job was killed, and nothing speaks of memory, it is submitted again once as it was.
        """
        if was_killed(node) and self._may_resubmit():
            self._continue_from(node)
            return self._repaired(node, "the job was killed; submitting it again")
        settings = self.ctx.inputs.settings
        if settings["batch_size"] == 1 and settings["valid_batch_size"] == 1:
            return self._stop("ERROR_MEMORY_TOO_SMALL", node)
        self.ctx.inputs.settings = train_settings.with_smaller_batch(
            settings, metadata={"call_link_label": f"settings_smaller_batch_{len(self.ctx.jobs):02d}"}
        )
        self._continue_from(node)
        size = self.ctx.inputs.settings["batch_size"]
        return self._repaired(
            node,
            f"out of memory with batch_size = {settings['batch_size']}; trying {size}. mace does not accumulate "
            "gradients, so the effective batch is smaller than asked for",
        )

    @process_handler(priority=570, exit_codes=_CODES.ERROR_TRAINING_DIVERGED)
    def handle_divergence(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Start again with a lower learning rate, once; remedy after that: look at labels and E0s."""
        if self.ctx.divergences >= self.defaults.max_divergences:
            return self._stop("ERROR_DIVERGED_AGAIN", node)
        self.ctx.divergences += 1
        before = self.ctx.inputs.settings["learning_rate"]
        self.ctx.inputs.settings = train_settings.with_lower_learning_rate(
            self.ctx.inputs.settings, metadata={"call_link_label": "settings_lower_learning_rate"}
        )
        self._start_again()
        after = self.ctx.inputs.settings["learning_rate"]
        return self._repaired(
            node, f"diverged with learning_rate = {before:g}; starting from the beginning with {after:g}"
        )

    @process_handler(priority=560, exit_codes=_FAMILIES.lost)
    def handle_lost_job(self, node: CalcJobNode) -> ProcessHandlerReport:
        """Submit again, once, from the checkpoints if there are any: a node failed, or a disk was full."""
        if not self._may_resubmit():
            return self._stop("ERROR_JOB_LOST_AGAIN", node)
        self._continue_from(node)
        return self._repaired(node, "the job was lost; submitting it again")

    @process_handler(priority=0)
    def handle_everything_else(self, node: CalcJobNode) -> ProcessHandlerReport | None:
        """Stop with the message of the job: what it refused or could not import is the same the next time.

        Where ``on_unhandled_failure`` is given, the base class does what it says.
        """
        if node.is_finished_ok or "on_unhandled_failure" in self.inputs:
            return None
        return self._stop("ERROR_TRAINING_FAILED", node)

    @property
    def _early_stopping(self) -> EarlyStopping | None:
        options = self.ctx.asked.get_dict().get("early_stopping")
        return None if options is None else EarlyStopping(**options)

    def _may_resubmit(self) -> bool:
        self.ctx.resubmissions += 1
        return bool(self.ctx.resubmissions <= self.defaults.max_resubmissions)

    def _continue_from(self, node: CalcJobNode) -> None:
        """Let the next job continue from the checkpoints of ``node``, where it came far enough to have any."""
        if "remote_folder" in node.outputs and _reached_training(node):
            self.ctx.inputs.restart_folder = node.outputs.remote_folder

    def _start_again(self) -> None:
        """Let the next job start where the first one did."""
        self.ctx.last_epoch = -1
        self.ctx.inputs.pop("restart_folder", None)
        if "restart_folder" in self.inputs.train:
            self.ctx.inputs.restart_folder = self.inputs.train.restart_folder

    def _stop(self, label: str, node: CalcJobNode) -> ProcessHandlerReport:
        """End with an exit code and without outputs: a training that failed has no potential to return."""
        message = f"TrainCalculation<{node.pk}> [{node.exit_status}] {node.exit_message}"
        code: ExitCode = self.exit_codes[label].format(message=message)
        self.report(code.message)
        return ProcessHandlerReport(do_break=True, exit_code=code)


def _last_epoch(node: CalcJobNode) -> int | None:
    """Return the last epoch that a job finished, None where it left no results."""
    if "results" not in node.outputs:
        return None
    last: int | None = node.outputs.results.get("epochs", {}).get("last")
    return last


def _reached_training(node: CalcJobNode) -> bool:
    """Return whether a job came to its training; by then it has copied the checkpoints it continues from."""
    if (
        "retrieved" not in node.outputs
        or PROGRESS_FILE not in node.outputs.retrieved.base.repository.list_object_names()
    ):
        return False
    text = node.outputs.retrieved.base.repository.get_object_content(PROGRESS_FILE)
    return any(_stage(line) == "train" for line in text.splitlines())


def _stage(line: str) -> Any:
    try:
        return json.loads(line).get("stage")
    except ValueError:
        return None
