"""The steps of ``mlip.electrolyte``: what each is given, what follows from it, and what is made of its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import Process

from aiida_mlip.calculations import electrolyte as functions
from aiida_mlip.calculations.boxes import build_box
from aiida_mlip.calculations.dispersion import state_dispersion, with_dispersion
from aiida_mlip.calculations.force_tests import probe_frames, score_forces
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.electrolyte import ElectrolyteSettings
from aiida_mlip.science.liquids.conditions import Stage
from aiida_mlip.workchains.iterative_steps import output_of, there
from aiida_mlip.workchains.label import LabelWorkChain
from aiida_mlip.workchains.liquid_base import LiquidBaseWorkChain
from aiida_mlip.workchains.md_base import MDBaseWorkChain
from aiida_mlip.workchains.reasons import reason_of
from aiida_mlip.workchains.window import WindowedWorkChain

REFERENCE = "reference"
"""Stands for a potential where the reference labels the probes."""

CHECKS = "checks"


class NoResultError(Exception):
    """A calcfunction gave no result; the text says why."""


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the outputs of a calcfunction.

    :raises NoResultError: where it raised anything, which its node in the graph keeps, or ended with an exit code.
    """
    try:
        outputs, node = function.run_get_node(*args, **kwargs)
    except ValueError as error:
        raise NoResultError(str(error)) from error
    except Exception as error:
        raise NoResultError(f"{type(error).__name__}: {error}") from error
    if not node.is_finished_ok:
        raise NoResultError(reason_of(node))
    return outputs


