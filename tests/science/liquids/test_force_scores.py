"""Force tests from probes to checks: a pair liquid that is right, and others that are wrong in known ways."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read
from scipy.spatial.transform import Rotation

from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, STRESS
from aiida_mlip.science.liquids.force_errors import Pairs, without_constants
from aiida_mlip.science.liquids.force_plan import ForceTestPlan
from aiida_mlip.science.liquids.force_probes import Wanted, plan_probes
from aiida_mlip.science.liquids.force_results import ForceTestResult
from aiida_mlip.science.liquids.force_scores import ForceLimits, Reference, labels_by_probe, score
from aiida_mlip.science.liquids.packing import pack
from aiida_mlip.science.origin import Origin, set_origin

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 2.5)
WANTED = Wanted(
    configurations=4, densities=DENSITIES, pairs=2, shifts=(-1.5, -1.0, -0.6, -0.3, 0.0, 0.5, 1.0, 3.0, 8.0)
)
LIMITS = ForceLimits()
Labels = dict[int, Atoms]


def pair_liquid() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pair_liquid", Path(__file__).parent / "pair_liquid.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def box(seed: int, ions: int = 0) -> Atoms:
    """Eight molecules of two kinds on a wobbly grid, turned at random, wrapped, atoms in any order."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(cell=[8.6, 9.0, 8.2], pbc=True)
    spots = [(x, y, z) for x in (0.05, 0.55) for y in (0.02, 0.52) for z in (0.98, 0.48)]
    for number, spot in enumerate(spots):
        part = molecule("CH3OH" if number % 2 else "H2CO")
        part.positions += rng.normal(scale=0.03, size=part.positions.shape) - part.get_center_of_mass()
        turn = Rotation.random(random_state=rng).as_matrix()
        part.positions = part.positions @ turn.T + (np.array(spot) + rng.normal(scale=0.02, size=3)) @ atoms.cell.array
        atoms += part
    for number in range(ions):
        atoms += Atoms("Li", [np.array([0.3, 0.27, 0.23 + 0.5 * number]) @ atoms.cell.array])
    atoms = atoms[rng.permutation(len(atoms))]
    atoms.wrap()
    return atoms


def label_with(frames: Iterable[Atoms], calculator: Any) -> Labels:
    found = {}
    for index, frame in enumerate(frames):
        atoms, labelled = frame.copy(), frame.copy()
        atoms.calc = calculator
        labelled.info[ENERGY], labelled.arrays[FORCES] = atoms.get_potential_energy(), atoms.get_forces()
        if atoms.pbc.all():
            labelled.info[STRESS] = atoms.get_stress()
        found[index] = labelled
    return found


Made = tuple[list[Atoms], ForceTestPlan, Labels]


@pytest.fixture(scope="module")
def made() -> Made:
    frames, plan = plan_probes([box(seed) for seed in range(4)], {"small": box(9)}, WANTED)
    return frames, plan, label_with(frames, pair_liquid().PairLiquid())


@pytest.fixture(scope="module")
def judge(made: Made) -> Callable[..., ForceTestResult]:
    frames, plan, truth = made

    def run(**parameters: Any) -> ForceTestResult:
        predicted = label_with(frames, pair_liquid().PairLiquid(**parameters))
        return score(plan, predicted, Reference(truth, "pairs"), LIMITS)[0]

    return run


def statuses(result: ForceTestResult) -> dict[str, str]:
    return {check.check: check.status for check in result.checks}


def relative(result: ForceTestResult) -> dict[tuple[str, str], float | None]:
    return {(row.part, row.quantity): row.relative for row in result.errors}


