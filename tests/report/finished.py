"""A fine-tuning as it is after it has finished, with invented predictions, so that its report can be looked at.

The nodes have the shapes that the parsers write; error tables and parity arrays come from the functions that the
worker uses.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms
from ase.build import bulk

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science import keys
from aiida_mlip.science.comparison import compare_tables
from aiida_mlip.science.errors import error_table
from aiida_mlip.science.forgetting import drift, forgetting_frames
from aiida_mlip.science.parity import parity_arrays
from aiida_mlip.science.predictions import Predictions

TYPES = ("a15", "bulk_strain", "fcc", "gamma_surface", "rattled", "self_interstitial", "surface", "vacancy")
VERSIONS = {
    "worker": "0.1.0", "python": "3.11.7", "host": "node01", "torch": "2.13.0", "mace-torch": "0.3.16", "ase": "3.29.0",
    "device": "cpu: x86_64",
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "strategy": {"kind": "naive"}, "learning_rate": 1e-3, "e0_policy": {"kind": "estimated"}, "max_epochs": 20,
    "batch_size": 4, "seed": 1, "dtype": "float32", "loss": {"kind": "universal", "config_type_weights": {}},
    "ema": {"decay": 0.99}, "extra": {},
}  # fmt: skip
VALUES = {
    "lattice_constant": (3.1890, 3.1841, "angstrom", "a"), "bulk_modulus": (279.0, 303.1, "GPa", "B"),
    "C11": (455.2, 521.4, "GPa", "C11"), "C12": (191.3, 196.0, "GPa", "C12"), "C44": (120.7, 143.9, "GPa", "C44"),
    "vacancy_formation": (2.91, 3.27, "eV", "E_f (vacancy)"),
}  # fmt: skip


def frame(seed: int, kind: str, source: str = "") -> Atoms:
    """Return a labelled tungsten cell."""
    rng = np.random.default_rng(seed)
    atoms = bulk("W", "bcc", a=3.18, cubic=True) * (2, 1, 1 + seed % 2)
    if kind == "vacancy":
        del atoms[0]
    scale = 0.3 + 0.3 * TYPES.index(kind)
    atoms.info = {
        keys.ENERGY: (-13.0 + 0.1 * scale + float(rng.normal(scale=0.05))) * len(atoms),
        keys.STRESS: rng.normal(scale=0.03, size=6),
        keys.CONFIG_TYPE: kind,
        keys.SOURCE: source,
    }
    atoms.arrays[keys.FORCES] = rng.normal(scale=scale, size=(len(atoms), 3))
    return atoms


def predictions(frames: list[Atoms], noise: float, seed: int, offset: float = 0.0) -> Predictions:
    """Return the labels with noise; ``offset`` [eV] is added for each atom."""
    rng = np.random.default_rng(seed)
    label = [
        atoms.info.get(keys.ENERGY, 0.0) + (offset + rng.normal(scale=0.1 * noise)) * len(atoms) for atoms in frames
    ]
    return Predictions(
        np.array(label),
        [atoms.arrays.get(keys.FORCES, 0.0) + rng.normal(scale=noise, size=(len(atoms), 3)) for atoms in frames],
        np.array([atoms.info.get(keys.STRESS, np.zeros(6)) + rng.normal(scale=noise / 15, size=6) for atoms in frames]),
    )


def array_node(arrays: dict[str, Any]) -> orm.ArrayData:
    node = orm.ArrayData()
    for name, values in arrays.items():
        node.set_array(name, values)
    return node


@dataclass
class Story:
    """What is varied: how noisy the potentials are, how many members, and how it ends."""

    before: float = 0.30
    after: float = 0.05
    members: int = 1
    status: int = 0
    message: str = ""
    labels: int = 40
    epochs: int = 20


class Builder:
    """Stores the processes of one fine-tuning, step by step, so that a test can stop in the middle."""

    def __init__(self, graphs: ModuleType, story: Story | None = None, computer: orm.Computer | None = None) -> None:
        self.graphs, self.story, self.computer = graphs, story or Story(), computer
        info = {
            "architecture": "mace", "elements": ["Mo", "W"], "r_max": 6.0, "dtype": "float32",
            "num_parameters": 8215552, "name": "mace-omat-0-small", "licence": "ASL", "level_of_theory": "PBE+U",
        }  # fmt: skip
        self.foundation = PotentialData(io.BytesIO(b"PK\x03\x04foundation"), info)
        self.results: dict[str, orm.Dict] = {}
        self.members: dict[str, PotentialData] = {}

    def labels(self) -> DatasetData:
        """Return a data set that was read from pw.x calculations."""
        jobs, collected = [], {}
        structure = orm.StructureData(ase=bulk("W", "bcc", a=3.18)).store()
        for i in range(self.story.labels):
            job = self.graphs.start(orm.CalcJobNode, "PwCalculation", {"structure": structure},
                                    kind="aiida.calculations:quantumespresso.pw")  # fmt: skip
            output = orm.Dict({"creator_version": "7.2", "index": i})
            self.graphs.end(job, {"output_parameters": output})
            collected[f"outputs__pw_{i:03d}"] = output
            jobs.append(job)
        collect = self.graphs.start(orm.CalcFunctionNode, "dataset_from_calculations", collected)
        frames = [frame(i, TYPES[i % len(TYPES)], job.uuid) for i, job in enumerate(jobs)]
        dataset = DatasetData(frames, level_of_theory="PBE, pw.x, 60 Ry")
        dataset.label = "tungsten"
        self.graphs.end(collect, {"result": dataset})
        return dataset

    def begin(self) -> orm.WorkChainNode:
        """Store the work chain with its split and its audit."""
        self.dataset = self.labels()
        inputs = {
            "dataset": self.dataset,
            "potential": self.foundation,
            "training__train__settings": orm.Dict(SETTINGS),
        }
        inputs |= {"measure_forgetting": orm.Bool(True), "accept": orm.Dict({"on_set": "test"})}
        self.chain = self.graphs.start(
            orm.WorkChainNode,
            "FinetuneWorkChain",
            inputs,
            kind="aiida.workflows:mlip.finetune",
            label_text="tungsten, naive, fast",
        )
        split = self.graphs.start(
            orm.CalcFunctionNode, "split_dataset", {"dataset": self.dataset}, caller=self.chain, step="split"
        )
        frames = list(self.dataset.frames())
        parts = {
            "test": frames[::5],
            "validation": frames[1::5],
            "training": frames[2::5] + frames[3::5] + frames[4::5],
        }
        self.sets = {name: DatasetData(part, level_of_theory="PBE, pw.x, 60 Ry") for name, part in parts.items()}
        self.graphs.end(split, dict(self.sets))
        audit = self.graphs.start(orm.CalcFunctionNode, "audit_sets", dict(self.sets), caller=self.chain, step="audit")
        finding = {"set": "training", "severity": "warning", "check": "net_force", "frames": [0, 1, 2, 7],
                   "message": "4 frames have a net force above 5 meV/Å.", "remedy": "Check the cut-off."}  # fmt: skip
        self.graphs.end(
            audit, {"result": orm.Dict({"findings": [finding], "sets": {n: len(s) for n, s in self.sets.items()}})}
        )
        return self.chain

    def evaluate(self, name: str, potential: PotentialData, noise: float, step: str) -> orm.CalcJobNode:
        """Store the evaluation of one potential on all sets and on the crystals of other elements."""
        frames = {set_name: list(node.frames()) for set_name, node in self.sets.items()}
        frames["forgetting"] = forgetting_frames(["Al", "Cu", "Mg", "O", "Si"], exclude=["W"])
        inputs = {"potential": potential} | {f"datasets__{key}": node for key, node in self.sets.items()}
        job = self.graphs.start(orm.CalcJobNode, "EvaluateCalculation", inputs, kind="aiida.calculations:mlip.evaluate",
                                caller=self.chain, step=step, computer=self.computer)  # fmt: skip
        offset = 2.5 if name == "baseline" else 0.0
        found = {key: predictions(part, noise, 1 + len(key), offset) for key, part in frames.items()}
        shifted = {
            key: Predictions(p.energies - offset * np.array([len(a) for a in frames[key]]), p.forces, p.stresses)
            for key, p in found.items()
        }
        tables = {key: error_table(frames[key], shifted[key]) for key in frames}
        outputs: dict[str, orm.Data] = {
            f"predictions__{key}": array_node(
                parity_arrays(frames[key], found[key], offset * np.array([float(len(a)) for a in frames[key]]))
            )
            for key in frames
        }
        self.results[name] = orm.Dict(
            {"errors": tables, "shifts": {"W": offset} if offset else {}, "versions": VERSIONS,
             "timings": {"load": 1.2, "evaluate test": 8.0, "total": 11.0}}
        )  # fmt: skip
        self.graphs.end(job, {"results": self.results[name], **outputs})
        self.frames, self.found = frames, {**getattr(self, "found", {}), name: found}
        return job

    def properties(self, name: str, potential: PotentialData, step: str) -> orm.CalcJobNode:
        """Store the properties of one potential."""
        job = self.graphs.start(orm.CalcJobNode, "PropertyCalculation", {"potential": potential}, caller=self.chain,
                                kind="aiida.calculations:mlip.property", step=step, computer=self.computer)  # fmt: skip
        self.results[f"properties_{name}"] = orm.Dict(
            {"properties": property_records(0 if name == "baseline" else 1), "failed": {}, "versions": VERSIONS,
             "timings": {"elastic": 20.0, "vacancy": 31.0, "total": 52.0}}
        )  # fmt: skip
        self.graphs.end(job, {"results": self.results[f"properties_{name}"]})
        return job

    def train(self, index: int) -> PotentialData:
        """Store the training of one member."""
        step = f"train_{index:02d}"
        inputs = {"training_set": self.sets["training"], "validation_set": self.sets["validation"]}
        inputs |= {"potential": self.foundation, "settings": orm.Dict({**SETTINGS, "seed": 1 + index})}
        base = self.graphs.start(orm.WorkChainNode, "TrainBaseWorkChain", {f"train__{k}": v for k, v in inputs.items()},
                                 kind="aiida.workflows:mlip.train.base", caller=self.chain, step=step)  # fmt: skip
        job = self.graphs.start(orm.CalcJobNode, "TrainCalculation", inputs, kind="aiida.calculations:mlip.train",
                                caller=base, step="iteration_01", computer=self.computer)  # fmt: skip
        info = self.foundation.info.model_dump() | {
            "name": f"w-fine-tuned-{index}",
            "sha256": "",
            "level_of_theory": "PBE, pw.x, 60 Ry",
        }
        trained = PotentialData(io.BytesIO(b"PK\x03\x04" + info["name"].encode()), info)
        outputs = {
            "potential": trained,
            "results": orm.Dict(training_results(index)),
            "history": history(self.story.epochs, index),
        }
        self.graphs.end(job, outputs)
        self.graphs.end(base, outputs)
        self.members[f"member_{index:02d}"] = trained
        return trained

    def finish(self) -> orm.WorkChainNode:
        """Store what is left: evaluation of the members, summary, outputs and exit code."""
        for name, potential in self.members.items():
            number = name[-2:]
            self.evaluate(name, potential, self.story.after, f"evaluation_{number}")
            self.properties(name, potential, f"properties_{number}")
        before, best = self.results["baseline"]["errors"], "member_00"
        after = self.results[best]["errors"]
        crystals = self.frames["forgetting"]
        summary = {
            "best": best, "members": list(self.members),
            "errors": {name: compare_tables(before[name], after[name]) for name in before},
            "properties": {}, "training": {},
            "forgetting": {
                name: drift(crystals, self.found["baseline"]["forgetting"], self.found[name]["forgetting"])
                for name in self.members
            },
            "verdict": {"worse": [self.story.message] if self.story.status == 700 else [], "forgotten": []},
        }  # fmt: skip
        outputs = {"summary": orm.Dict(summary), "potential": self.members[best]}
        outputs["summary"].store()
        return self.graphs.end(self.chain, outputs, self.story.status, self.story.message)

    def whole(self) -> orm.WorkChainNode:
        """Store everything."""
        self.begin()
        self.evaluate("baseline", self.foundation, self.story.before, "baseline_evaluation")
        self.properties("baseline", self.foundation, "baseline_properties")
        for index in range(self.story.members):
            self.train(index)
        return self.finish()


def property_records(which: int) -> dict[str, Any]:
    """Return the records of three properties, before (0) or after (1)."""

    def record(name: str, keys_shown: tuple[str, ...], flags: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [{"key": k, "value": VALUES[k][which], "unit": VALUES[k][2], "label": VALUES[k][3]} for k in keys_shown]
        return {"property": name, "inputs": {"element": "W", "structure": "bcc"}, "quantities": rows, "flags": flags,
                "force_calls": 40, "seconds": 12.0, "result": {}}  # fmt: skip

    flag = {
        "name": "strain_dependent",
        "message": "a constant changes by 9.1 % between the two strains",
        "unusable": False,
    }
    x = np.linspace(15.0, 17.5, 6)
    curve = {"key": "eos_BCC", "label": "bcc", "x": x.tolist(), "y": (0.03 * (x - 16.2) ** 2).tolist(),
             "x_label": "volume", "x_unit": "angstrom^3/atom", "y_label": "energy", "y_unit": "eV/atom"}  # fmt: skip
    return {
        "eos": {**record("eos", ("lattice_constant", "bulk_modulus"), []), "series": [curve]},
        "elastic": record("elastic", ("C11", "C12", "C44", "bulk_modulus"), [] if which else [flag]),
        "vacancy": record("vacancy", ("vacancy_formation",), []),
    }


def training_results(index: int) -> dict[str, Any]:
    """Return what a training says of itself."""
    checks = [
        {"check": "training configurations of head Default", "asked": 20, "found": 20, "ok": True},
        {"check": "learning rate", "asked": 1e-3, "found": 1e-3, "ok": True},
        {"check": "parts of the model that were trained", "asked": ["interactions", "products", "readouts"],
         "found": ["interactions", "products", "readouts"], "ok": True},
        {"check": "E0s of head Default in the model", "asked": {}, "found": {}, "ok": True},
    ]  # fmt: skip
    return {
        "chosen_epoch": 17, "proof": checks, "warnings": ["forces_weight is 10"] if index else [],
        "counts": {"parameters": {"trainable": 7700000, "total": 8215552}},
        "changes": {"interactions": {"parameters": 7000000, "changed": 6900000, "largest_change": 0.0123}},
        "e0s": {"Default": {"W": -12.3456}}, "final_learning_rate": 8e-4, "versions": VERSIONS,
        "timings": {"prepare": 3.0, "train": 190.0, "evaluate": 9.0, "total": 204.0},
    }  # fmt: skip


def history(epochs: int, seed: int) -> orm.ArrayData:
    """Return a learning curve."""
    rng, x = np.random.default_rng(seed), np.arange(epochs)
    fall = np.exp(-x / 5) + 0.1

    def noisy(scale: float) -> np.ndarray:
        return scale * fall * np.exp(rng.normal(scale=0.05, size=epochs))

    return array_node(
        {"epoch": x, "train_loss": noisy(0.2), "seconds": np.full(epochs, 9.5), "valid_loss": noisy(0.25),
         "valid_mae_energy": noisy(0.02), "valid_rmse_energy": noisy(0.03), "valid_rmse_forces": noisy(0.4),
         "valid_rmse_stress": noisy(0.01)}
    )  # fmt: skip
