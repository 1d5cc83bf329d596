"""Hand-made provenance: the nodes and links that finished processes leave behind, without running anything.

Used where the shape of the graph matters. The labels in it are invented.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from ase import Atoms
from ase.build import bulk

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.science import keys

TYPES = ("bulk_strain", "rattled", "vacancy", "surface")


def start(
    cls: type[orm.ProcessNode],
    label: str,
    inputs: dict[str, orm.Data] | None = None,
    *,
    kind: str = "",
    caller: orm.WorkflowNode | None = None,
    step: str = "CALL",
    computer: orm.Computer | None = None,
    label_text: str = "",
) -> orm.ProcessNode:
    """Store a running process with its inputs and its caller."""
    node = cls(computer=computer) if computer is not None else cls()
    node.label = label_text
    node.set_process_label(label)
    node.base.attributes.set("version", {"core": "2.9.4", "plugin": "0.1.0"})
    node.process_type = kind or f"tests.provenance.graphs:{label}"
    is_workflow = isinstance(node, orm.WorkflowNode)
    for name, data in (inputs or {}).items():
        if not data.is_stored:
            data.store()
        node.base.links.add_incoming(data, LinkType.INPUT_WORK if is_workflow else LinkType.INPUT_CALC, name)
    if caller is not None:
        node.base.links.add_incoming(caller, LinkType.CALL_WORK if is_workflow else LinkType.CALL_CALC, step)
    node.set_process_state("running")
    return node.store()


def end(
    node: orm.ProcessNode, outputs: dict[str, orm.Data] | None = None, status: int = 0, message: str = ""
) -> orm.ProcessNode:
    """Give a process its outputs and its exit code."""
    kind = LinkType.RETURN if isinstance(node, orm.WorkflowNode) else LinkType.CREATE
    for name, data in (outputs or {}).items():
        data.base.links.add_incoming(node, kind, name)
        if not data.is_stored:
            data.store()
    node.set_process_state("finished")
    node.set_exit_status(status)
    if message:
        node.set_exit_message(message)
    node.seal()
    return node


def tungsten(seed: int, config_type: str, source: str = "") -> Atoms:
    """Return a rattled bcc cell with invented labels."""
    rng = np.random.default_rng(seed)
    atoms = bulk("W", "bcc", a=3.18, cubic=True) * (1, 1, 1 + seed % 2)
    atoms.rattle(0.05, seed=seed)
    atoms.info |= {
        keys.ENERGY: -13.0 * len(atoms) + float(rng.normal(scale=0.2)),
        keys.STRESS: rng.normal(scale=0.02, size=6),
        keys.CONFIG_TYPE: config_type,
    }
    if source:
        atoms.info[keys.SOURCE] = source
    atoms.arrays[keys.FORCES] = rng.normal(scale=0.5, size=(len(atoms), 3))
    return atoms


def potential(name: str, **extra: object) -> PotentialData:
    """Return a potential whose file is its name."""
    info = {"architecture": "mace", "elements": ["W"], "r_max": 6.0, "dtype": "float64", "num_parameters": 1000}
    return PotentialData(io.BytesIO(b"PK\x03\x04" + name.encode()), {**info, "name": name, **extra})


@dataclass
class Labels:
    """A data set that a calcfunction made of pw.x calculations, and all they came from."""

    dataset: DatasetData
    jobs: list[orm.CalcJobNode]
    structures: list[orm.StructureData]
    pseudo: orm.Data
    parameters: list[orm.Dict] = field(default_factory=list)


def labels(number: int = 6, *, computer: orm.Computer | None = None) -> Labels:
    """Store ``number`` pw.x calculations, each called by a work chain that completed its parameters; collect them."""
    pseudo = orm.SinglefileData(io.BytesIO(b"W upf"), filename="W.upf")
    pseudo.label = "W"
    pseudo.store()
    jobs, structures, parameters, frames, collected = [], [], [], [], {}
    for i in range(number):
        structure = orm.StructureData(ase=tungsten(i, "")).store()
        chain = start(orm.WorkChainNode, "PwBaseWorkChain", {"structure": structure, "pseudos__W": pseudo},
                      kind="aiida.workflows:quantumespresso.pw.base")  # fmt: skip
        mesh = start(orm.CalcFunctionNode, "create_kpoints_from_distance", {"structure": structure}, caller=chain)
        kpoints = orm.KpointsData()
        kpoints.set_kpoints_mesh([2, 2, 2])
        end(mesh, {"result": kpoints})
        made_on_the_way = orm.Dict({"SYSTEM": {"ecutwfc": 60.0, "index": i}})
        inputs = {"structure": structure, "kpoints": kpoints, "pseudos__W": pseudo, "parameters": made_on_the_way}
        job = start(orm.CalcJobNode, "PwCalculation", inputs, kind="aiida.calculations:quantumespresso.pw",
                    caller=chain, step="iteration_01", computer=computer)  # fmt: skip
        output, arrays = orm.Dict({"energy": -100.0 - i, "creator_version": "6.7"}), orm.ArrayData(np.full((2, 3), i))
        end(job, {"output_parameters": output, "output_trajectory": arrays})
        end(chain, {"output_parameters": output})
        frames.append(tungsten(i, TYPES[i % len(TYPES)], job.uuid))
        collected |= {f"structures__pw_{i:03d}": structure, f"trajectories__pw_{i:03d}": arrays}
        jobs.append(job)
        structures.append(structure)
        parameters.append(made_on_the_way)
    collect = start(orm.CalcFunctionNode, "dataset_from_calculations", collected)
    dataset = DatasetData(frames, level_of_theory="PBE")
    end(collect, {"result": dataset})
    return Labels(dataset, jobs, structures, pseudo, parameters)


@dataclass
class Finetuning:
    """A work chain that split a data set and trained a potential, and its parts by name."""

    chain: orm.WorkChainNode
    train: orm.CalcJobNode
    potential: PotentialData
    foundation: PotentialData
    nodes: dict[str, orm.Node] = field(default_factory=dict)


def finetuning(dataset: DatasetData, foundation: PotentialData, name: str = "fine-tuned") -> Finetuning:
    """Store a fine-tuning of ``foundation`` on ``dataset``: split, train, return."""
    settings = orm.Dict({"learning_rate": 1e-4}).store()
    inputs = {"dataset": dataset, "potential": foundation, "training__train__settings": settings}
    chain = start(orm.WorkChainNode, "FinetuneWorkChain", inputs, kind="aiida.workflows:mlip.finetune")
    split = start(orm.CalcFunctionNode, "split_dataset", {"dataset": dataset}, caller=chain, step="split")
    frames = list(dataset.frames())
    sets = {"training": DatasetData(frames[:-1]), "validation": DatasetData(frames[-1:])}
    end(split, sets)
    base = start(orm.WorkChainNode, "TrainBaseWorkChain", {"train__training_set": sets["training"]},
                 kind="aiida.workflows:mlip.train.base", caller=chain, step="train_00")  # fmt: skip
    train_inputs = {"potential": foundation, "settings": settings}
    train_inputs |= {f"{name}_set": part for name, part in sets.items()}
    train = start(orm.CalcJobNode, "TrainCalculation", train_inputs, kind="aiida.calculations:mlip.train",
                  caller=base, step="iteration_01")  # fmt: skip
    trained = potential(name)
    end(train, {"potential": trained})
    end(base, {"potential": trained})
    end(chain, {"potential": trained, "sets__training": sets["training"]})
    return Finetuning(chain, train, trained, foundation, {"split": split, "base": base, **sets})
