"""Hops into a vacancy against a plain band with ASE, by symmetry, and where they have to be flagged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from aiida_mlip.science import properties
from aiida_mlip.science.properties import Journal, Notebook
from aiida_mlip.science.properties._curvature import softest_mode
from aiida_mlip.science.properties._hop import nearest_hop
from aiida_mlip.science.properties.vacancy_migration import VacancyMigrationResult, _flags
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair


def migration(calculator: Any, **inputs: Any) -> VacancyMigrationResult:
    record, _ = properties.compute(properties.get("vacancy_migration"), inputs, calculator)
    assert record.error is None, record.error
    return VacancyMigrationResult.model_validate(record.result)


def flag_names(result: VacancyMigrationResult) -> list[str]:
    return [flag.name for flag in result.flags]


def plain_barrier(
    element: str, structure: str, a: float, size: int, calculator: type[Calculator], *, inner: int = 7
) -> float:
    """Return the barrier by a script that knows nothing of symmetry: both ends relaxed, a band, one image climbs."""
    hop = nearest_hop(element, structure, a, size)  # type: ignore[arg-type]
    first, last = hop.sites.copy(), hop.sites.copy()
    last.positions[hop.atom] -= hop.vector
    for end in (first, last):
        end.calc = calculator()
        BFGS(end, logfile=None).run(fmax=1e-3, steps=200)
    images = [first, *(first.copy() for _ in range(inner)), last]
    for image in images[1:-1]:
        image.calc = calculator()
    band = NEB(images, climb=True, k=1.0, method="improvedtangent")
    band.interpolate(mic=True)
    assert FIRE(band, logfile=None).run(fmax=0.01, steps=600)
    return float(max(image.get_potential_energy() for image in images) - first.get_potential_energy())


@pytest.mark.parametrize(
    ("element", "structure", "calculator"),
    [("Mo", "bcc", FinnisSinclair), ("Cu", "fcc", EMT)],
)
def test_agrees_with_a_plain_band(element: str, structure: str, calculator: type[Calculator]) -> None:
    size = 3 if structure == "bcc" else 2
    result = migration(calculator(), element=element, structure=structure, size=size, fmax=1e-3, neb="always")
    plain = plain_barrier(element, structure, result.lattice_constant, size, calculator)
    assert result.barrier == pytest.approx(plain, abs=1e-3)
    assert result.barrier == result.barrier_midpoint
    assert result.barrier_neb == pytest.approx(plain, abs=1e-3)
    assert result.midpoint == "saddle"
    assert flag_names(result) == []


def test_a_camel_hump_is_found_beside_the_midpoint() -> None:
    """Finnis-Sinclair tantalum: the midpoint is a shallow minimum.

    A plain band with an even number of images climbs to the same saddle; with an odd one, its middle image stays in the
    minimum and is taken for the saddle.
    """
    result = migration(FinnisSinclair(), element="Ta", size=3)
    assert result.midpoint == "minimum"
    assert result.curvature > 0
    assert flag_names(result) == ["midpoint_minimum", "several_humps"]
    assert result.humps == 2
    even, odd = (
        plain_barrier("Ta", "bcc", result.lattice_constant, 3, FinnisSinclair, inner=inner) for inner in (8, 7)
    )
    assert result.barrier == pytest.approx(even, abs=2e-3)
    assert result.barrier_midpoint == pytest.approx(odd, abs=2e-3)
    assert result.barrier > result.barrier_midpoint + 5e-3


def test_a_minimum_without_a_band_is_not_usable() -> None:
    record, _ = properties.compute(
        properties.get("vacancy_migration"), {"element": "Ta", "size": 3, "neb": "never"}, FinnisSinclair()
    )
    assert [flag.name for flag in record.flags] == ["midpoint_minimum"]
    assert not record.usable()


def test_needs_few_calls_where_the_midpoint_is_the_saddle() -> None:
    prop = properties.get("vacancy_migration")
    calls = {}
    for neb in ("never", "if_needed", "always"):
        record, _ = properties.compute(prop, {"element": "Mo", "size": 3, "neb": neb}, FinnisSinclair())
        assert record.result is not None
        calls[neb] = record.force_calls
        assert record.result["barrier"] == pytest.approx(1.3134, abs=1e-3)
        assert record.result["line_below"] == (True if neb == "if_needed" else None)
    assert calls["never"] < calls["if_needed"] < calls["always"] < 80


def test_path_is_a_symmetric_curve_from_zero_to_zero() -> None:
    prop = properties.get("vacancy_migration")
    record, structures = properties.compute(prop, prop.conformance, FinnisSinclair())
    (series,) = record.series
    assert series.key == "vacancy_migration_path"
    assert len(series.x) == 9
    np.testing.assert_allclose(series.y, series.y[::-1])
    np.testing.assert_allclose(np.array(series.x) + np.array(series.x[::-1]), 1.0)
    assert series.y[0] == 0
    assert max(series.y) == pytest.approx(record.quantities[0].value)
    assert [atoms.info["config_type"] for atoms in structures] == ["vacancy", "vacancy_hop_midpoint"]


@pytest.mark.parametrize(("element", "structure", "neighbours"), [("W", "bcc", 8), ("Cu", "fcc", 12)])
def test_the_inversion_maps_the_beginning_on_the_end(element: str, structure: str, neighbours: int) -> None:
    """For a start without any symmetry: same distances, the atom on the other site, and twice is once back."""
    hop = nearest_hop(element, structure, 3.3, 3)  # type: ignore[arg-type]
    rng = np.random.default_rng(8)
    initial = hop.sites.copy()
    initial.positions += rng.normal(scale=0.05, size=initial.positions.shape)
    final = hop.final(initial)
    before = np.sort(initial.get_all_distances(mic=True)[hop.atom])
    np.testing.assert_allclose(np.sort(final.get_all_distances(mic=True)[hop.atom]), before, atol=1e-9)
    moved, _ = find_mic(final.positions - initial.positions, initial.cell, initial.pbc)
    assert np.argmax(np.linalg.norm(moved, axis=1)) == hop.atom
    assert sorted(hop.partner) == list(range(len(initial)))
    np.testing.assert_array_equal(hop.partner[hop.partner], np.arange(len(initial)))
    middle = hop.midpoint(initial)
    np.testing.assert_allclose(hop.odd(middle.positions - hop.midpoint(hop.sites).positions), 0, atol=1e-9)
    _, lengths = find_mic(hop.sites.positions, hop.sites.cell, hop.sites.pbc)
    assert np.sum(lengths < lengths.min() + 1e-6) == neighbours


def test_seed_of_the_noise_does_not_matter() -> None:
    one, other = (migration(FinnisSinclair(), element="W", size=3, seed=seed, neb="never") for seed in (1, 77))
    assert one.barrier == pytest.approx(other.barrier, abs=2e-4)
    assert one.curvature == pytest.approx(other.curvature, rel=0.05)


class Quadratic(Calculator):
    """E = x H x / 2 of all coordinates x."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, hessian: np.ndarray) -> None:
        super().__init__()
        self.hessian = hessian

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions.ravel()
        self.results = {"energy": x @ self.hessian @ x / 2, "forces": -(self.hessian @ x).reshape(-1, 3)}