def test_probes_are_all_that_is_needed_once(made: Made) -> None:
    frames, plan, _ = made
    assert plan.probes == len(frames)
    assert [part.source for part in plan.configurations] == list(range(4))
    kinds = [frame.info[CONFIG_TYPE] for frame in frames]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "configuration": 4, "molecule": 4 * 8 + 8, "volume_scan": 11,
        "dimer": sum(len(dimer.points) for dimer in plan.dimers),
    }  # fmt: skip
    assert not any(frame.pbc.any() for frame, kind in zip(frames, kinds, strict=True) if kind in ("molecule", "dimer"))
    again, same = plan_probes([box(0), box(0)], {}, WANTED)
    assert len({part.probe for part in same.configurations}) == 1
    assert len(again) < len(frames)
    assert [scan.name for scan in same.scans] == ["configuration_0"]
    clusters, other = plan_probes([Atoms(box(0).numbers, box(0).positions + 0.0)], {}, WANTED)
    assert other.scans == ()
    assert any("no volume scan" in note for note in other.notes)
    assert clusters
    with pytest.raises(ValueError, match="nothing to test"):
        plan_probes([molecule("H2O")], {}, WANTED)


def test_old_labels_and_names_do_not_travel() -> None:
    start = box(1)
    start.info[ENERGY], start.arrays[FORCES] = -3.0, np.ones((len(start), 3))
    frames, _ = plan_probes([start], {}, WANTED)
    assert ENERGY not in frames[0].info
    assert FORCES not in frames[0].arrays
    assert start.info[ENERGY] == -3.0


def test_the_reference_agrees_with_itself(made: Made) -> None:
    _, plan, truth = made
    result, curves = score(plan, truth, Reference(truth, "pairs"), LIMITS)
    found = statuses(result)
    assert found.pop("volume_stress") == "inconclusive"  # densities are far apart for so narrow a well
    assert set(found.values()) == {"pass"}
    assert set(relative(result).values()) == {0.0}
    assert len(result.errors) == 6 + 3 + 3
    assert result.failed_predicted == result.failed_true == 0
    total = curves["parity_total_forces_true"]
    for parts in (("intra", "inter"), ("trans", "rot", "vib")):
        np.testing.assert_allclose(sum(curves[f"parity_{part}_forces_true"] for part in parts), total, atol=1e-9)
    energies = [curves[f"parity_{part}_energies_predicted"] for part in ("intra", "inter", "total")]
    np.testing.assert_allclose(energies[0] + energies[1], energies[2], atol=1e-8)
    assert len(curves["scan_small_predicted"]) == len(DENSITIES)
    ForceTestResult.model_validate(result.model_dump(mode="json"))


def test_a_scaled_potential_has_errors_as_large_as_the_scale(judge: Callable[..., ForceTestResult]) -> None:
    good, bad = judge(epsilon=0.012 * 1.1), judge(epsilon=0.012 * 1.5)
    for (part, quantity), value in relative(good).items():
        if quantity == "forces":
            assert value == pytest.approx(0.1, rel=0.02), part
    assert relative(bad)["inter", "forces"] == pytest.approx(0.5, rel=0.02)
    assert statuses(good)["forces_inter"] == statuses(good)["volume_depth"] == "pass"
    assert statuses(bad)["forces_inter"] == statuses(bad)["volume_depth"] == "fail"
    assert statuses(bad)["volume_position"] == statuses(bad)["dimer_holes"] == "pass"
    (scan,) = bad.scans
    assert scan.predicted is not None
    assert scan.true is not None
    assert scan.predicted.depth == pytest.approx(1.5 * scan.true.depth, rel=1e-6)


def test_a_potential_with_a_hole_fails(judge: Callable[..., ForceTestResult]) -> None:
    result = judge(hole=12.0)
    found = statuses(result)
    assert found["dimer_holes"] == "fail"
    assert found["volume_wall"] == "fail"
    assert found["momentum"] == "pass"
    assert [bool(dimer.hole) for dimer in result.dimers] == [True, True]


def test_forces_of_no_energy_are_found(judge: Callable[..., ForceTestResult]) -> None:
    result = judge(push=0.02)
    assert statuses(result)["momentum"] == "fail"
    found = next(check for check in result.checks if check.check == "momentum")
    assert found.value is not None
    assert found.value >= 0.08 - 1e-9  # on the four atoms of formaldehyde


