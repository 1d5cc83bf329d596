"""Backends: batches agree with the ASE calculators, and what cannot be done is said."""

import json
import zipfile
from importlib import metadata

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from aiida_mlip.schema.errors import TaskError
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.worker.backends import BACKENDS, MARKS, backend_of, detect, load_potential, sha256_of
from aiida_mlip.worker.backends.mace import bind
from aiida_mlip.worker.failures import failure_of
from aiida_mlip.worker.versions import versions


@pytest.fixture
def emt(tmp_path):
    path = tmp_path / "emt.json"
    path.write_text(json.dumps({"architecture": "emt", "elements": ["Cu", "Ni", "Al"]}))
    return path


@pytest.fixture
def frames(bed):
    """Cells of different size and periodicity: 4, 1, 5 and 2 atoms."""
    slab = Atoms("CuNi", positions=[[0, 0, 0], [1.9, 1.7, 0.4]], cell=[3.7, 3.7, 15], pbc=(True, True, False))
    cluster = Atoms("Cu3NiAl", positions=np.random.default_rng(5).normal(scale=1.7, size=(5, 3)) + np.eye(5, 3) * 2)
    return [bed.cell(("Cu", "Ni"), 7), bulk("Al"), cluster, slab]


def test_every_backend_can_be_imported():
    for name in BACKENDS:
        assert callable(backend_of(name).inspect)


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(TaskError, match=r"'gap' is not known.*emt.*mace"):
        backend_of("gap")


class TestEmt:
    def test_it_agrees_with_the_calculator(self, emt, bed):
        cells = bed.cells(("Cu", "Ni"), 2, 1)
        found = load_potential(emt, None).evaluate(cells)
        for index, atoms in enumerate(cells):
            atoms.calc = EMT()
            assert found.energies[index] == pytest.approx(atoms.get_potential_energy())
            assert found.forces[index] == pytest.approx(atoms.get_forces())
            assert found.stresses[index] == pytest.approx(atoms.get_stress())

    def test_stress_is_missing_where_a_frame_is_not_periodic(self, emt):
        found = load_potential(emt, None).evaluate([Atoms("Cu2", positions=[[0, 0, 0], [2.4, 0, 0]]), bulk("Cu")])
        assert np.isnan(found.stresses[0]).all()
        assert np.isfinite(found.stresses[1]).all()

    def test_a_missing_element_is_named(self, emt):
        with pytest.raises(TaskError, match=r"Frame 1 .*Au, which the potential lacks"):
            load_potential(emt, None).evaluate([bulk("Cu"), bulk("Au")])

    def test_descriptors_are_refused(self, emt):
        with pytest.raises(TaskError, match="descriptors"):
            load_potential(emt, None).evaluate([bulk("Cu")], descriptors=True)

    def test_it_is_told_from_other_files(self, emt, tmp_path):
        (tmp_path / "x.model").write_bytes(b"\x80\x02binary")
        assert detect(emt) == "emt"
        assert detect(tmp_path / "x.model") == "mace"

    def test_a_file_without_elements_is_refused(self, tmp_path):
        (tmp_path / "x.json").write_text('{"architecture": "emt"}')
        with pytest.raises(TaskError, match="not a potential of architecture 'emt'"):
            backend_of("emt").inspect(tmp_path / "x.json")


def test_lennard_jones_takes_its_parameters_from_the_file(tmp_path):
    path = tmp_path / "lj.json"
    path.write_text(
        '{"architecture": "lj", "elements": ["Ar"], "parameters": {"sigma": 3.4, "epsilon": 0.01, "rc": 9}}'
    )
    pair = Atoms("Ar2", positions=[[0, 0, 0], [3.4 * 2 ** (1 / 6), 0, 0]])
    found = load_potential(path, None).evaluate([pair])
    assert np.abs(found.forces[0]).max() < 1e-10
    assert found.energies[0] == pytest.approx(-0.01, rel=0.02)