def test_softest_mode_of_a_known_hessian() -> None:
    rng = np.random.default_rng(4)
    q, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    values = np.r_[-0.7, np.linspace(1, 20, 29)]
    atoms = Atoms("W10", positions=np.zeros((10, 3)))
    atoms.calc = Quadratic(q @ np.diag(values) @ q.T)
    start = rng.normal(size=(10, 3))
    mode = softest_mode(atoms, start, report=Journal(), stage="mode", project=lambda v: v, max_calls=30)
    assert mode.curvature == pytest.approx(-0.7, rel=0.1)
    assert abs(mode.vector.ravel() @ q[:, 0]) > 0.9
    unit = start.ravel() / np.linalg.norm(start)
    assert mode.first == pytest.approx(unit @ atoms.calc.hessian @ unit)


class Tilted(FinnisSinclair):
    """Finnis-Sinclair in a field that pulls atoms along x: not invariant, so the two ends of a hop differ."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        phase = 2 * np.pi * self.atoms.get_scaled_positions()[:, 0]
        self.results["energy"] = self.results["free_energy"] = self.results["energy"] + 0.02 * np.sum(np.sin(phase))


@pytest.mark.parametrize(
    ("calculator", "inputs", "names"),
    [
        (FinnisSinclair(), {"element": "Mo", "max_steps": 2, "neb": "never"}, ["not_converged"]),
        (Tilted(), {"element": "Mo", "neb": "never"}, ["unequal_ends"]),
        (FinnisSinclair(), {"element": "Mo", "neb": "always", "neb_fmax": 0.5}, ["perpendicular_force"]),
    ],
)
def test_what_a_reader_has_to_know_is_flagged(calculator: Calculator, inputs: dict[str, Any], names: list[str]) -> None:
    assert flag_names(migration(calculator, size=3, **inputs)) == names


def test_a_path_that_goes_down_is_not_usable() -> None:
    result = migration(FinnisSinclair(), element="Mo", size=3, neb="never")
    (flag,) = _flags(result.model_copy(update={"barrier": -0.1}))
    assert flag.name == "no_barrier"
    assert flag.unusable


def test_an_unfinished_band_goes_on() -> None:
    """A job that ends within the band: the next one starts from its images."""

    class OverError(Exception):
        pass

    def stop(stage: str, step: int, total: int) -> None:
        if stage == "band" and step == 7:
            raise OverError

    prop, notebook = properties.get("vacancy_migration"), Notebook()
    inputs = {"element": "Mo", "size": 3, "neb": "always", "neb_fmax": 0.01}
    with pytest.raises(OverError):
        properties.compute(prop, inputs, FinnisSinclair(), Journal(stop, notebook), propagate=(OverError,))
    assert notebook.steps["band so far"]["iterations"] == 5
    spent = notebook.cost.force_calls
    kept = Notebook.model_validate_json(notebook.model_dump_json())
    record, _ = properties.compute(prop, inputs, FinnisSinclair(), Journal(notebook=kept))
    assert record.result is not None
    assert record.result["barrier_neb"] == pytest.approx(1.3134, abs=1e-3)
    assert record.force_calls - spent < 40


def test_a_lattice_without_the_symmetry_is_refused() -> None:
    with pytest.raises(ValueError, match="choose bcc or fcc"):
        properties.parse_inputs(properties.get("vacancy_migration"), {"element": "Si", "structure": "diamond"})
