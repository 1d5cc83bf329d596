"""What acts within molecules and what between them.

For energy, forces and virial, X_intra is the sum over molecules alone in the same geometry (whole, in vacuum, not
periodic), and X_inter = X - X_intra (Magdău et al., npj Comput. Mater. 9, 146 (2023)). Energies of free atoms cancel in
X_inter. The stress is not additive, since molecules alone have no volume: the virial is.

An ion is a molecule of one atom. Potentials without a notion of charge, and calculators that are asked for neutral
systems, give the energy of the neutral atom for it, and that of a radical for PF6. The intermolecular energy of a
frame with ions therefore holds a constant for each atomic ion (electron transfer), and that of PF6 varies with its
geometry; forces on atomic ions are intermolecular as a whole, and right. Which molecules these are is said by
:meth:`~aiida_mlip.science.liquids.molecules.Molecule.closed_shell`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from aiida_mlip.science.augmentation.vacuum import single
from aiida_mlip.science.keys import ENERGY, FORCES, STRESS
from aiida_mlip.science.liquids.molecules import IONS, Molecule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Energies, forces and virials of a configuration of n atoms, in total and within its molecules.

    NaN is what is not known: where a molecule has no label, the energy and the virial within the molecules are not
    known, nor the forces within this molecule.

    :param energy: [eV].
    :param energy_intra: of each molecule alone [eV], shape (molecules,).
    :param forces: [eV/Å], shape (n, 3).
    :param forces_intra: [eV/Å], shape (n, 3).
    :param virial: derivative of the energy by a homogeneous strain [eV], shape (3, 3), symmetric; of a periodic
        configuration its stress times its volume, thus positive under tension.
    :param virial_intra: [eV], shape (3, 3).
    """

    energy: float
    energy_intra: Array
    forces: Array
    forces_intra: Array
    virial: Array
    virial_intra: Array

    @property
    def energy_inter(self) -> float:
        """Return the energy between molecules [eV]."""
        return self.energy - float(self.energy_intra.sum())

    @property
    def forces_inter(self) -> Array:
        """Return the forces between molecules [eV/Å], shape (n, 3)."""
        return np.asarray(self.forces - self.forces_intra)

    @property
    def virial_inter(self) -> Array:
        """Return the virial between molecules [eV], shape (3, 3)."""
        return np.asarray(self.virial - self.virial_intra)


def alone(atoms: Atoms, molecule: Molecule) -> Atoms:
    """Return one molecule in the geometry that it has in the configuration: whole, in vacuum, not periodic.

    Its atoms are in the order of ``molecule.indices``.
    """
    return single(atoms, molecule, None)


def has_charge(atoms: Atoms, molecule: Molecule) -> bool:
    """Return whether a molecule alone and neutral is another species than in the liquid: an ion, or a radical."""
    lone_ion = len(molecule.indices) == 1 and int(atoms.numbers[molecule.indices[0]]) in IONS
    return lone_ion or not molecule.closed_shell(atoms)


def virial_of(labelled: Atoms) -> Array:
    """Return the derivative of the energy by a homogeneous strain [eV], shape (3, 3).

    In three periodic directions it is stress times volume. Without periodicity it is minus the sum over atoms of
    position times force, from the invariance of the energy under rotations. NaN where neither is known.
    """
    if labelled.pbc.all() and STRESS in labelled.info:
        stress = voigt_6_to_full_3x3_stress(np.asarray(labelled.info[STRESS], dtype=float))
        return np.asarray(stress * labelled.get_volume())
    if labelled.pbc.any() or FORCES not in labelled.arrays:
        return np.full((3, 3), np.nan)
    centred = labelled.positions - labelled.positions.mean(axis=0)
    product = -centred.T @ labelled.arrays[FORCES]
    return np.asarray(0.5 * (product + product.T))


def split(labelled: Atoms, molecules: Sequence[Molecule], parts: Sequence[Atoms | None]) -> Split:
    """Return energy, forces and virial of a configuration in total and within its molecules.

    :param labelled: the configuration with energy and forces, and stress where it is periodic.
    :param molecules: all molecules of it.
    :param parts: each molecule alone, labelled, its atoms in the order of its indices; None: there is no label.
    :raises ValueError: where the numbers of molecules or atoms differ.
    """
    if len(parts) != len(molecules):
        raise ValueError(f"parts: {len(parts)} for {len(molecules)} molecules; give one for each")
    if sum(len(molecule.indices) for molecule in molecules) != len(labelled):
        raise ValueError(f"molecules: they do not hold each of the {len(labelled)} atoms once; find them again")
    energies = np.full(len(molecules), np.nan)
    forces = np.full((len(labelled), 3), np.nan)
    virial = np.zeros((3, 3))
    for number, (molecule, part) in enumerate(zip(molecules, parts, strict=True)):
        if part is None:
            virial += np.nan
            continue
        if len(part) != len(molecule.indices):
            raise ValueError(f"parts[{number}] has {len(part)} atoms, its molecule {len(molecule.indices)}")
        energies[number] = float(part.info.get(ENERGY, np.nan))
        forces[molecule.indices] = part.arrays.get(FORCES, np.nan)
        virial += virial_of(part)
    return Split(
        energy=float(labelled.info.get(ENERGY, np.nan)),
        energy_intra=energies,
        forces=np.array(labelled.arrays.get(FORCES, np.full((len(labelled), 3), np.nan)), dtype=float),
        forces_intra=forces,
        virial=virial_of(labelled),
        virial_intra=virial,
    )


def rigid_virial(labelled: Atoms, molecules: Sequence[Sequence[int]]) -> Array:
    """Return the derivative of the energy by a strain that moves molecules as wholes [eV], shape (3, 3).

    That is the virial plus the sum over atoms of position from the centre of mass times force (molecular virial). A
    third of its trace is the derivative of the energy by the logarithm of the volume in a scan with rigid molecules.

    :param labelled: a configuration whose molecules are in one piece, with forces, and with stress where periodic.
    :param molecules: the atoms of each molecule.
    """
    total = virial_of(labelled)
    for molecule in molecules:
        chosen = np.asarray(molecule)
        masses, positions = labelled.get_masses()[chosen], labelled.positions[chosen]
        product = (positions - masses @ positions / masses.sum()).T @ labelled.arrays[FORCES][chosen]
        total = total + 0.5 * (product + product.T)
    return np.asarray(total)
