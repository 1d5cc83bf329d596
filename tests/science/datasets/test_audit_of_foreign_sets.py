"""What the audit says of sets as other groups have them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit import Finding, audit


def hot_copper(count: int, length: float = 1.0) -> list[Atoms]:
    """Cells of 16 atoms, far from equilibrium; ``length``: the unit of their positions [Å]."""
    generator = np.random.default_rng(17)
    frames = []
    for index in range(count):
        atoms = bulk("Cu", cubic=True) * (2, 2, 1)
        atoms.positions += generator.normal(scale=0.15, size=atoms.positions.shape)
        atoms.set_cell(atoms.cell.array / length, scale_atoms=True)
        atoms.info[keys.ENERGY] = -3.0 + 0.01 * index
        frames.append(atoms)
    return frames


def only(name: str, frames: list[Atoms]) -> list[Finding]:
    return list(audit(frames, only=[name]).findings)


@pytest.mark.parametrize(("length", "expected"), [(1.0, 0), (Bohr, 1)])
def test_lengths_in_bohr_are_seen_in_thermal_cells(length: float, expected: int) -> None:
    findings = only("close_atoms", hot_copper(10, length))
    assert [finding.severity for finding in findings] == ["warning"] * expected
    assert all("bohr" in finding.message for finding in findings)


def test_isolated_atoms_are_said_to_count_for_one_policy_only() -> None:
    atom = Atoms("Cu", cell=[15.0] * 3, pbc=True, info={keys.ENERGY: -1.5})
    (finding,) = only("isolated_atoms", [*hot_copper(4), atom])
    assert finding.severity == "info"
    assert finding.frames == (4,)
    assert "Cu -1.5 eV" in finding.message
    assert "e0_policy = 'isolated_atoms'" in finding.message
