"""A run of ``mlip.electrolyte`` as it is after it has finished: nodes and links as the work chain leaves them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from aiida import orm

from aiida_mlip.calculations.electrolyte import dynamics_settings
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.dynamics import WalkerResult
from aiida_mlip.schema.electrolyte import ElectrolyteSettings, RuntimeSettings
from aiida_mlip.schema.liquid import LiquidSettings

VERSIONS = {"worker": "0.1.0", "python": "3.11.7", "host": "node01", "torch": "2.13.0", "ase": "3.29.0"}
GOOD, BAD = "omat", "broken"


class Builder:
    """Stores the processes step by step, so that a test can stop in the middle.

    :param simmered: the module that makes trajectories.
    :param pairs: the module with a pair potential.
    """

    def __init__(self, graphs: ModuleType, simmered: ModuleType, pairs: ModuleType, frames: int = 60) -> None:
        self.graphs, self.simmered, self.pairs = graphs, simmered, pairs
        script, walker = simmered.Script, "salt_t300_p0_w1"
        self.scripts = {
            (GOOD, "npt", walker): script(frames=frames, seed=2),
            (GOOD, "npt", "salt_t500_p0_w1"): script(frames=frames, temperature=500.0, seed=3),
            (GOOD, "nve", "salt_t300_w1"): script(frames=frames // 2, ensemble="nve", seed=3),
            (BAD, "npt", walker): script(frames=frames, drift=-0.45, torn=frames // 3, seed=5),
            (BAD, "npt", "salt_t500_p0_w1"): script(
                frames=frames // 2, temperature=500.0, torn=8, stopped_by="distance", seed=6
            ),
        }
        self.seen: dict[tuple[str, str, str], Any] = {}
        self.verdicts: dict[str, Any] = {}
        self.tests: dict[str, Any] = {}

    def begin(self, *, label: str = "EC, EMC and LiPF6") -> orm.WorkChainNode:
        """Store the work chain with its inputs."""
        self.settings = orm.Dict(ElectrolyteSettings(**self.simmered.SETTINGS).model_dump(mode="json")).store()
        self.potentials = {name: self.graphs.potential(name, licence="MIT").store() for name in (GOOD, BAD)}
        self.structures = DatasetData([self.simmered.box()], level_of_theory="none").store()
        inputs = {"settings": self.settings, **{f"potentials__{key}": node for key, node in self.potentials.items()}}
        self.chain = self.graphs.start(
            orm.WorkChainNode, "ElectrolyteWorkChain", inputs, kind="aiida.workflows:mlip.electrolyte", label_text=label
        )
        return self.chain

    def force_tests(self, name: str, *, epsilon: float, reference: bool = True) -> None:
        """Store the tests of forces of a potential."""
        result, curves = self.simmered.force_tests(self.pairs, epsilon=epsilon, reference=reference)
        self.tests[name] = result
        step = self.graphs.start(orm.CalcFunctionNode, "score_forces", {"settings": self.settings},
                                 caller=self.chain, step=f"{name}_force_tests")  # fmt: skip
        outputs = {"results": orm.Dict(result.model_dump(mode="json")), "curves": array_node(curves)}
        self.graphs.end(step, outputs)

    def stage(self, name: str, stage: str) -> orm.WorkChainNode:
        """Store dynamics and checks of a potential and stage; return the checks."""
        scripts = {
            walker: script for (owner, kind, walker), script in self.scripts.items() if (owner, kind) == (name, stage)
        }
        self.dynamics(name, stage, scripts)
        seen = {walker: self.simmered.look(walker, script) for walker, script in scripts.items()}
        self.seen |= {(name, stage, walker): one for walker, one in seen.items()}
        facts = {walker: one.findings.facts for walker, one in seen.items()}
        settings = orm.Dict(LiquidSettings(walkers=facts).model_dump(mode="json"))
        inputs = {"liquid__settings": settings, "liquid__structures": self.structures}
        chain = self.graphs.start(
            orm.WorkChainNode, "LiquidBaseWorkChain", inputs, kind="aiida.workflows:mlip.liquid.base",
            caller=self.chain, step=f"{name}_{stage}_checks",
        )  # fmt: skip
        job = self.graphs.start(
            orm.CalcJobNode, "LiquidCalculation", {"settings": settings, "structures": self.structures},
            kind="aiida.calculations:mlip.liquid", caller=chain, step="iteration_01",
        )  # fmt: skip
        found = {walker: one.findings.model_dump(mode="json") for walker, one in seen.items()}
        results = {"walkers": found, "versions": VERSIONS, "timings": {"load": 0.2, "total": 9.0}}
        outputs: dict[str, Any] = {"results": orm.Dict(results)}
        outputs |= {f"curves__{walker}": array_node(one.curves) for walker, one in seen.items()}
        kept = [atoms for one in seen.values() for atoms in one.kept]
        outputs["frames"] = DatasetData(kept, level_of_theory="none")
        self.graphs.end(job, outputs)
        return self.graphs.end(chain, outputs)

    def dynamics(self, name: str, stage: str, scripts: dict[str, Any]) -> None:
        """Store the dynamics alone: what the walkers did."""
        asked = ElectrolyteSettings(**self.settings.get_dict())
        settings = dynamics_settings(asked, RuntimeSettings(), ["salt"], stage)
        chain = self.graphs.start(
            orm.WorkChainNode, "MDBaseWorkChain", {"md__settings": orm.Dict(settings.model_dump(mode="json"))},
            kind="aiida.workflows:mlip.md.base", caller=self.chain, step=f"{name}_{stage}",
        )  # fmt: skip
        job = self.graphs.start(orm.CalcJobNode, "MDCalculation", {}, kind="aiida.calculations:mlip.md",
                                caller=chain, step="iteration_01")  # fmt: skip
        steps = {walker: int((script.frames - 1) * self.simmered.SPACING) for walker, script in scripts.items()}
        walkers = {
            walker: WalkerResult(
                structure=0, formula="C18H32F6LiO15P", steps=steps[walker], asked_steps=max(steps.values()),
                stable_steps=steps[walker], stopped_by=script.stopped_by, temperature=script.temperature,
                frames=script.frames, force_calls=steps[walker], seconds=0.5 * steps[walker],
            ).model_dump(mode="json")
            for walker, script in scripts.items()
        }  # fmt: skip
        outputs = {"results": orm.Dict({"walkers": walkers, "versions": VERSIONS, "timings": {"total": 3000.0}})}
        self.graphs.end(job, outputs)
        self.graphs.end(chain, outputs)

    def judge(self, name: str) -> None:
        """Store the verdict on a potential."""
        seen = {(stage, walker): one for (owner, stage, walker), one in self.seen.items() if owner == name}
        dispersion = "D3(BJ)-PBE added" if name == GOOD else "unknown"
        self.verdicts[name] = self.simmered.verdict(name, seen, self.tests.get(name), dispersion)
        step = self.graphs.start(orm.CalcFunctionNode, "judge_potential", {"settings": self.settings},
                                 caller=self.chain, step=f"{name}_verdict")  # fmt: skip
        self.graphs.end(step, {"result": orm.Dict(self.verdicts[name].model_dump(mode="json"))})

    def finish(self, status: int = 0, message: str = "") -> orm.WorkChainNode:
        """Store the joined verdict, and end the work chain."""
        document = {name: item.model_dump(mode="json") for name, item in self.verdicts.items()}
        whole = orm.Dict({"sentence": "", "potentials": document}).store()
        return self.graphs.end(self.chain, {"verdict": whole}, status, message)

    def whole(self) -> orm.WorkChainNode:
        """Store everything."""
        self.begin()
        self.force_tests(GOOD, epsilon=0.021)
        self.force_tests(BAD, epsilon=0.035)
        for name, stage in dict.fromkeys((name, stage) for name, stage, _ in self.scripts):
            self.stage(name, stage)
        self.judge(GOOD)
        self.judge(BAD)
        return self.finish()


def array_node(arrays: dict[str, Any]) -> orm.ArrayData:
    node = orm.ArrayData()
    for name, values in arrays.items():
        node.set_array(name, values)
    return node
