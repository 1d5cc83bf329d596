"""Walkers: a broken run is the whole run, files are repaired, rules stop one walker and leave the others alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip.schema.dynamics import MDSettings, WalkerResult
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.dynamics.series import read_series
from aiida_mlip.science.trajectory import read_trajectory
from aiida_mlip.worker.backends import load_potential
from aiida_mlip.worker.context import Stopped
from aiida_mlip.worker.dynamics.checkpoint import read_checkpoint
from aiida_mlip.worker.dynamics.walker import Plan, WalkerRun
from aiida_mlip.worker.runner import run_job
from aiida_mlip.worker.uncertainty import Estimator
from aiida_mlip.worker.uncertainty.load import estimator_of

FILES = ("trajectory.xyz", "series.csv")
TUNGSTEN = {"architecture": "finnis_sinclair", "elements": ["W"]}
ENSEMBLES: dict[str, dict[str, Any]] = {
    "nve": {"kind": "nve"},
    "langevin": {"kind": "nvt_langevin"},
    "bussi": {"kind": "nvt_bussi"},
    "nose_hoover": {"kind": "nvt_nose_hoover"},
    "npt": {"kind": "npt", "pressure_time": 300.0},
    "npt_full": {"kind": "npt", "isotropic": False, "pressure_time": 300.0},
}


def lj(sigma: float = 2.3, element: str = "Cu") -> dict[str, Any]:
    parameters = {"sigma": sigma, "epsilon": 0.4, "rc": 5.0, "smooth": True}
    return {"architecture": "lj", "elements": [element], "parameters": parameters}


def estimator(folder: Path, *documents: dict[str, Any]) -> Estimator:
    potentials = []
    for index, document in enumerate(documents):
        path = folder / f"{index}.json"
        path.write_text(json.dumps(document))
        potentials.append(load_potential(path, None))
    return estimator_of(potentials)


def cell(symbol: str = "W", a: float = 3.2) -> Atoms:
    atoms = bulk(symbol, "bcc", a=a, cubic=True) * (2, 1, 1)
    atoms.set_cell(atoms.cell @ (np.eye(3) + np.array([[0, 0.02, 0], [0, 0, 0.01], [0, 0, 0.03]])), scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def settings(ensemble: str, steps: int = 60, **changes: Any) -> MDSettings:
    """Two stages, with ramps in the first."""
    pressures = {"pressure": 0.0, "pressure_end": 4.0} if ensemble.startswith("npt") else {}
    first = {"steps": steps // 2, "temperature": 300.0, "temperature_end": 900.0, **pressures}
    second = {"steps": steps - steps // 2, "temperature": 900.0, **({"pressure": 4.0} if pressures else {})}
    walker = {"stages": [first, second], "seed": 7}
    strides = {"stride": 6, "log_stride": 4, "checkpoint_stride": 10, "uncertainty_stride": 5}
    return MDSettings.model_validate(
        {"walkers": {"a": walker}, "ensemble": ENSEMBLES[ensemble], "velocities": True, **strides, **changes}
    )


@dataclass
class Stop:
    """Raises ``Stopped`` when it is asked for the ``after``-th time."""

    after: int

    def __call__(self) -> None:
        self.after -= 1
        if self.after < 0:
            raise Stopped("enough")


def plan(folder: Path, chosen: MDSettings, start: Atoms) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    return Plan("a", chosen, start, "key", folder)


def run(folder: Path, chosen: MDSettings, start: Atoms, make: Callable[[], Estimator], *breaks: int) -> WalkerResult:
    """Run to the end, with breaks after so many steps; each part has an estimator of its own."""
    for after in breaks:
        part = WalkerRun(plan(folder, chosen, start), make(), lambda *_: None, read_checkpoint(folder))
        with pytest.raises(Stopped):
            part.run(Stop(after))
    part = WalkerRun(plan(folder, chosen, start), make(), lambda *_: None, read_checkpoint(folder))
    return part.run(lambda: None)


def same_files(first: Path, second: Path) -> bool:
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in FILES)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_run_with_breaks_is_the_run_without_bit_for_bit(ensemble: str, tmp_path: Path) -> None:
    """Breaks within a ramp, at the end of a stage and off every stride; ramps, noise and chains go on as they were."""
    chosen, start = settings(ensemble), cell()

    def make() -> Estimator:
        return estimator(tmp_path, TUNGSTEN)

    whole = run(tmp_path / "whole", chosen, start, make)
    parts = run(tmp_path / "parts", chosen, start, make, 13, 17, 1)
    assert same_files(tmp_path / "whole", tmp_path / "parts")
    assert replace_seconds(parts) == replace_seconds(whole)
    assert whole.steps == whole.stable_steps == 60
    assert whole.force_calls == 61
    other = chosen.model_copy(update={"walkers": {"a": chosen.walkers["a"].model_copy(update={"seed": 8})}})
    run(tmp_path / "other", other, start, make)
    assert not same_files(tmp_path / "whole", tmp_path / "other")


def replace_seconds(result: WalkerResult) -> WalkerResult:
    return result.model_copy(update={"seconds": 0.0})


def test_hyperactive_learning_goes_on_with_its_averages(tmp_path: Path) -> None:
    chosen, start = settings("langevin", hal={"window": 8, "tau_rel": 0.3}, stop={"temperature": None}), cell("Cu", 2.8)

    def make() -> Estimator:
        return estimator(tmp_path, lj(2.30), lj(2.34), lj(2.27))

    run(tmp_path / "whole", chosen, start, make)
    run(tmp_path / "parts", chosen, start, make, 10, 20)
    assert same_files(tmp_path / "whole", tmp_path / "parts")
    with (tmp_path / "whole" / "series.csv").open() as handle:
        tau = read_series(handle)["tau"]
    assert tau[0] == 0.0
    assert tau[-1] > 0.0


def test_a_mace_potential_in_single_precision_goes_on_bit_for_bit(tiny_mace: tuple[Path, Any], tmp_path: Path) -> None:
    """Its stress is of single precision, the checkpoint of double: the dynamics is in double precision throughout."""
    potential = load_potential(*tiny_mace, dtype="float32")
    start = bulk("Cu", cubic=True)
    start.rattle(0.05, seed=2)
    chosen = settings("npt", steps=12)
    run(tmp_path / "whole", chosen, start, lambda: estimator_of([potential]))
    run(tmp_path / "parts", chosen, start, lambda: estimator_of([potential]), 3, 4)
    assert same_files(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_bias_comes_to_the_limit_in_fewer_steps(seed: int, tmp_path: Path) -> None:
    """The same walker at the same temperature: the bias sets in after its window of 20 steps."""
    start = bulk("Cu", a=3.62, cubic=True) * (2, 1, 1)
    start.rattle(0.02, seed=1)
    steps = {}
    for name, hal in (("plain", None), ("biased", {"window": 20, "tau_rel": 0.8})):
        stage = {"steps": 150, "temperature": 150.0}
        chosen = MDSettings.model_validate(
            {
                "walkers": {"a": {"stages": [stage], "seed": seed}},
                "timestep": 2.0,
                "stop": {"uncertainty": 0.6},
                "uncertainty_stride": 1,
                "hal": hal,
            }
        )
        members = [lj(2.30), lj(2.34), lj(2.27)]
        steps[name] = run(tmp_path / name, chosen, start, lambda: estimator(tmp_path, *members))  # noqa: B023
    assert steps["plain"].stopped_by is None
    assert steps["biased"].stopped_by == "uncertainty"
    assert 20 < steps["biased"].steps < 75
    assert steps["biased"].stable_steps == steps["biased"].steps - 1


def test_potentials_that_remember_go_on_alike_from_a_checkpoint(tmp_path: Path) -> None:
    """EMT keeps neighbour lists; it forgets them at every checkpoint, so that a restart there is the same."""
    start = bulk("Cu", cubic=True) * (2, 1, 1)
    start.rattle(0.1, seed=2)
    chosen = settings("langevin", timestep=4.0)

    def make() -> Estimator:
        return estimator(tmp_path, {"architecture": "emt", "elements": ["Cu"]})

    run(tmp_path / "whole", chosen, start, make)
    run(tmp_path / "parts", chosen, start, make, 30)
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_what_was_written_after_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    """A job that is killed between two checkpoints leaves frames and half a frame that the next one makes again."""
    chosen, start = settings("bussi"), cell()

    def make() -> Estimator:
        return estimator(tmp_path, TUNGSTEN)

    run(tmp_path / "whole", chosen, start, make)
    folder = tmp_path / "killed"
    with pytest.raises(Stopped):
        WalkerRun(plan(folder, chosen, start), make(), lambda *_: None).run(Stop(20))
    kept = (folder / "checkpoint.npz").read_bytes()
    with pytest.raises(Stopped):
        WalkerRun(plan(folder, chosen, start), make(), lambda *_: None, read_checkpoint(folder)).run(Stop(15))
    (folder / "checkpoint.npz").write_bytes(kept)
    with (folder / "trajectory.xyz").open("a") as handle:
        handle.write("4\nLattice=")
    (folder / "checkpoint.npz.tmp").write_bytes(kept[:100])
    run(folder, chosen, start, make)
    assert same_files(tmp_path / "whole", folder)
    (folder / "checkpoint.npz").write_bytes(kept[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        read_checkpoint(folder)
    (folder / "checkpoint.npz").write_bytes(kept)
    (folder / "trajectory.xyz").write_text("")
    with pytest.raises(ValueError, match=r"trajectory\.xyz has lost its end"):
        WalkerRun(plan(folder, chosen, start), make(), lambda *_: None, read_checkpoint(folder))


def job(folder: Path, chosen: dict[str, Any], frames: list[Atoms], *documents: dict[str, Any], **more: Any) -> Any:
    """Run the worker in a folder and return its result."""
    folder.mkdir(exist_ok=True)
    files = {"structures": "structures.xyz"}
    with (folder / "structures.xyz").open("w") as handle:
        write_extxyz(frames, handle)
    for index, document in enumerate(documents):
        files[f"potential_member_{index:02d}"] = f"member_{index:02d}.json"
        (folder / f"member_{index:02d}.json").write_text(json.dumps(document))
    files |= more.pop("files", {})
    (folder / "job.json").write_text(
        json.dumps({"contract": 1, "task": "md", "settings": chosen, "files": files, **more})
    )
    assert run_job(folder / "job.json") == 0
    return json.loads((folder / "result.json").read_text())


def frames_of(folder: Path, walker: str) -> list[Atoms]:
    with (folder / "walkers" / walker / "trajectory.xyz").open() as handle:
        return list(read_trajectory(handle))


def walker(steps: int = 20, temperature: float = 500.0, **changes: Any) -> dict[str, Any]:
    return {"stages": [{"steps": steps, "temperature": temperature}], "seed": 1, **changes}


def test_a_walker_that_collapses_does_not_take_the_others_down(tmp_path: Path) -> None:
    """The first starts with two atoms on top of each other, where Lennard-Jones is 1e20 eV; NaN is never written."""
    collapsed = cell("Cu", 2.8)
    collapsed.positions[1] = collapsed.positions[0] + [0.0, 0.0, 1e-3]
    same = cell("Cu", 2.8)
    same.positions[1] = same.positions[0]
    walkers = {"bad": walker(structure=1), "worse": walker(structure=2), "good": walker()}
    with np.errstate(all="ignore"):
        result = job(tmp_path, {"walkers": walkers}, [cell("Cu", 2.8), collapsed, same], lj())
    assert result["error"] is None, result["error"]
    found = result["payload"]["walkers"]
    assert found["bad"]["stopped_by"] == "distance"
    assert "0.001 Å apart (limit 0.5 Å)" in found["bad"]["message"]
    assert found["worse"]["stopped_by"] == "not_finite"
    assert found["worse"]["frames"] == 0
    assert found["bad"]["stable_steps"] == found["worse"]["stable_steps"] == 0
    assert found["good"]["stopped_by"] is None
    assert found["good"]["stable_steps"] == 20
    assert [atoms.info["stopped"] for atoms in frames_of(tmp_path, "bad")] == [True]
    assert json.loads((tmp_path / "walkers.json").read_text())["good"] == {"steps": 20, "asked_steps": 20, "done": True}


def test_an_exception_of_the_potential_stops_its_walker(tmp_path: Path) -> None:
    """The calculator knows copper only in its file, and says that it knows nickel too."""
    walkers = {"bad": walker(structure=1), "good": walker()}
    document = {"architecture": "finnis_sinclair", "elements": ["W", "Cu"]}
    result = job(tmp_path, {"walkers": walkers}, [cell(), cell("Cu", 2.8)], document)
    found = result["payload"]["walkers"]
    assert found["bad"]["stopped_by"] == "calculator_error"
    assert "Finnis-Sinclair needs one of" in found["bad"]["message"]
    assert found["good"]["stable_steps"] == 20


def test_the_frame_that_broke_a_rule_is_the_last_and_comes_after_the_stable_ones(tmp_path: Path) -> None:
    """Hot enough to pass the limit on forces; the stable prefix holds it at every frame."""
    chosen = {"walkers": {"a": walker(400, 300.0)}, "stop": {"force": 4.0, "temperature": None}, "stride": 3}
    chosen["walkers"]["a"]["stages"][0]["temperature_end"] = 6000.0
    result = job(tmp_path, chosen, [cell()], TUNGSTEN)
    found = result["payload"]["walkers"]["a"]
    assert found["stopped_by"] == "force"
    assert found["stable_steps"] == found["steps"] - 1 > 0
    frames = frames_of(tmp_path, "a")
    largest = [np.linalg.norm(atoms.arrays["forces"], axis=1).max() for atoms in frames]
    assert largest[-1] > 4.0 >= max(largest[:-1])
    assert [atoms.info["stopped"] for atoms in frames] == [False] * (len(frames) - 1) + [True]
    assert frames[-1].info["step"] == found["steps"]
    assert frames[-1].info["temperature"] == pytest.approx(300 + 5700 * found["steps"] / 400)


def test_a_cool_stage_after_a_hot_one_is_no_explosion(tmp_path: Path) -> None:
    """3000 K, and at the next step a target of 100 K: the atoms are 30 times as hot, and nothing is wrong."""
    stages = [{"steps": 10, "temperature": 3000.0}, {"steps": 10, "temperature": 100.0}]
    result = job(tmp_path, {"walkers": {"a": walker(stages=stages)}, "log_stride": 1}, [cell()], TUNGSTEN)
    assert result["payload"]["walkers"]["a"]["stopped_by"] is None
    with (tmp_path / "walkers" / "a" / "series.csv").open() as handle:
        series = read_series(handle)
    assert series["temperature"][11] > 3 * series["target_temperature"][11]


def test_a_job_out_of_time_goes_on_in_another_folder(tmp_path: Path) -> None:
    """The signal of the time limit waits for the end of a step; finished walkers are not run again."""
    chosen = {"walkers": {"a": walker(5), "b": walker(1500, seed=2)}, "checkpoint_stride": 1000, "keep_stride": 7}
    whole = job(tmp_path / "whole", chosen, [cell()], TUNGSTEN)["payload"]["walkers"]
    first = job(tmp_path / "first", chosen, [cell()], TUNGSTEN, time_limit=0.5)
    assert first["error"]["kind"] == "walltime", first
    progress = json.loads((tmp_path / "first" / "walkers.json").read_text())
    assert progress["a"]["done"]
    assert 0 < progress["b"]["steps"] < 1500
    second = tmp_path / "second"
    (second / "restart").mkdir(parents=True)
    (tmp_path / "first" / "walkers").rename(second / "restart" / "walkers")
    changed = {**chosen, "timestep": 2.0}
    refused = job(second, changed, [cell()], TUNGSTEN, files={"restart": "restart"})
    assert refused["error"]["kind"] == "input"
    assert "the earlier job ran it with other settings" in refused["error"]["message"]
    result = job(second, chosen, [cell()], TUNGSTEN, files={"restart": "restart"})
    found = result["payload"]["walkers"]
    for name in ("a", "b"):
        assert {**found[name], "seconds": 0} == {**whole[name], "seconds": 0}
        assert same_files(tmp_path / "whole" / "walkers" / name, second / "walkers" / name)
        kept = [folder / "walkers" / name / "kept.xyz" for folder in (tmp_path / "whole", second)]
        assert kept[0].read_bytes() == kept[1].read_bytes()


def test_clusters_have_no_pressure_and_crystals_have(tmp_path: Path) -> None:
    cluster = Atoms("Cu3", positions=[[0, 0, 0], [2.5, 0, 0], [0.4, 2.6, 0.1]])
    walkers = {"cluster": walker(), "crystal": walker(structure=1)}
    result = job(tmp_path, {"walkers": walkers, "stop": {"bonds": 1.6}}, [cluster, cell("Cu", 2.8)], lj())
    assert result["error"] is None
    series = {}
    for name in walkers:
        with (tmp_path / "walkers" / name / "series.csv").open() as handle:
            series[name] = read_series(handle)
    for column in ("pressure", "volume", "density"):
        assert np.isnan(series["cluster"][column]).all()
        assert np.isfinite(series["crystal"][column]).all()
    assert np.isfinite(series["cluster"]["temperature"]).all()


@pytest.mark.parametrize(
    ("changes", "frames", "words"),
    [
        ({"stop": {"relative_uncertainty": 0.2}}, [cell()], "one potential alone has none"),
        ({"walkers": {"a": walker(structure=3)}}, [cell()], "there are 1 structures"),
        ({}, [Atoms("W")], "one atom alone has no dynamics"),
        ({}, [cell("Cu", 2.8)], "Cu"),
        (
            {
                "ensemble": {"kind": "npt"},
                "walkers": {"a": {"stages": [{"steps": 2, "temperature": 3, "pressure": 0}], "seed": 1}},
            },
            [Atoms("W2", positions=[[0, 0, 0], [0, 0, 2.5]])],
            "has no volume",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: Any, frames: list[Atoms], words: str) -> None:
    result = job(tmp_path, {"walkers": {"a": walker()}, **changes}, frames, TUNGSTEN)
    assert result["error"]["kind"] == "input"
    assert words in result["error"]["message"]
