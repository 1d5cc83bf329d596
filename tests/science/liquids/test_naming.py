"""Names and SMILES from elements and bonds, against RDKit's reading of known molecules."""

from __future__ import annotations

import time

import numpy as np
import pytest
from ase.data import chemical_symbols
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from aiida_mlip.science.liquids.components import KNOWN, graph_of, parse
from aiida_mlip.science.liquids.findings import Species
from aiida_mlip.science.liquids.molecules import kind_of
from aiida_mlip.science.liquids.naming import name_of, named, smiles_of

Graph = tuple[list[str], list[tuple[int, int]]]


def graph(smiles: str, seed: int = 0) -> Graph:
    """Elements and bonds of a molecule, its atoms in random order."""
    numbers, bonds = graph_of(parse(smiles))
    order = np.random.default_rng(seed).permutation(len(numbers))
    place = np.argsort(order)
    symbols = [chemical_symbols[numbers[index]] for index in order]
    return symbols, [(int(place[one]), int(place[other])) for one, other in bonds]


def species(smiles: str) -> Species:
    symbols, bonds = graph(smiles)
    molecule = parse(smiles)
    formula = CalcMolFormula(molecule).rstrip("+-")
    key = kind_of(graph_of(molecule)[0], graph_of(molecule)[1])
    return Species(key=key, formula=formula, symbols=tuple(symbols), bonds=tuple(bonds))


def canonical(smiles: str) -> str:
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles))


@pytest.mark.parametrize(
    ("smiles", "name"),
    [
        ("C1COC(=O)O1", "EC"),
        ("CCOC(=O)OC", "EMC"),
        ("F[P-](F)(F)(F)(F)F", "PF6-"),
        ("FP(F)(F)(F)F", "PF5"),
        ("O=C=O", "CO2"),
        ("[C-]#[O+]", "CO"),
        ("F", "HF"),
        ("O", "H2O"),
        ("[CH3]", "CH3"),
        ("C=C", "C2H4"),
        ("[Li+]", "Li+"),
        ("[O-]C([O-])=O", "CO3^2-"),
    ],
)
def test_known_species_have_their_names(smiles: str, name: str) -> None:
    found = named(species(smiles))
    assert (found.name, canonical(found.smiles)) == (name, canonical(smiles))
    assert name_of(found.key) == name
    assert name_of(smiles) == name


@pytest.mark.parametrize(
    "smiles",
    [
        "CC(C)COC(C)=O",  # an ester
        "C=CC=C",
        "c1ccccc1",
        "CC#CC",
        "C[N+](=O)[O-]",
        "[CH2]CCOC(C)=O",  # radicals with a double bond elsewhere
        "C[CH]OC(=O)OCC",
        "[CH2]COC([O])=O",  # both ends of an opened ring
        "C[S+](C)C",
        "C[NH3+]",
        "OS(=O)(=O)O",
        "O=C1OC(=O)C=C1",
    ],
)
def test_bond_orders_of_unknown_species_are_found(smiles: str) -> None:
    symbols, bonds = graph(smiles, seed=3)
    assert canonical(smiles_of(symbols, bonds)) == canonical(smiles)


@pytest.mark.parametrize(("smiles", "charge"), [("CC([O-])=O", -1), ("CC[O-]", -1), ("C[OH2+]", 1), ("F", 0)])
def test_a_charge_that_is_known_is_used(smiles: str, charge: int) -> None:
    symbols, bonds = graph(smiles)
    assert canonical(smiles_of(symbols, bonds, charge)) == canonical(smiles)


@pytest.mark.parametrize(
    ("smiles", "name"),
    [("[CH2]COC(=O)OC", "EMC - H"), ("O[C]1OCCO1", "EC + H"), ("O=C1O[CH]CO1", "EC - H"), ("OCCOF", "C2H5FO2")],
)
def test_what_proton_transfer_leaves_is_called_after_what_it_was(smiles: str, name: str) -> None:
    assert named(species(smiles)).name == name


def test_all_components_are_known_by_their_graph() -> None:
    for name, component in KNOWN.items():
        symbols, bonds = graph(component.smiles, seed=5)
        assert canonical(smiles_of(symbols, bonds)) == canonical(component.smiles)
        assert name_of(component.smiles) == name


def test_senseless_graphs_get_a_smiles_without_bond_orders() -> None:
    assert smiles_of(["C"], []) == "[C]"
    assert smiles_of(["C", *["H"] * 5], [(0, index) for index in range(1, 6)]) == "[CH5]"
    rng = np.random.default_rng(2)
    symbols = rng.choice(["C", "H", "O", "Li", "P"], 60).tolist()
    bonds = [(index, int(rng.integers(index))) for index in range(1, 60)]
    for count in (60, 200):
        many = (symbols * 4)[:count]
        linked = bonds + [(index, index - 60) for index in range(60, count)]
        start = time.perf_counter()
        assert smiles_of(many, linked)
        assert time.perf_counter() - start < 5


def test_unknown_keys_and_texts_come_back_readable() -> None:
    assert name_of("C7H3_abcdef") == "C7H3"
    assert name_of("CCCCCCCC") == "CCCCCCCC"
    assert name_of("not a SMILES") == "not a SMILES"
