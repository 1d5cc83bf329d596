"""Errors of energies, forces and virials of liquids, in total, within and between molecules, and by kind of motion.

Constants that no force depends on are removed from energies, from predictions and reference alike, so that potentials
and references with other zeros of energy can be compared: from energies within molecules the mean over all molecules
of a kind; from those between molecules nothing, except for ions and radicals, which are other species alone and
neutral: there a constant for each of their kinds (least squares over the configurations).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from aiida_mlip.science.keys import FORCES
from aiida_mlip.science.liquids.decomposition import Split, split
from aiida_mlip.science.liquids.force_plan import ConfigurationPlan
from aiida_mlip.science.liquids.force_results import PARTS, Part, PartError
from aiida_mlip.science.liquids.molecules import Molecule
from aiida_mlip.science.liquids.rigid_motion import net_force_and_torque, split_forces

Array = NDArray[np.float64]
Quantity = Literal["energy", "forces", "virial"]

UNITS: Mapping[Quantity, Literal["meV/atom", "eV/angstrom"]] = {
    "energy": "meV/atom",
    "forces": "eV/angstrom",
    "virial": "meV/atom",
}

_SAME = 1e-10
"""Standard deviations below this are those of a constant."""


@dataclass(frozen=True)
class Pairs:
    """Predictions and reference of one part, number by number; shapes are equal."""

    predicted: Array
    true: Array

    def error(self, part: Part, quantity: Quantity) -> PartError | None:
        """Return the error; None where there is nothing to compare, or both sides are zero by construction.

        Energies less the mean of their kind are, where there is one configuration.
        """
        known = np.isfinite(self.predicted) & np.isfinite(self.true)
        predicted, true = self.predicted[known], self.true[known]
        if not known.any() or max(np.abs(predicted).max(), np.abs(true).max()) < _SAME:
            return None
        rmse, std = float(np.sqrt(np.mean((predicted - true) ** 2))), float(true.std())
        return PartError(
            part=part,
            quantity=quantity,
            rmse=rmse,
            std=std,
            relative=rmse / std if std > _SAME else None,
            unit=UNITS[quantity],
            count=int(known.sum()),
        )


@dataclass(frozen=True)
class Sample:
    """One configuration with the predicted and the true split of its energy and forces."""

    plan: ConfigurationPlan
    labelled: Atoms
    predicted: Split
    true: Split

    @property
    def molecules(self) -> list[Molecule]:
        """Return its molecules."""
        return molecules_of(self.plan)


@dataclass
class ErrorTable:
    """Errors, and the pairs that they are of for figures."""

    errors: list[PartError] = field(default_factory=list)
    pairs: dict[tuple[Part, Quantity], Pairs] = field(default_factory=dict)

    def get(self, part: Part, quantity: Quantity) -> PartError | None:
        """Return one error, None where it could not be measured."""
        return next((row for row in self.errors if row.part == part and row.quantity == quantity), None)

    def add(self, part: Part, quantity: Quantity, pairs: Pairs) -> None:
        """Take in the pairs of one part."""
        if (row := pairs.error(part, quantity)) is not None:
            self.errors.append(row)
            self.pairs[part, quantity] = pairs


def molecules_of(plan: ConfigurationPlan) -> list[Molecule]:
    """Return the molecules that a plan speaks of."""
    return [Molecule(np.array(part.atoms), np.array(part.offsets), part.kind) for part in plan.molecules]


def sample(
    plan: ConfigurationPlan, predicted: Mapping[int, Atoms], truth: Mapping[int, Atoms], *, with_parts: bool = True
) -> Sample | None:
    """Return one configuration with both splits; None where either has no label of the whole.

    :param predicted: probe -> labelled configuration.
    :param truth: same of the reference.
    :param with_parts: the reference has labels of molecules alone.
    """
    if plan.probe not in predicted or plan.probe not in truth:
        return None
    molecules = molecules_of(plan)
    probes = [part.probe for part in plan.molecules]
    true_parts = [truth.get(probe) if with_parts else None for probe in probes]
    return Sample(
        plan=plan,
        labelled=predicted[plan.probe],
        predicted=split(predicted[plan.probe], molecules, [predicted.get(probe) for probe in probes]),
        true=split(truth[plan.probe], molecules, true_parts),
    )


def error_table(samples: Sequence[Sample]) -> ErrorTable:
    """Return the errors of all parts that can be compared."""
    table = ErrorTable()
    if samples:
        for part in PARTS:
            table.add(part, "forces", _forces(samples, part))
        for name, pairs in _energies(samples).items():
            table.add(name, "energy", pairs)
        for name, pairs in _virials(samples).items():
            table.add(name, "virial", pairs)
    return table


def _forces(samples: Sequence[Sample], part: Part) -> Pairs:
    """Return force components [eV/Å], shape (atoms, 3); NaN where a part makes no sense."""
    sides = []
    for name in ("predicted", "true"):
        rows = [_force_part(item, getattr(item, name), part) for item in samples]
        sides.append(np.concatenate(rows))
    return Pairs(*sides)


def _force_part(item: Sample, labels: Split, part: Part) -> Array:
    if part == "total":
        return labels.forces
    if part in ("trans", "rot", "vib"):
        return np.asarray(getattr(split_forces(item.labelled, item.molecules, labels.forces), part))
    forces = np.array(labels.forces_intra if part == "intra" else labels.forces_inter)
    for molecule in item.plan.molecules:
        lone = len(molecule.atoms) == 1
        if (molecule.charged and not lone) or (lone and part == "intra"):
            forces[list(molecule.atoms)] = np.nan
    return forces


def _energies(samples: Sequence[Sample]) -> dict[Part, Pairs]:
    """Return energies [meV/atom] of each configuration, shape (configurations,), constants removed."""
    whole = np.array([[item.predicted.energy, item.true.energy] for item in samples]).T
    alone = np.array([[item.predicted.energy_intra.sum(), item.true.energy_intra.sum()] for item in samples]).T
    per_atom = 1000 / np.array([len(item.labelled) for item in samples])
    if np.isnan(alone).any(axis=0).all():
        total = without_constants(kind_counts(samples), whole) * per_atom
        return {"total": Pairs(*total)}
    inter = without_constants(kind_counts(samples, charged=True), whole - alone)
    intra = _conformations(samples)
    parts: dict[Part, Array] = {"total": intra + inter, "intra": intra, "inter": inter}
    return {part: Pairs(*(values * per_atom)) for part, values in parts.items()}


def _conformations(samples: Sequence[Sample]) -> Array:
    """Return the predicted and the true energy within molecules, each less the mean of its kind [eV].

    :return: shape (2, configurations); NaN where a molecule lacks a label on either side.
    """
    owners = np.repeat(np.arange(len(samples)), [len(item.plan.molecules) for item in samples])
    kinds = np.array([part.kind for item in samples for part in item.plan.molecules])
    energies = np.array(
        [np.concatenate([getattr(item, side).energy_intra for item in samples]) for side in ("predicted", "true")]
    )
    energies[:, ~np.isfinite(energies).all(axis=0)] = np.nan
    for kind in np.unique(kinds):
        chosen = (kinds == kind) & np.isfinite(energies[0])
        if chosen.any():
            energies[:, chosen] -= energies[:, chosen].mean(axis=1, keepdims=True)
    sums = np.zeros((2, len(samples)))
    np.add.at(sums.T, owners, energies.T)
    return sums


def kind_counts(samples: Sequence[Sample], *, charged: bool = False) -> Array:
    """Return how many molecules of each kind a configuration has, shape (configurations, kinds).

    :param charged: of ions and radicals only.
    """
    kinds = sorted({part.kind for item in samples for part in item.plan.molecules if part.charged or not charged})
    found = np.zeros((len(samples), len(kinds)))
    for row, item in enumerate(samples):
        for part in item.plan.molecules:
            if part.charged or not charged:
                found[row, kinds.index(part.kind)] += 1
    return found


def without_constants(counts: Array, energies: Array) -> Array:
    """Return energies less a constant for each molecule of a kind (least squares).

    Rows of counts that are zero keep their energies. Where there are no more rows than constants, nothing would be
    left to compare: these become NaN.

    :param counts: shape (configurations, kinds).
    :param energies: [eV], shape (sides, configurations); NaN is left out.
    """
    left = np.array(energies)
    chosen = (
        np.isfinite(energies).all(axis=0) & counts.any(axis=1) if counts.size else np.zeros(energies.shape[1], bool)
    )
    if not chosen.any():
        return left
    matrix = counts[chosen]
    constants, _, rank, _ = np.linalg.lstsq(matrix, energies[:, chosen].T, rcond=None)
    enough = len(matrix) > rank
    left[:, chosen] = energies[:, chosen] - (matrix @ constants).T if enough else np.nan
    return left


def _virials(samples: Sequence[Sample]) -> dict[Part, Pairs]:
    """Return the six components of virials [meV/atom], shape (configurations, 6)."""
    found: dict[Part, Pairs] = {}
    rows: tuple[tuple[Part, str], ...] = (("total", "virial"), ("intra", "virial_intra"), ("inter", "virial_inter"))
    for part, field_name in rows:
        sides = [
            np.array([_six(getattr(getattr(item, side), field_name)) * 1000 / len(item.labelled) for item in samples])
            for side in ("predicted", "true")
        ]
        found[part] = Pairs(*sides)
    return found


def _six(tensor: Array) -> Array:
    return np.asarray(full_3x3_to_voigt_6_stress(tensor))


def largest_net(labelled: Mapping[int, Atoms], probes: Sequence[int]) -> float | None:
    """Return the largest net force [eV/Å] or net torque [eV] of molecules alone; None where none has forces."""
    values = []
    for probe in probes:
        atoms = labelled.get(probe)
        if atoms is not None and FORCES in atoms.arrays:
            nets = net_force_and_torque(atoms.get_masses(), atoms.positions, atoms.arrays[FORCES])
            values.append(max(float(np.linalg.norm(net)) for net in nets))
    return max(values) if values else None
