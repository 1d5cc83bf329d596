"""Gamma lines against matscipy's own, against the geometry of the lattice, and where they have to be flagged."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from matscipy.gamma_surface import GammaSurface
from scipy.optimize import minimize

from aiida_mlip.science import properties, reference
from aiida_mlip.science.properties import Journal, Meter, Notebook, PropertyError, PropertyRecord
from aiida_mlip.science.properties._fault import FaultCurve, RelaxationAlongNormal
from aiida_mlip.science.properties._slabs import EV_PER_ANGSTROM2_IN_J_PER_M2, layers_of, slab
from aiida_mlip.science.properties.gamma_line import (
    GLIDE,
    GammaLine,
    GammaLineResult,
    displacements,
    fault_slab,
    glide_layers,
)
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair

A_W = 3.1652
Plane = Literal["110", "112"]
PLANES: tuple[Plane, ...] = ("110", "112")
QUICK: dict[str, Any] = {"element": "W", "lattice_constant": A_W, "points": 13, "thickness": 16.0, "fmax": 2e-3}


def gamma_record(calculator: Any = None, **inputs: Any) -> PropertyRecord:
    record, _ = properties.compute(properties.get("gamma_line"), {**QUICK, **inputs}, calculator or FinnisSinclair())
    assert record.error is None, record.error
    return record


def gamma(calculator: Any = None, **inputs: Any) -> GammaLineResult:
    return GammaLineResult.model_validate(gamma_record(calculator, **inputs).result)


def flag_names(result: GammaLineResult) -> set[str]:
    return {flag.name for flag in result.flags}


@pytest.fixture(scope="module")
def tungsten() -> GammaLineResult:
    return gamma()


def matscipy_line(plane: Plane, points: int) -> list[Atoms]:
    """Return slabs with two surfaces and one fault, made by matscipy, along [111] on the plane of ours."""
    generator = GammaSurface(A_W, np.array(GLIDE[plane]), np.array([1, 1, 1]), crystalstructure="bcc", symbol="W")
    period = np.sqrt(3) / 2 * A_W
    length = generator.cut_at.cell[1, 1]
    images = generator.generate_images(1, points, z_reps=8, path_ylims=[0, period / length], vacuum=0.0, cell_move=True)
    return list(images)


@pytest.mark.parametrize("plane", PLANES)
def test_unrelaxed_line_is_that_of_matscipy(plane: Plane, tungsten: GammaLineResult) -> None:
    """matscipy tilts a periodic cell with many atoms; ours is a slab with one atom per layer."""
    images = matscipy_line(plane, 13)
    energies = []
    for image in images:
        image.calc = FinnisSinclair()
        energies.append(image.get_potential_energy())
    area = np.linalg.norm(np.cross(images[0].cell[0], images[0].cell[1]))
    theirs = (np.array(energies) - energies[0]) / area * EV_PER_ANGSTROM2_IN_J_PER_M2
    ours = tungsten.planes[plane].unrelaxed
    assert ours is not None
    senses = sorted(np.abs(np.array(ours) - line).max() for line in (theirs, theirs[::-1]))
    assert senses[0] < 1e-9, "the sense along [111] is a matter of convention"
    assert bool(senses[1] > 1e-4) is (plane == "112"), "and on {112} it makes a difference"


@pytest.mark.parametrize("plane", PLANES)
def test_relaxed_point_is_that_of_another_optimiser(plane: Plane, tungsten: GammaLineResult) -> None:
    """The heights of the atoms as independent variables of scipy's minimiser, from their ideal places."""
    line = tungsten.planes[plane]

    def relaxed(x: float) -> float:
        atoms = fault_slab("W", A_W, plane, line.layers, x)
        ideal = atoms.positions.copy()
        atoms.calc = FinnisSinclair()

        def energy(heights: np.ndarray) -> tuple[float, np.ndarray]:
            atoms.positions[:, 2] = ideal[:, 2] + heights
            return atoms.get_potential_energy(), -atoms.get_forces()[:, 2]

        return float(minimize(energy, np.zeros(len(atoms)), jac=True, method="L-BFGS-B", tol=1e-10).fun)

    for index in (4, 6):
        expected = (relaxed(index / 12) - relaxed(0)) / line.area * EV_PER_ANGSTROM2_IN_J_PER_M2
        assert line.energies[index] == pytest.approx(expected, abs=5e-5)


