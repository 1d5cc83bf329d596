"""Calcfunctions of ``mlip.electrolyte``: the settings of its steps, the boxes put together, the frames in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.dynamics import NVE, Ensemble, MDSettings, Walker, WalkerResult
from aiida_mlip.schema.dynamics import Stage as Schedule
from aiida_mlip.schema.electrolyte import ElectrolyteSettings, RuntimeSettings
from aiida_mlip.schema.liquid import LiquidSettings, WalkerFacts
from aiida_mlip.science.iterative.ladder import walker_seed
from aiida_mlip.science.keys import CONFIG_TYPE, DEFAULT_CONFIG_TYPE, GROUP
from aiida_mlip.science.liquids.conditions import Stage, WalkerPlace, nearest, place_of
from aiida_mlip.science.liquids.starts import next_start
from aiida_mlip.science.liquids.verdict import LENGTH

STAGES: tuple[Stage, ...] = ("nvt", "npt", "nve")
"""Constant volume first, from the boxes; the others go on from its last frames."""


def _settings(node: orm.Dict) -> ElectrolyteSettings:
    return ElectrolyteSettings(**node.get_dict())


def _set(frames: list[Atoms], label: str) -> DatasetData:
    node = DatasetData(frames, level_of_theory="none")
    node.label = label
    return node


def _marked(atoms: Atoms, name: str) -> Atoms:
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.info[CONFIG_TYPE] = name
    copy.info[GROUP] = name
    return copy


def names_of(structures: DatasetData) -> list[str]:
    """Return the name of each box, or of the walker that a configuration is the last frame of."""
    return [str(atoms.info.get(CONFIG_TYPE, DEFAULT_CONFIG_TYPE)) for atoms in structures.frames()]


@calcfunction
def box_settings(settings: orm.Dict) -> dict[str, orm.Dict]:
    """Return the settings of each box that is packed, under its name."""
    return {name: orm.Dict(box.model_dump(mode="json")) for name, box in _settings(settings).boxes.items()}


@calcfunction
def join_boxes(**boxes: DatasetData) -> DatasetData:
    """Return all boxes as one set, in alphabetical order, each marked with its name."""
    frames = [_marked(next(boxes[name].frames()), name) for name in sorted(boxes)]
    return _set(frames, "boxes")


@calcfunction
def force_test_settings(settings: orm.Dict) -> orm.Dict:
    """Return the settings of the tests of energies and forces.

    :raises ValueError: where none are asked for.
    """
    asked = _settings(settings).force_tests
    if asked is None:
        raise ValueError("settings.force_tests is None: there are no tests to be set up")
    return orm.Dict(asked.model_dump(mode="json"))


@calcfunction
def nvt_settings(settings: orm.Dict, runtime: orm.Dict, structures: DatasetData) -> orm.Dict:
    """Return the settings of the dynamics at constant volume: every box at every temperature."""
    return _dynamics(settings, runtime, structures, "nvt")


@calcfunction
def npt_settings(settings: orm.Dict, runtime: orm.Dict, structures: DatasetData) -> orm.Dict:
    """Return the settings of the dynamics at constant pressure, from the last frames at constant volume."""
    return _dynamics(settings, runtime, structures, "npt")


@calcfunction
def nve_settings(settings: orm.Dict, runtime: orm.Dict, structures: DatasetData) -> orm.Dict:
    """Return the settings of the dynamics at constant energy, from the last frames at constant volume."""
    return _dynamics(settings, runtime, structures, "nve")


MAKE_SETTINGS: Mapping[Stage, Any] = {"nvt": nvt_settings, "npt": npt_settings, "nve": nve_settings}


def steps_of(settings: ElectrolyteSettings, stage: Stage) -> int:
    """Return the steps of a stage; 0: it is left out."""
    asked = settings.dynamics
    return {"nvt": asked.nvt_steps, "npt": asked.npt_steps, "nve": asked.nve_steps}[stage]


def _dynamics(settings: orm.Dict, runtime: orm.Dict, structures: DatasetData, stage: Stage) -> orm.Dict:
    typed = dynamics_settings(_settings(settings), RuntimeSettings(**runtime.get_dict()), names_of(structures), stage)
    return orm.Dict(typed.model_dump(mode="json"))


def dynamics_settings(
    settings: ElectrolyteSettings, runtime: RuntimeSettings, starts: list[str], stage: Stage
) -> MDSettings:
    """Return the settings of ``mlip.md`` for one stage.

    :param starts: for each structure the name of its box, or of the walker at constant volume whose last frame it is.
    """
    asked = settings.dynamics
    ensembles: dict[Stage, Ensemble] = {"nvt": asked.nvt, "npt": asked.npt, "nve": NVE()}
    return MDSettings(
        walkers=dict(_walkers(settings, starts, stage)),
        ensemble=ensembles[stage],
        timestep=asked.timestep,
        stride=asked.stride,
        log_stride=asked.log_stride,
        keep_stride=asked.keep_stride,
        checkpoint_stride=asked.checkpoint_stride,
        velocities=True,
        stop=asked.stop,
        **runtime.model_dump(),
    )


def _walkers(settings: ElectrolyteSettings, starts: list[str], stage: Stage) -> Iterator[tuple[str, Walker]]:
    """Yield walkers: every start at every condition that is its own, each with a seed of its own."""
    asked = settings.dynamics
    pressures: list[int | None] = list(range(len(asked.pressures))) if stage == "npt" else [None]
    number = 0
    for index, start in enumerate(starts):
        for place in _places(settings, start, stage):
            for pressure in pressures:
                seed = walker_seed(asked.seed, STAGES.index(stage), number)
                number += 1
                schedule = Schedule(
                    steps=steps_of(settings, stage),
                    temperature=nearest(asked.temperatures, place.temperature),
                    pressure=None if pressure is None else asked.pressures[pressure],
                )
                named = place._replace(pressure=pressure)
                yield named.name, Walker(structure=index, stages=(schedule,), seed=seed)


def _places(settings: ElectrolyteSettings, start: str, stage: Stage) -> list[WalkerPlace]:
    """Return what runs from one structure: all temperatures from a box, its own temperature from a last frame."""
    asked = settings.dynamics
    if stage != "nvt" and asked.nvt_steps:
        return [place_of(start)]
    return [
        WalkerPlace(start, round(temperature), None, copy)
        for temperature in asked.temperatures
        for copy in range(1, asked.walkers + 1)
    ]


def survivors(results: Mapping[str, Any]) -> list[str]:
    """Return the walkers that ran to their end, of the results of ``mlip.md``."""
    return [name for name, walker in results["walkers"].items() if walker["stopped_by"] is None]


@calcfunction
def last_frames(results: orm.Dict, **trajectories: Any) -> DatasetData:
    """Return the last frame of each walker that ran to its end, marked with the name of the walker.

    A bond that is long for an instant is no reaction: see :func:`aiida_mlip.science.liquids.starts.next_start`.

    :param results: of ``mlip.md``.
    :raises ValueError: where there is none.
    """
    frames = [
        _marked(next_start(trajectories[name].frames()), name)
        for name in sorted(set(survivors(results)) & set(trajectories))
    ]
    return _set(frames, "last frames")


@calcfunction
def check_settings(settings: orm.Dict, dynamics: orm.Dict, results: orm.Dict) -> orm.Dict:
    """Return the settings of ``mlip.liquid`` for the trajectories of one stage.

    :param dynamics: settings of its ``mlip.md``.
    :param results: of its ``mlip.md``; walkers without a frame are left out.
    """
    asked, made = _settings(settings), MDSettings(**dynamics.get_dict())
    found = {name: WalkerResult(**walker) for name, walker in results["walkers"].items()}
    ensemble: Any = made.ensemble.kind.partition("_")[0]
    facts = {
        name: WalkerFacts(
            structure=made.walkers[name].structure,
            ensemble=ensemble,
            temperature=made.walkers[name].stages[0].temperature,
            pressure=made.walkers[name].stages[0].pressure,
            timestep=made.timestep,
            stopped_by=result.stopped_by,
        )
        for name, result in found.items()
        if result.frames
    }
    claim = {"min_time_ps": asked.min_time_ps, "min_molecules": asked.min_molecules}
    limits = {**asked.checks, LENGTH: {**claim, **asked.checks.get(LENGTH, {})}}
    typed = LiquidSettings(walkers=facts, checks=limits, equilibration=asked.equilibration)
    return orm.Dict(typed.model_dump(mode="json"))
