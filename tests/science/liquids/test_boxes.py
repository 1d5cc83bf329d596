"""Imported boxes: what is in them, and why some are refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule

from aiida_mlip.science.liquids.boxes import facts_of, problems_of_box
from aiida_mlip.science.liquids.embedding import embed


def lattice(names: tuple[str, ...], spacing: float = 7.5) -> Atoms:
    """Molecules on a cubic lattice of two by two by two, some sites empty."""
    atoms = Atoms(cell=[2 * spacing] * 3, pbc=True)
    for index, name in enumerate(names):
        one = embed(name)
        one.positions += spacing * np.array([index & 1, index >> 1 & 1, index >> 2 & 1])
        atoms += one
    atoms.wrap()
    return atoms


def test_an_imported_box_is_described() -> None:
    atoms = lattice(("EC", "EMC", "EC", "Li+", "PF6-", "CCC"))
    facts = facts_of(atoms)
    assert facts.molecules == {"C3H8": 1, "EC": 2, "EMC": 1, "Li+": 1, "PF6-": 1}
    assert facts.charge is None  # of propane nothing is known
    assert facts.density == pytest.approx(atoms.get_masses().sum() / 0.602214 / 15.0**3, rel=1e-5)
    assert facts_of(lattice(("EC", "EMC", "Li+", "PF6-"))).charge == 0


def vacuum() -> Atoms:
    return lattice(("EC", "EC"), spacing=15.0)


def overlapping() -> Atoms:
    atoms = lattice(("EC", "EMC"))
    atoms.positions[3] = atoms.positions[0] + [0.2, 0, 0]
    return atoms


def touching() -> Atoms:
    """Li at 1.2 Å of an oxygen atom: an ion is no bonded neighbour, and no contact either at that distance."""
    atoms = lattice(("H2O", "H2O", "F-"))
    oxygen = int(np.flatnonzero(atoms.numbers == 8)[0])
    return atoms + Atoms("Li", positions=[atoms.positions[oxygen] + [0.0, 0.0, 1.2]])


def lost() -> Atoms:
    atoms = lattice(("EC", "EMC"))
    atoms.positions[2, 1] = np.nan
    return atoms


@pytest.mark.parametrize(
    ("atoms", "said"),
    [
        (bulk("W", cubic=True), "no molecules"),
        (bulk("NaCl", "rocksalt", a=5.64, cubic=True), "no molecules"),
        (graphene(vacuum=8.0), "not periodic"),
        (molecule("CH3OH"), "not periodic"),
        (lattice(("EC",)), "one molecule only"),
        (vacuum(), "that of a gas"),
        (overlapping(), "overlap"),
        (touching(), r"1\.20 Å apart"),
        (lost(), "not a finite number"),
        (lattice(("EC", "Li+", "Li+", "PF6-")), r"charges sum to \+1 e \(1 EC, 2 Li\+, 1 PF6-\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get_chemical_formula(),
)
def test_what_is_no_liquid_is_refused(atoms: Atoms, said: str) -> None:
    with pytest.raises(ValueError, match=f"box: .*{said}"):
        facts_of(atoms)
    assert all(remedy for _, remedy in problems_of_box(atoms))
