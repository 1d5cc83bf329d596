"""Training data: read, refused where they cannot be trained on, and written in the one form that mace cannot misread.

What mace gets holds nothing but positions, cell, labels under our names and explicit weights. In particular no
``config_type``: mace takes frames of type ``IsolatedAtom`` as reference energies, over whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.training import Loss, TrainSettings
from aiida_mlip.science.isolated_atoms import is_isolated
from aiida_mlip.science.keys import CONFIG_TYPE, DEFAULT_CONFIG_TYPE, ENERGY, FORCES, STRESS
from aiida_mlip.worker.context import Context

REPLAY_VALID_FRACTION = 0.1
TEST_PREFIX = "test_"


@dataclass(frozen=True)
class TrainingData:
    """The frames of a training, as they go into it.

    :param train: frames trained on; isolated atoms are not among them.
    :param isolated: single atoms without neighbours, taken out of the training set.
    :param replay_train: replay frames trained on; empty for all strategies but replay.
    :param warnings: what is worth knowing and was not refused.
    """

    train: list[Atoms]
    valid: list[Atoms]
    tests: dict[str, list[Atoms]]
    isolated: list[Atoms] = field(default_factory=list)
    replay_train: list[Atoms] = field(default_factory=list)
    replay_valid: list[Atoms] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def elements(self) -> list[str]:
        """Return the symbols of all frames that are trained or validated on, by atomic number."""
        return elements_of([*self.train, *self.valid, *self.replay_train, *self.replay_valid])

    def counts(self) -> dict[str, int]:
        """Return the number of frames of each set."""
        counts = {"train": len(self.train), "valid": len(self.valid), "isolated_atoms": len(self.isolated)}
        counts.update({name: len(frames) for name, frames in self.tests.items()})
        if self.replay_train:
            counts.update(replay_train=len(self.replay_train), replay_valid=len(self.replay_valid))
        return counts


def load(context: Context, settings: TrainSettings, cutoff: float) -> TrainingData:
    """Read and check all sets of a job.

    :param cutoff: atoms without a neighbour within it [Å] count as isolated.
    :raises TaskError: of kind ``input`` for whatever mace would fail on, or train on wrongly in silence.
    """
    train = read_frames(context.path("train"), "train")
    valid = read_frames(context.path("valid"), "valid")
    tests = {
        role.removeprefix(TEST_PREFIX): read_frames(context.path(role), role)
        for role in context.job.files
        if role.startswith(TEST_PREFIX)
    }
    replay = read_frames(context.path("replay"), "replay") if settings.strategy.kind == "replay" else []
    alone, train = _part(train, lambda atoms: is_isolated(atoms, cutoff))
    _, valid = _part(valid, lambda atoms: is_isolated(atoms, cutoff))
    for frames, role in ((train, "train"), (valid, "valid"), (replay, "replay")):
        _check_labels(frames, role, settings.loss, complete=role == "replay")
    _check_sizes(train, valid, replay, settings)
    _check_weights([*train, *valid], settings.loss)
    pick = np.random.default_rng(settings.seed).permutation(len(replay))
    held_out = max(1, round(REPLAY_VALID_FRACTION * len(replay))) if replay else 0
    return TrainingData(
        train=train,
        valid=valid,
        tests=tests,
        isolated=alone,
        replay_train=[replay[i] for i in sorted(pick[held_out:])],
        replay_valid=[replay[i] for i in sorted(pick[:held_out])],
        warnings=_warnings(train, valid, alone, settings),
    )


def read_frames(path: Path, role: str) -> list[Atoms]:
    """Return all frames of an extended XYZ file.

    :raises TaskError: of kind ``input`` where the file cannot be read or is empty.
    """
    try:
        frames = ase.io.read(path, index=":", format="extxyz")
    except Exception as error:
        raise TaskError(
            ErrorKind.INPUT, f"files[{role!r}] cannot be read as extended XYZ: {error!r}.", "Export the data set again."
        ) from error
    if not frames:
        raise TaskError(ErrorKind.INPUT, f"files[{role!r}] has no frame.", "Give at least one configuration.")
    return list(frames)


def elements_of(frames: Iterable[Atoms]) -> list[str]:
    """Return the symbols in the frames by atomic number."""
    found = {(int(z), symbol) for atoms in frames for z, symbol in zip(atoms.numbers, atoms.symbols, strict=True)}
    return [symbol for _, symbol in sorted(found)]


def write_for_mace(path: Path, frames: Sequence[Atoms], loss: Loss, *, factor: float = 1.0) -> Path:
    """Write frames with labels and weights only.

    :param factor: weight of all these frames in the loss, besides that of their configuration type.
    """
    ase.io.write(path, [_bare(atoms, loss, factor) for atoms in frames], format="extxyz")
    return path


def _bare(atoms: Atoms, loss: Loss, factor: float) -> Atoms:
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if ENERGY in atoms.info:
        bare.info[ENERGY] = float(atoms.info[ENERGY])
    if FORCES in atoms.arrays:
        bare.new_array(FORCES, np.asarray(atoms.arrays[FORCES], dtype=float))
    if STRESS in atoms.info and atoms.pbc.all():
        bare.info[STRESS] = np.asarray(atoms.info[STRESS], dtype=float)
    weight = factor * loss.config_type_weights.get(config_type(atoms), 1.0)
    if loss.kind == "universal":
        # this loss of mace knows weights of labels, not of frames
        bare.info.update({f"config_{label}_weight": weight for label in ("energy", "forces", "stress")})
    else:
        bare.info["config_weight"] = weight
    return bare


def config_type(atoms: Atoms) -> str:
    """Return the configuration type of a frame."""
    return str(atoms.info.get(CONFIG_TYPE, DEFAULT_CONFIG_TYPE))


def _part(frames: list[Atoms], condition: Callable[[Atoms], bool]) -> tuple[list[Atoms], list[Atoms]]:
    chosen = [condition(atoms) for atoms in frames]
    yes = [atoms for atoms, is_chosen in zip(frames, chosen, strict=True) if is_chosen]
    return yes, [atoms for atoms, is_chosen in zip(frames, chosen, strict=True) if not is_chosen]


def _check_labels(frames: Sequence[Atoms], role: str, loss: Loss, *, complete: bool) -> None:
    """Refuse labels that are missing or not finite; ``complete`` asks for energy and forces in each frame."""
    for index, atoms in enumerate(frames):
        labels = {ENERGY: atoms.info.get(ENERGY), FORCES: atoms.arrays.get(FORCES), STRESS: atoms.info.get(STRESS)}
        present = {name for name, value in labels.items() if value is not None}
        for name in sorted(present):
            if not np.isfinite(np.asarray(labels[name], dtype=float)).all():
                raise TaskError(
                    ErrorKind.INPUT, f"{role}: frame {index} has a {name} that is not finite.", "Remove the frame."
                )
        needed = {ENERGY, FORCES} if complete else set()
        if loss.kind == "huber":
            # this loss of mace takes a missing label for zero
            needed |= {name for name, weight in _weights(loss).items() if weight > 0}
        if missing := sorted(needed - present):
            raise TaskError(
                ErrorKind.INPUT,
                f"{role}: frame {index} has no {', '.join(missing)}.",
                "Replay sets have to be labelled by the foundation model first."
                if complete
                else "With loss.kind = 'huber' every frame needs every label: use 'universal', or remove the frame.",
            )
        if not any(weight > 0 and name in present for name, weight in _weights(loss).items()):
            raise TaskError(
                ErrorKind.INPUT,
                f"{role}: frame {index} has none of the labels that the loss weighs.",
                f"Give {ENERGY}, {FORCES} or {STRESS} a value there and a positive weight, or remove the frame.",
            )


def _weights(loss: Loss) -> dict[str, float]:
    return {ENERGY: loss.energy_weight, FORCES: loss.forces_weight, STRESS: loss.stress_weight}


def _check_sizes(
    train: Sequence[Atoms], valid: Sequence[Atoms], replay: Sequence[Atoms], settings: TrainSettings
) -> None:
    """Refuse sets that are too small for the batch or the number of processes."""
    if not train or not valid:
        raise TaskError(
            ErrorKind.INPUT,
            f"{'valid' if train else 'train'} has only isolated atoms.",
            "Give configurations with more than one atom.",
        )
    if settings.strategy.kind == "replay" and len(replay) < 2:
        raise TaskError(ErrorKind.INPUT, f"replay has {len(replay)} frames.", "Give at least two; better hundreds.")
    processes = settings.distributed.num_processes if settings.distributed else 1
    total = len(train) + len(replay)
    if settings.batch_size > total // processes:
        raise TaskError(
            ErrorKind.INPUT,
            f"batch_size = {settings.batch_size} is larger than the training set of one process "
            f"({total // processes} configurations).",
            f"Set it to at most {max(total // processes, 1)}.",
        )
    if len(valid) < processes:
        raise TaskError(
            ErrorKind.INPUT,
            f"valid has {len(valid)} configurations for {processes} processes.",
            "Give at least one for each process.",
        )


def _check_weights(frames: Sequence[Atoms], loss: Loss) -> None:
    types = {config_type(atoms) for atoms in frames}
    if unknown := sorted(set(loss.config_type_weights) - types):
        raise TaskError(
            ErrorKind.INPUT,
            f"loss.config_type_weights names {', '.join(unknown)}, which no configuration is of.",
            f"The types here are: {', '.join(sorted(types))}.",
        )
    if loss.config_type_weights and loss.kind == "huber":
        raise TaskError(
            ErrorKind.INPUT,
            "loss.config_type_weights has no effect with loss.kind = 'huber'.",
            "Use 'universal', 'stress' or 'weighted'.",
        )


def _warnings(
    train: Sequence[Atoms], valid: Sequence[Atoms], isolated: Sequence[Atoms], settings: TrainSettings
) -> list[str]:
    found = []
    valid_forces = [atoms.arrays[FORCES] for atoms in valid if FORCES in atoms.arrays]
    if settings.loss.forces_weight > 0 and not any(np.abs(forces).max() > 1e-6 for forces in valid_forces):
        found.append(
            "valid: all forces are zero or missing, so the best epoch is chosen blind to forces; "
            "put distorted configurations into it"
        )
    if settings.loss.stress_weight > 0 and not any(STRESS in atoms.info and atoms.pbc.all() for atoms in train):
        found.append(f"train: loss.stress_weight = {settings.loss.stress_weight}, but no frame has a stress")
    left = len(train) % settings.batch_size
    if left and not settings.distributed and settings.strategy.kind != "replay":
        found.append(
            f"train: mace leaves out the last incomplete batch, so {left} of {len(train)} configurations, "
            "other ones each time, are not seen in an epoch"
        )
    if isolated and settings.e0_policy.kind != "isolated_atoms":
        found.append(
            f"train: {len(isolated)} isolated atoms are not trained on; "
            "they would be reference energies with e0_policy = 'isolated_atoms'"
        )
    mixed = [atoms for atoms in train if STRESS in atoms.info and not atoms.pbc.all()]
    if mixed:
        found.append(f"train: the stress of {len(mixed)} frames that are not periodic in all directions is not used")
    return found


def describe_types(frames: Sequence[Atoms]) -> Mapping[str, int]:
    """Return configuration type -> number of frames."""
    types = [config_type(atoms) for atoms in frames]
    return {name: types.count(name) for name in sorted(set(types))}
