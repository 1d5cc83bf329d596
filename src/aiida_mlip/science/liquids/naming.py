"""Names and SMILES of what is found in a liquid, from elements and bonds alone.

A bond graph does not tell the charge: known ions get theirs (PF6 in an electrolyte is PF6-), anything else is written
as a neutral molecule, with unpaired electrons where a bond is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from ase.data import atomic_numbers

from aiida_mlip.science.liquids.components import KNOWN, canonical_smiles, graph_of, parse
from aiida_mlip.science.liquids.findings import Species
from aiida_mlip.science.liquids.molecules import kind_of

Bonds = Sequence[tuple[int, int]]

_PRODUCTS = {
    "H": "[H]",
    "O": "[O]",
    "H2": "[H][H]",
    "O2": "O=O",
    "OH": "[OH]",
    "H3O+": "[OH3+]",
    "HF": "F",
    "CO": "[C-]#[O+]",
    "CO2": "O=C=O",
    "CO3^2-": "[O-]C([O-])=O",
    "HCO3-": "OC([O-])=O",
    "CHO": "[CH]=O",
    "CH2": "[CH2]",
    "CH3": "[CH3]",
    "CH4": "C",
    "CH3O": "C[O]",
    "CH2O": "C=O",
    "CH3OH": "CO",
    "CH3F": "CF",
    "C2H2": "C#C",
    "C2H3": "[CH]=C",
    "C2H4": "C=C",
    "C2H5": "C[CH2]",
    "C2H5O": "CC[O]",
    "C2H5OH": "CCO",
    "C2H5F": "CCF",
    "C2H6": "CC",
    "CH3CHO": "CC=O",
    "CH3OCH3": "COC",
    "oxirane": "C1CO1",
    "methyl carbonate": "COC(=O)[O-]",
    "ethyl carbonate": "CCOC(=O)[O-]",
    "ethylene dicarbonate": "[O-]C(=O)OCCOC(=O)[O-]",
    "PF5": "FP(F)(F)(F)F",
    "PF3": "FP(F)F",
    "POF3": "O=P(F)(F)F",
    "HPO2F2": "OP(=O)(F)F",
    "BF3": "FB(F)F",
    "SO2": "O=S=O",
    "N2": "N#N",
}
"""Name -> SMILES of small molecules that electrolytes turn into."""

_TOO_LARGE = 80
"""Species of more atoms are no molecules but a collapsed box: their bond orders are not looked for."""

_EFFORT = 1000
"""Trials of bond orders for one charge."""

_CHARGES = {0: (0, -2, 2), 1: (-1, 1, -3)}
"""Parity of the number of electrons of the neutral species -> total charges that are tried, in order."""

_VALENCE = {1: 1, 5: 3, 6: 4, 7: 3, 8: 2, 9: 1, 14: 4, 15: 3, 16: 2, 17: 1}
"""Bonds of a neutral atom: a negative atom with fewer is written with an unpaired electron."""


class _Entry(NamedTuple):
    name: str
    smiles: str
    charge: int


def name_of(key_or_smiles: str) -> str:
    """Return the name of a known species, e.g. ``EC``, ``PF6-``, ``CO2``; else its formula, or the SMILES as it is.

    :param key_or_smiles: the key of a bond graph (:attr:`Molecule.kind`), or a SMILES.
    """
    formula, _, digest = key_or_smiles.partition("_")
    if digest:
        entry = _known().get(key_or_smiles)
        return formula if entry is None else entry.name
    molecule = parse(key_or_smiles)
    if molecule is None:
        return key_or_smiles
    entry = _known().get(kind_of(*graph_of(molecule)))
    return key_or_smiles if entry is None else entry.name


def smiles_of(symbols: Sequence[str], bonds: Bonds, charge: int | None = None) -> str:
    """Return a SMILES of a species, in RDKit's canonical form, without the hydrogen atoms that it implies.

    Bond orders follow Kim and Kim, Bull. Korean Chem. Soc. 36, 1769 (2015), as RDKit has them. Where there are none
    that satisfy the valences, all bonds are written as single ones.

    :param symbols: of the atoms.
    :param bonds: pairs of atoms, each bond once.
    :param charge: in elementary charges; None: that of a known ion, otherwise 0.
    """
    numbers = [atomic_numbers[symbol] for symbol in symbols]
    entry = _known().get(kind_of(numbers, bonds))
    if entry is not None and charge in {None, entry.charge}:
        return entry.smiles
    if len(numbers) <= _TOO_LARGE:
        tried = _CHARGES[sum(numbers) % 2] if charge is None else (charge,)
        for total in tried:
            written = _with_orders(numbers, bonds, total, neutral=charge is None)
            if written:
                return written
    return _without_orders(numbers, bonds)


def named(species: Species) -> Species:
    """Return a species with its name and SMILES; what has no name of its own is called after what it was.

    ``EC + H`` and ``EC - H`` are known species with a hydrogen atom more or less, as proton transfer leaves them.
    Others have the formula for a name.
    """
    numbers = [atomic_numbers[symbol] for symbol in species.symbols]
    entry = _known().get(kind_of(numbers, species.bonds))
    name = entry.name if entry is not None else _relative(numbers, species.bonds) or species.formula
    return species.model_copy(update={"name": name, "smiles": smiles_of(species.symbols, species.bonds)})


@cache
def _known() -> dict[str, _Entry]:
    """Return key of the bond graph -> what is known by it; components of electrolytes before other molecules."""
    found: dict[str, _Entry] = {}
    listed = {component.name: component.smiles for component in KNOWN.values()}
    for name, smiles in {**listed, **_PRODUCTS}.items():
        molecule = parse(smiles)
        charge = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())
        found.setdefault(kind_of(*graph_of(molecule)), _Entry(name, canonical_smiles(molecule), charge))
    return found


def _relative(numbers: Sequence[int], bonds: Bonds) -> str:
    """Return the name of a component with one hydrogen atom more or less, the first in the table, or nothing."""
    if len(numbers) > _TOO_LARGE:
        return ""
    names = list(KNOWN)
    found = set()
    for atom, number in enumerate(numbers):
        sign, changed = (
            ("+", _without(atom, numbers, bonds)) if number == 1 else ("-", _with_hydrogen(numbers, bonds, atom))
        )
        entry = _known().get(kind_of(*changed))
        if entry is not None and entry.name in KNOWN and len(changed[0]) > 1:
            found.add((names.index(entry.name), f"{entry.name} {sign} H"))
    return min(found, default=(0, ""))[1]


def _without(atom: int, numbers: Sequence[int], bonds: Bonds) -> tuple[list[int], list[tuple[int, int]]]:
    kept = [(one - (one > atom), other - (other > atom)) for one, other in bonds if atom not in {one, other}]
    return [*numbers[:atom], *numbers[atom + 1 :]], kept


def _with_hydrogen(numbers: Sequence[int], bonds: Bonds, atom: int) -> tuple[list[int], list[tuple[int, int]]]:
    return [*numbers, 1], [*bonds, (atom, len(numbers))]


def _skeleton(numbers: Sequence[int], bonds: Bonds) -> Any:
    """Return an RDKit molecule with single bonds, and no atoms but these."""
    from rdkit import Chem  # noqa: PLC0415, RDKit is not on the compute node

    molecule = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for one, other in bonds:
        molecule.AddBond(one, other, Chem.BondType.SINGLE)
    return molecule


def _with_orders(numbers: Sequence[int], bonds: Bonds, charge: int, *, neutral: bool) -> str:
    """Return a SMILES with bond orders, or nothing where there are none that fit the charge.

    :param neutral: write negative atoms that lack a bond as radicals.
    """
    from rdkit import Chem, rdBase  # noqa: PLC0415, RDKit is not on the compute node
    from rdkit.Chem import rdDetermineBonds  # noqa: PLC0415

    molecule = _skeleton(numbers, bonds)
    with rdBase.BlockLogs():
        try:
            rdDetermineBonds.DetermineBondOrders(
                molecule, charge=charge, allowChargedFragments=True, embedChiral=False, maxIterations=_EFFORT
            )
            if neutral:
                _pair_no_charges(molecule)
            Chem.SanitizeMol(molecule)
            if Chem.AddHs(molecule).GetNumAtoms() != len(numbers):
                return ""  # RDKit filled up a valence that is open
            return canonical_smiles(molecule)
        except (ValueError, RuntimeError):
            return ""


def _pair_no_charges(molecule: Any) -> None:
    """Write charges that do not touch their counter-charge as unpaired electrons."""
    for atom in molecule.GetAtoms():
        charge = atom.GetFormalCharge()
        orders = sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds())
        if charge == 0 or orders + abs(charge) > _VALENCE.get(atom.GetAtomicNum(), 0):
            continue
        if not any(other.GetFormalCharge() * charge < 0 for other in atom.GetNeighbors()):
            atom.SetFormalCharge(0)
            atom.SetNumRadicalElectrons(abs(charge))


def _without_orders(numbers: Sequence[int], bonds: Bonds) -> str:
    """Return a SMILES whose bonds are all single, with every atom in brackets: no hydrogen is implied."""
    from rdkit import Chem, rdBase  # noqa: PLC0415, RDKit is not on the compute node

    molecule = _skeleton(numbers, bonds)
    with rdBase.BlockLogs():
        molecule.UpdatePropertyCache(strict=False)
        return str(Chem.MolToSmiles(Chem.RemoveHs(molecule, sanitize=False), allHsExplicit=True))
