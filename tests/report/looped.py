"""An iterative training as it is after it has finished: the nodes have the shapes that the parsers and steps write.

What is in them is computed in ``explored.py``; only times and the histories of the trainings are invented.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from aiida import orm
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.report.page import render
from aiida_mlip.schema.iterative import GenerationRecord, History, Survival
from aiida_mlip.schema.labelling import LabelFailure, LabelReport
from aiida_mlip.schema.selection import SelectionCounts, SelectionResult
from aiida_mlip.science import keys
from aiida_mlip.science.iterative.convergence import Limits, Observation, missing
from aiida_mlip.science.origin import Origin, set_origin

THEORY = "Finnis-Sinclair, W"
SECONDS = 42.0
"""Core-seconds of one label."""

BUDGET = 5
REFUSED = "SCF did not converge in 80 iterations"
VERSIONS = {"worker": "0.1.0", "python": "3.11.7", "host": "node01", "torch": "2.13.0", "ase": "3.29.0"}
LIMITS = Limits(candidate_fraction=0.05)


@dataclass
class Labelled:
    """A labelling that has finished."""

    chain: orm.WorkChainNode
    dataset: DatasetData
    report: LabelReport


class Builder:
    """Stores an iterative training generation by generation, so that a test can stop in the middle."""

    def __init__(self, graphs: ModuleType, finished: ModuleType, explored: ModuleType, generations: int = 3) -> None:
        self.graphs, self.finished, self.explored, self.last = graphs, finished, explored, generations
        self.foundation = graphs.potential("mace-omat-0-small", licence="ASL", level_of_theory="PBE+U")
        self.foundation.label = "mace-omat-0-small"
        self.foundation.store()
        self.records: list[GenerationRecord] = []
        self.history = History()
        self.seen: list[Observation] = []
        self.early = ""

    def job(self, name: str, inputs: dict[str, Any], caller: orm.WorkflowNode, step: str, kind: str = "") -> Any:
        cls = orm.CalcFunctionNode if not kind else orm.CalcJobNode
        return self.graphs.start(
            cls, name, inputs, caller=caller, step=step, kind=kind and f"aiida.calculations:{kind}"
        )

    def chain_of(self, name: str, inputs: dict[str, Any], kind: str, step: str = "", **options: Any) -> Any:
        return self.graphs.start(
            orm.WorkChainNode, name, inputs, kind=f"aiida.workflows:{kind}",
            **({"caller": self.chain, "step": step} if step else {}), **options,
        )  # fmt: skip

    def begin(self) -> orm.WorkChainNode:
        """Store the work chain and its first, labelled set."""
        structures = DatasetData([self.explored.cell()], level_of_theory="none").store()
        self.structures = structures
        settings = {"max_generations": 4, "label_budget": 60, "committee": {"size": self.explored.MEMBERS}}
        inputs = {"structures": structures, "potential": self.foundation, "settings": orm.Dict(settings)}
        self.chain = self.chain_of("IterativeTrainingWorkChain", inputs, "mlip.iterative_training",
                                   label_text="tungsten with a vacancy")  # fmt: skip
        frames = [set_origin(atoms, Origin(kind="augmentation", reason="rattled")) for atoms in
                  self.explored.first_set(10, seed=3)]  # fmt: skip
        made = self.job("start_configurations", {"structures": structures}, self.chain, "start_configurations")
        wanted = DatasetData([_bare(atoms) for atoms in frames], level_of_theory="none")
        self.graphs.end(made, {"result": wanted})
        start = self.label(wanted, "label_start", failing=())
        sets = self.job("start_sets", {"labelled": start.dataset}, self.chain, "start_sets")
        labelled = list(start.dataset.frames())
        self.training = DatasetData(labelled[:7], level_of_theory=THEORY)
        self.holdout = DatasetData(labelled[7:], level_of_theory=THEORY)
        self.graphs.end(sets, {"training_set": self.training, "holdout": self.holdout})
        self.history = History(start=start.report.model_dump(), labels_used=start.report.asked)
        return self.chain

    def label(self, wanted: DatasetData, step: str, failing: Sequence[int]) -> Labelled:
        """Store a labelling: one pw.x each, those of ``failing`` end without a label."""
        chain = self.chain_of("LabelWorkChain", {"configurations": wanted}, "mlip.label", step)
        frames, collected, failures = [], {"configurations": wanted}, []
        prepare = self.job("prepare_pw", {"configurations": wanted}, chain, "prepare")
        structures = [orm.StructureData(ase=_bare(atoms)) for atoms in wanted.frames()]
        self.graphs.end(prepare, {f"structure_{index:04d}": node for index, node in enumerate(structures)})
        for index, (atoms, structure) in enumerate(zip(wanted.frames(), structures, strict=True)):
            pw = self.job("PwCalculation", {"structure": structure}, chain, f"pw_{index:04d}", "quantumespresso.pw")
            if index in failing:
                self.graphs.end(pw, {}, 410, "The electronic minimization cycle did not reach self-consistency.")
                failures.append(LabelFailure(index=index, reason=REFUSED, process=pw.uuid))
                continue
            output = orm.Dict({"creator_version": "6.7", "index": index})
            self.graphs.end(pw, {"output_parameters": output})
            frames.append(self.explored.labelled(atoms, **{keys.SOURCE: pw.uuid}))
            collected[f"outputs__pw_{index:04d}"] = output
        collect = self.job("collect_labels", collected, chain, "collect")
        dataset = DatasetData(frames, level_of_theory=THEORY)
        self.graphs.end(collect, {"result": dataset})
        number = len(frames) + len(failures)
        report = LabelReport(asked=number, labelled=len(frames), reused=1 if step == "g02_label" else 0,
                             failed=tuple(failures), level_of_theory=THEORY, core_seconds=SECONDS * number,
                             wall_seconds=SECONDS * number / 2)  # fmt: skip
        node = orm.Dict(report.model_dump(mode="json")).store()
        self.graphs.end(chain, {"labelled": dataset, "report": node})
        return Labelled(chain, dataset, report)

    def train(self, step: str) -> dict[str, orm.Data]:
        """Store the trainings of all members."""
        members = {}
        for index in range(self.explored.MEMBERS):
            label = f"{step}_train_{index:02d}"
            inputs = {"potential": self.foundation, "training_set": self.training, "validation_set": self.holdout,
                      "settings": orm.Dict({**self.finished.SETTINGS, "seed": 1 + index})}  # fmt: skip
            base = self.chain_of("TrainBaseWorkChain", {f"train__{k}": v for k, v in inputs.items()},
                                 "mlip.train.base", label)  # fmt: skip
            job = self.job("TrainCalculation", inputs, base, "iteration_01", "mlip.train")
            made = self.graphs.potential(f"{step}-{index}", level_of_theory=THEORY, licence="ASL")
            outputs = {"potential": made, "results": orm.Dict(self.finished.training_results(index)),
                       "history": self.finished.history(20, index)}  # fmt: skip
            self.graphs.end(job, outputs)
            self.graphs.end(base, outputs)
            members[f"member_{index:02d}"] = made
        return members

    def measure(self, generation: int, members: dict[str, orm.Data]) -> dict[str, Any]:
        """Store the evaluations and the uncertainty; return the error tables."""
        step, tables = f"g{generation:02d}", {}
        measured = self.explored.measured(generation, list(self.holdout.frames()))
        for name, (table, arrays) in measured.items():
            tables[name] = table
            if name not in members:
                continue
            inputs = {"potential": members[name], "datasets__holdout": self.holdout}
            job = self.job("EvaluateCalculation", inputs, self.chain, f"{step}_evaluate_{name[-2:]}", "mlip.evaluate")
            results = {"errors": {"holdout": table}, "versions": VERSIONS, "timings": {"total": 4.0}}
            outputs = {"results": orm.Dict(results), "predictions__holdout": self.finished.array_node(arrays)}
            self.graphs.end(job, outputs)
        return tables

    def doubt(self, generation: int, members: dict[str, orm.Data]) -> orm.CalcJobNode:
        """Store the uncertainty of a committee."""
        known = self.explored.doubt(generation)
        inputs = {f"potentials__{name}": node for name, node in members.items()}
        inputs |= {"calibration_set": self.holdout, "settings": orm.Dict({"method": {"kind": "deep"}})}
        job = self.job("UncertaintyCalculation", inputs, self.chain, f"g{generation:02d}_uncertainty",
                       "mlip.uncertainty")  # fmt: skip
        content = {**known.result.model_dump(mode="json"), "versions": VERSIONS, "timings": {"total": 6.0}}
        arrays = self.finished.array_node(known.arrays)
        model = orm.SinglefileData(io.BytesIO(b"uncertainty"), filename="uncertainty.npz")
        return self.graphs.end(job, {"results": orm.Dict(content), "calibration": arrays, "uncertainty": model})

    def explore(self, generation: int, members: dict[str, orm.Data], model: orm.Data) -> dict[str, Any]:
        """Store the dynamics; return walker -> what it did."""
        step = f"g{generation:02d}"
        walks = {f"{condition}_s0_w{seed}": self.explored.walk(generation, condition, seed)
                 for condition in self.explored.CONDITIONS for seed in (0, 1)}  # fmt: skip
        inputs = {f"potentials__{name}": node for name, node in members.items()}
        inputs |= {"structures": self.structures, "uncertainty": model}
        base = self.chain_of("MDBaseWorkChain", {f"md__{name}": node for name, node in inputs.items()},
                             "mlip.md.base", f"{step}_md")  # fmt: skip
        job = self.job("MDCalculation", inputs, base, "iteration_01", "mlip.md")
        self.trajectories = {name: MDTrajectoryData(io.BytesIO(item.text.encode())) for name, item in walks.items()}
        content = {"walkers": {name: item.result.model_dump(mode="json") for name, item in walks.items()},
                   "versions": VERSIONS, "timings": {"total": 31.0}, "warnings": []}  # fmt: skip
        outputs: dict[str, orm.Data] = {"results": orm.Dict(content)}
        for name, item in walks.items():
            outputs[f"trajectories__{name}"] = self.trajectories[name]
            outputs[f"series__{name}"] = self.finished.array_node(item.series)
        self.graphs.end(job, outputs)
        self.graphs.end(base, outputs)
        return walks

    def select(self, generation: int, walks: dict[str, Any], potential: orm.Data) -> tuple[Any, SelectionResult]:
        """Store the selection of the most uncertain candidates."""
        lower = self.explored.LEVELS["lower"]
        found = [(name, atoms) for name, item in walks.items() for atoms in item.frames if atoms.info["sigma"] > lower]
        chosen = found[:: max(1, len(found) // BUDGET)][:BUDGET] if found else []
        by_walker = {name: self.explored.counts(item.frames, sum(walker == name for walker, _ in chosen))
                     for name, item in walks.items()}  # fmt: skip
        total = {key: sum(getattr(item, key) for item in by_walker.values()) for key in SelectionCounts.model_fields}
        counts = SelectionCounts(**total)
        result = SelectionResult(counts=counts, by_walker=by_walker,
                                 candidate_fraction=(counts.candidate + counts.failed) / counts.frames)  # fmt: skip
        inputs = {f"trajectories__{name}": node for name, node in self.trajectories.items()}
        inputs |= {"potential": potential, "known": self.training,
                   "settings": orm.Dict({"levels": self.explored.LEVELS, "budget": BUDGET})}  # fmt: skip
        job = self.job("SelectCalculation", inputs, self.chain, f"g{generation:02d}_select", "mlip.select")
        content = {**result.model_dump(mode="json"), "versions": VERSIONS, "timings": {"total": 2.0}}
        outputs: dict[str, orm.Data] = {"results": orm.Dict(content)}
        if chosen:
            frames = [self._with_origin(atoms, name, generation, result) for name, atoms in chosen]
            outputs["selected"] = DatasetData(frames, level_of_theory="none")
        return self.graphs.end(job, outputs), result

    def _with_origin(self, atoms: Atoms, walker: str, generation: int, _: SelectionResult) -> Atoms:
        sigma, levels = atoms.info["sigma"], self.explored.LEVELS
        level = "failed: above the upper level" if sigma > levels["upper"] else "candidate: between the levels"
        copy = _bare(atoms)
        condition = walker.partition("_")[0]
        copy.info[keys.CONFIG_TYPE] = f"md_{condition}"
        copy.info[keys.GROUP] = self.trajectories[walker].uuid[:8]
        origin = Origin(kind="md", generation=generation, trajectory=self.trajectories[walker].uuid, walker=walker,
                        step=atoms.info["step"], temperature=self.explored.CONDITIONS[condition],
                        max_forces_sigma=sigma, energy_sigma=atoms.info["energy_sigma"], reason=level)  # fmt: skip
        return set_origin(copy, origin)

    def generation(self, number: int) -> GenerationRecord:
        """Store one generation, without its labels."""
        step = f"g{number:02d}"
        members = self.train(step)
        self.members = members
        tables = self.measure(number, members)
        doubt = self.doubt(number, members)
        walks = self.explore(number, members, doubt.outputs.uncertainty)
        self.selecting, result = self.select(number, walks, members["member_00"])
        survival = tuple(
            Survival(walker=name, condition=name.partition("_")[0], structure=0, temperature=item.result.temperature,
                     asked_ps=item.result.asked_steps * 2e-3, survived_ps=item.result.stable_steps * 2e-3,
                     stopped_by=item.result.stopped_by)
            for name, item in walks.items()
        )  # fmt: skip
        rmse = tables["committee"]["all"]["forces"]["rmse"]
        stopped = tuple(item.walker for item in survival if item.stopped_by)
        self.seen.append(Observation(result.candidate_fraction, rmse, stopped))
        reasons = tuple(missing(self.seen, LIMITS))
        record = GenerationRecord(
            generation=number, potentials={name: node.uuid for name, node in members.items()},
            training_set=self.training.uuid, errors=tables, levels=self.explored.LEVELS, survival=survival,
            frames={"training": len(self.training) - 2, "validation": 2, "holdout": len(self.holdout)},
            uncertainty=self.explored.doubt(number).result.model_dump(mode="json"), selection=result.counts,
            candidate_fraction=result.candidate_fraction, converged=not reasons, reasons=reasons,
            cost={"training": 612.0, "evaluation": 12.0, "uncertainty": 6.0, "md": 31.0, "selection": 2.0,
                  "force_calls": float(sum(item.result.force_calls for item in walks.values()))},
            warnings=("frame 3 of the training set: force error 2.1 eV/Å, 6 times the median",) if number == 2 else (),
        )  # fmt: skip
        self.records.append(record)
        self._record(f"{step}_record")
        return record

    def add_labels(self, number: int) -> Labelled:
        """Store the labels that a generation asked for, and the set that they extend."""
        step = f"g{number:02d}"
        wanted = self.selecting.outputs.selected
        made = self.label(wanted, f"{step}_label", failing=(2,) if number == 1 else ())
        extend = self.job("extend_set", {"training_set": self.training, "labelled": made.dataset}, self.chain,
                          f"{step}_extend_set")  # fmt: skip
        frames = [*self.training.frames(), *made.dataset.frames()]
        self.training = DatasetData(frames, level_of_theory=THEORY)
        self.graphs.end(extend, {"result": self.training})
        last = self.records[-1]
        cost = {**last.cost, "labelling": made.report.wall_seconds, "label_core_seconds": made.report.core_seconds}
        changes = {"labels": made.report.model_dump(mode="json"), "cost": cost}
        self.records[-1] = last.model_copy(update=changes)
        used = self.history.labels_used + made.report.asked
        self.history = self.history.model_copy(update={"labels_used": used})
        self._record(f"{step}_label_record")
        return made

    def _record(self, step: str) -> None:
        ended = "converged" if self.records[-1].converged else ""
        self.history = self.history.model_copy(update={"generations": tuple(self.records), "ended": ended})
        job = self.job("add_generation", {"training_set": self.training}, self.chain, step)
        self.node = orm.Dict(self.history.model_dump(mode="json"))
        self.graphs.end(job, {"result": self.node})

    def finish(self, status: int = 0, message: str = "") -> orm.WorkChainNode:
        """Store outputs and exit code."""
        if status:
            self.history = self.history.model_copy(update={"ended": "max_generations"})
            self.node = orm.Dict(self.history.model_dump(mode="json")).store()
        outputs = {"history": self.node, "training_set": self.training, "holdout": self.holdout,
                   "potential": self.members["member_00"]}  # fmt: skip
        outputs |= {f"potentials__{name}": node for name, node in self.members.items()}
        return self.graphs.end(self.chain, outputs, status, message)

    def whole(self) -> orm.WorkChainNode:
        """Store everything."""
        self.begin()
        for number in range(1, self.last + 1):
            record = self.generation(number)
            self.early = self.early or render(self.chain)
            if record.converged or number == self.last:
                break
            self.add_labels(number)
        if self.records[-1].converged:
            return self.finish()
        return self.finish(705, "Not converged after the generations that are allowed")


def _bare(atoms: Atoms) -> Atoms:
    """Return a copy without labels."""
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.info = {key: atoms.info[key] for key in (keys.CONFIG_TYPE, keys.GROUP, keys.ORIGIN) if key in atoms.info}
    return copy
