"""Surface energies against ASE's own slabs, against counted bonds, and where they have to be flagged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bcc100, bcc110, bcc111, bulk, fcc100, fcc110, fcc111, surface
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.geometry import find_mic
from ase.optimize import BFGS

from aiida_mlip.science import properties
from aiida_mlip.science.properties import Journal, Notebook, PropertyRecord
from aiida_mlip.science.properties._slabs import (
    EV_PER_ANGSTROM2_IN_J_PER_M2,
    layers_of,
    miller_indices,
    miller_text,
)
from aiida_mlip.science.properties.surface import SURFACES, SurfaceResult, c2x2, surface_slab
from aiida_mlip.worker.backends.finnis_sinclair import PARAMETERS, FinnisSinclair

A_W = 3.1652


def surface_record(calculator: Any, **inputs: Any) -> PropertyRecord:
    record, _ = properties.compute(properties.get("surface"), {"reconstructions": [], **inputs}, calculator)
    assert record.error is None, record.error
    return record


def surfaces(calculator: Any, **inputs: Any) -> SurfaceResult:
    return SurfaceResult.model_validate(surface_record(calculator, **inputs).result)


def flag_names(result: SurfaceResult) -> set[str]:
    return {flag.name for flag in result.flags}


def energy_per_area(slab: Atoms, bulk_energy: float, *, fmax: float | None) -> float:
    """Return the surface energy [J/m^2] of a slab by a plain ASE script."""
    slab.calc = EMT() if slab[0].symbol in {"Cu", "Al", "Ni"} else FinnisSinclair()
    if fmax:
        BFGS(slab, logfile=None).run(fmax=fmax, steps=300)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    excess = slab.get_potential_energy() - len(slab) * bulk_energy
    return float(excess / (2 * area) * EV_PER_ANGSTROM2_IN_J_PER_M2)


@pytest.mark.parametrize(
    ("element", "structure", "miller", "build"),
    [
        ("Cu", "fcc", "001", fcc100),
        ("Cu", "fcc", "110", fcc110),
        ("Al", "fcc", "111", fcc111),
        ("W", "bcc", "001", bcc100),
        ("W", "bcc", "110", bcc110),
        ("Mo", "bcc", "111", bcc111),
    ],
)
def test_agrees_with_slabs_of_ase(element: str, structure: Any, miller: str, build: Any) -> None:
    """Slabs of another thickness from ase.build, relaxed by another optimiser."""
    calculator = EMT() if structure == "fcc" else FinnisSinclair()
    result = surfaces(calculator, element=element, structure=structure, surfaces=[miller], fmax=1e-3)
    found, a = result.surfaces[miller], result.lattice_constant
    slab = build(element, size=(1, 1, 16), a=a, vacuum=10.0)
    assert energy_per_area(slab, result.bulk_energy, fmax=None) == pytest.approx(found.unrelaxed, abs=1e-6)
    assert energy_per_area(slab, result.bulk_energy, fmax=1e-3) == pytest.approx(found.energy, abs=2e-4)
    assert found.energy < found.unrelaxed


@pytest.mark.parametrize("miller", SURFACES)
def test_cell_is_the_primitive_one_of_a_general_slab(miller: str) -> None:
    """ase.build.surface makes cells that are larger; the energy per area is the same."""
    result = surfaces(FinnisSinclair(), element="W", lattice_constant=A_W, surfaces=[miller], thicknesses=[8, 12])
    found = result.surfaces[miller]
    crystal = bulk("W", "bcc", a=A_W, cubic=True)
    layers = int(np.ceil(12 * np.linalg.norm(miller_indices(miller)) / A_W))
    slab = surface(crystal, miller_indices(miller), layers, vacuum=10.0)
    assert energy_per_area(slab, result.bulk_energy, fmax=None) == pytest.approx(found.unrelaxed, abs=1e-6)
    indices = np.array(miller_indices(miller))
    spacing = A_W / np.linalg.norm(indices) / (2 if indices.sum() % 2 else 1)
    assert found.spacing == pytest.approx(spacing)
    assert found.area == pytest.approx(A_W**3 / 2 / spacing)


@pytest.mark.parametrize(("miller", "lost"), [("111", 3), ("001", 4), ("110", 6)])
def test_pair_potential_counts_broken_bonds(miller: str, lost: int) -> None:
    """Nearest neighbours only: each bond that a surface atom of fcc lacks costs half of a bond energy.

    On (110), the atoms of the second layer lack one bond as well: 5 + 1.
    """
    calculator = LennardJones(sigma=2.3, epsilon=0.4, rc=3.2)
    a = 2 ** (1 / 6) * 2.3 * np.sqrt(2)
    result = surfaces(calculator, element="Cu", structure="fcc", lattice_constant=a, surfaces=[miller])
    bond = -result.bulk_energy / 6
    expected = lost * bond / 2 / result.surfaces[miller].area * EV_PER_ANGSTROM2_IN_J_PER_M2
    assert result.surfaces[miller].unrelaxed == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("miller", "left"), [("110", [(6, 4)]), ("001", [(4, 5), (8, 5)]), ("111", [(4, 3), (7, 3), (7, 6)])]
)
@pytest.mark.parametrize("element", ["W", "Mo"])
def test_finnis_sinclair_energy_is_that_of_its_formula(element: str, miller: str, left: list[tuple[int, int]]) -> None:
    """The potential ends behind the second neighbours, so that those left in each layer give the energy in closed form.

    :param left: first and second neighbours of the atoms in the layers that lack any.
    """
    known, a = PARAMETERS[element], 3.1652 if element == "W" else 3.1472
    result = surfaces(FinnisSinclair(), element=element, lattice_constant=a, surfaces=[miller])

    def atom(first: int, second: int) -> float:
        pair = density = 0.0
        for count, r in ((first, a * np.sqrt(3) / 2), (second, a)):
            if r < known.pair_range:
                pair += count * (r - known.pair_range) ** 2 * float(np.polyval(known.coefficients[::-1], r))
            density += count * (r - known.density_range) ** 2
        return pair / 2 - known.depth * np.sqrt(density)

    excess = sum(atom(*counts) - atom(8, 6) for counts in left)
    area = result.surfaces[miller].area
    assert result.bulk_energy == pytest.approx(atom(8, 6), abs=1e-10)
    assert result.surfaces[miller].unrelaxed == pytest.approx(excess / area * EV_PER_ANGSTROM2_IN_J_PER_M2, abs=1e-6)


def test_slope_of_the_slab_energies_is_the_energy_of_the_crystal() -> None:
    """The check of Fiorentini and Methfessel, J. Phys.: Condens. Matter 8, 6525 (1996)."""
    result = surfaces(FinnisSinclair(), element="W", surfaces=["001", "112"], fmax=1e-3)
    for found in result.surfaces.values():
        assert abs(found.slope) < 1e-4
        assert found.energy == pytest.approx(found.thin, rel=1e-3)


def test_close_packed_surface_is_the_lowest_and_relaxes_inwards() -> None:
    result = surfaces(FinnisSinclair(), element="Mo")
    energies = {name: found.energy for name, found in result.surfaces.items()}
    assert min(energies, key=lambda name: energies[name]) == "110"
    assert all(found.first_spacing < 0 for found in result.surfaces.values())
    assert flag_names(result) == set()


@pytest.mark.parametrize("miller", ["110", "710"])
def test_orientation_of_the_slab_does_not_matter(miller: str) -> None:
    slab = surface_slab("W", "bcc", A_W, miller, 12)
    turned = slab.copy()
    turned.rotate(57.0, (0.3, 0.5, -0.2), rotate_cell=True)
    slab.calc, turned.calc = FinnisSinclair(), FinnisSinclair()
    assert turned.get_potential_energy() == pytest.approx(slab.get_potential_energy(), abs=1e-9)


def test_equivalent_surfaces_have_equal_energies() -> None:
    names = ["112", "1 -2 1", (-2, 1, 1)]
    result = surfaces(FinnisSinclair(), element="W", surfaces=names, fmax=1e-3)
    assert list(result.surfaces) == ["112", "1 -2 1", "-2 1 1"]
    energies = [found.energy for found in result.surfaces.values()]
    assert energies == pytest.approx([energies[0]] * 3, abs=1e-5)


def test_quantities_and_structures_are_named() -> None:
    prop = properties.get("surface")
    inputs = {"element": "W", "surfaces": ["001", "1 -1 0"], "thicknesses": [8.0, 11.0]}
    record, structures = properties.compute(prop, inputs, FinnisSinclair())
    assert [(item.key, item.unit) for item in record.quantities] == [
        ("surface_001", "J/m^2"),
        ("surface_1_-1_0", "J/m^2"),
    ]
    assert [atoms.info["config_type"] for atoms in structures] == [
        "surface_001",
        "surface_001_c2x2",
        "surface_1_-1_0",
    ]
    for atoms in structures:
        atoms.calc = FinnisSinclair()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01


def test_doubled_cell_is_the_same_surface() -> None:
    slab = surface_slab("W", "bcc", A_W, "001", 9)
    double = c2x2(slab)
    assert len(double) == 18
    assert double.cell.lengths()[:2] == pytest.approx([np.sqrt(2) * A_W] * 2)
    assert double.get_volume() == pytest.approx(2 * slab.get_volume())
    slab.calc, double.calc = FinnisSinclair(), FinnisSinclair()
    assert double.get_potential_energy() == pytest.approx(2 * slab.get_potential_energy(), abs=1e-9)
    noisy, same = c2x2(slab, noise=0.1, seed=3), c2x2(slab, noise=0.1, seed=3)
    np.testing.assert_array_equal(noisy.positions, same.positions)
    moved = np.linalg.norm(find_mic(noisy.positions - double.positions, double.cell, double.pbc)[0], axis=1)
    assert moved.max() == pytest.approx(0.1)
    assert np.count_nonzero(moved > 1e-9) == 4
    chains = c2x2(slab, zigzag=0.2)
    moved, _ = find_mic(chains.positions - double.positions, chains.cell, chains.pbc)
    np.testing.assert_allclose(moved[[0, 9, 8, 17]], 0.2 * np.outer([1, -1, 1, -1], [1, 1, 0]) / np.sqrt(2))


def test_surface_without_reconstruction_goes_back() -> None:
    result = surfaces(FinnisSinclair(), element="Mo", surfaces=["001"], reconstructions=["001"], fmax=2e-3)
    found = result.surfaces["001"].reconstruction
    assert found is not None
    assert not found.reconstructs
    assert found.gain == pytest.approx(0, abs=1e-4)
    assert found.lateral < 0.01
    assert "reconstructs" not in flag_names(result)


def test_reconstruction_is_seen_and_flagged() -> None:
    result = surfaces(
        Zigzag(), element="W", lattice_constant=A_W, surfaces=["001"], reconstructions=["001"], thicknesses=[9.0, 12.0]
    )
    found = result.surfaces["001"].reconstruction
    assert found is not None
    assert found.reconstructs
    assert found.lateral > 0.1
    assert found.energy < result.surfaces["001"].thin
    assert "reconstructs" in flag_names(result)


class Zigzag(Calculator):
    """Finnis-Sinclair and a double well for the distance of the two atoms in each outermost layer of c(2x2).

    With u the difference of their displacements along x, the energy has k (-u^2 / 2 + u^4 / 4 u0^2).
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        inner = FinnisSinclair()
        inner.calculate(self.atoms, ["energy"], all_changes)
        self.results = {name: inner.results[name] for name in self.implemented_properties}
        order = np.argsort(self.atoms.positions[:, 2])
        if abs(self.atoms.cell.lengths()[0] - np.sqrt(2) * A_W) > 1e-6:
            return
        stiffness, size = 30.0, 0.4
        for i, j in (sorted(order[:2]), sorted(order[-2:])):
            vector = self.atoms.get_distance(i, j, mic=True, vector=True)
            u = abs(vector[0]) - A_W / np.sqrt(2)
            sign = np.sign(vector[0])
            slope = stiffness * (-u + u**3 / size**2)
            energy = stiffness * (-(u**2) / 2 + u**4 / (4 * size**2))
            self.results["energy"] += energy
            self.results["free_energy"] += energy
            self.results["forces"][j, 0] -= slope * sign
            self.results["forces"][i, 0] += slope * sign


