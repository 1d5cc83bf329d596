"""Components of a liquid: known answers for names, SMILES, charges and geometries, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import atomic_masses, atomic_numbers
from ase.formula import Formula
from rdkit import Chem
from rdkit.Chem.Descriptors import MolWt
from scipy.spatial.distance import pdist, squareform

from aiida_mlip.science.liquids.components import KNOWN, find, kind
from aiida_mlip.science.liquids.compositions import components_of, from_ratio, grid, larger, times
from aiida_mlip.science.liquids.embedding import conformers, embed
from aiida_mlip.science.liquids.molecules import find_molecules


@pytest.mark.parametrize("name", KNOWN)
def test_the_table_agrees_with_rdkit(name: str) -> None:
    component = KNOWN[name]
    molecule = Chem.MolFromSmiles(component.smiles)
    assert Chem.GetFormalCharge(molecule) == component.charge
    masses = Formula(component.formula).count()
    weight = sum(number * atomic_masses[atomic_numbers[symbol]] for symbol, number in masses.items())
    assert weight == pytest.approx(MolWt(molecule), abs=0.02)
    assert (name[-1] in "+-") == (component.charge != 0)
    assert find(name) is component


@pytest.mark.parametrize("name", KNOWN)
def test_the_geometry_of_a_component_has_its_bonds(name: str) -> None:
    atoms = embed(name, seed=3)
    assert atoms.get_chemical_formula() == KNOWN[name].formula
    np.testing.assert_allclose(atoms.get_center_of_mass(), 0.0, atol=1e-10)
    if len(atoms) > 1:
        (molecule,) = find_molecules(atoms) or []
        assert molecule.kind == kind(KNOWN[name])


@pytest.mark.parametrize(
    ("smiles", "name"), [("O1CCOC1=O", "EC"), ("[Li+]", "Li+"), ("[PF6-]", "PF6-"), ("emc", "EMC")]
)
def test_another_spelling_is_the_same_component(smiles: str, name: str) -> None:
    if smiles == "[PF6-]":
        smiles = "[P-](F)(F)(F)(F)(F)F"
    assert find(smiles) == KNOWN[name]


def test_a_smiles_is_a_component_and_a_name_wins_over_it() -> None:
    ester = find("CC(C)OC(C)=O")
    assert (ester.charge, ester.formula) == (0, "C5H10O2")
    assert find(ester.name) == ester
    assert find("PC").formula == "C4H6O3"  # as SMILES it would be CH5P
    assert find("CCCC[N+](CCCC)(CCCC)CCCC").charge == 1
    assert find("C[C@H]1COC(=O)O1").name != "PC"  # one hand is not both


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("LiPF6", r"by its ions: Li\+ and PF6-"),
        ("PF6", r"Is it PF6-\?"),
        ("Li", r"Is it Li\+\?"),
        ("EMCC", "Is it EMC"),
        ("nonsense", "Known are EC"),
        ("", "no known component"),
        ("O.O", "more than one molecule"),
        ("C[Li]", "bond to Li"),
        ("*C", "no element"),
    ],
)
def test_what_is_no_component_is_refused_with_a_remedy(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        find(text)


def test_an_octahedral_anion_is_octahedral() -> None:
    atoms = embed("PF6-")
    distances = squareform(pdist(atoms.positions))
    (phosphorus,) = np.flatnonzero(atoms.numbers == 15)
    fluorine = np.flatnonzero(atoms.numbers == 9)
    np.testing.assert_allclose(distances[phosphorus, fluorine], 1.60, atol=0.01)  # crystals: 1.59 to 1.61
    edges = np.sort(pdist(atoms.positions[fluorine])) / distances[phosphorus, fluorine].mean()
    np.testing.assert_allclose(edges, [2**0.5] * 12 + [2.0] * 3, atol=1e-10)


def test_small_molecules_have_the_bonds_of_experiment() -> None:
    for smiles, length in (("O=C=O", 1.162), ("N#N", 1.098), ("F", 0.917), ("[H][H]", 0.741)):
        assert np.min(pdist(embed(smiles).positions)) == pytest.approx(length, abs=0.05)


def test_conformers_differ_and_are_of_both_hands() -> None:
    chains = conformers("DME", 10, seed=2)
    spans = {round(float(pdist(atoms.positions).max()), 1) for atoms in chains}
    assert len(spans) > 2
    hands = {np.sign(hand(atoms)) for atoms in conformers("PC", 10, seed=1)}
    assert hands == {-1.0, 1.0}
    first, again = embed("EMC", seed=5), embed("EMC", seed=5)
    np.testing.assert_array_equal(first.positions, again.positions)
    assert not np.allclose(pdist(first.positions), pdist(embed("EMC", seed=6).positions), atol=1e-3)


def hand(atoms) -> float:
    """Signed volume spanned by O, CH3, CH2 and H about the stereocentre of propylene carbonate, the second atom."""
    centre, methyl, methylene, oxygen = 1, 0, 2, 6
    vectors = atoms.positions[[methyl, methylene, oxygen]] - atoms.positions[centre]
    assert np.linalg.norm(vectors, axis=1).max() < 1.7
    return float(np.linalg.det(vectors))


def test_charges_must_balance_and_the_remedy_is_named() -> None:
    with pytest.raises(ValueError, match=r"sum to \+2 e = \+3 \(Li\+\) -1 \(PF6-\).*add 2 PF6-"):
        components_of({"EC": 4, "Li+": 3, "PF6-": 1})
    with pytest.raises(ValueError, match=r"sum to \+1 e.*add ions of -1 in total"):
        components_of({"EC": 4, "Na+": 1})
    assert components_of({"Mg2+": 1, "TFSI-": 2})[1][1] == 2


@pytest.mark.parametrize("wrong", [{"EC": -1}, {"EC": 1.5}, {"EC": True}, {"EC": 0}, {}])
def test_numbers_that_are_none_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="composition"):
        components_of(wrong)


def test_one_component_under_two_names_is_counted_once() -> None:
    assert [(c.name, n) for c, n in components_of({"EC": 2, "EMC": 1, "C1COC(=O)O1": 3, "DMC": 0})] == [
        ("EC", 5),
        ("EMC", 1),
    ]


def test_larger_boxes_and_grids_keep_the_proportions() -> None:
    assert larger({"EC": 4, "EMC": 8}, 48) == {"EC": 16, "EMC": 32}
    assert larger({"EC": 4, "EMC": 8}, 49) == {"EC": 20, "EMC": 40}
    assert larger({"EC": 4, "EMC": 8}, 5) == {"EC": 4, "EMC": 8}
    assert times({"EC": 4, "EMC": 8}, 3) == {"EC": 12, "EMC": 24}
    assert from_ratio({"EC": 2, "EMC": 4, "DMC": 0}, 13) == {"EC": 5, "EMC": 10}
    with pytest.raises(ValueError, match="factor = 0"):
        times({"EC": 1}, 0)
    boxes = grid({"ec": {"EC": 12}, "mix": {"EC": 4, "EMC": 8}}, (0.95, 1.1), seeds=(1, 2))
    assert len(boxes) == 8
    assert boxes["mix_d0p95_s2"] == {"composition": {"EC": 4, "EMC": 8}, "density": 0.95, "seed": 2}
    assert set(grid({"ec": {"EC": 12}}, (1.3,))) == {"ec"}
