"""What a liquid is made of: solvents and ions by their usual names, or by SMILES."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from ase.data import chemical_symbols
from ase.formula import Formula

from aiida_mlip.science.liquids.molecules import IONS, kind_of


@dataclass(frozen=True)
class Component:
    """A kind of molecule or ion that a box is filled with.

    ``charge`` in elementary charges; ``formula`` in the order of Hill, without the charge.
    """

    name: str
    smiles: str
    charge: int
    formula: str
    words: str = ""


def _ion(symbol: str, charge: int, words: str) -> Component:
    sign = "+" if charge > 0 else "-"
    size = str(abs(charge)) if abs(charge) > 1 else ""
    return Component(f"{symbol}{size}{sign}", f"[{symbol}{sign}{size}]", charge, symbol, words)


_TABLE = (
    Component("EC", "C1COC(=O)O1", 0, "C3H4O3", "ethylene carbonate"),
    Component("PC", "CC1COC(=O)O1", 0, "C4H6O3", "propylene carbonate"),
    Component("VC", "C1=COC(=O)O1", 0, "C3H2O3", "vinylene carbonate"),
    Component("FEC", "C1C(F)OC(=O)O1", 0, "C3H3FO3", "fluoroethylene carbonate"),
    Component("DMC", "COC(=O)OC", 0, "C3H6O3", "dimethyl carbonate"),
    Component("EMC", "CCOC(=O)OC", 0, "C4H8O3", "ethyl methyl carbonate"),
    Component("DEC", "CCOC(=O)OCC", 0, "C5H10O3", "diethyl carbonate"),
    Component("MA", "COC(C)=O", 0, "C3H6O2", "methyl acetate"),
    Component("EA", "CCOC(C)=O", 0, "C4H8O2", "ethyl acetate"),
    Component("GBL", "C1CC(=O)OC1", 0, "C4H6O2", "gamma-butyrolactone"),
    Component("DME", "COCCOC", 0, "C4H10O2", "1,2-dimethoxyethane"),
    Component("DOL", "C1COCO1", 0, "C3H6O2", "1,3-dioxolane"),
    Component("THF", "C1CCOC1", 0, "C4H8O", "tetrahydrofuran"),
    Component("ACN", "CC#N", 0, "C2H3N", "acetonitrile"),
    Component("DMSO", "CS(C)=O", 0, "C2H6OS", "dimethyl sulfoxide"),
    Component("SL", "C1CCS(=O)(=O)C1", 0, "C4H8O2S", "sulfolane"),
    Component("H2O", "O", 0, "H2O", "water"),
    _ion("Li", 1, "lithium"),
    _ion("Na", 1, "sodium"),
    _ion("K", 1, "potassium"),
    _ion("Mg", 2, "magnesium"),
    _ion("Ca", 2, "calcium"),
    _ion("F", -1, "fluoride"),
    _ion("Cl", -1, "chloride"),
    Component("PF6-", "F[P-](F)(F)(F)(F)F", -1, "F6P", "hexafluorophosphate"),
    Component("AsF6-", "F[As-](F)(F)(F)(F)F", -1, "AsF6", "hexafluoroarsenate"),
    Component("BF4-", "F[B-](F)(F)F", -1, "BF4", "tetrafluoroborate"),
    Component("ClO4-", "[O-]Cl(=O)(=O)=O", -1, "ClO4", "perchlorate"),
    Component("NO3-", "[O-][N+](=O)[O-]", -1, "NO3", "nitrate"),
    Component("FSI-", "FS(=O)(=O)[N-]S(=O)(=O)F", -1, "F2NO4S2", "bis(fluorosulfonyl)imide"),
    Component(
        "TFSI-",
        "FC(F)(F)S(=O)(=O)[N-]S(=O)(=O)C(F)(F)F",
        -1,
        "C2F6NO4S2",
        "bis(trifluoromethanesulfonyl)imide",
    ),
    Component("OTf-", "[O-]S(=O)(=O)C(F)(F)F", -1, "CF3O3S", "trifluoromethanesulfonate"),
    Component("PO2F2-", "[O-]P(=O)(F)F", -1, "F2O2P", "difluorophosphate"),
    Component("BOB-", "O=C1O[B-]2(OC1=O)OC(=O)C(=O)O2", -1, "C4BO8", "bis(oxalato)borate"),
    Component("DFOB-", "O=C1O[B-](F)(F)OC1=O", -1, "C2BF2O4", "difluoro(oxalato)borate"),
)

KNOWN = MappingProxyType({component.name: component for component in _TABLE})
"""Name -> component."""

_SALTS = tuple(name.rstrip("-") for name, component in KNOWN.items() if component.charge == -1)


def find(name_or_smiles: str) -> Component:
    """Return a component by its usual name, or by its SMILES.

    A known name wins: ``PC`` is propylene carbonate, though it is also the SMILES of methylphosphine. Capitals do not
    matter in names that no other name resembles.

    :param name_or_smiles: e.g. ``EC``, ``Li+``, ``PF6-``, or ``CCOC(=O)C``.
    :return: of a SMILES, the known component that it stands for, or one whose name is the SMILES as RDKit writes it.
    :raises ValueError: where it is neither, or is not one molecule: a salt, several molecules, a bonded alkali metal.
    """
    text = name_or_smiles.strip()
    if text in KNOWN:
        return KNOWN[text]
    alike = [component for name, component in KNOWN.items() if name.lower() == text.lower()]
    return alike[0] if len(alike) == 1 and parse(text) is None else _from_smiles(text)


def parse(smiles: str) -> Any:
    """Return the RDKit molecule of a SMILES with its hydrogen atoms, or None where it is none."""
    from rdkit import Chem, rdBase  # noqa: PLC0415, RDKit is not on the compute node

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles) if smiles else None
    return None if molecule is None or not molecule.GetNumAtoms() else Chem.AddHs(molecule)


def graph_of(molecule: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the atomic numbers and the bonds of an RDKit molecule."""
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return numbers, [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]


