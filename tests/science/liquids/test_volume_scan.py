"""Wells, walls and free molecules of volume scans: a lattice whose minimum is known, and potentials that are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from scipy.optimize import minimize_scalar

from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.liquids.findings import CheckResult
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.liquids.volume_scan import Scan, ScanLimits, check_scan, find_well, scan_frames, scan_result

SIGMA, EPSILON = 3.4, 0.25
DENSITIES = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.25, 2.5])


def fluoride() -> Atoms:
    """HF, all alike in orientation, on the face-centred cubic lattice: the centres of F are such a lattice too."""
    lattice = bulk("Ar", "fcc", a=4.4, cubic=True)
    box = Atoms(cell=lattice.cell, pbc=True)
    for spot in lattice.positions:
        box += Atoms("FH", [spot, spot + np.array([0.4, -0.5, 0.66])])
    box = box[[0, 2, 4, 6, 1, 3, 5, 7]]
    box.wrap()
    return box


def lattice_energy(box: Atoms) -> float:
    """Lennard-Jones energy between F atoms per molecule; H takes no part, so that a molecule alone has none."""
    only = box[box.numbers == 9]
    only.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=6 * SIGMA)
    return float(only.get_potential_energy() / len(only))


def energies_at(densities: np.ndarray) -> np.ndarray:
    box = fluoride()
    molecules = find_molecules(box)
    assert molecules is not None
    return np.array([lattice_energy(frame) for frame in scan_frames(box, molecules, list(densities))])


@pytest.fixture(scope="module")
def lattice() -> np.ndarray:
    return energies_at(DENSITIES)


def by_name(results: list[CheckResult]) -> dict[str, CheckResult]:
    found = {result.check: result for result in results}
    assert len(found) == len(results)
    return found


def test_scans_move_whole_molecules() -> None:
    box = fluoride()
    molecules = find_molecules(box)
    assert molecules is not None
    assert any((molecule.offsets != 0).any() for molecule in molecules)
    for density, frame in zip([0.4, 2.0], scan_frames(box, molecules, [0.4, 2.0]), strict=True):
        assert density_of(frame) == pytest.approx(density)
        after = find_molecules(frame)
        assert after is not None
        assert [molecule.kind for molecule in after] == [molecule.kind for molecule in molecules]
        for molecule in molecules:
            before = molecule.positions(box) - molecule.centre(box)
            part = frame[molecule.indices]
            np.testing.assert_allclose(part.positions - part.get_center_of_mass(), before, atol=1e-9)
            scaled = (density_of(box) / density) ** (1 / 3) * molecule.centre(box)
            np.testing.assert_allclose(part.get_center_of_mass(), scaled, atol=1e-9)
    with pytest.raises(ValueError, match="periodic in three directions"):
        scan_frames(Atoms(box.numbers, box.positions), molecules, [1.0])


def test_the_well_is_that_of_the_lattice(lattice: np.ndarray) -> None:
    """Against the lattice sums (r = 1.0902 sigma, 8.610 epsilon; Kittel) and a search on the exact curve."""
    well = find_well(DENSITIES, lattice)
    assert well is not None
    best = minimize_scalar(lambda x: float(energies_at(np.array([x]))[0]), bounds=(0.7, 1.4), options={"xatol": 1e-3})
    assert well.density == pytest.approx(best.x, rel=0.005)
    assert well.depth == pytest.approx(-best.fun, rel=0.003)
    edge = 1.0902 * SIGMA * np.sqrt(2)
    known = fluoride()
    known.set_cell(np.eye(3) * edge)
    assert well.density == pytest.approx(density_of(known), rel=0.02)
    assert well.depth == pytest.approx(8.610 * EPSILON, rel=0.02)


def test_a_sound_scan_passes_all_checks(lattice: np.ndarray) -> None:
    slopes = (energies_at(DENSITIES * np.exp(-1e-4)) - energies_at(DENSITIES * np.exp(1e-4))) / 2e-4
    scan = Scan("lattice", 4, DENSITIES, lattice, lattice.copy(), slopes)
    found = by_name(check_scan(scan, ScanLimits()))
    assert set(found) == {
        "volume_well", "volume_wall", "volume_smooth", "volume_free_molecules", "volume_depth", "volume_position",
        "volume_stress",
    }  # fmt: skip
    wrong = by_name(check_scan(Scan("lattice", 4, DENSITIES, lattice, None, 0.8 * slopes), ScanLimits()))
    assert wrong["volume_stress"].status == "fail"
    assert wrong["volume_stress"].value == pytest.approx(0.2, abs=0.05)
    assert {result.status for result in found.values()} == {"pass"}
    assert {name for name, result in found.items() if result.aspect == "accuracy"} == {
        "volume_depth", "volume_position", "volume_free_molecules",
    }  # fmt: skip
    assert all(result.numbers["box"] == "lattice" for result in found.values())


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        (lambda x, y: 1.2 * y, {"volume_depth"}),
        (lambda x, y: np.interp(x / 1.08, x, y), {"volume_position"}),
        (lambda x, y: np.abs(y), {"volume_well", "volume_depth", "volume_position"}),
        (lambda x, y: y - 40 * np.exp(-(((x - 2.2) / 0.15) ** 2)), {"volume_wall", "volume_smooth"}),
        (lambda x, y: y + 0.02, {"volume_free_molecules"}),
        (lambda x, y: y + 1.2 * np.exp(-(((x - 0.7) / 0.05) ** 2)), {"volume_smooth"}),
        (lambda x, y: -x, {"volume_well", "volume_wall"}),
    ],
)
def test_wrong_scans_fail(lattice: np.ndarray, change, failing: set[str]) -> None:
    scan = Scan("lattice", 4, DENSITIES, change(DENSITIES, lattice), lattice)
    found = by_name(check_scan(scan, ScanLimits()))
    failed = {name for name, result in found.items() if result.status == "fail"}
    assert failing <= failed
    if failing != {"volume_well", "volume_wall"} and len(failing) == 1:
        assert failed == failing


def test_what_cannot_be_said_is_said(lattice: np.ndarray) -> None:
    few = lattice.copy()
    few[4:] = np.nan
    found = by_name(check_scan(Scan("few", 4, DENSITIES, few, np.full(15, np.nan)), ScanLimits()))
    for name in ("volume_wall", "volume_smooth", "volume_depth", "volume_position"):
        assert found[name].status == "inconclusive"
        assert found[name].missing
    assert scan_result(Scan("few", 4, DENSITIES, few)).missing_predicted == 11
    nothing = by_name(check_scan(Scan("none", 4, DENSITIES, np.full(15, np.nan)), ScanLimits()))
    assert {result.status for result in nothing.values()} == {"inconclusive"}
    ions = by_name(check_scan(Scan("salt", 4, DENSITIES, lattice, lattice, ions=True), ScanLimits()))
    assert ions["volume_free_molecules"].status == "inconclusive"


@pytest.mark.parametrize(("tail", "status"), [(0.004, "pass"), (-0.03, "inconclusive"), (-0.2, "fail")])
def test_free_molecules_without_a_reference(lattice: np.ndarray, tail: float, status: str) -> None:
    energies = lattice - lattice[0] + tail
    found = by_name(check_scan(Scan("box", 4, DENSITIES, energies), ScanLimits()))
    assert found["volume_free_molecules"].status == status
    assert "volume_depth" not in found


@pytest.mark.parametrize(("box", "status"), [(1.7, "pass"), (1.1, "fail")])
def test_the_wall_of_a_heavy_liquid_begins_beyond_its_density(box: float, status: str) -> None:
    """Fluorinated solvents and salts have wells beyond 1.5 g/cm3, where carbonates have their wall."""
    share = (DENSITIES / 1.7) ** 2
    found = by_name(
        check_scan(Scan("heavy", 4, DENSITIES, 0.4 * (share**2 - 2 * share), box_density=box), ScanLimits())
    )
    assert found["volume_wall"].status == status


def test_a_scan_that_does_not_reach_far_enough_says_so(lattice: np.ndarray) -> None:
    """The choice of densities is the user's, and no property of the potential."""
    deepest = int(np.argmin(lattice))
    for part in (slice(deepest, None), slice(0, deepest + 1)):
        found = by_name(check_scan(Scan("part", 4, DENSITIES[part], lattice[part]), ScanLimits()))
        assert found["volume_well"].status == "inconclusive", found["volume_well"].reason
        assert "a scan from 0.3 g/cm3" in found["volume_well"].missing
    dense = by_name(check_scan(Scan("dense", 4, DENSITIES[3:], lattice[3:]), ScanLimits()))
    assert dense["volume_free_molecules"].status == "inconclusive"