def test_line_starts_and_ends_at_zero_and_relaxation_only_lowers_it(tungsten: GammaLineResult) -> None:
    for line in tungsten.planes.values():
        assert line.energies[0] == 0.0
        assert abs(line.end) < 1e-5
        assert line.unrelaxed is not None
        assert np.all(np.array(line.unrelaxed[2:-2]) > np.array(line.energies[2:-2]))
        assert line.converged
        assert line.fmax < QUICK["fmax"]
    assert flag_names(tungsten) == set()


def test_quantities_and_curves_have_the_keys_and_units_of_the_reference() -> None:
    record = gamma_record()
    values = {item.key: item for item in record.quantities}
    assert set(values) == {"gamma_max_110", "gamma_half_110", "gamma_max_112", "gamma_half_112"}
    assert {item.unit for item in values.values()} == {"J/m^2"}
    assert [item.key for item in record.series] == ["gamma_110", "gamma_112"]
    assert record.series[0].x_unit == "a sqrt(3) / 2 along [111]"
    assert (record.series[0].x[0], record.series[0].x[-1]) == (0.0, 1.0)
    assert values["gamma_half_110"].value == record.series[0].y[6]
    assert values["gamma_max_112"].value >= max(record.series[1].y) - 1e-9


def test_mirrored_half_of_110_is_what_a_full_computation_gives(tungsten: GammaLineResult) -> None:
    line = tungsten.planes["110"]
    assert line.maximum_at == pytest.approx(0.5, abs=1e-6)
    assert line.symmetry_error is not None
    assert line.symmetry_error < 1e-6
    atoms = fault_slab("W", A_W, "110", line.layers, 10 / 12)
    reference = fault_slab("W", A_W, "110", line.layers, 0.0)
    atoms.calc = reference.calc = FinnisSinclair()
    energy = (atoms.get_potential_energy() - reference.get_potential_energy()) / line.area
    assert line.unrelaxed is not None
    assert line.unrelaxed[10] == pytest.approx(energy * EV_PER_ANGSTROM2_IN_J_PER_M2, abs=1e-9)


def in_plane_offset(atoms: Atoms, upper: int, lower: int) -> float:
    """Return the distance in the plane between atoms of two layers, periodic images included [Å]."""
    vector = atoms.get_distance(lower, upper, mic=True, vector=True)
    flat = vector * (1, 1, 0)
    shifts = [i * atoms.cell[0] + j * atoms.cell[1] for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)]
    return float(min(np.linalg.norm(flat + shift) for shift in shifts))


def test_positive_displacement_on_112_is_the_twinning_sense() -> None:
    """After b / 3 the layers on both sides of the lower lip are mirror images of each other: a twin of one layer."""
    count = 12
    for x, mirrored in ((0.0, False), (1 / 3, True), (2 / 3, False)):
        atoms = fault_slab("W", A_W, "112", count, x)
        lip = count // 2 - 1
        assert (in_plane_offset(atoms, lip + 1, lip - 1) < 1e-6) is mirrored


def test_twinning_sense_is_the_easy_one_in_every_stable_potential() -> None:
    """As the published curves of density functional theory, which have their maximum beyond half of the period."""
    for element in ("W", "Mo", "Ta"):
        line = gamma(element=element, lattice_constant=None, planes=["112"]).planes["112"]
        assert line.twinning is not None
        assert line.antitwinning is not None
        assert line.twinning < line.antitwinning
        assert line.maximum_at > 0.5