class ElectrolyteSteps(WindowedWorkChain):
    """Base of the work chain: it has no outline of its own.

    A step is one process of one potential; its label is ``<potential>_<name of the step>``. The context holds:

    * ``potentials``: name -> potential, with the dispersion that the user adds;
    * ``queue``: labels of steps that wait;
    * ``steps``: label -> potential and name of the step, of all that were queued;
    * ``ended``: label -> pk, of those that have ended, in whatever way;
    * ``failed``, ``why``: label -> kind of failure and reason, of those that gave no result;
    * ``uploaded``: labels of checks that read retrieved trajectories, since the folder of the dynamics is not there.
    """

    def setup_steps(self) -> None:
        """Begin without steps."""
        self.ctx.potentials = dict(self.inputs.potentials)
        self.ctx.queue = []
        self.ctx.steps = {}
        self.ctx.ended = {}
        self.ctx.failed = {}
        self.ctx.why = {}
        self.ctx.force_tests = {}
        self.ctx.uploaded = []

    @property
    def settings(self) -> ElectrolyteSettings:
        """Return what is asked."""
        return ElectrolyteSettings(**self.inputs.settings.get_dict())

    def enqueue(self, potential: str, name: str) -> None:
        """Let a step wait for its turn."""
        label = f"{potential}_{name}"
        self.ctx.steps = {**self.ctx.steps, label: [potential, name]}
        self.ctx.queue = [*self.ctx.queue, label]

    def submit_next(self) -> None:
        """Submit the step that has waited longest; where it cannot be set up, note why."""
        label, self.ctx.queue = self.ctx.queue[0], self.ctx.queue[1:]
        potential, name = self.ctx.steps[label]
        prepare = self._PREPARE[name.rpartition("_")[2]]
        try:
            process, inputs = prepare(self, potential, name)
            link = f"{label}_retrieved" if label in self.ctx.uploaded else label
            inputs.metadata = {"call_link_label": link, "label": link}
            self.enter_window(label, self.submit(process, **inputs))
        except (NoResultError, ValueError) as error:
            self.note_failure(label, self._kind(potential, name), str(error))

    def take(self, label: str, node: orm.ProcessNode) -> None:
        """Note the end of a step, and queue what follows from it."""
        potential, name = self.ctx.steps[label]
        self.ctx.ended = {**self.ctx.ended, label: node.pk}
        if self._lacks_folder(label, node, name):
            self.report(f"{label}: {reason_of(node)}; reading the frames that were retrieved instead")
            self.ctx.uploaded = [*self.ctx.uploaded, label]
            self.enqueue(potential, name)
            return
        if not self._is_usable(node, name):
            self.note_failure(label, self._kind(potential, name), reason_of(node))
            return
        if not node.is_finished_ok:
            self.report(f"{label}: {reason_of(node)}")
        for follower in self._followers(name, node):
            self.enqueue(potential, follower)

    def note_failure(self, label: str, kind: str, reason: str) -> None:
        """Note that a step gave no result; the others go on."""
        self.report(f"{label}: {reason}")
        self.ctx.failed = {**self.ctx.failed, label: kind}
        self.ctx.why = {**self.ctx.why, label: reason}

    def reasons(self, kind: str) -> str:
        """Return why steps of one kind failed, in one line."""
        return "; ".join(f"{label}: {self.ctx.why[label]}" for label, found in self.ctx.failed.items() if found == kind)

    def failed_steps_of(self, potential: str) -> dict[str, str]:
        """Return step -> reason, of the steps of a potential that gave no result."""
        own = {label: name for label, (owner, name) in self.ctx.steps.items() if owner == potential}
        own[f"{potential}_force_tests"] = "force_tests"
        return {own[label]: reason for label, reason in self.ctx.why.items() if label in own}

    def with_dispersion(self) -> dict[str, PotentialData]:
        """Return the potentials with what is said of their dispersion, or with what is added."""
        found = dict(self.ctx.potentials)
        for name, said in sorted(self.inputs.dispersion.items()):
            function = with_dispersion if isinstance(said, orm.Dict) else state_dispersion
            label = f"{name}_dispersion"
            found[name] = function(found[name], said, metadata={"call_link_label": label, "label": label})
        return found

    def pack_boxes(self) -> dict[str, DatasetData]:
        """Return the boxes that could be packed."""
        if not self.settings.boxes:
            return {}
        asked = functions.box_settings(self.inputs.settings, metadata={"call_link_label": "box_settings"})
        made = {}
        for name in sorted(asked):
            label = f"box_{name}"
            try:
                made[name] = call(build_box, asked[name], metadata={"call_link_label": label, "label": label})
            except NoResultError as failure:
                self.note_failure(label, "box", str(failure))
        return made

    def probe_frames(self) -> tuple[DatasetData, orm.Dict, orm.Dict] | None:
        """Return probes, plan, and settings of the tests of forces; None where there is nothing to test."""
        settings = functions.force_test_settings(
            self.inputs.settings, metadata={"call_link_label": "force_test_settings"}
        )
        try:
            made = call(
                probe_frames,
                self.inputs.get("labelled", self.ctx.structures),
                settings,
                **self.ctx.boxes,
                metadata={"call_link_label": "probe_frames"},
            )
        except NoResultError as failure:
            self.note_failure("probe_frames", "probes", str(failure))
            return None
        return made["probes"], made["plan"], settings

    def labels_of(self, potential: str) -> dict[str, Any] | None:
        """Return labelled probes and the report of the labelling, None where there are none."""
        node = self.node_of(f"{potential}_labels")
        found = {name: output_of(node, name) for name in ("labelled", "report")}
        return None if None in found.values() else found

    def scores(self, potential: str, predicted: Mapping[str, Any], truth: Mapping[str, Any] | None) -> orm.Dict:
        """Return what the tests of forces say of a potential.

        :raises NoResultError: where labels and plan do not fit.
        """
        if truth is not None:
            optional = {"truth": truth["labelled"], "truth_report": truth["report"]}
        else:
            optional = there({"truth": self.inputs.get("labelled")})
        made = call(
            score_forces,
            self.ctx.plan,
            self.ctx.test_settings,
            predicted["labelled"],
            predicted["report"],
            **optional,
            metadata={"call_link_label": f"{potential}_force_tests"},
        )
        return made["results"]

    def findings_of(self, potential: str) -> dict[str, orm.Dict]:
        """Return all that the verdict on a potential rests on, as ``judge_potential`` takes it."""
        found: dict[str, Any] = {"force_tests": self.ctx.force_tests.get(potential)}
        for stage in functions.STAGES:
            dynamics, checks = (self.node_of(f"{potential}_{name}") for name in (stage, f"{stage}_{CHECKS}"))
            if dynamics is not None and f"{potential}_{stage}" not in self.ctx.failed:
                found[f"{stage}_dynamics"] = output_of(dynamics, "results")
                found[f"{stage}_settings"] = dynamics.inputs.md.settings
            found[f"{stage}_{CHECKS}"] = output_of(checks, "results")
        return there(found)

    def all_results(self) -> dict[str, dict[str, orm.Dict]]:
        """Return potential -> ``force_tests`` and stages -> what was found."""
        found: dict[str, dict[str, orm.Dict]] = {}
        for potential in self.ctx.potentials:
            nodes = {"force_tests": self.ctx.force_tests.get(potential)}
            for stage in functions.STAGES:
                nodes[stage] = output_of(self.node_of(f"{potential}_{stage}_{CHECKS}"), "results")
            if given := there(nodes):
                found[potential] = given
        return found

    def node_of(self, label: str) -> orm.ProcessNode | None:
        """Return the process of a step that has ended, None where there is none."""
        pk = self.ctx.ended.get(label)
        return None if pk is None else orm.load_node(pk)

    def _kind(self, potential: str, name: str) -> str:
        if name == "labels":
            return REFERENCE if potential == REFERENCE else "labels"
        return CHECKS if name.endswith(CHECKS) else "dynamics"

    def _is_usable(self, node: orm.ProcessNode, name: str) -> bool:
        """Return whether a step gave what the next ones need.

        Dynamics in which every walker was stopped at once has results, and they are a finding. Labels that are too few
        for the labelling are enough for tests that count what is missing.
        """
        if name == "labels":
            return output_of(node, "labelled") is not None and output_of(node, "report") is not None
        if name in functions.STAGES:
            stopped_at_once = node.exit_status == MDBaseWorkChain.exit_codes.ERROR_NO_STABLE_STEP.status
            return (node.is_finished_ok or stopped_at_once) and output_of(node, "results") is not None
        return bool(node.is_finished_ok)

    def _lacks_folder(self, label: str, node: orm.ProcessNode, name: str) -> bool:
        """Return whether checks failed that may have found an empty folder of the dynamics.

        Dynamics that comes from the cache has the folder of an earlier job, which may have been cleaned since.
        """
        if not name.endswith(CHECKS) or label in self.ctx.uploaded or "md_folder" not in node.inputs.liquid:
            return False
        refused = LiquidBaseWorkChain.exit_codes.ERROR_ANALYSIS_FAILED
        return bool(node.exit_status == refused.status and "does not exist" in str(node.exit_message))

    def _followers(self, name: str, node: orm.ProcessNode) -> list[str]:
        """Return the steps that a step makes possible."""
        if name not in functions.STAGES:
            return []
        walkers = node.outputs.results["walkers"]
        found = [f"{name}_{CHECKS}"] if any(walker["frames"] for walker in walkers.values()) else []
        if name == "nvt" and functions.survivors(node.outputs.results):
            found += [stage for stage in ("npt", "nve") if functions.steps_of(self.settings, stage)]
        return found

    def _prepare_labels(self, potential: str, _name: str) -> tuple[type[Process], AttributeDict]:
        own = potential == REFERENCE
        inputs = AttributeDict(self.exposed_inputs(LabelWorkChain, namespace=REFERENCE if own else "label"))
        inputs.configurations = self.ctx.probes
        if not own:
            inputs.batch = AttributeDict(inputs.batch)
            inputs.batch.potential = self.ctx.potentials[potential]
        return LabelWorkChain, inputs

    def _prepare_dynamics(self, potential: str, name: str) -> tuple[type[Process], AttributeDict]:
        stage: Stage = name  # type: ignore[assignment]
        before = self.node_of(f"{potential}_nvt") if stage != "nvt" else None
        structures = self.ctx.structures if before is None else self._last_frames(potential, before)
        inputs = AttributeDict(self.exposed_inputs(MDBaseWorkChain, namespace="md"))
        inputs.md = AttributeDict(inputs.md)
        inputs.md.settings = functions.MAKE_SETTINGS[stage](
            self.inputs.settings,
            self.inputs.md.settings,
            structures,
            metadata={"call_link_label": f"{potential}_{stage}_settings"},
        )
        inputs.md.potentials = {"member_00": self.ctx.potentials[potential]}
        inputs.md.structures = structures
        return MDBaseWorkChain, inputs

    def _last_frames(self, potential: str, before: orm.ProcessNode) -> DatasetData:
        """Return where the stages after constant volume begin, made once for both."""
        known = self.ctx.get("last_frames", {})
        if potential not in known:
            made = call(
                functions.last_frames,
                before.outputs.results,
                **dict(before.outputs.trajectories),
                metadata={"call_link_label": f"{potential}_last_frames"},
            )
            self.ctx.last_frames = known = {**known, potential: made}
        found: DatasetData = known[potential]
        return found

    def _prepare_checks(self, potential: str, name: str) -> tuple[type[Process], AttributeDict]:
        dynamics = self.node_of(f"{potential}_{name.removesuffix(f'_{CHECKS}')}")
        if dynamics is None:
            raise NoResultError("there is no dynamics to be looked at")
        given, made = dynamics.inputs.md, dynamics.outputs
        inputs = AttributeDict(self.exposed_inputs(LiquidBaseWorkChain, namespace="liquid"))
        inputs.liquid = AttributeDict(inputs.liquid)
        inputs.liquid.structures = given.structures
        inputs.liquid.settings = functions.check_settings(
            self.inputs.settings,
            given.settings,
            made.results,
            metadata={"call_link_label": f"{potential}_{name}_settings"},
        )
        if made.remote_folder.is_cleaned or f"{potential}_{name}" in self.ctx.uploaded:
            walkers = inputs.liquid.settings["walkers"]
            inputs.liquid.trajectories = dict(made.trajectories)
            inputs.liquid.series = {walker: node for walker, node in made.series.items() if walker in walkers}
        else:
            inputs.liquid.md_folder = made.remote_folder
        return LiquidBaseWorkChain, inputs

    _PREPARE: ClassVar[Mapping[str, Callable[..., tuple[type[Process], AttributeDict]]]] = {
        "labels": _prepare_labels,
        **dict.fromkeys(functions.STAGES, _prepare_dynamics),
        CHECKS: _prepare_checks,
    }
    """Last word of the name of a step -> what makes its process and its inputs."""