def test_thin_slabs_are_flagged() -> None:
    result = surfaces(FinnisSinclair(), element="W", surfaces=["111"], thicknesses=[1.5, 12.0])
    assert "thickness_dependent" in flag_names(result)


def test_relaxation_that_does_not_end_is_flagged() -> None:
    record = surface_record(FinnisSinclair(), element="W", surfaces=["111"], max_steps=1)
    assert {flag.name for flag in record.flags} == {"not_converged"}
    assert not record.usable()


def test_crystal_that_falls_apart_is_flagged() -> None:
    """In a crystal under high pressure, the atoms gain more at the surface than they lose."""
    result = surfaces(FinnisSinclair(), element="W", lattice_constant=2.6, surfaces=["110"], thicknesses=[8.0, 12.0])
    assert "negative_energy" in flag_names(result)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_atoms_that_leave_the_surface_are_flagged_and_end_the_relaxation() -> None:
    """Finnis-Sinclair niobium attracts at short distance (Ackland and Thetford, Phil. Mag. A 56, 15 (1987))."""
    record = surface_record(FinnisSinclair(), element="Nb", surfaces=["111"], thicknesses=[10.0, 14.0])
    assert {"atoms_lost", "not_converged"} <= {flag.name for flag in record.flags}
    assert not record.usable()


