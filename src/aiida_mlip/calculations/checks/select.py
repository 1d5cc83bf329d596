"""Checks of a selection: trajectories that can be judged, and cells that can be labelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from aiida_mlip.calculations.checks.wording import listed, refusal
from aiida_mlip.schema.potential import PotentialInfo


class Trajectory(Protocol):
    """What the checks ask of a trajectory; :class:`~aiida_mlip.data.trajectory.MDTrajectoryData` has it."""

    def __len__(self) -> int:
        """Return the number of frames."""

    @property
    def elements(self) -> tuple[str, ...]:
        """Return the chemical symbols present."""

    @property
    def num_atoms(self) -> int:
        """Return the number of atoms of a frame."""

    @property
    def max_forces_sigma(self) -> float | None:
        """Return the largest uncertainty of a force [eV/Å], None without an uncertainty."""


def check_trajectories(
    trajectories: Mapping[str, Trajectory], max_label_atoms: int | None, info: PotentialInfo | None
) -> Iterator[str]:
    """Refuse trajectories without an uncertainty, of elements the potential lacks, or of cells too large to label.

    :param trajectories: walker -> trajectory.
    :param max_label_atoms: None where it is not known yet.
    :param info: of the potential, None where it is not known yet.
    """
    for walker, trajectory in trajectories.items():
        field, value = f"trajectories.{walker}", _describe(trajectory)
        if max_label_atoms is not None and trajectory.num_atoms > max_label_atoms:
            yield refusal(
                field,
                value,
                f"the cell is too large for the labeller: settings.max_label_atoms = {max_label_atoms}",
                "Start the dynamics from a smaller cell, or raise max_label_atoms if the labeller can do it",
            )
        if trajectory.max_forces_sigma is None:
            yield refusal(
                field,
                value,
                "its frames have no uncertainty, so none can be told accurate, candidate or failed",
                "Run mlip.md with two or more potentials, or with an uncertainty of mlip.uncertainty",
            )
        missing = sorted(set(trajectory.elements) - set(info.elements)) if info is not None else []
        if missing:
            yield refusal(
                field, value, f"the potential lacks {listed(missing)}", f"Use a potential that knows {listed(missing)}"
            )


def _describe(trajectory: Trajectory) -> str:
    elements = listed(trajectory.elements)
    return f"<trajectory of {len(trajectory)} frames of {trajectory.num_atoms} atoms of {elements}>"
