"""Self-interstitials: recognised in any frame, followed off saddles, against a plain script, and flagged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.optimize import FIRE

from aiida_mlip.science import properties
from aiida_mlip.science.properties import Journal, Notebook
from aiida_mlip.science.properties._interstitial_search import InterstitialInCell
from aiida_mlip.science.properties._interstitials import LABELS, identify, interstitial_cell, nearest_direction
from aiida_mlip.science.properties.interstitial import InterstitialResult, _flags
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair


def interstitial(calculator: Any, **inputs: Any) -> InterstitialResult:
    record, _ = properties.compute(properties.get("interstitial"), inputs, calculator)
    assert record.error is None, record.error
    return InterstitialResult.model_validate(record.result)


def flag_names(result: InterstitialResult) -> list[str]:
    return [flag.name for flag in result.flags]


def in_another_frame(atoms: Atoms, seed: int) -> Atoms:
    """Return the same structure turned, shifted, and with its atoms in another order."""
    rng = np.random.default_rng(seed)
    turned = atoms[rng.permutation(len(atoms))]
    turned.positions += rng.normal(size=3)
    turned.rotate(rng.uniform(10, 170), rng.normal(size=3), rotate_cell=True)
    turned.wrap()
    return turned


@pytest.mark.parametrize("structure", ["bcc", "fcc"])
@pytest.mark.parametrize("kind", LABELS)
def test_each_configuration_is_recognised_in_any_frame(structure: Any, kind: Any) -> None:
    size = 3
    atoms = interstitial_cell("W", structure, 3.165, size, kind)
    atoms.positions += np.random.default_rng(2).normal(scale=0.01, size=atoms.positions.shape)
    for seed in range(3):
        found = identify(in_another_frame(atoms, seed), structure, size)
        assert found.kind == kind
        assert found.vacant == 0
        assert found.separation == pytest.approx(identify(atoms, structure, size).separation)
        if kind in {"111", "110", "100"}:
            assert found.angle < 2


def test_an_empty_site_is_counted() -> None:
    atoms = interstitial_cell("W", "bcc", 3.165, 4, "110")
    far = int(np.argmax(np.linalg.norm(atoms.positions - atoms.positions[-1], axis=1)))
    atoms.positions[far] += 0.3 * 3.165 * np.array([1.0, 0.0, 0.0])
    assert identify(atoms, "bcc", 4).vacant == 0
    atoms.positions[far] = atoms.positions[-1] + np.array([2.0, 0.0, 0.3])
    assert identify(in_another_frame(atoms, 5), "bcc", 4).vacant == 1


@pytest.mark.parametrize(
    ("axis", "name", "angle"),
    [((-1, 1, -1), "111", 0.0), ((0, -2, 0), "100", 0.0), ((1, 0, -1), "110", 0.0), ((2, 2, 1), "111", 15.79)],
)
def test_nearest_direction(axis: tuple[float, ...], name: str, angle: float) -> None:
    found, degrees = nearest_direction(axis)
    assert found == name
    assert degrees == pytest.approx(angle, abs=0.01)


def test_agrees_with_a_plain_ase_script() -> None:
    """E_f = E(N + 1) - (N + 1) / N E(N) of a crowdion of tungsten, relaxed by another optimiser."""
    result = interstitial(FinnisSinclair(), element="W", kinds=["crowdion"], sizes=[4], fmax=1e-3)
    start = interstitial_cell("W", "bcc", result.lattice_constant, 4, "crowdion")
    perfect = start[:-1]
    perfect.calc = FinnisSinclair()
    start.calc = FinnisSinclair()
    start.positions += np.random.default_rng(9).normal(scale=0.01, size=start.positions.shape)
    assert FIRE(start, logfile=None).run(fmax=1e-3, steps=1000)
    n = len(perfect)
    plain = start.get_potential_energy() - (n + 1) / n * perfect.get_potential_energy()
    assert result.final == {"crowdion": "crowdion"}
    assert result.formation_energies["crowdion"] == pytest.approx(plain, abs=1e-3)
    assert result.lowest == result.formation_energies["crowdion"]
    assert flag_names(result) == []


def test_in_copper_the_dumbbell_along_100_is_lowest() -> None:
    """As in all common fcc metals."""
    result = interstitial(EMT(), element="Cu", structure="fcc", sizes=[3], kinds=["100", "octahedral"])
    assert result.lowest_kind == "100"
    assert result.final["100"] == "100"


def test_a_start_that_ends_elsewhere_is_recognised_as_such() -> None:
    """Finnis-Sinclair tungsten has no stable <100> dumbbell: it ends as the crowdion, and is not called <100>."""
    record, structures = properties.compute(
        properties.get("interstitial"), {"element": "W", "kinds": ["100", "crowdion"], "sizes": [4]}, FinnisSinclair()
    )
    result = InterstitialResult.model_validate(record.result)
    assert result.final == {"100": "crowdion", "crowdion": "crowdion"}
    assert flag_names(result) == ["relaxed_to_other"]
    labels = {quantity.key: quantity.label for quantity in record.quantities}
    assert labels["interstitial_formation_100"] == "E_f (<100> dumbbell, ended as crowdion)"
    assert record.usable()
    for atoms in structures:
        atoms.calc = FinnisSinclair()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.01


def test_a_saddle_does_not_pass_for_stable() -> None:
    """The <100> dumbbell of Finnis-Sinclair tungsten: forces vanish, but 0.75 eV lower lies the crowdion."""
    inputs = {"element": "W", "kinds": ["100"], "sizes": [4], "noise": 0.005}
    careless = interstitial(FinnisSinclair(), check_stability=False, **inputs)
    careful = interstitial(FinnisSinclair(), **inputs)
    assert careless.final["100"] == "100"
    assert careless.cells[0].converged
    assert careful.final["100"] == "crowdion"
    assert careful.lowest < careless.lowest - 0.7
    assert careful.cells[0].rounds == 2
    assert careful.cells[0].curvature > 0


def test_falling_onto_a_known_minimum_saves_calls_and_changes_little() -> None:
    prop = properties.get("interstitial")
    results, calls = [], []
    for stop in (True, False):
        inputs = {"element": "W", "kinds": ["crowdion", "111", "110"], "sizes": [4], "stop_at_known": stop}
        record, structures = properties.compute(prop, inputs, FinnisSinclair())
        results.append(InterstitialResult.model_validate(record.result))
        calls.append(record.force_calls)
        assert len(structures) == (1 if stop else 3)
    assert calls[0] < 0.8 * calls[1]
    assert [cell.ended_on for cell in results[0].cells] == [None, "crowdion", "crowdion"]
    for kind in ("111", "110"):
        assert results[1].final[kind] == results[0].final[kind]
        assert results[1].formation_energies[kind] == pytest.approx(results[0].formation_energies[kind], abs=0.002)


def test_correction_brings_cells_together() -> None:
    """An interstitial expands the crystal; without the pressure of its images the cells agree much better."""
    result = interstitial(FinnisSinclair(), element="W", kinds=["crowdion"], sizes=[5, 6])
    small, large = result.cells
    assert (small.size, large.size) == (5, 6)
    assert small.pressure > 0
    assert small.relaxation_volume == pytest.approx(large.relaxation_volume, rel=0.05)
    assert abs(small.corrected - large.corrected) < 0.3 * abs(small.formation_energy - large.formation_energy)
    assert flag_names(result) == ["size_dependent"]


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ({"element": "Mo", "kinds": ["110"]}, ["tilted_axis"]),
        ({"element": "Mo", "kinds": ["100"], "sizes": [4, 5]}, ["size_dependent"]),
        ({"element": "Ta", "kinds": ["octahedral"]}, ["relaxed_to_other"]),
    ],
)
def test_what_a_reader_has_to_know_is_flagged(inputs: dict[str, Any], names: list[str]) -> None:
    assert flag_names(interstitial(FinnisSinclair(), **inputs)) == names


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"collapsed": True, "final": "110"}, ["collapsed"]),
        ({"vacant": 1}, ["atom_left"]),
        ({"formation_energy": -0.2}, ["negative_energy"]),
        ({"curvature": -0.4}, ["unstable"]),
        ({"converged": False, "fmax": 0.3}, ["not_converged"]),
        ({}, []),
    ],
)
def test_flags_of_one_configuration(changes: dict[str, Any], names: list[str]) -> None:
    sound = {
        "size": 4, "atoms": 129, "formation_energy": 9.0, "corrected": 8.9, "pressure": 3.0, "relaxation_volume": 1.2,
        "fmax": 0.005, "steps": 30, "converged": True, "requested": "111", "final": "111", "axis": (0.58, 0.58, 0.58),
        "angle": 0.0, "separation": 2.3, "vacant": 0, "curvature": 0.9, "rounds": 1, "ended_on": None,
        "collapsed": False,
    }  # fmt: skip
    cell = InterstitialInCell.model_validate(sound | changes)
    assert [flag.name for flag in _flags("111", [cell])] == names
    assert cell.usable() == (not {"collapsed", "atom_left", "not_converged"} & set(names))


def test_a_collapse_is_an_error_in_words() -> None:
    """Finnis-Sinclair niobium has no repulsion at short distances."""
    record, _ = properties.compute(
        properties.get("interstitial"), {"element": "Nb", "kinds": ["111", "110"], "sizes": [3]}, FinnisSinclair()
    )
    assert record.error is not None
    assert "<111> dumbbell: atoms came within" in record.error.message
    assert "not repulsive enough" in record.error.message


def test_too_few_steps_are_an_error_in_words() -> None:
    inputs = {"element": "W", "kinds": ["110"], "sizes": [3], "max_steps": 4}
    record, _ = properties.compute(properties.get("interstitial"), inputs, FinnisSinclair())
    assert record.error is not None
    assert "give more max_steps" in record.error.message


def test_an_unfinished_relaxation_goes_on() -> None:
    """A job that ends within a relaxation: the next one starts from its positions, not from the beginning."""

    class OverError(Exception):
        pass

    def stop(stage: str, step: int, total: int) -> None:
        if stage.startswith("tetrahedral") and step == 45:
            raise OverError

    prop, notebook = properties.get("interstitial"), Notebook()
    inputs = {"element": "W", "kinds": ["crowdion", "tetrahedral"], "sizes": [4]}
    with pytest.raises(OverError):
        properties.compute(prop, inputs, FinnisSinclair(), Journal(stop, notebook), propagate=(OverError,))
    assert "crowdion 4x4x4" in notebook.steps
    assert notebook.steps["tetrahedral 4x4x4 round 0 so far"]["steps"] == 40
    kept = Notebook.model_validate_json(notebook.model_dump_json())
    seen: list[tuple[str, int]] = []
    journal = Journal(lambda stage, step, total: seen.append((stage, step)), kept)
    record, _ = properties.compute(prop, inputs, FinnisSinclair(), journal)
    assert record.result is not None
    assert record.result["final"]["tetrahedral"] == "crowdion"
    assert seen[0] == ("tetrahedral 4x4x4 round 0", 40)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"structure": "diamond"}, "choose bcc or fcc"),
        ({"sizes": [1]}, "sizes of at least 2"),
        ({"kinds": ["111", "111"]}, "named twice"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["112"]}, "kinds"),
        ({"noise": 0.0}, "noise"),
    ],
)
def test_wrong_inputs_are_refused_in_words(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        properties.parse_inputs(properties.get("interstitial"), {"element": "W", **inputs})


def test_other_seeds_find_the_same_minimum() -> None:
    calculator: Calculator = FinnisSinclair()
    energies = [interstitial(calculator, element="W", kinds=["110"], seed=seed).lowest for seed in (1, 2, 3)]
    assert energies == pytest.approx([energies[0]] * 3, abs=2e-3)


def test_two_minima_of_one_kind_are_kept_apart() -> None:
    """Dumbbells of Finnis-Sinclair molybdenum tilt from <110> by 8 or by 14 degrees; the latter is lower."""
    result = interstitial(FinnisSinclair(), element="Mo", kinds=["111", "110"], sizes=[4])
    first, second = result.cells
    assert (first.final, second.final) == ("110", "110")
    assert second.ended_on is None
    assert first.angle == pytest.approx(8, abs=1)
    assert second.angle == pytest.approx(14, abs=1)
    assert result.lowest == second.formation_energy < first.formation_energy - 0.01