class TestAse:
    """Any calculator that can be imported, named in the file."""

    @staticmethod
    def write(path, **changes):
        document = {"architecture": "ase", "calculator": "ase.calculators.emt:EMT", "elements": ["Cu"]}
        path.write_text(json.dumps(document | changes))
        return path

    def test_it_applies_the_calculator_with_its_parameters(self, tmp_path):
        name = "ase.calculators.lj:LennardJones"
        path = self.write(tmp_path / "x.json", calculator=name, elements=["Ar"], parameters={"sigma": 3.4, "rc": 9})
        pair = Atoms("Ar2", positions=[[0, 0, 0], [3.9, 0, 0]])
        found = load_potential(path, None).evaluate([pair])
        pair.calc = LennardJones(sigma=3.4, rc=9)
        assert found.energies[0] == pytest.approx(pair.get_potential_energy())
        assert found.forces[0] == pytest.approx(pair.get_forces())

    def test_its_description_names_calculator_distribution_and_terms(self, tmp_path):
        path = self.write(tmp_path / "x.json", licence="MIT", r_max=6.0)
        info = backend_of(detect(path)).inspect(path)
        assert info.extra == {"calculator": "ase.calculators.emt:EMT"}
        assert info.backend_version == f"ase {metadata.version('ase')}"
        assert (info.licence, info.level_of_theory, info.r_max) == ("MIT", "unknown", 6.0)
        assert "ase" in versions(None, info.model_dump())

    def test_stress_is_missing_where_the_calculator_has_none(self, tmp_path):
        name = "ase.calculators.harmonic:SpringCalculator"
        parameters = {"ideal_positions": [[0, 0, 0]], "k": 2.0}
        path = self.write(tmp_path / "x.json", calculator=name, parameters=parameters)
        atoms = Atoms("Cu", positions=[[0.1, 0.2, 0]], cell=[4, 4, 4], pbc=True)
        found = load_potential(path, None).evaluate([atoms])
        assert found.forces[0] == pytest.approx(np.array([[-0.2, -0.4, 0]]))
        assert np.isnan(found.stresses).all()

    def test_a_package_that_is_not_there_is_named(self, tmp_path):
        path = self.write(tmp_path / "x.json", calculator="no_such_package.ase:Calculator")
        with pytest.raises(ImportError) as error:
            load_potential(path, None)
        failure = failure_of(error.value)
        assert failure.kind == "backend_import"
        assert "Install no_such_package there" in failure.remedy

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"calculator": "ase.calculators.emt:EMTT"}, r"'ase.calculators.emt:EMTT': .* has no EMTT"),
            ({"calculator": "EMT"}, r"file.calculator = 'EMT'"),
            ({"calculator": None}, "names no calculator"),
            ({"cutoff": 5}, "file.cutoff is not a known field"),
        ],
    )
    def test_what_is_wrong_in_the_file_is_said(self, tmp_path, changes, words):
        with pytest.raises(TaskError, match=words):
            load_potential(self.write(tmp_path / "x.json", **changes), None)


def test_files_of_torch_are_told_apart_without_loading_them(tmp_path):
    """The marks are looked for in the pickle of the archive, which here is none."""
    for architecture, content in (*MARKS.items(), ("mace", b"anything else")):
        path = tmp_path / f"{architecture}.model"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + content)
        assert detect(path) == architecture


@pytest.mark.parametrize("architecture", ["chgnet", "sevennet"])
def test_other_files_of_torch_are_refused(foundation, tmp_path, architecture):
    torch.save({"model": {"model_args": {}}, "config": {}}, tmp_path / "x.model")
    for path in (foundation, tmp_path / "x.model"):
        with pytest.raises(TaskError, match=r"\.model cannot be read as a (CHGNet|SevenNet) model"):
            backend_of(architecture).inspect(path)


