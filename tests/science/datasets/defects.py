"""Defects put into the clean set on purpose: each returns the frames that the audit has to name, and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from aiida_mlip.science import keys

GPA = keys.EV_PER_ANGSTROM3_IN_GPA


@dataclass(frozen=True)
class Defect:
    """What is done to the frames, which check finds it, and how severe that is."""

    name: str
    check: str
    severity: str
    inject: Callable[[list[Atoms]], list[int]]


def frames_of(frames: list[Atoms], config_type: str) -> list[int]:
    return [i for i, atoms in enumerate(frames) if atoms.info[keys.CONFIG_TYPE] == config_type]


def with_forces(frames: list[Atoms], config_type: str, count: int) -> list[int]:
    """Return some frames of a type, spread over it."""
    members = frames_of(frames, config_type)
    return members[:: max(1, len(members) // count)][:count]


def nan_energy(frames: list[Atoms]) -> list[int]:
    frames[33].info[keys.ENERGY] = float("nan")
    return [33]


def nan_forces(frames: list[Atoms]) -> list[int]:
    frames[40].arrays[keys.FORCES][2, 1] = np.nan
    frames[90].arrays[keys.FORCES][0, 0] = np.inf
    return [40, 90]


def no_energy(frames: list[Atoms]) -> list[int]:
    for index in (20, 77):
        del frames[index].info[keys.ENERGY]
    return [20, 77]


def no_forces(frames: list[Atoms]) -> list[int]:
    for index in (25, 80):
        del frames[index].arrays[keys.FORCES]
    return [25, 80]


def no_stress(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "alloy", 3)
    for index in chosen:
        del frames[index].info[keys.STRESS]
    return chosen


def zero_forces(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "vacancy", 3)
    for index in chosen:
        frames[index].arrays[keys.FORCES][:] = 0.0
    return chosen


def frozen_atoms(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "surface", 4)
    for index in chosen:
        frames[index].arrays[keys.FORCES][:4] = 0.0
    return chosen


def same_energy(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "alloy", 5)
    for index in chosen:
        frames[index].info[keys.ENERGY] = -17.25
    return chosen


def zero_stress(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "strained", 6)
    for index in chosen:
        frames[index].info[keys.STRESS] = np.zeros(6)
    return chosen


def net_force(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "surface", 3)
    for index in chosen:
        frames[index].arrays[keys.FORCES] += [0.1, -0.05, 0.02]
    return chosen


def drift(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "cluster", 3)
    for index in chosen:
        frames[index].arrays[keys.FORCES] += [0.004, -0.002, 0.001]
    return chosen


def force_outlier(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "vacancy", 2)
    for index in chosen:
        frames[index].arrays[keys.FORCES][3] += [2.0, -2.5, 1.0]
        frames[index].arrays[keys.FORCES][5] -= [2.0, -2.5, 1.0]
    return chosen


def huge_force(frames: list[Atoms]) -> list[int]:
    index = frames_of(frames, "alloy")[4]
    frames[index].arrays[keys.FORCES][0] += [50.0, 20.0, 0.0]
    frames[index].arrays[keys.FORCES][1] -= [50.0, 20.0, 0.0]
    return [index]


def shuffled_forces(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "hot", 2)
    for index in chosen:
        frames[index].arrays[keys.FORCES] = np.roll(frames[index].arrays[keys.FORCES], 3, axis=0)
    return chosen


def gradients_in_a_type(frames: list[Atoms]) -> list[int]:
    chosen = frames_of(frames, "surface")
    for index in chosen:
        frames[index].arrays[keys.FORCES] *= -1.0
    return chosen


def hartree_per_bohr(frames: list[Atoms]) -> list[int]:
    chosen = frames_of(frames, "vacancy")
    for index in chosen:
        frames[index].arrays[keys.FORCES] /= 51.4221
    return chosen


def hartree_everywhere(frames: list[Atoms]) -> list[int]:
    for atoms in frames:
        atoms.info[keys.ENERGY] /= 27.2114
    return [i for i, atoms in enumerate(frames) if len(atoms) > 1]


def gradients_everywhere(frames: list[Atoms]) -> list[int]:
    for atoms in frames:
        atoms.arrays[keys.FORCES] *= -1.0
    return [i for i, atoms in enumerate(frames) if len(atoms) > 1]


def energy_outlier(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "alloy", 2)
    for index, sign in zip(chosen, (1, -1), strict=True):
        frames[index].info[keys.ENERGY] += sign * 4.0
    return chosen


def other_functional(frames: list[Atoms]) -> list[int]:
    chosen = frames_of(frames, "vacancy")
    for index in chosen:
        frames[index].info[keys.ENERGY] += 0.4 * len(frames[index])
    return chosen


def mixed_in_one_type(frames: list[Atoms]) -> list[int]:
    chosen = frames_of(frames, "alloy")[::3]
    for index in chosen:
        frames[index].info[keys.ENERGY] += 0.6 * len(frames[index])
    return chosen


def hartree_in_a_type(frames: list[Atoms]) -> list[int]:
    chosen = frames_of(frames, "surface")
    for index in range(len(frames)):
        symbols = frames[index].get_chemical_symbols()
        frames[index].info[keys.ENERGY] -= 2000.0 * symbols.count("Cu") + 3000.0 * symbols.count("Au")
    for index in chosen:
        frames[index].info[keys.ENERGY] /= 27.2114
    return chosen


def wrong_sign(frames: list[Atoms]) -> list[int]:
    return _scale_stress(frames, "alloy", -1.0)


def wrong_sign_of_volumes(frames: list[Atoms]) -> list[int]:
    return _scale_stress(frames, "volumes", -1.0)


def gpa(frames: list[Atoms]) -> list[int]:
    return _scale_stress(frames, "vacancy", GPA)


def minus_kbar(frames: list[Atoms]) -> list[int]:
    return _scale_stress(frames, "strained", -10.0 * GPA)


def virial(frames: list[Atoms]) -> list[int]:
    chosen = frames_of(frames, "vacancy")
    for index in chosen:
        frames[index].info[keys.STRESS] = -frames[index].get_volume() * frames[index].info[keys.STRESS]
    return chosen


def wrong_sign_of_single_frames(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "strained", 3)
    for index in chosen:
        frames[index].info[keys.STRESS] = -frames[index].info[keys.STRESS]
    return chosen


def wrong_sign_everywhere(frames: list[Atoms]) -> list[int]:
    for atoms in frames:
        if keys.STRESS in atoms.info:
            atoms.info[keys.STRESS] = -atoms.info[keys.STRESS]
    return [i for i, atoms in enumerate(frames) if keys.STRESS in atoms.info and len(atoms) > 1]


def _scale_stress(frames: list[Atoms], config_type: str, factor: float) -> list[int]:
    chosen = frames_of(frames, config_type)
    for index in chosen:
        frames[index].info[keys.STRESS] = factor * frames[index].info[keys.STRESS]
    return chosen


def exact_duplicate(frames: list[Atoms]) -> list[int]:
    rng = np.random.default_rng(3)
    original = frames_of(frames, "vacancy")[2]
    rotation = Rotation.random(rng=3).as_matrix()
    copy = frames[original].copy()
    copy.set_cell(copy.cell.array @ rotation.T)
    copy.positions = copy.positions @ rotation.T + [0.3, 1.1, -0.4]
    copy.arrays[keys.FORCES] = copy.arrays[keys.FORCES] @ rotation.T
    copy.wrap()
    del copy.info[keys.STRESS]
    order = rng.permutation(len(copy))
    copy.set_array("numbers", copy.numbers[order])
    copy.positions, copy.arrays[keys.FORCES] = copy.positions[order], copy.arrays[keys.FORCES][order]
    frames.append(copy)
    return [original, len(frames) - 1]


def contradicting_duplicate(frames: list[Atoms]) -> list[int]:
    original = frames_of(frames, "alloy")[1]
    copy = frames[original].copy()
    copy.info[keys.ENERGY] += 0.01 * len(copy)
    frames.append(copy)
    return [original, len(frames) - 1]


def near_duplicate(frames: list[Atoms]) -> list[int]:
    original = frames_of(frames, "hot")[3]
    copy = frames[original].copy()
    copy.positions += np.random.default_rng(5).normal(scale=0.005, size=copy.positions.shape)
    copy.info[keys.ENERGY] += 1e-3
    copy.arrays[keys.FORCES] = copy.arrays[keys.FORCES] + 1e-4 * np.array([[1.0]] + [[0.0]] * (len(copy) - 1))
    frames.append(copy)
    return [original, len(frames) - 1]


def near_duplicate_of_other_theory(frames: list[Atoms]) -> list[int]:
    near = near_duplicate(frames)
    frames[near[1]].info[keys.ENERGY] += 3.0
    return near


def overlapping_atoms(frames: list[Atoms]) -> list[int]:
    index = frames_of(frames, "cluster")[3]
    frames[index].positions[4] = frames[index].positions[7] + [0.3, 0.2, 0.1]
    return [index]


def flat_cell(frames: list[Atoms]) -> list[int]:
    index = frames_of(frames, "vacancy")[4]
    cell = frames[index].cell.array.copy()
    cell[2] = cell[0] + cell[1]
    frames[index].set_cell(cell)
    return [index]


def lost_periodicity(frames: list[Atoms]) -> list[int]:
    chosen = with_forces(frames, "alloy", 3)
    for index in chosen:
        frames[index].pbc = False
        del frames[index].info[keys.STRESS]
    return chosen


def second_isolated_atom(frames: list[Atoms]) -> list[int]:
    copy = frames[0].copy()
    copy.info[keys.ENERGY] -= 0.8
    frames.append(copy)
    return [0, len(frames) - 1]


def pushed_isolated_atom(frames: list[Atoms]) -> list[int]:
    frames[1].arrays[keys.FORCES][0] = [0.2, 0.0, 0.0]
    return [1]


def isolated_of_other_theory(frames: list[Atoms]) -> list[int]:
    frames[1].info[keys.ENERGY] -= 3000.0
    return [1]


def bulk_called_isolated(frames: list[Atoms]) -> list[int]:
    index = frames_of(frames, "volumes")[4]
    frames[index].info[keys.CONFIG_TYPE] = "IsolatedAtom"
    return [index]


def untyped(frames: list[Atoms]) -> list[int]:
    chosen = frames_of(frames, "hot")
    for index in chosen:
        del frames[index].info[keys.CONFIG_TYPE]
    return chosen


DEFECTS = (
    Defect("NaN energy", "nan", "error", nan_energy),
    Defect("NaN and infinite forces", "nan", "error", nan_forces),
    Defect("no energy", "missing_labels", "error", no_energy),
    Defect("no forces", "missing_labels", "error", no_forces),
    Defect("no stress in some", "missing_labels", "warning", no_stress),
    Defect("zero forces", "placeholder_labels", "error", zero_forces),
    Defect("zero forces on frozen atoms", "placeholder_labels", "warning", frozen_atoms),
    Defect("one energy for all", "placeholder_labels", "error", same_energy),
    Defect("zero stress", "placeholder_labels", "error", zero_stress),
    Defect("net force", "net_force", "error", net_force),
    Defect("drift", "net_force", "warning", drift),
    Defect("two wrong forces that cancel", "force_outliers", "error", force_outlier),
    Defect("a force of 54 eV/Å", "force_outliers", "error", huge_force),
    Defect("forces of other atoms", "force_outliers", "error", shuffled_forces),
    Defect("gradients in one type", "units", "error", gradients_in_a_type),
    Defect("Ha/bohr in one type", "units", "error", hartree_per_bohr),
    Defect("Hartree everywhere", "units", "error", hartree_everywhere),
    Defect("gradients everywhere", "units", "error", gradients_everywhere),
    Defect("energy outliers", "energy_outliers", "error", energy_outlier),
    Defect("another functional for one type", "energy_consistency", "error", other_functional),
    Defect("two levels within one type", "energy_consistency", "error", mixed_in_one_type),
    Defect("Hartree in one type", "units", "error", hartree_in_a_type),
    Defect("stress: wrong sign", "stress_sign_or_unit", "error", wrong_sign),
    Defect("stress: wrong sign of volumes", "stress_sign_or_unit", "error", wrong_sign_of_volumes),
    Defect("stress: GPa", "stress_sign_or_unit", "error", gpa),
    Defect("stress: minus kbar", "stress_sign_or_unit", "error", minus_kbar),
    Defect("stress: virial", "stress_sign_or_unit", "error", virial),
    Defect("stress: wrong sign of single frames", "stress_sign_or_unit", "error", wrong_sign_of_single_frames),
    Defect("stress: wrong sign everywhere", "stress_sign_or_unit", "error", wrong_sign_everywhere),
    Defect("exact duplicate", "exact_duplicates", "warning", exact_duplicate),
    Defect("contradicting duplicate", "exact_duplicates", "error", contradicting_duplicate),
    Defect("near-duplicate", "near_duplicates", "warning", near_duplicate),
    Defect("near-duplicate of another theory", "energy_consistency", "error", near_duplicate_of_other_theory),
    Defect("overlapping atoms", "close_atoms", "error", overlapping_atoms),
    Defect("flat cell", "cell", "error", flat_cell),
    Defect("lost periodicity", "cell", "warning", lost_periodicity),
    Defect("isolated atoms contradict", "isolated_atoms", "error", second_isolated_atom),
    Defect("isolated atom with a force", "isolated_atoms", "error", pushed_isolated_atom),
    Defect("isolated atom of another theory", "isolated_atoms", "error", isolated_of_other_theory),
    Defect("bulk called isolated atom", "isolated_atoms", "error", bulk_called_isolated),
    Defect("frames without type", "missing_config_types", "warning", untyped),
)