def test_without_a_reference_only_what_needs_none_is_tested(made: Made) -> None:
    _, plan, labels = made
    result, curves = score(plan, labels, None, LIMITS)
    assert set(statuses(result)) == {
        "momentum", "volume_well", "volume_wall", "volume_smooth", "volume_free_molecules", "volume_stress",
        "dimer_holes",
    }  # fmt: skip
    assert all(check.aspect == "stability" for check in result.checks)
    assert result.errors == ()
    assert result.level_of_theory == "none"
    assert result.failed_true is None
    assert not any(name.endswith("_true") for name in curves)


def test_labels_that_configurations_carry_give_errors_of_the_whole_only(made: Made) -> None:
    frames, plan, truth = made
    carried = {part.probe: truth[part.probe] for part in plan.configurations}
    predicted = label_with(frames, pair_liquid().PairLiquid(epsilon=0.0132))
    result, _ = score(plan, predicted, Reference(carried, "pairs", complete=False), LIMITS)
    assert set(relative(result)) == {
        *((part, "forces") for part in ("total", "trans", "rot", "vib")), ("total", "energy"), ("total", "virial"),
    }  # fmt: skip
    assert relative(result)["total", "energy"] == pytest.approx(0.1, rel=0.01)
    assert "forces_inter" not in statuses(result)
    assert any("molecules alone have none" in note for note in result.notes)
    assert result.scans[0].true is None


def test_labels_that_failed_are_counted_and_left_out(made: Made) -> None:
    _, plan, truth = made
    lost = {plan.configurations[0].probe, plan.configurations[1].molecules[2].probe, plan.scans[0].points[-1].probe}
    some = {probe: atoms for probe, atoms in truth.items() if probe not in lost}
    result, _ = score(plan, some, Reference(truth, "pairs"), LIMITS)
    assert result.failed_predicted == 3
    assert {(row.part, row.count) for row in result.errors if row.quantity == "energy"} == {
        ("total", 2), ("intra", 2), ("inter", 2),
    }  # fmt: skip
    assert result.scans[0].missing_predicted == 1
    assert any("1 configurations lack a label" in note for note in result.notes)
    few = {probe: atoms for probe, atoms in truth.items() if probe not in {p.probe for p in plan.configurations[1:]}}
    result, _ = score(plan, few, Reference(truth, "pairs"), LIMITS)
    check = next(check for check in result.checks if check.check == "energies_inter")
    assert check.status == "inconclusive"
    assert check.missing.startswith("3 configurations")


def test_ions_cost_a_constant_each() -> None:
    """The reference counts 5 eV for each lithium that is in the liquid: not an error."""
    configurations = [box(seed, ions=1 + seed % 2) for seed in range(5)]
    frames, plan = plan_probes(configurations, {}, Wanted(configurations=5))
    predicted = label_with(frames, pair_liquid().PairLiquid())
    truth = {probe: atoms.copy() for probe, atoms in predicted.items()}
    for atoms in truth.values():
        if len(atoms) > 1:
            atoms.info[ENERGY] -= 5.0 * (atoms.numbers == 3).sum()
    result, _ = score(plan, predicted, Reference(truth, "pairs"), LIMITS)
    rows = {(row.part, row.quantity): row for row in result.errors}
    assert rows["inter", "energy"].rmse == pytest.approx(0.0, abs=1e-6)
    assert rows["inter", "energy"].std > 0.05
    assert result.with_ions == 5
    assert any("ions and radicals are neutral" in note for note in result.notes)


def test_constants_are_removed_only_where_there_are_molecules_of_the_kind() -> None:
    counts = np.array([[0.0], [1.0], [2.0], [3.0]])
    energies = np.array([[7.0, 5.1, 10.0, 14.9], [7.0, 1.0, 2.0, 3.0]])
    left = without_constants(counts, energies)
    np.testing.assert_allclose(left[:, 0], 7.0)
    np.testing.assert_allclose(left[1, 1:], 0.0, atol=1e-12)
    assert np.abs(left[0, 1:]).max() < 0.15
    assert np.isnan(without_constants(counts[:2], energies[:, :2])[:, 1]).all()