class TestMace:
    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_batches_agree_with_mace_own_calculator(self, foundation, frames, batch_size):
        potential = load_potential(foundation, None)
        found = potential.evaluate(frames, batch_size=batch_size, descriptors=True)
        for index, atoms in enumerate(frames):
            atoms.calc = potential.calculator()
            assert found.energies[index] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
            assert found.forces[index] == pytest.approx(atoms.get_forces(), abs=1e-9)
            assert found.descriptors[index] == pytest.approx(atoms.calc.get_descriptors(atoms).mean(axis=0), abs=1e-9)
            if atoms.pbc.all():
                assert found.stresses[index] == pytest.approx(atoms.get_stress(), abs=1e-9)
            else:
                assert np.isnan(found.stresses[index]).all()

    def test_energies_alone_are_the_same(self, foundation, frames):
        potential = load_potential(foundation, None)
        assert potential.energies(frames, batch_size=3) == pytest.approx(potential.evaluate(frames).energies, abs=1e-9)

    def test_stress_is_the_derivative_of_the_energy(self, foundation, bed):
        """Central differences in a strain with a shear and no symmetry."""
        potential, atoms = load_potential(foundation, None), bed.cell(("Cu", "Al"), 11)
        stress = potential.evaluate([atoms]).stresses[0]
        step, volume = 1e-4, atoms.get_volume()
        for index, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
            strained = []
            for sign in (1, -1):
                strain = np.zeros((3, 3))
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                copy = atoms.copy()
                copy.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
                strained.append(copy)
            up, down = potential.energies(strained)
            assert stress[index] == pytest.approx((up - down) / (2 * step * volume), abs=2e-6)

    def test_labels_and_calculator_of_the_frames_are_untouched(self, foundation, frames):
        before = [atoms.copy() for atoms in frames]
        load_potential(foundation, None).evaluate(frames)
        assert all(
            one == other and one.info.keys() == other.info.keys() for one, other in zip(frames, before, strict=True)
        )
        assert all(np.array_equal(one.cell, other.cell) for one, other in zip(frames, before, strict=True))

    def test_the_default_dtype_of_torch_is_put_back(self, foundation, frames):
        before = torch.get_default_dtype()
        load_potential(foundation, None, dtype="float32").evaluate(frames)
        load_potential(foundation, None, dtype="float64").evaluate(frames)
        assert torch.get_default_dtype() == before

    def test_single_precision_is_close_and_not_the_same(self, foundation, frames):
        double = load_potential(foundation, None).evaluate(frames).energies
        single = load_potential(foundation, None, dtype="float32").evaluate(frames).energies
        assert single == pytest.approx(double, abs=1e-4)
        assert np.abs(single - double).max() > 0

    def test_large_e0s_cost_no_digits_in_single_precision(self, foundation, bed):
        """As with pseudopotentials: 2000 eV for each atom, and a cell of 256 atoms."""
        model = torch.load(foundation, weights_only=False)
        model.atomic_energies_fn.atomic_energies -= 2000.0
        atoms = bed.cell(("Cu", "Ni"), 3)
        cells = [atoms, atoms * (4, 4, 4)]
        small, large = bind(model, dtype="float32", head=None).evaluate(cells).energies
        assert large == pytest.approx(64 * small, abs=5e-4)

    def test_a_missing_element_is_named(self, foundation):
        with pytest.raises(TaskError, match="H, O, which the model lacks"):
            load_potential(foundation, None).evaluate([bulk("Cu"), molecule("H2O")])

    def test_an_unknown_head_is_refused_with_the_known_ones(self, foundation):
        with pytest.raises(TaskError, match=r"head = 'pbe' is not in the model.*Default"):
            load_potential(foundation, None, head="pbe")

    def test_facts_that_the_file_lacks_are_kept(self, foundation):
        info = backend_of("mace").inspect(foundation).model_copy(update={"level_of_theory": "EMT", "licence": "MIT"})
        loaded = load_potential(foundation, info.model_dump()).info
        assert (loaded.level_of_theory, loaded.licence) == ("EMT", "MIT")

    def test_inspection_counts_and_hashes(self, foundation):
        info = backend_of("mace").inspect(foundation)
        model = torch.load(foundation, weights_only=False)
        assert info.num_parameters == sum(parameter.numel() for parameter in model.parameters())
        assert info.sha256 == sha256_of(foundation)
        assert info.num_interactions == 2
        assert PotentialInfo.model_validate_json(info.model_dump_json()) == info

    @pytest.mark.parametrize("keep", [0, 100, 5000])
    def test_a_damaged_file_is_refused(self, foundation, tmp_path, keep):
        path = tmp_path / "cut.model"
        path.write_bytes(foundation.read_bytes()[:keep])
        with pytest.raises(TaskError, match=r"cut.model cannot be read as a MACE model"):
            backend_of("mace").inspect(path)

    def test_a_file_with_something_else_is_refused(self, tmp_path):
        torch.save({"weights": torch.zeros(3)}, tmp_path / "x.model")
        with pytest.raises(TaskError, match="holds a dict, which is not a MACE model"):
            backend_of("mace").inspect(tmp_path / "x.model")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_device_that_is_not_there_is_refused(self, foundation):
        with pytest.raises(TaskError, match="torch sees no GPU") as error:
            load_potential(foundation, None, device="cuda")
        assert error.value.kind == "device"
