"""Calcfunctions of a rehearsal: the frames of trajectories for the teacher, and true errors against uncertainties."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.science.datasets.fingerprints import usable
from aiida_mlip.science.iterative.ladder import condition_of
from aiida_mlip.science.iterative.truth import compare_with_truth
from aiida_mlip.science.keys import CONFIG_TYPE, FORCES, GROUP


@calcfunction
def trajectory_frames(**trajectories: MDTrajectoryData) -> DatasetData:
    """Return the frames of trajectories without labels, one trajectory after the other, in the order of their names.

    The config_type is the condition of the walker, the group its name.

    :raises ValueError: if no frame is usable.
    """
    frames = []
    for name, node in sorted(trajectories.items()):
        for atoms in node.frames():
            if usable(atoms):
                atoms.info = {CONFIG_TYPE: condition_of(name), GROUP: name}
                frames.append(atoms)
    return DatasetData(frames, level_of_theory="none")


@calcfunction
def true_errors(labelled: DatasetData, report: orm.Dict, **trajectories: MDTrajectoryData) -> orm.Dict:
    """Return what :func:`~aiida_mlip.science.iterative.truth.compare_with_truth` finds, for each condition and ``all``.

    :param labelled: labels of the frames of :func:`trajectory_frames`.
    :param report: of the labelling; frames that failed are left out.
    """
    nodes = sorted(trajectories.items())
    explored = [(condition_of(name), atoms) for name, node in nodes for atoms in node.frames() if usable(atoms)]
    failed = {int(item["index"]) for item in report["failed"]}
    kept = [pair for index, pair in enumerate(explored) if index not in failed]
    pairs = [(*pair, label) for pair, label in zip(kept, labelled.frames(), strict=True) if FORCES in label.arrays]
    found = {"all": compare_with_truth([atoms for _, atoms, _ in pairs], [label for *_, label in pairs])}
    for name in dict.fromkeys(name for name, *_ in pairs):
        chosen = [(atoms, label) for condition, atoms, label in pairs if condition == name]
        found[name] = compare_with_truth([atoms for atoms, _ in chosen], [label for _, label in chosen])
    return orm.Dict(found)
