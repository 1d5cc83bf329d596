"""Geometry of a molecule from its SMILES.

Organic molecules: conformers by distance geometry (ETKDGv3: Riniker and Landrum, J. Chem. Inf. Model. 55, 2562 (2015);
Wang et al., ibid. 60, 2044 (2020)), relaxed with MMFF94 (Halgren, J. Comput. Chem. 17, 490 (1996)) or, where it lacks
parameters, UFF (Rappé et al., J. Am. Chem. Soc. 114, 10024 (1992)). Neither force field knows small inorganic molecules
well (CO2 comes out with bonds of 1.41 Å): those are taken from ASE's copy of the G2 set. Nor do they know six bonds at
one atom: those are made octahedral.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.collections import g2
from ase.data import covalent_radii
from ase.units import kcal, mol

from aiida_mlip.science.liquids.components import find, graph_of, parse
from aiida_mlip.science.liquids.molecules import find_molecules, kind_of

_SMALL = 5
"""Molecules of at most so many atoms have one conformation, and are looked up."""

_OCTAHEDRAL_BOND = 0.975
"""Bond of an octahedral molecule over the sum of covalent radii: P-F in PF6- 1.60 Å, As-F in AsF6- 1.72 Å."""

_WINDOW = 3.0 * kcal / mol
"""Conformers higher than this above the lowest are rare in a liquid, and are not used [eV]."""

_MAX_SEED = 2**31 - 1


def embed(name_or_smiles: str, seed: int = 1) -> Atoms:
    """Return the geometry of one molecule, with its centre of mass at the origin.

    :param name_or_smiles: of a component, see :func:`~aiida_mlip.science.liquids.components.find`.
    :param seed: of the conformer; where the SMILES leaves the handedness open, it is drawn with it.
    :raises ValueError: where there is no such component, or no geometry is found.
    """
    return conformers(name_or_smiles, 1, seed)[0]


def conformers(name_or_smiles: str, count: int, seed: int = 1) -> list[Atoms]:
    """Return geometries of one molecule in its conformations, without those of high energy.

    :param count: how many are tried; at least one is returned, and no more than these.
    :raises ValueError: as :func:`embed`.
    """
    component = find(name_or_smiles)
    molecule = parse(component.smiles)
    numbers, bonds = graph_of(molecule)
    key = kind_of(numbers, bonds)
    if len(numbers) == 1:
        return [Atoms(numbers=numbers)]
    looked_up = _looked_up(len(numbers), key)
    if looked_up is not None:
        made = [looked_up]
    elif len(numbers) == 7 and len(bonds) == 6 and _hub(bonds) is not None:
        made = [_octahedral(numbers, bonds)]
    else:
        made = _embedded(molecule, count, seed % _MAX_SEED, component.name)
    for atoms in made:
        atoms.positions -= atoms.get_center_of_mass()
    good = [atoms for atoms in made if _kind_found(atoms) == key]
    if not good:
        raise ValueError(
            f"composition: the geometry that RDKit finds for {component.name!r} ({component.smiles}) does not have the "
            "bonds of the molecule: pack it elsewhere and import the box"
        )
    return good


def _embedded(molecule: Any, count: int, seed: int, name: str) -> list[Atoms]:
    from rdkit import rdBase  # noqa: PLC0415, RDKit is not on the compute node
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers  # noqa: PLC0415

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    with rdBase.BlockLogs():
        found = list(rdDistGeom.EmbedMultipleConfs(molecule, count, parameters))
        if not found:
            parameters.useRandomCoords = True
            found = list(rdDistGeom.EmbedMultipleConfs(molecule, count, parameters))
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
            outcome = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=5000)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
            outcome = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, maxIters=5000)
        else:
            outcome = []
    if not found or not outcome:
        raise ValueError(
            f"composition: RDKit finds no geometry for {name!r}, or has no force field for its elements: pack it "
            "elsewhere and import the box"
        )
    energies = np.array([energy for _, energy in outcome]) * kcal / mol
    kept = [index for index, energy in zip(found, energies, strict=True) if energy - energies.min() <= _WINDOW]
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return [Atoms(numbers=numbers, positions=molecule.GetConformer(index).GetPositions()) for index in kept]


def _kind_found(atoms: Atoms) -> str:
    found = find_molecules(atoms) or []
    return found[0].kind if len(found) == 1 else ""


def _looked_up(size: int, key: str) -> Atoms | None:
    name = _g2_names().get(key) if size <= _SMALL else None
    return None if name is None else g2_molecule(name)


@cache
def _g2_names() -> dict[str, str]:
    """Return key of the bond graph -> name in the G2 set, of small molecules; of two names the first."""
    names: dict[str, str] = {}
    for name in g2.names:
        atoms = g2_molecule(name)
        if 1 < len(atoms) <= _SMALL and (key := _kind_found(atoms)):
            names.setdefault(key, name)
    return names


def _hub(bonds: list[tuple[int, int]]) -> int | None:
    """Return the atom that is part of every bond, or None."""
    shared = set.intersection(*(set(bond) for bond in bonds))
    return shared.pop() if len(shared) == 1 else None


def _octahedral(numbers: list[int], bonds: list[tuple[int, int]]) -> Atoms:
    hub = _hub(bonds)
    positions = np.zeros((7, 3))
    others = [index for index in range(7) if index != hub]
    for place, index in enumerate(others):
        length = _OCTAHEDRAL_BOND * (covalent_radii[numbers[index]] + covalent_radii[numbers[hub or 0]])
        positions[index, place // 2] = length if place % 2 else -length
    return Atoms(numbers=numbers, positions=positions)
