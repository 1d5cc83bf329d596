"""The audit: clean data give no errors; each defect put in on purpose is found on its frames and on no others."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit import CHECKS, AuditReport, AuditSettings, Baseline, Severity, audit
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.reading import read_labelled

_SPEC = importlib.util.spec_from_file_location("defects", Path(__file__).with_name("defects.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
defects = importlib.util.module_from_spec(_SPEC)
sys.modules["defects"] = defects
_SPEC.loader.exec_module(defects)


def found(report: AuditReport, check: str, severity: str) -> list[int]:
    """Return the frames of all findings of a check with this severity."""
    return sorted(
        {i for item in report.findings if (item.check, item.severity) == (check, severity) for i in item.frames}
    )


def test_clean_and_varied_data_give_no_errors(clean):
    report = audit(clean)
    assert report.errors == ()
    assert report.ok(strict=True)
    assert {item.check for item in report.warnings} <= {"close_atoms"}
    assert report.checks == tuple(CHECKS)


@pytest.mark.parametrize("defect", defects.DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_is_found_on_its_frames_and_no_others(clean, defect):
    expected = sorted(defect.inject(clean))
    report = audit(clean)
    assert found(report, defect.check, defect.severity) == expected
    for item in report.findings:
        assert item.message
        assert item.remedy
    assert report.ok(strict=True) == (not report.errors)
    if defect.severity == "error":
        assert not report.ok(strict=True)
        assert report.ok(strict=False)


def baseline_of(frames: list[Atoms]) -> Baseline:
    """Return what a potential of another level of theory would say: other atomic energies, and errors of 10%."""
    rng = np.random.default_rng(11)
    energies, forces, stresses = [], [], []
    for atoms in frames:
        work = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        work.calc = EMT()
        n_cu = np.count_nonzero(atoms.numbers == 29)
        error = 0.01 * len(atoms) * rng.normal()
        energies.append(work.get_potential_energy() - 3.1 * n_cu - 2.7 * (len(atoms) - n_cu) + error)
        exact = work.get_forces()
        forces.append(0.9 * exact + 0.05 * rng.normal(size=exact.shape))
        stresses.append(0.9 * work.get_stress() if atoms.pbc.all() else np.full(6, np.nan))
    return Baseline(np.array(energies), forces, np.array(stresses), name="a foundation model")


def test_clean_data_agree_with_a_baseline_of_another_level_of_theory(clean):
    report = audit(clean, baseline=baseline_of(clean))
    assert report.errors == ()


@pytest.mark.parametrize(
    "name",
    [
        "gradients_in_a_type",
        "hartree_per_bohr",
        "other_functional",
        "wrong_sign",
        "gpa",
        "minus_kbar",
        "virial",
        "wrong_sign_of_single_frames",
        "energy_outlier",
    ],
)
def test_a_baseline_finds_the_same_defects(clean, name):
    baseline = baseline_of(clean)
    (defect,) = (item for item in defects.DEFECTS if item.inject.__name__ == name)
    expected = sorted(defect.inject(clean))
    report = audit(clean, baseline=baseline)
    assert found(report, defect.check, defect.severity) == expected
    assert any("a foundation model" in item.message for item in report.errors if item.check == defect.check) or (
        defect.name.startswith("stress") and report.errors
    )


def test_energies_in_another_unit_show_against_a_baseline(clean):
    baseline = baseline_of(clean)
    for atoms in clean:
        atoms.info[keys.ENERGY] *= 23.0605
        atoms.arrays[keys.FORCES] *= 23.0605
    report = audit(clean, baseline=baseline, only=["units"])
    assert "kcal/mol" in report.text()
    assert report.errors


def trajectory(n: int) -> list[Atoms]:
    """Return frames of copper at one volume, each 20 fs of dynamics after the other, with total energies as labels."""
    atoms = bulk("Cu", "fcc", a=3.61, cubic=True) * (2, 2, 1)
    atoms.positions += np.random.default_rng(1).normal(scale=0.05, size=atoms.positions.shape)
    atoms.calc = EMT()
    atoms.set_momenta(np.random.default_rng(2).normal(scale=1.5, size=atoms.positions.shape))
    dynamics = VelocityVerlet(atoms, 4 * units.fs)
    frames = []
    for _ in range(n):
        dynamics.run(5)
        frame = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
        frame.info |= {keys.ENERGY: atoms.get_potential_energy(), keys.STRESS: atoms.get_stress()}
        frame.info["total"] = atoms.get_total_energy()
        frame.arrays[keys.FORCES] = atoms.get_forces()
        frames.append(frame)
    return frames


def test_a_clean_trajectory_has_no_errors_and_total_energies_are_seen():
    frames = trajectory(60)
    assert audit(frames).errors == ()
    for atoms in frames:
        atoms.info[keys.ENERGY] = atoms.info["total"]
    (finding,) = audit(frames, only=["units"]).errors
    assert "nothing to do with the forces" in finding.message


def test_leakage_between_two_sets_is_found(clean):
    rng = np.random.default_rng(2)
    test_set = [clean[30].copy(), clean[60].copy(), clean[0].copy()]
    test_set[1].positions += rng.normal(scale=0.004, size=test_set[1].positions.shape)
    report = audit(clean, against=test_set, only=["leakage"])
    assert found(report, "leakage", "error") == [30]
    assert found(report, "leakage", "warning") == [60]
    assert audit(clean[:60], against=clean[70:], only=["leakage"]).findings == ()


def test_groups_in_both_sets_are_leakage(clean):
    volumes = [i for i, atoms in enumerate(clean) if atoms.info.get(keys.GROUP) == "volumes-Cu"]
    rest = [atoms for i, atoms in enumerate(clean) if i not in volumes[:3]]
    report = audit([clean[i] for i in volumes[:3]], against=rest, only=["leakage"])
    assert found(report, "leakage", "warning") == [0, 1, 2]


def test_expected_configuration_types_that_are_absent_are_errors(clean):
    settings = AuditSettings(expected_config_types=("vacancy", "interstitial"))
    (finding,) = audit(clean, settings=settings, only=["missing_config_types"]).errors
    assert "'interstitial'" in finding.message
    assert "'vacancy'" not in finding.message.split("found are")[0]


def test_lengths_in_bohr_are_suspected(clean):
    for atoms in clean:
        atoms.set_cell(atoms.cell.array * 1.8897, scale_atoms=True)
    messages = [item.message for item in audit(clean, only=["close_atoms"]).warnings]
    assert any("bohr" in message for message in messages)


def test_a_few_volumes_of_one_cell_suffice_to_judge_the_stress(clean):
    volumes = [atoms for atoms in clean if atoms.info.get(keys.GROUP) == "volumes-Au"]
    report = audit(volumes, only=["stress_sign_or_unit"])
    assert report.findings == ()
    assert "stress_sign_or_unit" not in report.not_judged
    for atoms in volumes:
        atoms.info[keys.STRESS] = -atoms.info[keys.STRESS]
    (finding,) = audit(volumes, only=["stress_sign_or_unit"]).errors
    assert "wrong sign" in finding.message
    assert finding.frames == tuple(range(len(volumes)))


def test_what_cannot_be_judged_is_said(clean):
    report = audit(clean[2:5])
    assert {"units", "energy_consistency", "leakage"} <= set(report.not_judged)
    assert "not judged" in report.text()


def test_the_report_survives_json_and_reads_as_text(clean):
    expected = defects.gpa(clean)
    report = audit(clean)
    assert AuditReport.model_validate_json(report.model_dump_json()) == report
    text = report.text(width=90)
    assert "ERROR" in text
    assert "What to do" in text
    assert all(len(line) <= 90 for line in text.splitlines() if line.startswith("    "))
    assert report.frames("stress_sign_or_unit") == tuple(expected)
    assert report.findings[0].severity == Severity.ERROR


def test_the_input_is_not_changed(clean):
    before = [atoms.copy() for atoms in clean]
    audit(clean)
    for one, other in zip(before, clean, strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert one.info.keys() == other.info.keys()


def test_wrong_arguments_are_refused(clean):
    with pytest.raises(DatasetError, match="empty"):
        audit([])
    with pytest.raises(DatasetError, match="unknown"):
        audit(clean, only=["typos"])
    with pytest.raises(DatasetError, match=r"baseline\.energies"):
        audit(clean, baseline=Baseline(np.zeros(3)))


def test_the_tungsten_data_of_the_examples_have_no_errors():
    path = Path(__file__).parents[3] / "examples" / "data" / "tungsten.xyz"
    report = audit(list(read_labelled(path)))
    assert report.errors == ()
    assert report.not_judged.keys() == {"leakage"}


@pytest.mark.parametrize(("error", "severity"), [(0.06, "warning"), (0.3, "error")])
def test_the_first_frame_of_a_kind_may_be_one_that_the_baseline_gets_wrong(error: float, severity: str) -> None:
    """Forty strained crystals say nothing about a vacancy: a foundation model may be off by 0.1 eV/atom for it."""
    rng = np.random.default_rng(5)
    frames = [bulk("Cu", "fcc", a=3.61, cubic=True) for _ in range(40)]
    for atoms in frames:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
    vacancy = (bulk("Cu", "fcc", a=3.61, cubic=True) * (2, 1, 1))[1:]
    vacancy.positions += rng.normal(scale=0.03, size=vacancy.positions.shape)
    frames.append(vacancy)
    energies, forces, stresses = [], [], []
    for index, atoms in enumerate(frames):
        atoms.calc = EMT()
        atoms.info |= {keys.ENERGY: atoms.get_potential_energy(), keys.STRESS: atoms.get_stress()}
        atoms.info[keys.CONFIG_TYPE] = "vacancy" if atoms is vacancy else "strained"
        atoms.arrays[keys.FORCES] = atoms.get_forces()
        wrong = error if atoms is vacancy else rng.normal(scale=2e-3)
        energies.append(atoms.info[keys.ENERGY] + wrong * len(atoms))
        forces.append(0.95 * atoms.get_forces())
        stresses.append(0.95 * atoms.get_stress())
        frames[index].calc = None
    report = audit(frames, baseline=Baseline(np.array(energies), forces, np.array(stresses), name="a foundation model"))
    assert found(report, "energy_outliers", severity) == [40]
    assert report.ok(strict=True) == (severity == "warning")