def test_uncertainties_that_frames_carry_are_ranked_with_their_errors(made: Made) -> None:
    frames, plan, truth = made
    predicted = label_with(frames, pair_liquid().PairLiquid(epsilon=0.015))
    for part in plan.configurations:
        error = np.linalg.norm(predicted[part.probe].arrays[FORCES] - truth[part.probe].arrays[FORCES], axis=1).max()
        origin = Origin(kind="md", max_forces_sigma=float(error) ** 2)
        predicted[part.probe] = set_origin(predicted[part.probe], origin)
    result, _ = score(plan, predicted, Reference(truth, "pairs"), LIMITS)
    assert result.sigma_correlation == pytest.approx(1.0)


def test_labels_find_their_probes() -> None:
    frames = [Atoms("H", [[float(index), 0, 0]]) for index in (0, 2, 3)]
    found = labels_by_probe([*frames, Atoms("C")], [1], asked=5, probes=4)
    assert {probe: atoms.positions[0, 0] for probe, atoms in found.items()} == {0: 0.0, 2: 2.0, 3: 3.0}
    with pytest.raises(ValueError, match="labels: 3 for 4 asked and 0 failed"):
        labels_by_probe(frames, [], asked=4, probes=4)


def gfn(frames: list[Atoms], method: str) -> Labels:
    tblite = pytest.importorskip("tblite.ase", reason="needs tblite: pip install tblite")
    return label_with(frames, tblite.TBLite(method=method, verbosity=0))


def test_gfn2_of_a_pair_of_solvents_against_gfn1(repository: Path) -> None:
    """EC next to EMC in vacuum: two levels of theory agree on the wall and on most of the forces."""
    pair = read(repository / "examples" / "data" / "solvents.xyz", 2)
    wanted = Wanted(configurations=1, pairs=1, shifts=(-2.4, -2.0, -1.6, -1.2, -0.8, -0.4, 0.0, 1.0, 4.0))
    frames, plan = plan_probes([pair], {}, wanted)
    result, _ = score(plan, gfn(frames, "GFN1-xTB"), Reference(gfn(frames, "GFN2-xTB"), "GFN2-xTB"), LIMITS)
    assert sorted(part.formula for part in plan.configurations[0].molecules) == ["C3H4O3", "C4H8O3"]
    found = statuses(result)
    assert found["momentum"] == found["dimer_holes"] == "pass"
    assert found["energies_inter"] == "inconclusive"
    rows = relative(result)
    assert 0.05 < (rows["inter", "forces"] or 0.0) < 0.6
    (curve,) = result.dimers
    assert curve.depth_true == pytest.approx(0.2, abs=0.15)
    assert curve.depth == pytest.approx(curve.depth_true, abs=0.1)


@pytest.mark.slow
def test_a_volume_scan_of_solvents_with_gfn2() -> None:
    start = pack({"EC": 1, "EMC": 2}, 1.1, 2.0, 1)
    wanted = Wanted(configurations=0, densities=(0.05, 0.4, 0.8, 1.0, 1.2, 1.6, 2.0))
    frames, plan = plan_probes([], {"box": start}, wanted)
    result, _ = score(plan, gfn(frames, "GFN2-xTB"), None, LIMITS)
    found = statuses(result)
    assert found["volume_well"] == found["volume_wall"] == found["volume_smooth"] == "pass"
    assert found["volume_free_molecules"] in ("pass", "inconclusive")
    (scan,) = result.scans
    assert scan.predicted is not None
    assert 0.6 < scan.predicted.density < 1.3


def test_what_is_zero_by_construction_has_no_error() -> None:
    nothing = Pairs(np.array([1e-14]), np.array([-2e-14]))
    assert nothing.error("intra", "energy") is None
    found = Pairs(np.array([0.5, np.nan, 1.0]), np.array([0.0, 2.0, 1.0])).error("intra", "energy")
    assert found is not None
    assert found.count == 2
    assert found.rmse == pytest.approx(np.sqrt(0.125))
