"""D3 that is added to potentials: against torch-dftd, finite differences, additivity, restarts, missing packages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.cell import Cell
from pydantic import ValidationError
from torch_dftd.torch_dftd3_calculator import TorchDFTD3Calculator

from aiida_mlip.schema.dispersion import Dispersion
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.datasets.canonical import write_extxyz
from aiida_mlip.science.keys import ENERGY, FORCES, STRESS
from aiida_mlip.science.labelling.address import potential_method
from aiida_mlip.science.trajectory import read_trajectory
from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel
from aiida_mlip.worker.backends import Potential, load_potential
from aiida_mlip.worker.context import Stopped
from aiida_mlip.worker.descriptors import describe, source_of
from aiida_mlip.worker.dispersion import D3
from aiida_mlip.worker.dynamics.checkpoint import read_checkpoint
from aiida_mlip.worker.dynamics.walker import Plan, WalkerRun
from aiida_mlip.worker.runner import run_job
from aiida_mlip.worker.uncertainty.dispersion import without_dispersion
from aiida_mlip.worker.uncertainty.load import estimator_of
from aiida_mlip.worker.versions import versions

SETTINGS = Dispersion(cutoff=12.0, coordination_cutoff=8.0)
"""Short, so that it is fast; the coordination number has no jumps within the strains below."""

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def triclinic() -> Atoms:
    """Three elements in a cell without symmetry, one atom outside of it."""
    rng = np.random.default_rng(3)
    cell = [[5.1, 0.3, 0.1], [1.2, 6.0, -0.4], [-0.7, 0.9, 5.6]]
    return Atoms("C3O3H4Li", rng.uniform(0.0, 5.0, (11, 3)) + np.array([0.0, 7.0, 0.0]), cell=cell, pbc=True)


def metal() -> Atoms:
    """A sheared, rattled cell of two elements."""
    atoms = bulk("Cu", "fcc", a=3.7, cubic=True)
    atoms.symbols[1] = "Ni"
    atoms.set_cell(
        atoms.cell @ (np.eye(3) + np.random.default_rng(2).normal(scale=0.03, size=(3, 3))), scale_atoms=True
    )
    atoms.rattle(0.1, seed=4)
    return atoms


def described(document: dict[str, Any], dispersion: Dispersion | None = SETTINGS) -> PotentialInfo:
    facts = {"elements": document["elements"], "r_max": 5.0, "dtype": "float64", "num_parameters": 0}
    if dispersion is not None:
        facts |= {"dispersion": dispersion, "dispersion_statement": "added"}
    return PotentialInfo(architecture=document["architecture"], **facts)


def load(folder: Path, document: dict[str, Any], dispersion: Dispersion | None = SETTINGS) -> Potential:
    path = folder / f"{abs(hash(json.dumps(document)))}.json"
    path.write_text(json.dumps(document))
    return load_potential(path, described(document, dispersion))


def lj(sigma: float = 2.3) -> dict[str, Any]:
    parameters = {"sigma": sigma, "epsilon": 0.4, "rc": 5.0, "smooth": True}
    return {"architecture": "lj", "elements": ["Ni", "Cu"], "parameters": parameters}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Potential, Potential]:
    """A potential without dispersion, and with it."""
    return load(tmp_path, lj(), None), load(tmp_path, lj())


class TestD3:
    @pytest.mark.parametrize(("method", "damping"), [("d3bj", "bj"), ("d3zero", "zero")])
    @pytest.mark.parametrize("functional", ["pbe", "pbe0"])
    def test_against_torch_dftd(self, method: str, damping: str, functional: str) -> None:
        """Two programs, one formula: a molecule, a dimer far from its minimum, and a periodic cell."""
        settings = Dispersion(
            method=method, functional=functional, smoothing=0.0, cutoff=10.0, coordination_cutoff=10.0
        )
        other = TorchDFTD3Calculator(damping=damping, xc=functional, cutoff=10.0, cnthr=10.0, dtype=torch.float64)
        dimer = molecule("C6H6")
        dimer += Atoms(molecule("H2O").symbols, molecule("H2O").positions + np.array([0.3, 0.2, 3.4]))
        for atoms in (molecule("CH3CONH2"), dimer, triclinic()):
            found = D3(settings).evaluate(atoms)
            atoms.calc = other
            assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=3e-6 * abs(found.energy))
            np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=2e-6)
            if found.stress is not None:
                np.testing.assert_allclose(found.stress, atoms.get_stress(), atol=1e-7)

    def test_published_argon_dimer(self) -> None:
        """Two free argon atoms: C6 = 64.6 in atomic units, and C8 = 3 <r4/r2> C6 (Grimme 2010) is what else is left."""
        distances = np.array([25.0, 38.0])
        d3 = D3(Dispersion(cutoff=60.0, smoothing=0.0))
        energies = np.array([d3.evaluate(Atoms("Ar2", [[0, 0, 0], [0, 0, r]])).energy for r in distances])
        bohr = distances / units.Bohr
        c6 = np.polyfit(bohr**-2, -energies / units.Hartree * bohr**6, 1)[1]
        assert c6 == pytest.approx(64.6, rel=0.002)

    @pytest.mark.parametrize("changes", [{}, {"method": "d3zero"}, {"three_body": True, "three_body_cutoff": 7.0}])
    def test_forces_and_stress_are_derivatives(self, changes: dict[str, Any]) -> None:
        d3, atoms, step = D3(SETTINGS.model_copy(update=changes)), triclinic(), 1e-4
        found = d3.evaluate(atoms)
        for atom, axis in ((0, 0), (4, 1), (10, 2)):
            energies = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * step
                energies.append(d3.evaluate(moved).energy)
            assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(found.forces[atom, axis], abs=2e-6)
        for index, (i, k) in enumerate(VOIGT):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, k] += sign * step / 2
                strain[k, i] += sign * step / 2
                strained = atoms.copy()
                strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                energies.append(d3.evaluate(strained).energy)
            slope = (energies[0] - energies[1]) / (2 * step) / atoms.cell.volume
            assert found.stress[index] == pytest.approx(slope, abs=2e-6)

    def test_a_pair_ends_smoothly(self) -> None:
        """With smoothing the energy of a pair does not jump at the cut-off; without it does."""
        energies = {}
        for smoothing in (0.0, 3.0):
            d3 = D3(Dispersion(cutoff=9.0, smoothing=smoothing))
            pairs = [Atoms("Ar2", [[0, 0, 0], [0, 0, 9.0 + shift]]) for shift in (-1e-6, 1e-6)]
            energies[smoothing] = [d3.evaluate(atoms).energy for atoms in pairs]
        assert energies[0.0][1] == 0.0
        assert energies[0.0][0] < -1e-5
        assert abs(energies[3.0][0]) < 1e-9

    def test_images_and_wrapping(self) -> None:
        """Atoms that left the cell, and a doubled cell."""
        atoms, d3 = triclinic(), D3(SETTINGS)
        found = d3.evaluate(atoms)
        moved = atoms.copy()
        moved.positions[:5] += 3 * atoms.cell[0] - 2 * atoms.cell[1]
        assert d3.evaluate(moved).energy == pytest.approx(found.energy, abs=1e-10)
        double = d3.evaluate(atoms * (2, 1, 1))
        assert double.energy == pytest.approx(2 * found.energy, abs=1e-9)
        np.testing.assert_allclose(double.stress, found.stress, atol=1e-10)
        assert double.forces.sum(axis=0) == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)

    @pytest.mark.parametrize("periodic", [(True, True, False), (False, True, False), (False, True, True)])
    def test_few_periodic_directions(self, periodic: tuple[bool, ...]) -> None:
        """A cell with empty or short vectors where nothing is periodic is one with much vacuum."""
        atoms, d3 = triclinic(), D3(SETTINGS)
        kept = [vector if here else np.zeros(3) for vector, here in zip(atoms.cell.array, periodic, strict=True)]
        normals = Cell(kept).complete().array
        found = []
        for length in (0.0, 2.0, 70.0):
            cell = [k if here else length * n for k, n, here in zip(kept, normals, periodic, strict=True)]
            found.append(d3.evaluate(Atoms(atoms.symbols, atoms.positions, cell=cell, pbc=periodic)))
        vacuum = [k if here else 70.0 * n for k, n, here in zip(kept, normals, periodic, strict=True)]
        expected = d3.evaluate(Atoms(atoms.symbols, atoms.positions, cell=vacuum, pbc=True))
        for one in found:
            assert one.stress is None
            assert one.energy == pytest.approx(expected.energy, abs=1e-10)
            np.testing.assert_allclose(one.forces, expected.forces, atol=1e-10)

    def test_elements_without_parameters_are_refused(self) -> None:
        """s-dftd3 itself gives zero for them."""
        with pytest.raises(TaskError, match="no parameters") as caught:
            D3(SETTINGS).evaluate(Atoms("Rf2", [[0, 0, 0], [0, 0, 3.0]]))
        assert caught.value.kind is ErrorKind.INPUT

    def test_a_missing_package_is_named_with_its_remedy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "dftd3", None)
        with pytest.raises(TaskError, match="pip install dftd3") as caught:
            load(tmp_path, lj())
        assert caught.value.kind is ErrorKind.BACKEND_IMPORT


class TestSettings:
    @pytest.mark.parametrize(
        "wrong",
        [{"functional": "b97x"}, {"method": "d4"}, {"cutoff": 3.0}, {"method": "d3zero", "functional": "r2scan"}],
    )
    def test_wrong_settings_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Dispersion(**wrong)

    @pytest.mark.parametrize("method", ["d3bj", "d3zero"])
    def test_every_functional_has_parameters(self, method: str) -> None:
        functionals = Dispersion.model_fields["functional"].annotation.__args__
        for functional in set(functionals) - ({"r2scan"} if method == "d3zero" else set()):
            d3 = D3(Dispersion(method=method, functional=functional))
            assert d3.evaluate(molecule("C6H6")).energy < -0.01

    def test_statement_and_settings_belong_together(self) -> None:
        facts = described(lj(), None).model_dump()
        assert facts["dispersion_statement"] == "unknown"
        for wrong in ({"dispersion_statement": "added"}, {"dispersion": {}}):
            with pytest.raises(ValidationError, match="belong together"):
                PotentialInfo(**{**facts, **wrong})

    def test_descriptions_from_before_load(self) -> None:
        old = described(lj(), None).model_dump(mode="json", exclude={"dispersion", "dispersion_statement"})
        assert PotentialInfo(**old).dispersion is None

    def test_addresses_of_labels_differ_with_it_and_are_the_old_ones_without(self) -> None:
        bare = described(lj(), None).model_dump(mode="json")
        old = {key: value for key, value in bare.items() if not key.startswith("dispersion")}
        added = [described(lj(), chosen).model_dump(mode="json") for chosen in (SETTINGS, Dispersion())]
        addresses = [potential_method(info, {"dtype": "float64"}) for info in (bare, *added)]
        assert len(set(addresses)) == 3
        assert potential_method(old, {"dtype": "float64"}) == addresses[0]

    def test_the_version_is_recorded(self) -> None:
        assert versions({}, described(lj()).model_dump(mode="json"))["dftd3"]
        assert "dftd3" not in versions({}, described(lj(), None).model_dump(mode="json"))


class TestPotential:
    def test_calculator_and_evaluation_are_sums(self, pair: tuple[Potential, Potential]) -> None:
        bare, both = pair
        cluster = Atoms("CuNiCu", [[0, 0, 0], [2.3, 0.2, 0], [0.3, 2.4, 0.5]])
        frames = [metal(), cluster, metal() * (2, 1, 1)]
        alone, done, d3 = bare.evaluate(frames), [], D3(SETTINGS)
        found = both.evaluate(frames, batch_size=2, on_progress=done.append)
        assert done == [2, 3]
        assert np.isnan(found.stresses[1]).all()
        calculator = both.calculator()
        for index, atoms in enumerate(frames):
            added = d3.evaluate(atoms)
            assert found.energies[index] == pytest.approx(alone.energies[index] + added.energy, abs=1e-12)
            np.testing.assert_allclose(found.forces[index], alone.forces[index] + added.forces, atol=1e-12)
            atoms.calc = calculator
            assert atoms.get_potential_energy() == pytest.approx(found.energies[index], abs=1e-12)
            np.testing.assert_allclose(atoms.get_forces(), found.forces[index], atol=1e-12)
            if added.stress is not None:
                np.testing.assert_allclose(found.stresses[index], alone.stresses[index] + added.stress, atol=1e-12)
                np.testing.assert_allclose(atoms.get_stress(), found.stresses[index], atol=1e-12)
        assert both.info.dispersion == SETTINGS
        assert both.evaluate(frames, stress=False).energies == pytest.approx(found.energies)

    def test_the_free_energy_is_kept(self, tmp_path: Path) -> None:
        """EMT's energy is extrapolated; labels take the free energy, which forces belong to."""
        document = {"architecture": "emt", "elements": ["Ni", "Cu"]}
        atoms, free = metal(), []
        for dispersion in (None, SETTINGS):
            calculator = load(tmp_path, document, dispersion).calculator()
            atoms.calc = calculator
            free.append(atoms.get_potential_energy(force_consistent=True))
        assert free[1] - free[0] == pytest.approx(D3(SETTINGS).evaluate(atoms).energy, abs=1e-12)

    def test_each_part_is_computed_once(self, pair: tuple[Potential, Potential], monkeypatch: Any) -> None:
        calls: list[Atoms] = []
        evaluate = D3.evaluate
        monkeypatch.setattr(D3, "evaluate", lambda self, atoms: calls.append(atoms) or evaluate(self, atoms))
        atoms = metal()
        atoms.calc = pair[1].calculator()
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
        assert len(calls) == 1
        atoms.positions[0, 0] += 0.1
        atoms.get_forces()
        assert len(calls) == 2
        assert atoms.get_potential_energy() == pytest.approx(pair[1].evaluate([atoms]).energies[0], abs=1e-12)

    def test_a_stress_without_a_volume_is_refused(self, tmp_path: Path) -> None:
        atoms = Atoms("CuNi", [[0, 0, 0], [2.3, 0.2, 0]], cell=[9, 9, 9], pbc=[True, True, False])
        atoms.calc = load(tmp_path, {"architecture": "emt", "elements": ["Ni", "Cu"]}).calculator()
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_stress()

    def test_descriptors_are_those_of_the_model(self, tiny_mace: tuple[Path, dict[str, Any]]) -> None:
        path, facts = tiny_mace
        bare = load_potential(path, facts)
        both = load_potential(path, {**facts, "dispersion": SETTINGS, "dispersion_statement": "added"})
        assert source_of(both) == source_of(bare) == "potential"
        for one, other in zip(*(describe(it, [metal()], ["Ni", "Cu"]) for it in (bare, both)), strict=True):
            np.testing.assert_array_equal(one, other)
        assert source_of(load_potential(path, facts)) == "potential"
        found = both.evaluate([metal()], descriptors=True)
        assert found.descriptors is not None
        assert found.energies[0] - bare.evaluate([metal()]).energies[0] == pytest.approx(
            D3(SETTINGS).evaluate(metal()).energy, abs=1e-10
        )


