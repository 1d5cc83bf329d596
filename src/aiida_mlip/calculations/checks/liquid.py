"""Checks of the analysis of a liquid: walkers that are there, of these structures, at these conditions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from ase import Atoms

from aiida_mlip.calculations.checks.wording import listed, refusal
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.liquid import LiquidSettings
from aiida_mlip.science.dynamics.observables import is_bulk


class Trajectory(Protocol):
    """What the checks ask of a trajectory; :class:`~aiida_mlip.data.trajectory.MDTrajectoryData` has it."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the chemical symbols present."""

    @property
    def num_atoms(self) -> int:
        """Return the number of atoms of a frame."""


def check_source(folder: bool, trajectories: Collection[str]) -> Iterator[str]:
    """Refuse both sources of trajectories, or none.

    :param folder: whether ``md_folder`` is given.
    """
    if folder and trajectories:
        yield refusal(
            "trajectories", sorted(trajectories), "md_folder is given too", "Give the folder or the trajectories"
        )
    if not folder and not trajectories:
        yield refusal(
            "md_folder",
            None,
            "there is nothing to read",
            "Give md_folder, the remote folder of the last mlip.md job, or its trajectories",
        )


def check_names(
    walkers: Collection[str], given: Collection[str], field: str, *, all_of_them: bool = True
) -> Iterator[str]:
    """Refuse names that do not fit the walkers of the settings.

    :param given: names of trajectories, series or walkers of the dynamics.
    :param field: the input that they are of.
    :param all_of_them: whether every walker of the settings must be there.
    """
    if all_of_them and (missing := sorted(set(walkers) - set(given))):
        yield refusal(
            "settings.walkers",
            missing,
            f"not in {field}, which has {listed(sorted(given))}",
            f"Name the walkers as in {field}",
        )
    if field != "md_folder" and (unknown := sorted(set(given) - set(walkers))):
        yield refusal(
            field,
            unknown,
            f"settings.walkers has {listed(sorted(walkers))}",
            "Say what is known of them, or leave them out",
        )


def check_structures(settings: LiquidSettings, structures: Sequence[Atoms]) -> Iterator[str]:
    """Refuse walkers whose structure is not there, or has no volume where the pressure was constant."""
    for name, facts in settings.walkers.items():
        field = f"settings.walkers.{name}.structure"
        if facts.structure >= len(structures):
            yield refusal(
                field,
                facts.structure,
                f"there are {len(structures)} structures",
                f"Use an index from 0 to {len(structures) - 1}",
            )
        elif facts.ensemble == "npt" and not is_bulk(structures[facts.structure]):
            yield refusal(
                f"settings.walkers.{name}.ensemble",
                "npt",
                f"structure {facts.structure} is not periodic in three directions and has no volume",
                "Say the ensemble that the dynamics had, e.g. nvt",
            )


def check_atoms(
    settings: LiquidSettings, structures: Sequence[Atoms], trajectories: Mapping[str, Trajectory]
) -> Iterator[str]:
    """Refuse trajectories that are not of the structure of their walker."""
    for name, trajectory in trajectories.items():
        facts = settings.walkers.get(name)
        if facts is None or facts.structure >= len(structures):
            continue
        start = structures[facts.structure]
        mine, its = tuple(sorted(set(start.get_chemical_symbols()))), tuple(trajectory.elements)
        if (len(start), mine) != (trajectory.num_atoms, its):
            yield refusal(
                f"trajectories.{name}",
                f"<trajectory of {trajectory.num_atoms} atoms of {listed(its)}>",
                f"structure {facts.structure} has {len(start)} atoms of {listed(mine)}",
                "Give the structures that the dynamics started from, and the index of each walker's own",
            )


def check_conditions(settings: LiquidSettings, dynamics: MDSettings) -> Iterator[str]:
    """Refuse facts that are not those of the dynamics that made the trajectories."""
    ensemble = dynamics.ensemble.kind.partition("_")[0]
    for name, facts in settings.walkers.items():
        if name not in dynamics.walkers:
            continue
        walker = dynamics.walkers[name]
        ends = [t for s in walker.stages for t in (s.temperature, s.temperature_end) if t is not None]
        for field, given, had in (
            ("ensemble", facts.ensemble, ensemble),
            ("timestep", facts.timestep, dynamics.timestep),
            ("structure", facts.structure, walker.structure),
        ):
            if given != had:
                yield _differs(name, field, given, had)
        if not min(ends) <= facts.temperature <= max(ends):
            yield _differs(name, "temperature", facts.temperature, walker.stages[-1].temperature)


def check_folder(folder_computer: str, computer: str | None) -> Iterator[str]:
    """Refuse to read trajectories that are on another computer."""
    if computer and folder_computer != computer:
        yield refusal(
            "md_folder",
            f"<folder on {folder_computer}>",
            f"the job runs on {computer!r} and cannot read files of another computer",
            f"Set metadata.computer to {folder_computer!r}, or give trajectories and series instead",
        )


def _differs(name: str, field: str, given: object, had: object) -> str:
    return refusal(
        f"settings.walkers.{name}.{field}", given, f"the dynamics that made md_folder had {had!r}", f"Use {had!r}"
    )