@pytest.mark.parametrize("element", ["W", "Mo", "Nb"])
def test_published_curves_have_the_same_sense(element: str) -> None:
    """So that they can be drawn over ours: easy at one third on {112}, symmetric on {110}."""
    for plane, easy in (("112", True), ("110", False)):
        curve = reference.load().curve(element, f"gamma_{plane}")
        assert curve is not None
        third, two_thirds = np.interp([1 / 3, 2 / 3], curve.x, curve.y)
        assert bool(two_thirds - third > 0.05 * max(curve.y)) is easy
        assert bool(curve.x[int(np.argmax(curve.y))] > 0.53) is easy


@pytest.mark.parametrize("plane", PLANES)
def test_fault_is_one_sharp_step_along_111(plane: Plane) -> None:
    """All layers keep their stacking but the middle pair; the period is the shortest vector of the lattice."""
    count, x = 10, 0.3
    perfect, fault = fault_slab("W", A_W, plane, count, 0.0), fault_slab("W", A_W, plane, count, x)
    assert fault.info["config_type"] == f"gamma_{plane}"
    assert perfect.cell[0] == pytest.approx([A_W * np.sqrt(3) / 2, 0, 0])
    moved = fault.get_scaled_positions() - perfect.get_scaled_positions()
    np.testing.assert_allclose(np.mod(moved[: count // 2, 0] + 0.5, 1), 0.5, atol=1e-9)
    np.testing.assert_allclose(np.mod(moved[count // 2 :, 0], 1), x, atol=1e-9)
    np.testing.assert_allclose(moved[:, 2], 0, atol=1e-12)
    heights = np.diff(perfect.positions[:, 2])
    np.testing.assert_allclose(heights, A_W / np.linalg.norm(GLIDE[plane]))


def test_orientation_of_the_slab_does_not_matter() -> None:
    for plane in PLANES:
        atoms = fault_slab("W", A_W, plane, 8, 0.37)
        turned = atoms.copy()
        turned.rotate(41.0, (0.2, -0.7, 0.4), rotate_cell=True)
        atoms.calc, turned.calc = FinnisSinclair(), FinnisSinclair()
        assert turned.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def test_number_of_layers_hardly_matters() -> None:
    """One atom per layer: 12 layers and more agree within 0.1 mJ/m^2 of those of a slab four times as thick."""
    thick = gamma(points=7, thickness=90.0)
    for plane, thickness in (("110", 26.0), ("112", 24.0)):
        thin = gamma(points=7, thickness=thickness, planes=[plane]).planes[plane]
        assert thin.layers >= 12
        assert thin.layers < thick.planes[plane].layers / 3
        assert thin.half == pytest.approx(thick.planes[plane].half, abs=1e-4)


def test_second_thickness_is_compared_with_the_first() -> None:
    result = gamma(points=7, thickness=16.0, check_thickness=24.0)
    for line in result.planes.values():
        assert line.thicker == pytest.approx(max(line.energies), abs=2e-3)
        assert line.thicker_layers is not None
        assert line.thicker_layers > line.layers
    thin = gamma(points=7, thickness=3.0, check_thickness=24.0, planes=["112"])
    assert "thickness_dependent" in flag_names(thin)


def test_points_of_an_interrupted_line_are_not_computed_again() -> None:
    prop, inputs = properties.get("gamma_line"), {**QUICK, "planes": ["112"]}
    notebook = Notebook()
    whole, _ = properties.compute(prop, inputs, FinnisSinclair(), Journal(notebook=notebook))
    half = Notebook(steps={name: notebook.steps[name] for name in list(notebook.steps)[:7]})
    rest, _ = properties.compute(prop, inputs, FinnisSinclair(), Journal(notebook=half))
    assert rest.force_calls < 0.7 * whole.force_calls
    assert rest.series[0].y == pytest.approx(whole.series[0].y, abs=1e-4)


def test_warm_starts_save_calls_and_change_nothing() -> None:
    """Each point from where the last two lead to, against each point from the ideal sites."""
    calls, energies = [], []
    for warm in (True, False):
        meter = Meter(FinnisSinclair())
        options: dict[str, Any] = {"stage": "", "fmax": 2e-3, "max_steps": 100, "unrelaxed": False}
        relaxation = RelaxationAlongNormal(meter, Journal(), **options)
        found = []
        for x in displacements(25):
            row = relaxation if warm else RelaxationAlongNormal(meter, Journal(), **options)
            found.append(row.point(fault_slab("W", A_W, "112", 12, float(x))))
            row.follow(found[-1])
        calls.append(meter.force_calls)
        energies.append([point.energy for point in found])
    assert calls[0] < 0.5 * calls[1]
    np.testing.assert_allclose(energies[0], energies[1], atol=1e-5)


class Skewed(Calculator):
    """Finnis-Sinclair with an energy that depends on where the upper half is along x: no crystal has that."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, wave: Any) -> None:
        super().__init__()
        self._inner, self._wave = FinnisSinclair(), wave

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self._inner.calculate(self.atoms, ["energy"], system_changes)
        self.results = dict(self._inner.results)
        if len(self.atoms) > 2:
            cell, half = self.atoms.cell.lengths()[0], len(self.atoms) // 2
            step = self.atoms.positions[half, 0] - self.atoms.positions[half - 1, 0]
            extra = float(np.prod(self.atoms.cell.lengths()[:2])) * self._wave(step / cell)
            self.results["energy"] += extra
            self.results["free_energy"] += extra


def offset(plane: Plane) -> float:
    """Return the step along x between the middle layers of the perfect slab, in units of b."""
    atoms = fault_slab("W", A_W, plane, 8, 0.0)
    return float((atoms.positions[4, 0] - atoms.positions[3, 0]) / atoms.cell[0, 0])


@pytest.mark.parametrize(
    ("plane", "wave", "flags"),
    [
        ("110", lambda x: 0.01 * np.sin(2 * np.pi * x), {"broken_symmetry"}),
        ("112", lambda x: 0.02 * np.sin(2 * np.pi * x), {"wrong_asymmetry"}),
        ("110", lambda x: 0.05 * np.cos(2 * np.pi * x), {"metastable_fault"}),
        ("112", lambda x: -0.1 * (1 - np.cos(2 * np.pi * x)), {"negative_fault", "metastable_fault"}),
    ],
)
def test_what_a_reader_has_to_know_is_flagged(plane: Plane, wave: Any, flags: set[str]) -> None:
    start = offset(plane)
    result = gamma(Skewed(lambda x: wave(x - start)), planes=[plane], points=13)
    assert flags <= flag_names(result)


def test_energy_that_does_not_come_back_is_flagged() -> None:
    """An energy that knows how far the atoms were moved, not only where they are."""
    record, _ = properties.compute(properties.get("gamma_line"), {**QUICK, "planes": ["112"]}, Drifting())
    assert record.error is None
    flags = {flag.name: flag.unusable for flag in record.flags}
    assert flags["not_periodic"]
    assert not record.usable()


class Drifting(FinnisSinclair):
    """Finnis-Sinclair whose energy rises from call to call."""

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.drift = getattr(self, "drift", 0.0) + 1e-3
        self.results["free_energy"] += self.drift


def test_relaxation_that_does_not_end_is_flagged() -> None:
    assert "not_converged" in flag_names(gamma(planes=["112"], points=7, max_steps=1, fmax=1e-4))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_potential_that_gives_way_under_shear_is_flagged_as_unusable() -> None:
    """Finnis-Sinclair niobium attracts at short distance (Ackland and Thetford, Phil. Mag. A 56, 15 (1987))."""
    record = gamma_record(element="Nb", lattice_constant=3.3008, planes=["110"], points=13)
    assert {"slab_unstable", "negative_fault"} <= {flag.name for flag in record.flags}
    assert not record.usable()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"points": 30}, "gamma_line.points = 30: is even"),
        ({"points": 5}, "gamma_line.points = 5"),
        ({"structure": "fcc"}, "gamma_line.structure = 'fcc': gamma lines along <111> are those of a bcc crystal"),
        ({"planes": ["123"]}, "gamma_line.planes.0 = '123'"),
        ({"planes": ["110", "110"]}, "a plane is named twice"),
        ({"vacuum": 0}, "gamma_line.vacuum = 0"),
    ],
)
def test_wrong_inputs_are_refused_in_words(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        properties.parse_inputs(properties.get("gamma_line"), {"element": "W", **inputs})


def test_curve_finds_the_maximum_between_the_points_and_further_minima() -> None:
    x = displacements(21)
    curve = FaultCurve.through(x, np.sin(np.pi * x) ** 2 + 0.15 * np.sin(2 * np.pi * x) * np.sin(np.pi * x) ** 2)
    fine = np.linspace(0, 1, 20001)
    exact = np.sin(np.pi * fine) ** 2 * (1 + 0.15 * np.sin(2 * np.pi * fine))
    assert curve.maximum == pytest.approx(exact.max(), abs=2e-4)
    assert curve.maximum_at == pytest.approx(fine[exact.argmax()], abs=2e-3)
    assert curve.minima(0.005) == ()
    double = FaultCurve.through(x, np.sin(np.pi * x) ** 2 + 0.5 * np.sin(2 * np.pi * x) ** 2)
    assert double.minima(0.005) == (0.5,)


@pytest.mark.parametrize("structure", ["bcc", "fcc", "sc"])
@pytest.mark.parametrize("plane", [(0, 0, 1), (1, 1, 0), (1, 1, 1), (1, 1, 2), (2, 1, 0), (-1, 3, 2), (7, 1, 0)])
def test_layers_are_primitive_and_stacked_along_the_normal(structure: Any, plane: tuple[int, int, int]) -> None:
    layers = layers_of(structure, plane)
    volume = {"bcc": 1 / 2, "fcc": 1 / 4, "sc": 1.0}[structure]
    assert layers.area * layers.spacing == pytest.approx(volume)
    assert layers.normal == pytest.approx(np.array(plane) / np.linalg.norm(plane))
    frame = layers.in_frame()
    np.testing.assert_allclose(frame[:, 2], [0, 0, layers.spacing], atol=1e-12)
    np.testing.assert_allclose(frame @ frame.T, layers.vectors @ layers.vectors.T, atol=1e-12)
    atoms = slab("W", layers, 3.0, 40, 10.0)
    atoms.set_cell([*atoms.cell[:2], 40 * 3.0 * frame[2]])
    atoms.pbc = True
    atoms.calc = FinnisSinclair()
    assert np.ptp(atoms.get_potential_energies()) < 1e-9, "without vacuum every atom has the same surroundings"


def test_layers_refuse_what_is_not_there() -> None:
    with pytest.raises(PropertyError, match="slabs are made of bcc, fcc, sc"):
        layers_of("diamond", (1, 1, 1))
    with pytest.raises(PropertyError, match="is not in the plane"):
        layers_of("bcc", (1, 1, 0), along=(1, 1, 1))


def test_line_with_all_its_numbers(tungsten: GammaLineResult) -> None:
    line: GammaLine = tungsten.planes["112"]
    assert line.burgers == pytest.approx(A_W * np.sqrt(3) / 2)
    assert line.area == pytest.approx(A_W**2 * np.sqrt(6) / 2)
    assert line.spacing == pytest.approx(A_W / np.sqrt(6))
    assert glide_layers("112").spacing == pytest.approx(1 / np.sqrt(6))
    assert line.surface_energy == pytest.approx(3.07, abs=0.02)