def kind(component: Component) -> str:
    """Return the key of the bond graph of a component: :attr:`Molecule.kind` of each of its molecules in a box."""
    return kind_of(*graph_of(parse(component.smiles)))


def _from_smiles(text: str) -> Component:
    from rdkit import Chem  # noqa: PLC0415, RDKit is not on the compute node

    molecule = parse(text)
    if molecule is None:
        raise ValueError(f"composition: {text!r} is no known component and no SMILES. {_remedy(text)}")
    if len(Chem.GetMolFrags(molecule)) > 1:
        raise ValueError(
            f"composition: {text!r} is more than one molecule: give each of them as a component of its own, with its "
            "number"
        )
    numbers, bonds = graph_of(molecule)
    if 0 in numbers:
        raise ValueError(f"composition: {text!r} has an atom of no element ('*'): name the element")
    if any(numbers[atom] in IONS for bond in bonds for atom in bond):
        raise ValueError(
            f"composition: {text!r} has a bond to {chemical_symbols[next(z for z in numbers if z in IONS)]}, which is "
            "a single ion in a box: give the ions as components of their own"
        )
    smiles = canonical_smiles(molecule)
    for known in KNOWN.values():
        if canonical_smiles(parse(known.smiles)) == smiles:
            return known
    formula = Formula("".join(chemical_symbols[number] for number in numbers)).format("hill")
    return Component(smiles, smiles, Chem.GetFormalCharge(molecule), str(formula))


def canonical_smiles(molecule: Any) -> str:
    """Return the one SMILES that RDKit writes for a molecule, without its hydrogen atoms."""
    from rdkit import Chem, rdBase  # noqa: PLC0415, RDKit is not on the compute node

    with rdBase.BlockLogs():
        return str(Chem.MolToSmiles(Chem.RemoveHs(molecule)))


def _remedy(text: str) -> str:
    """Return what to do about a name that nobody knows."""
    cation = next((name for name in ("Li", "Na", "K") if text.startswith(name)), "")
    if cation and text.removeprefix(cation) in _SALTS:
        return f"A salt is given by its ions: {cation}+ and {text.removeprefix(cation)}-, the same number of each"
    close = [name for name in KNOWN if name.rstrip("+-0123456789") == text] or get_close_matches(text, KNOWN, n=2)
    if close:
        return f"Is it {' or '.join(close)}?"
    return f"Known are {', '.join(KNOWN)}; anything else is given as SMILES, e.g. 'CCOC(C)=O'"
