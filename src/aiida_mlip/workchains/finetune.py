"""``mlip.finetune``: audit, split, measure the foundation model, train, measure again, and judge."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessSpec, ToContext, if_, while_

from aiida_mlip.calculations import datasets as dataset_functions
from aiida_mlip.calculations import finetuning as finetune_functions
from aiida_mlip.calculations.evaluate import EvaluateCalculation
from aiida_mlip.calculations.property import PropertyCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.forgetting import forgetting_frames
from aiida_mlip.workchains.committee import NOT_EXPOSED, member_inputs, member_names, trained
from aiida_mlip.workchains.finetune_inputs import default_dict, finetune_builder, set_problems, validate_finetune
from aiida_mlip.workchains.reasons import reason_of
from aiida_mlip.workchains.second_try import TriesTwice
from aiida_mlip.workchains.train_base import TrainBaseWorkChain

FORGETTING = "forgetting"


class FinetuneWorkChain(TriesTwice):
    """Fine-tune a foundation model on a data set, and say what was gained and what was forgotten.

    The potential is measured before and after on the same sets and, where asked for, on the same properties. Energies
    before are compared after one shift per element, fitted on the training set, because the zero of energy of another
    level of theory is arbitrary.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input("potential", valid_type=PotentialData, help="Foundation model, also the baseline.")
        spec.input("dataset", valid_type=DatasetData, required=False, help="Labelled configurations, to be split.")
        spec.input_namespace(
            "sets", valid_type=DatasetData, required=False, dynamic=True, help="Own split: training, validation, test."
        )
        spec.input("split", valid_type=orm.Dict, **default_dict("split"))
        spec.input("audit", valid_type=orm.Dict, **default_dict("audit"))
        spec.input("replay", valid_type=orm.Dict, **default_dict("replay"))
        spec.input("replay_pool", valid_type=DatasetData, required=False, help="Configurations to choose replay from.")
        spec.input("committee", valid_type=orm.Dict, **default_dict("committee"))
        spec.input("accept", valid_type=orm.Dict, **default_dict("accept"))
        spec.input(
            "measure_forgetting",
            valid_type=orm.Bool,
            default=lambda: orm.Bool(True),
            help="Compare with the foundation model on crystals of other elements.",
        )
        spec.expose_inputs(
            TrainBaseWorkChain,
            namespace="training",
            exclude=NOT_EXPOSED,
        )
        spec.expose_inputs(EvaluateCalculation, namespace="evaluation", exclude=("potential", "datasets"))
        spec.expose_inputs(
            PropertyCalculation,
            namespace="properties",
            exclude=("potential", "restart_folder"),
            namespace_options={"required": False, "populate_defaults": False, "help": "Properties before and after."},
        )
        spec.inputs.validator = validate_finetune
        spec.outline(
            cls.setup,
            cls.audit,
            if_(cls.should_split)(cls.split),
            cls.check_sets,
            if_(cls.should_replay)(
                cls.select_replay,
                cls.label_replay,
                while_(cls.has_lost_jobs)(cls.submit_lost_jobs),
                cls.inspect_replay,
            ),
            cls.measure_baseline,
            while_(cls.has_lost_jobs)(cls.submit_lost_jobs),
            cls.inspect_baseline,
            cls.audit_against_baseline,
            cls.train,
            cls.inspect_training,
            cls.measure_members,
            while_(cls.has_lost_jobs)(cls.submit_lost_jobs),
            cls.inspect_members,
            cls.summarize,
            cls.judge,
        )
        spec.output("potential", valid_type=PotentialData, help="The member with the lowest validation error.")
        spec.output_namespace("potentials", valid_type=PotentialData, dynamic=True, help="All members.")
        spec.output_namespace("sets", valid_type=DatasetData, dynamic=True, help="The split, and the replay set.")
        spec.output_namespace("audits", valid_type=orm.Dict, dynamic=True, help="What the audits found.")
        spec.output("summary", valid_type=orm.Dict, help="Errors, properties and forgetting, before and after.")
        spec.exit_code(201, "ERROR_AUDIT", message="The audit found errors and `audit.strict` is on: {findings}")
        spec.exit_code(202, "ERROR_SETS", message="The sets cannot be trained on: {reasons}")
        spec.exit_code(450, "ERROR_BASELINE_FAILED", message="Measuring the foundation model failed: {reason}")
        spec.exit_code(451, "ERROR_REPLAY_FAILED", message="Labelling the replay set failed: {reason}")
        spec.exit_code(452, "ERROR_TRAINING_FAILED", message="No member of the committee was trained: {reason}")
        spec.exit_code(453, "ERROR_EVALUATION_FAILED", message="Measuring the trained potential failed: {reason}")
        spec.exit_code(
            700, "WARNING_WORSE_THAN_BASELINE", message="Finished, but worse than the foundation model: {reasons}"
        )
        spec.exit_code(701, "WARNING_FORGOTTEN", message="Finished, but more was forgotten than accepted: {reasons}")
        spec.exit_code(702, "WARNING_MEMBERS_MISSING", message="Finished, but members failed: {reason}")

    get_builder_from_protocol = classmethod(finetune_builder)

    def setup(self) -> None:
        """Put the sets and the list of failures into the context."""
        self.ctx.sets = AttributeDict(dict(self.inputs.get("sets", {})))
        self.ctx.audits = AttributeDict()
        self.ctx.replay_set = None
        self.ctx.failures = []
        self.ctx.measure_forgetting = self.inputs.measure_forgetting.value

    def should_split(self) -> bool:
        """Return whether the data set is to be split here."""
        return "dataset" in self.inputs

    def split(self) -> Any:
        """Split the data set by configuration type; groups and near-duplicates stay together."""
        try:
            parts = dataset_functions.split_dataset(
                self.inputs.dataset, self.inputs.split, metadata={"call_link_label": "split"}
            )
        except DatasetError as error:
            return self.exit_codes.ERROR_SETS.format(reasons=str(error))
        self.ctx.split_report = parts.pop("report")
        for warning in self.ctx.split_report["warnings"]:
            self.report(f"split: {warning}")
        self.ctx.sets = AttributeDict(parts)
        self.report(f"split into {', '.join(f'{name}: {len(part)}' for name, part in self.ctx.sets.items())}")
        return None

    def audit(self) -> Any:
        """Look for what is wrong in the data before anything is spent on them."""
        sets = {"dataset": self.inputs.dataset} if "dataset" in self.inputs else dict(self.ctx.sets)
        report = dataset_functions.audit_sets(settings=self.inputs.audit, **sets, metadata={"call_link_label": "audit"})
        return self._judge_audit("data", report)

    def check_sets(self) -> Any:
        """Stop where the sets cannot be trained on as they are, before anything is spent on them."""
        problems = set_problems(self.inputs, self.ctx.sets)
        return self.exit_codes.ERROR_SETS.format(reasons="; ".join(problems)) if problems else None

    def should_replay(self) -> bool:
        """Return whether the strategy asks for a replay set."""
        return str(self.inputs.training.train.settings["strategy"]["kind"]) == "replay"

    def select_replay(self) -> None:
        """Choose the configurations on which the foundation model is to stay as it is."""
        pool = {"pool": self.inputs.replay_pool} if "replay_pool" in self.inputs else {}
        self.ctx.replay_unlabelled = finetune_functions.select_replay(
            potential=self.inputs.potential,
            settings=self.inputs.replay,
            **pool,
            metadata={"call_link_label": "select_replay"},
        )

    def label_replay(self) -> ToContext:
        """Label them with the foundation model."""
        inputs = self._evaluation_inputs(self.inputs.potential, {"replay": self.ctx.replay_unlabelled}, "label_replay")
        inputs.settings = finetune_functions.labelling_settings(
            inputs.settings, metadata={"call_link_label": "labelling_settings"}
        )
        return ToContext(replay_labels=self.submit(EvaluateCalculation, **inputs))

    def inspect_replay(self) -> Any:
        """Take the labelled set, or stop."""
        job = self.ctx.replay_labels
        if not job.is_finished_ok:
            return self.exit_codes.ERROR_REPLAY_FAILED.format(reason=reason_of(job))
        self.ctx.replay_set = job.outputs.labelled["replay"]
        return None

    def measure_baseline(self) -> None:
        """Evaluate the foundation model on all sets, and compute its properties, side by side."""
        trained = self.ctx.sets.training
        if self.ctx.measure_forgetting and not forgetting_frames(
            self.inputs.potential.elements, exclude=trained.elements
        ):
            self.report("forgetting is not measured: the potential has the elements of no crystal that is not trained")
            self.ctx.measure_forgetting = False
        if self.ctx.measure_forgetting:
            self.ctx.forgetting_set = finetune_functions.forgetting_set(
                self.inputs.potential, trained, metadata={"call_link_label": "forgetting_set"}
            )
        self._measure(self.inputs.potential, "baseline")

    def inspect_baseline(self) -> Any:
        """Stop where the foundation model could not be evaluated; properties that failed are reported only."""
        failed = self._failed("baseline")
        return self.exit_codes.ERROR_BASELINE_FAILED.format(reason=failed) if failed else None

    def audit_against_baseline(self) -> Any:
        """Audit again with the foundation model's predictions: units, signs and levels of theory show against them."""
        predictions = self.ctx.baseline_evaluation.outputs.predictions
        split = {"split": self.ctx.split_report} if "split_report" in self.ctx else {}
        report = dataset_functions.audit_sets(
            settings=self.inputs.audit,
            **self.ctx.sets,
            **{f"predictions_{name}": predictions[name] for name in self.ctx.sets},
            **split,
            metadata={"call_link_label": "audit_against_baseline"},
        )
        return self._judge_audit("against_baseline", report)

    def train(self) -> None:
        """Train the members of the committee side by side."""
        inputs = AttributeDict(self.exposed_inputs(TrainBaseWorkChain, namespace="training"))
        train = AttributeDict(inputs.train)
        if str(train.settings["strategy"]["kind"]) != "scratch":
            train.potential = self.inputs.potential
        train.training_set = self.ctx.sets.training
        train.validation_set = self.ctx.sets.validation
        if self.ctx.replay_set is not None:
            train.replay_set = self.ctx.replay_set
        for name, varied in member_inputs(train, self.inputs.committee).items():
            inputs.train = varied
            inputs.metadata = {"call_link_label": f"train_{name[-2:]}", "label": f"fine-tune, {name}"}
            self.to_context(**{f"train_{name}": self.submit(TrainBaseWorkChain, **inputs)})

    def inspect_training(self) -> Any:
        """Keep the members that were trained; one is enough to go on."""
        jobs = {name: self.ctx[f"train_{name}"] for name in member_names(self.inputs.committee)}
        self.ctx.members, reasons = trained(jobs)
        if not self.ctx.members:
            return self.exit_codes.ERROR_TRAINING_FAILED.format(reason=reasons)
        if reasons:
            self.report(f"members that failed: {reasons}")
            self.ctx.failures.append(reasons)
        return None

    def measure_members(self) -> None:
        """Evaluate every member on the same sets, and compute the properties of each."""
        for name, potential in self.ctx.members.items():
            self._measure(potential, name)

    def inspect_members(self) -> Any:
        """Drop members that could not be evaluated; stop where none is left."""
        reasons = {name: self._failed(name) for name in list(self.ctx.members)}
        self.ctx.members = {name: node for name, node in self.ctx.members.items() if not reasons[name]}
        text = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)
        if text:
            self.ctx.failures.append(text)
        return None if self.ctx.members else self.exit_codes.ERROR_EVALUATION_FAILED.format(reason=text)

    def summarize(self) -> None:
        """Put before and after side by side, and return the potentials."""
        nodes = {f"evaluation_{name}": self.ctx[f"{name}_evaluation"].outputs.results for name in self.ctx.members}
        nodes |= {f"training_{name}": self.ctx[f"train_{name}"].outputs.results for name in self.ctx.members}
        for name in ("baseline", *self.ctx.members):
            job = self.ctx.get(f"{name}_properties")
            if job is not None and "results" in job.outputs:
                nodes[f"properties_{name}"] = job.outputs.results
        if self.ctx.measure_forgetting:
            nodes["forgetting_frames"] = self.ctx.forgetting_set
            for name in ("baseline", *self.ctx.members):
                nodes[f"forgetting_{name}"] = self.ctx[f"{name}_evaluation"].outputs.predictions[FORGETTING]
        self.ctx.summary = finetune_functions.summarize(
            accept=self.inputs.accept,
            evaluation_baseline=self.ctx.baseline_evaluation.outputs.results,
            **nodes,
            metadata={"call_link_label": "summarize"},
        )
        self.out("summary", self.ctx.summary)
        self.out("potentials", dict(self.ctx.members))
        self.out("potential", self.ctx.members[self.ctx.summary["best"]])
        self.out("sets", dict(self.ctx.sets))

    def judge(self) -> Any:
        """End with a warning where the potential is worse than its baseline or forgot more than accepted."""
        verdict = self.ctx.summary["verdict"]
        if verdict["worse"]:
            return self.exit_codes.WARNING_WORSE_THAN_BASELINE.format(reasons="; ".join(verdict["worse"]))
        if verdict["forgotten"]:
            return self.exit_codes.WARNING_FORGOTTEN.format(reasons="; ".join(verdict["forgotten"]))
        if self.ctx.failures:
            return self.exit_codes.WARNING_MEMBERS_MISSING.format(reason="; ".join(self.ctx.failures))
        return None

    def _judge_audit(self, name: str, report: orm.Dict) -> Any:
        self.ctx.audits[name] = report
        self.out("audits", dict(self.ctx.audits))
        errors = [finding["message"] for finding in report["findings"] if finding["severity"] == "error"]
        for message in errors:
            self.report(f"audit: {message}")
        if errors and self.inputs.audit["strict"]:
            return self.exit_codes.ERROR_AUDIT.format(findings="; ".join(errors))
        return None

    def _evaluation_inputs(self, potential: PotentialData, sets: dict[str, DatasetData], label: str) -> AttributeDict:
        inputs = AttributeDict(self.exposed_inputs(EvaluateCalculation, namespace="evaluation"))
        inputs.potential = potential
        inputs.datasets = sets
        inputs.metadata = AttributeDict({**inputs.get("metadata", {}), "call_link_label": label, "label": label})
        return inputs

    def _measure(self, potential: PotentialData, name: str) -> None:
        """Submit the evaluation and the properties of one potential."""
        sets = dict(self.ctx.sets)
        if self.ctx.measure_forgetting:
            sets[FORGETTING] = self.ctx.forgetting_set
        label = name.replace("member", "evaluation") if name != "baseline" else "baseline_evaluation"
        inputs = self._evaluation_inputs(potential, sets, label)
        if name == "baseline":
            inputs.settings = finetune_functions.aligned_settings(
                inputs.settings, metadata={"call_link_label": "aligned_settings"}
            )
        self.to_context(**{f"{name}_evaluation": self.submit(EvaluateCalculation, **inputs)})
        if "properties" in self.inputs:
            inputs = AttributeDict(self.exposed_inputs(PropertyCalculation, namespace="properties"))
            inputs.potential = potential
            label = name.replace("member", "properties") if name != "baseline" else "baseline_properties"
            inputs.metadata = AttributeDict({**inputs.get("metadata", {}), "call_link_label": label, "label": label})
            self.to_context(**{f"{name}_properties": self.submit(PropertyCalculation, **inputs)})

    def _failed(self, name: str) -> str:
        """Return why the evaluation of a potential failed, or an empty text; failed properties go on record only."""
        job = self.ctx.get(f"{name}_properties")
        if job is not None and not job.is_finished_ok:
            self.report(f"properties of {name}: {reason_of(job)}")
            self.ctx.failures.append(f"properties of {name}: {reason_of(job)}")
        job = self.ctx[f"{name}_evaluation"]
        return "" if job.is_finished_ok else reason_of(job)


__all__ = ("FinetuneWorkChain",)
