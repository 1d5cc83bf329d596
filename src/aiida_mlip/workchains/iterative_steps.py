"""What the steps of ``mlip.iterative_training`` have in common: names, submissions, outputs at whatever end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.exceptions import NotExistent
from aiida.engine import ExitCode, Process

from aiida_mlip.calculations import iterative as functions
from aiida_mlip.calculations import iterative_records as records
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.iterative import IterativeSettings
from aiida_mlip.science.comparison import best_member
from aiida_mlip.workchains.label import LabelWorkChain
from aiida_mlip.workchains.second_try import TriesTwice


def output_of(job: orm.ProcessNode | None, name: str) -> Any:
    """Return an output of a process, None where there is none."""
    try:
        return None if job is None else job.outputs[name]
    except (KeyError, NotExistent):
        return None


def there(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not None."""
    return {name: node for name, node in nodes.items() if node is not None}


def generation_step(generation: int) -> str:
    """Return the beginning of the labels of the calls of a generation, e.g. ``g01``."""
    return f"g{generation:02d}"


class LoopWorkChain(TriesTwice):
    """Base of the loop: it has no outline of its own."""

    @property
    def _settings(self) -> IterativeSettings:
        return IterativeSettings(**self.inputs.settings.get_dict())

    @property
    def _committee(self) -> Mapping[str, Any]:
        return dict(self.inputs.settings["committee"])

    @property
    def _done(self) -> int:
        """Return how many generations are in the history."""
        return len(self.ctx.history["generations"])

    @property
    def _now(self) -> str:
        """Return the beginning of the labels of the calls of the generation that is being made."""
        return generation_step(self._done + 1)

    @property
    def _last(self) -> str:
        """Return the beginning of the labels of the calls of the last generation of the history."""
        return generation_step(self._done)

    @property
    def _labels_left(self) -> int | None:
        return functions.labels_left(self._settings, int(self.ctx.history["labels_used"]))

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: self.inputs[name] for name in names if name in self.inputs}

    def _start_of(self, member: str) -> PotentialData | None:
        """Return what a member is trained from, None for random weights."""
        if str(self.inputs.training.train.settings["strategy"]["kind"]) == "scratch":
            return None
        foundation: PotentialData = self.inputs.potential
        if self._settings.start_from == "previous":
            return self.ctx.members.get(member, foundation)  # type: ignore[no-any-return]
        return foundation

    def _best(self) -> str:
        """Return the member with the lowest error on the validation set."""
        tables = {name: job.outputs.results["errors"]["validation"] for name, job in self.ctx.evaluations.items()}
        return best_member(tables)

    def _submit_as(self, key: str, process: type[Process], inputs: AttributeDict, label: str, **given: Any) -> None:
        """Submit a process under a label of the call, and wait for it under a key of the context."""
        complete = AttributeDict({**inputs, **given})
        complete.metadata = {**inputs.get("metadata", {}), "call_link_label": label, "label": label}
        self.to_context(**{key: self.submit(process, **complete)})

    def _submit_labels(self, key: str, configurations: orm.Data, settings: orm.Dict, label: str) -> None:
        inputs = AttributeDict(self.exposed_inputs(LabelWorkChain, namespace="label"))
        self._submit_as(key, LabelWorkChain, inputs, label, configurations=configurations, settings=settings)

    def _report_labels(self, job: orm.ProcessNode) -> None:
        found = output_of(job, "report")
        if found is None:
            return
        self.report(f"{found['labelled']} of {found['asked']} labelled, {found['reused']} of them reused")
        for failure in found["failed"]:
            self.report(f"no label for configuration {failure['index']}: {failure['reason']}")

    def _fail(self, label: str, **words: Any) -> ExitCode:
        """Attach what there is, and return the exit code of a step that failed."""
        self.ctx.history = records.end_failed(self.ctx.history, metadata={"call_link_label": "end_failed"})
        self._attach()
        return self.exit_codes[label].format(**words)

    def _attach(self) -> None:
        """Attach everything that was made so far."""
        self.out("history", self.ctx.history)
        self.out("training_set", self.ctx.training_set)
        for name in ("holdout", "uncertainty"):
            if self.ctx.get(name) is not None:
                self.out(name, self.ctx[name])
        if not self.ctx.members:
            return
        self.out("potentials", dict(self.ctx.members))
        evaluated = set(self.ctx.get("evaluations", {})) == set(self.ctx.members)
        best = self._best() if evaluated else min(self.ctx.members)
        self.out("potential", self.ctx.members[best])
