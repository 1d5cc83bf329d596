"""``mlip.defects``: the crystal first, then every property of defects, for any number of potentials and elements."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessSpec, ToContext, WorkChain, while_

from aiida_mlip.calculations import defects as defect_functions
from aiida_mlip.computers.defaults import max_concurrent
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science.defects import BULK_JOB, JOB_FAILED, Reason, job_of
from aiida_mlip.workchains.defects_inputs import (
    complete_properties,
    complete_settings,
    defects_builder,
    validate_defects,
)
from aiida_mlip.workchains.property_base import PropertyBaseWorkChain
from aiida_mlip.workchains.reasons import reason_of
from aiida_mlip.workchains.window import define_max_concurrent


class Job(NamedTuple):
    """One job to submit: the potential, the element, and what is computed (``bulk`` or a property)."""

    potential: str
    element: str
    name: str

    @property
    def label(self) -> str:
        """Return the label of its call."""
        return f"{self.name}_{self.potential}_{self.element}"


class DefectsWorkChain(WorkChain):
    """Evaluate potentials on the crystals and defects of elements, and compare them with reference data.

    A case is one potential with one element. Its crystal comes first; everything else starts from the lattice constant
    and the elastic constants found there. Every further property is a job of its own, so that one that fails takes no
    other down; the summary says which and why.
    """

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Define inputs, outline, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace(
            "potentials", valid_type=PotentialData, dynamic=True, help="Name, as it is to be printed -> potential."
        )
        spec.input("elements", valid_type=orm.List, serializer=orm.to_aiida_type, help="Symbols, e.g. ['W', 'Mo'].")
        spec.input(
            "properties",
            valid_type=orm.Dict,
            serializer=complete_properties,
            help="Name of a property -> its inputs without element; `property` in them names the kind.",
        )
        spec.input(
            "settings",
            valid_type=orm.Dict,
            serializer=complete_settings,
            default=lambda: complete_settings({}),
            help="Fields of DefectSettings: device and floating-point type.",
        )
        spec.expose_inputs(
            PropertyBaseWorkChain,
            namespace="property",
            exclude=("property.potential", "property.settings", "property.restart_folder"),
        )
        spec.input_namespace(
            "codes",
            valid_type=orm.AbstractCode,
            dynamic=True,
            required=False,
            help="Architecture -> worker, for potentials that need another Python environment.",
        )
        spec.input("reference", valid_type=orm.Dict, required=False, help="Content of your own reference file.")
        define_max_concurrent(spec)
        spec.inputs.validator = validate_defects
        spec.outline(
            cls.setup,
            cls.plan_bulk,
            while_(cls.has_jobs)(cls.submit_jobs),
            cls.inspect_bulk,
            cls.plan_defects,
            while_(cls.has_jobs)(cls.submit_jobs),
            cls.summarize,
            cls.judge,
        )
        spec.output("summary", valid_type=orm.Dict, help="Records, failures, references and deviations of every case.")
        spec.output_namespace(
            "structures", valid_type=DatasetData, dynamic=True, help="Potential, element, property -> structures."
        )
        spec.exit_code(454, "ERROR_BULK_FAILED", message="No case has a lattice constant to start from: {reasons}")
        spec.exit_code(703, "WARNING_PROPERTIES_MISSING", message="Finished, but not all of it: {reasons}")
        spec.exit_code(704, "WARNING_UNUSABLE", message="Finished, but numbers must not be used: {reasons}")

    get_builder_from_protocol = classmethod(defects_builder)

    def setup(self) -> None:
        """Find out how many jobs may run at a time."""
        code = self.inputs.property.property.code
        limit = self.inputs.get("max_concurrent")
        computer = self.inputs.property.property.get("metadata", {}).get("computer") or code.computer
        self.ctx.window = limit.value if limit is not None else max_concurrent(computer)
        self.ctx.queue = []
        self.ctx.jobs = []
        self.ctx.settings = {}

    def plan_bulk(self) -> None:
        """Queue the perfect crystals."""
        settings = defect_functions.bulk_settings(
            self.inputs.properties,
            self.inputs.settings,
            self.inputs.elements,
            metadata={"call_link_label": "bulk_settings"},
        )
        for potential in self.inputs.potentials:
            for element in self.inputs.elements:
                self._enqueue(Job(potential, element, BULK_JOB), settings[element])

    def has_jobs(self) -> bool:
        """Return whether jobs wait to be submitted."""
        return bool(self.ctx.queue)

    def submit_jobs(self) -> ToContext:
        """Submit as many jobs as may run at a time, and wait for all of them."""
        size = self.ctx.window or len(self.ctx.queue)
        batch, self.ctx.queue = self.ctx.queue[:size], self.ctx.queue[size:]
        self.report(f"submitting {len(batch)} jobs, {len(self.ctx.queue)} are waiting")
        return ToContext(**{Job(*job).label: self.submit(self._inputs_of(Job(*job))) for job in batch})

    def inspect_bulk(self) -> Any:
        """Stop where no case has a crystal to start from."""
        self.ctx.cases = [
            [job.potential, job.element]
            for job in map(Job._make, self.ctx.jobs)
            if (results := self._results(job)) is not None and "eos" in results["properties"]
        ]
        if self.ctx.cases:
            return None
        self.summarize()
        return self.exit_codes.ERROR_BULK_FAILED.format(reasons=_few(self._missing()))

    def plan_defects(self) -> None:
        """Queue the further properties: one after the other, each for all cases, so that a window holds like jobs."""
        found = {}
        for potential, element in self.ctx.cases:
            job = Job(potential, element, BULK_JOB)
            found[potential, element] = defect_functions.defect_settings(
                self.inputs.properties,
                self.inputs.settings,
                self._results(job),
                metadata={"call_link_label": f"settings_{potential}_{element}"},
            )
        for name in self.inputs.properties.get_dict():
            for (potential, element), settings in found.items():
                if name in settings:
                    self._enqueue(Job(potential, element, name), settings[name])

    def summarize(self) -> None:
        """Put all cases side by side, beside the reference data, and return the structures."""
        results: dict[str, Any] = {}
        structures: dict[str, Any] = {}
        for job in map(Job._make, self.ctx.jobs):
            found = self._results(job)
            if found is not None:
                _put(results, found, job)
            outputs = self.ctx[job.label].outputs
            for name, node in outputs.structures.items() if "structures" in outputs else ():
                _put(structures, node, job._replace(name=name))
        optional = {"reference": self.inputs.reference} if "reference" in self.inputs else {}
        self.ctx.summary = defect_functions.summarize_defects(
            self.inputs.elements,
            self.inputs.properties,
            **optional,
            potentials=dict(self.inputs.potentials),
            results=results,
            metadata={"call_link_label": "summarize"},
        )
        self.out("summary", self.ctx.summary)
        if structures:
            self.out("structures", structures)

    def judge(self) -> Any:
        """End with a warning where something is missing, or a flag forbids the use of a number."""
        missing, unusable = self._missing(), self._unusable()
        for line in (*missing, *unusable):
            self.report(line)
        if missing:
            return self.exit_codes.WARNING_PROPERTIES_MISSING.format(reasons=_few([*missing, *unusable]))
        if unusable:
            return self.exit_codes.WARNING_UNUSABLE.format(reasons=_few(unusable))
        return None

    def _enqueue(self, job: Job, settings: orm.Dict) -> None:
        self.ctx.queue.append(list(job))
        self.ctx.jobs.append(list(job))
        self.ctx.settings[job.label] = settings

    def _inputs_of(self, job: Job) -> Any:
        """Return the builder of a job."""
        inputs = AttributeDict(self.exposed_inputs(PropertyBaseWorkChain, namespace="property"))
        potential = self.inputs.potentials[job.potential]
        inputs.property = AttributeDict(inputs.property)
        inputs.property.potential = potential
        inputs.property.settings = self.ctx.settings[job.label]
        if (code := self.inputs.get("codes", {}).get(potential.info.architecture)) is not None:
            inputs.property.code = code
        inputs.metadata = {"call_link_label": job.label, "label": job.label}
        builder = PropertyBaseWorkChain.get_builder()
        builder._update(inputs)
        return builder

    def _results(self, job: Job) -> orm.Dict | None:
        outputs = self.ctx[job.label].outputs
        return outputs.results if "results" in outputs else None

    def _missing(self) -> list[str]:
        """Return a line for each property without a result."""
        return [
            f"{name} of {element} with {potential}: {self._why(Job(potential, element, job_of(name)), reason)}"
            for potential, elements in self.ctx.summary["cases"].items()
            for element, case in elements.items()
            for name, reason in case["failed"].items()
        ]

    def _why(self, job: Job, reason: Reason) -> str:
        """Return why a property has no result; of a job that left none the summary knows no more than that."""
        return reason_of(self.ctx[job.label]) if reason == JOB_FAILED else reason["message"]

    def _unusable(self) -> list[str]:
        """Return a line for each flag that forbids the use of a number."""
        return [
            f"{name} of {element} with {potential}: {flag['message']} ({flag['name']})"
            for potential, elements in self.ctx.summary["cases"].items()
            for element, case in elements.items()
            for name, record in case["records"].items()
            for flag in record["flags"]
            if flag["unusable"]
        ]


def _few(lines: list[str], limit: int = 6) -> str:
    """Return lines as one sentence; all of them are in the report of the process and in the summary."""
    more = [f"and {len(lines) - limit} more, see the summary"] if len(lines) > limit else []
    return "; ".join([*lines[:limit], *more])


def _put(tree: dict[str, Any], value: Any, job: Job) -> None:
    """Put a value where its potential, element and name say."""
    tree.setdefault(job.potential, {}).setdefault(job.element, {})[job.name] = value


__all__ = ("DefectsWorkChain",)