def test_slabs_of_an_interrupted_job_are_not_computed_again() -> None:
    prop, inputs = properties.get("surface"), {"element": "W", "surfaces": ["112", "001"]}
    notebook = Notebook()
    whole, _ = properties.compute(prop, inputs, FinnisSinclair(), Journal(notebook=notebook))
    kept = {name: step for name, step in notebook.steps.items() if name.startswith("112")}
    rest, _ = properties.compute(prop, inputs, FinnisSinclair(), Journal(notebook=Notebook(steps=kept)))
    assert rest.result == whole.result
    assert rest.force_calls < 0.7 * whole.force_calls


def test_thick_slab_starts_from_the_thin_one() -> None:
    """It then needs few steps: the surface is relaxed already."""
    notebook = Notebook()
    inputs = {"element": "W", "surfaces": ["112"], "reconstructions": []}
    properties.compute(properties.get("surface"), inputs, FinnisSinclair(), Journal(notebook=notebook))
    assert notebook.steps["112 thick"]["steps"] <= 0.5 * notebook.steps["112 thin"]["steps"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"surfaces": ["11x"]}, "'11x' is no set of Miller indices: write '110' or '1 -1 0'"),
        ({"surfaces": ["000"]}, "'000' is no lattice plane"),
        ({"surfaces": ["110", (1, 1, 0)]}, "a surface is named twice"),
        ({"surfaces": "110"}, "surface.surfaces = '110'"),
        ({"structure": "A15"}, "slabs are made of bcc, fcc, sc"),
        ({"thicknesses": [20.0, 10.0]}, "need two ascending thicknesses"),
        ({"noise": 0.0}, "surface.noise = 0.0"),
    ],
)
def test_wrong_inputs_are_refused_in_words(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        properties.parse_inputs(properties.get("surface"), {"element": "W", **inputs})


@pytest.mark.parametrize(("text", "indices"), [("110", (1, 1, 0)), ("1 -1 0", (1, -1, 0)), ("10 1 0", (10, 1, 0))])
def test_miller_indices_as_text(text: str, indices: tuple[int, int, int]) -> None:
    assert miller_indices(text) == indices
    assert miller_text(indices) == text


def test_surface_has_a_centre_of_inversion() -> None:
    """Both sides are the same surface, also where the indices are not symmetric."""
    slab = surface_slab("W", "bcc", A_W, "1 -3 2", 14)
    inverted = slab.copy()
    inverted.positions = 2 * slab.positions.mean(axis=0) - slab.positions
    slab.calc, inverted.calc = FinnisSinclair(), FinnisSinclair()
    energies = slab.get_potential_energies()
    np.testing.assert_allclose(energies, energies[::-1], atol=1e-9)
    assert inverted.get_potential_energy() == pytest.approx(slab.get_potential_energy(), abs=1e-9)
    assert layers_of("bcc", (1, -3, 2)).normal == pytest.approx(np.array([1, -3, 2]) / np.sqrt(14))