class TestEstimators:
    def test_committee(self, tmp_path: Path) -> None:
        """The mean gets D3 once, and no uncertainty changes."""
        documents = [lj(sigma) for sigma in (2.2, 2.25, 2.17)]
        bare = estimator_of([load(tmp_path, document, None) for document in documents])
        both = estimator_of([load(tmp_path, document) for document in documents])
        added = D3(SETTINGS).evaluate(metal())
        one, other = (it.estimate(metal(), stress=True, forces_sigma=True, bias=True) for it in (bare, both))
        assert other.energy - one.energy == pytest.approx(added.energy, abs=1e-12)
        np.testing.assert_allclose(other.forces - one.forces, added.forces, atol=1e-12)
        np.testing.assert_allclose(other.stress - one.stress, added.stress, atol=1e-12)
        for name in ("energy_sigma", "forces_sigma", "sigma_forces", "sigma_stress"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
        assert both.info.dispersion == SETTINGS
        assert both.has_uncertainty

    def test_members_must_agree(self, tmp_path: Path) -> None:
        members = [load(tmp_path, lj(2.2)), load(tmp_path, lj(2.3), None)]
        with pytest.raises(TaskError, match="differ in the dispersion"):
            estimator_of(members)

    def test_last_layer(self, tiny_mace: tuple[Path, dict[str, Any]]) -> None:
        path, facts = tiny_mace
        added = {**facts, "dispersion": SETTINGS, "dispersion_statement": "added"}
        potentials = [load_potential(path, info) for info in (facts, added)]
        from aiida_mlip.worker.uncertainty.body import MaceBody

        rng, size = np.random.default_rng(1), len(MaceBody(potentials[0]).weights)
        header = UncertaintyHeader(
            kind="shallow",
            sha256=("a",),
            head="Default",
            elements=potentials[0].info.elements,
            energy_scale=1.4,
            forces_scale=0.6,
        )
        shapes = {"centres": (len(header.elements), size), "factor": (5, size), "directions": (3, size)}
        model = UncertaintyModel(header, {name: rng.normal(size=shape) for name, shape in shapes.items()})
        one, other = (estimator_of([it], model).estimate(metal(), stress=True, forces_sigma=True) for it in potentials)
        expected = D3(SETTINGS).evaluate(metal())
        assert other.energy - one.energy == pytest.approx(expected.energy, abs=1e-10)
        np.testing.assert_allclose(other.stress - one.stress, expected.stress, atol=1e-10)
        np.testing.assert_array_equal(other.forces_sigma, one.forces_sigma)
        assert other.energy_sigma == one.energy_sigma

    def test_labels_without_dispersion(self) -> None:
        """What the last layer is fitted to: labels of the sum, less D3; the labels themselves stay as they are."""
        atoms, added = metal(), D3(SETTINGS).evaluate(metal())
        atoms.info.update({ENERGY: -3.0, STRESS: np.arange(6.0)})
        atoms.new_array(FORCES, np.ones((len(atoms), 3)))
        (taken,) = without_dispersion([atoms], D3(SETTINGS))
        assert taken.info[ENERGY] + added.energy == pytest.approx(-3.0, abs=1e-12)
        np.testing.assert_allclose(taken.arrays[FORCES] + added.forces, 1.0, atol=1e-12)
        np.testing.assert_allclose(taken.info[STRESS] + added.stress, np.arange(6.0), atol=1e-12)
        assert atoms.info[ENERGY] == -3.0

    def test_a_run_with_a_break_is_the_run_without_bit_for_bit(self, tmp_path: Path) -> None:
        stages = [{"steps": 24, "temperature": 300.0, "pressure": 1.0}]
        settings = MDSettings.model_validate(
            {
                "walkers": {"a": {"stages": stages, "seed": 7}},
                "ensemble": {"kind": "npt", "pressure_time": 300.0},
                "velocities": True,
                "stride": 4,
                "log_stride": 4,
                "checkpoint_stride": 5,
            }
        )

        def part(folder: Path) -> WalkerRun:
            folder.mkdir(exist_ok=True)
            plan = Plan("a", settings, metal() * (2, 1, 1), "key", folder)
            estimator = estimator_of([load(tmp_path, lj())])
            return WalkerRun(plan, estimator, lambda *_: None, read_checkpoint(folder))

        whole, broken = tmp_path / "whole", tmp_path / "broken"
        part(whole).run(lambda: None)
        with pytest.raises(Stopped):
            part(broken).run(stop_after(11))
        part(broken).run(lambda: None)
        for name in ("trajectory.xyz", "series.csv"):
            assert (whole / name).read_bytes() == (broken / name).read_bytes()


def stop_after(calls: int) -> Any:
    """What raises ``Stopped`` when it is asked once more."""
    left = [calls]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped("enough")

    return check


def test_a_job_of_the_worker(tmp_path: Path) -> None:
    """The description in the job decides; the result names the package."""
    document, frames = lj(), [metal()]
    (tmp_path / "potential.json").write_text(json.dumps(document))
    with (tmp_path / "configurations.xyz").open("w", encoding="utf-8") as handle:
        write_extxyz(frames, handle)
    job = {
        "contract": 1,
        "task": "label",
        "settings": {},
        "files": {"potential": "potential.json", "configurations": "configurations.xyz"},
        "potential": described(document).model_dump(mode="json"),
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    run_job(tmp_path / "job.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["error"] is None
    assert result["versions"]["dftd3"]
    label = json.loads((tmp_path / "labels.jsonl").read_text().splitlines()[1])
    expected = load(tmp_path, document).evaluate(frames)
    assert label["energy"] == pytest.approx(expected.energies[0], abs=1e-7)  # positions are rounded in the file
    np.testing.assert_allclose(label["stress"], expected.stresses[0], atol=1e-7)


def test_a_committee_in_molecular_dynamics(tmp_path: Path) -> None:
    """The members' descriptions decide there; the first row of the series is the mean of the members and D3."""
    names = ("one", "two")
    documents = dict(zip(names, (lj(2.2), lj(2.25)), strict=True))
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    with (tmp_path / "structures.xyz").open("w", encoding="utf-8") as handle:
        write_extxyz([metal()], handle)
    walkers = {"a": {"stages": [{"steps": 2, "temperature": 300.0}], "seed": 1}}
    job = {
        "contract": 1,
        "task": "md",
        "settings": {"walkers": walkers, "ensemble": {"kind": "nve"}, "stride": 1, "log_stride": 1},
        "files": {"structures": "structures.xyz", **{f"potential_{name}": f"{name}.json" for name in names}},
        "potentials": {name: described(document).model_dump(mode="json") for name, document in documents.items()},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    run_job(tmp_path / "job.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["error"] is None, result["error"]
    assert result["versions"]["dftd3"]
    with (tmp_path / "walkers" / "a" / "trajectory.xyz").open(encoding="utf-8") as handle:
        first = next(iter(read_trajectory(handle)))
    members = [load(tmp_path, document).evaluate([metal()]) for document in documents.values()]
    expected = np.mean([member.forces[0] for member in members], axis=0)
    np.testing.assert_allclose(first.arrays["forces"], expected, atol=1e-6)
