"""What is refused, warned of, and written before mace starts; nothing here runs mace."""

import json
import re

import ase.io
import numpy as np
import pytest
import yaml
from ase import Atoms

from aiida_mlip.schema.errors import TaskError
from aiida_mlip.schema.job import Job
from aiida_mlip.schema.training import Loss
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, STRESS
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.progress import Reporter
from aiida_mlip.worker.training.data import is_isolated, write_for_mace
from aiida_mlip.worker.training.plan import make_plan, write_inputs


@pytest.fixture
def plan(bed, foundation, tmp_path):
    """Make the plan of a job: ``plan(settings, **sets)``."""

    def make(settings, *, files=None, info=None, **sets):
        potential = None if settings["strategy"]["kind"] == "scratch" else foundation
        path = bed.job(tmp_path / "job", settings, potential=potential, files=files, info=info, **sets)
        job = Job.model_validate(json.loads(path.read_text()))
        return make_plan(Context(job, path.parent, Reporter(tmp_path / "progress")))

    return make


def changed(frames, **info):
    """Return the frames with entries of the first one changed; None removes."""
    first = frames[0].copy()
    for name, value in info.items():
        store = first.arrays if name == FORCES else first.info
        if value is None:
            del store[name]
        else:
            store[name] = value
    return [first, *frames[1:]]


@pytest.fixture
def good(bed):
    return bed.cells(("Cu", "Ni"), 6, 30)


REPLAY = {"strategy": {"kind": "replay"}, "loss": {"kind": "universal"}, "e0_policy": {"kind": "foundation"}}


class TestRefusals:
    def test_a_batch_larger_than_the_training_set(self, bed, plan, good):
        with pytest.raises(TaskError, match=r"batch_size = 9 .*6 configurations.*at most 6"):
            plan(bed.settings(batch_size=9), train=good, valid=good)

    def test_a_label_that_is_not_finite(self, bed, plan, good):
        with pytest.raises(TaskError, match="valid: frame 0 has a REF_energy that is not finite"):
            plan(bed.settings(), train=good, valid=changed(good, REF_energy=np.nan))

    def test_a_frame_without_any_label(self, bed, plan, good):
        bare = changed(good, **{ENERGY: None, FORCES: None, STRESS: None})
        with pytest.raises(TaskError, match="train: frame 0 has none of the labels"):
            plan(bed.settings(), train=bare, valid=good)

    def test_unlabelled_replay_data(self, bed, plan, good):
        with pytest.raises(TaskError, match=r"replay: frame 0 has no REF_forces.*labelled by the foundation model"):
            plan(bed.settings(**REPLAY), train=good, valid=good, replay=changed(good, **{FORCES: None}))

    def test_replay_without_its_set(self, bed, plan, good):
        with pytest.raises(TaskError, match=r"files\['replay'\] is required"):
            plan(bed.settings(**REPLAY), train=good, valid=good)

    def test_missing_labels_that_this_loss_takes_for_zero(self, bed, plan, good):
        loss = {"kind": "huber", "stress_weight": 1.0}
        with pytest.raises(TaskError, match=r"frame 0 has no REF_stress.*'huber'"):
            plan(bed.settings(loss=loss), train=changed(good, **{STRESS: None}), valid=good)

    def test_an_element_that_the_foundation_model_lacks(self, bed, plan, good):
        with pytest.raises(TaskError, match="Pd, which the foundation model lacks"):
            plan(bed.settings(), train=good, valid=good, test_x=bed.cells(("Cu", "Pd"), 3, 0))

    def test_a_test_set_with_elements_that_would_be_pruned(self, bed, plan, good):
        with pytest.raises(TaskError, match=r"Al, which the trained model \(keep_elements = 'training'"):
            plan(bed.settings(keep_elements="training"), train=good, valid=good, test_x=bed.cells(("Al", "Cu"), 3, 0))

    def test_explicit_e0s_without_an_element(self, bed, plan, good):
        policy = {"kind": "explicit", "values": {"Cu": -3.0}}
        with pytest.raises(TaskError, match="no entry for Ni"):
            plan(bed.settings(e0_policy=policy), train=good, valid=good)

    def test_isolated_atoms_asked_for_and_not_there(self, bed, plan, good):
        with pytest.raises(TaskError, match="no isolated atom of Ni"):
            plan(bed.settings(e0_policy={"kind": "isolated_atoms"}), train=[*good, bed.lone("Cu", -3.0)], valid=good)

    def test_isolated_atoms_that_contradict_each_other(self, bed, plan, good):
        atoms = [bed.lone("Cu", -3.0), bed.lone("Cu", -3.5), bed.lone("Ni", -5.0)]
        with pytest.raises(TaskError, match="different energies"):
            plan(bed.settings(e0_policy={"kind": "isolated_atoms"}), train=[*good, *atoms], valid=good)

    def test_a_weight_for_a_type_that_does_not_occur(self, bed, plan, good):
        loss = {"kind": "stress", "config_type_weights": {"ratled": 2.0}}
        with pytest.raises(TaskError, match=r"names ratled.*rattled, strained"):
            plan(bed.settings(loss=loss), train=good, valid=good)

    def test_a_file_that_is_not_the_one_described(self, bed, plan, good, scratch):
        info = {**scratch[1]["potential"], "sha256": "0" * 64}
        with pytest.raises(TaskError, match="its description says 000000000000"):
            plan(bed.settings(), info=info, train=good, valid=good)

    def test_an_unknown_head(self, bed, plan, good):
        with pytest.raises(TaskError, match=r"foundation_head = 'pbe'.*Default"):
            plan(bed.settings(foundation_head="pbe"), train=good, valid=good)

    def test_a_training_set_of_isolated_atoms(self, bed, plan, good):
        with pytest.raises(TaskError, match="train has only isolated atoms"):
            plan(bed.settings(), train=[bed.lone("Cu", -3.0)], valid=good)

    @pytest.mark.parametrize(
        ("extra", "words"),
        [
            ({"lr": 0.1}, "contradicts the typed field learning_rate"),
            ({"E0s": "average"}, "contradicts the typed field e0_policy"),
            ({"freeze": -1}, "contradicts the typed field strategy"),
            ({"swa": True}, "is not supported"),
            ({"foundation_model": "small"}, "is set by the worker"),
            ({"wandb": True}, "is set by the worker"),
            ({"learning_rte": 0.1}, "is not an option of mace_run_train"),
        ],
    )
    def test_extra_options_that_would_break_a_promise(self, bed, plan, good, extra, words):
        with pytest.raises(TaskError, match=re.escape(words)):
            plan(bed.settings(extra=extra), train=good, valid=good)

    def test_extra_options_with_a_value_that_mace_refuses(self, bed, plan, good):
        made = plan(bed.settings(extra={"optimizer": "gradient descent"}), train=good, valid=good)
        with pytest.raises(TaskError, match=r"mace refuses its options: .*optimizer"):
            write_inputs(made)


class TestWarnings:
    def test_validation_forces_that_are_all_zero(self, bed, plan, good):
        still = [changed([atoms], **{FORCES: np.zeros((4, 3))})[0] for atoms in good]
        assert any("blind to forces" in text for text in plan(bed.settings(), train=good, valid=still).warnings)

    def test_frames_left_out_by_the_last_incomplete_batch(self, bed, plan, good):
        assert any("2 of 6 configurations" in text for text in plan(bed.settings(), train=good, valid=good).warnings)

    def test_compositions_that_do_not_tell_elements_apart(self, bed, plan):
        same = [
            bed.label(Atoms("CuNi", positions=[[0, 0, 0], [2.4, 0.1 * i, 0]], cell=[9] * 3, pbc=True)) for i in range(5)
        ]
        assert any("rank 1" in text for text in plan(bed.settings(), train=same, valid=same).warnings)

    def test_nothing_is_said_where_nothing_is_wrong(self, bed, plan):
        frames = bed.cells(("Cu", "Ni"), 8, 400)
        assert plan(bed.settings(), train=frames, valid=frames).warnings == []


class TestReferenceEnergies:
    def test_estimated_is_what_minimises_the_energy_error_per_atom(self, bed, plan, foundation):
        from aiida_mlip.worker.backends import load_potential

        frames = bed.cells(("Cu", "Ni"), 8, 400)
        e0s = plan(bed.settings(), train=frames, valid=frames).e0s["Default"]
        potential = load_potential(foundation, None)
        errors = np.array([atoms.info[ENERGY] for atoms in frames]) - potential.energies(frames)
        counts = np.array([[list(atoms.symbols).count(symbol) for symbol in ("Cu", "Ni")] for atoms in frames])

        def loss(cu, ni):
            shift = counts @ [cu - potential.info.e0s["Default"]["Cu"], ni - potential.info.e0s["Default"]["Ni"]]
            return float(np.sum(((errors - shift) / 4) ** 2))

        best = loss(e0s["Cu"], e0s["Ni"])
        for dcu, dni in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01), (0.007, -0.007)):
            assert loss(e0s["Cu"] + dcu, e0s["Ni"] + dni) > best

    def test_elements_without_data_keep_those_of_the_foundation_model(self, bed, plan, good):
        assert plan(bed.settings(), train=good, valid=good).e0s["Default"]["Al"] == pytest.approx(bed.shift["Al"])

    def test_isolated_atoms_are_taken_as_they_are(self, bed, plan, good):
        atoms = [bed.lone("Cu", -3.25), bed.lone("Ni", -5.75)]
        made = plan(bed.settings(e0_policy={"kind": "isolated_atoms"}), train=[*good, *atoms], valid=good)
        assert made.e0s["Default"] == pytest.approx({"Cu": -3.25, "Ni": -5.75, "Al": bed.shift["Al"]})
        assert len(made.data.train) == 6

    def test_average_explains_energies_by_composition(self, bed, plan):
        frames = bed.cells(("Cu", "Ni"), 8, 400)
        for atoms in frames:
            atoms.info[ENERGY] = -2.0 * list(atoms.symbols).count("Cu") - 7.0 * list(atoms.symbols).count("Ni")
        strategy = {"kind": "scratch", "r_max": 3.5}
        made = plan(bed.settings(strategy=strategy, e0_policy={"kind": "average"}), train=frames, valid=frames)
        assert made.e0s["Default"] == pytest.approx({"Cu": -2.0, "Ni": -7.0})


class TestFiles:
    def test_mace_gets_labels_and_weights_and_nothing_else(self, bed, tmp_path):
        """No config_type, so that no frame is taken for a reference energy; no calculator results."""
        atoms = bed.cell(("Cu", "Ni"), 3)
        atoms.info.update(config_type="IsolatedAtom", energy=-99.0, config_weight=7.0)
        loss = Loss(config_type_weights={"IsolatedAtom": 2.0})
        read = ase.io.read(write_for_mace(tmp_path / "x.xyz", [atoms], loss, factor=3.0))
        assert set(read.info) == {ENERGY, STRESS, "config_weight"}
        assert read.info["config_weight"] == 6.0
        assert read.info[ENERGY] == atoms.info[ENERGY]
        assert read.arrays[FORCES] == pytest.approx(atoms.arrays[FORCES], abs=1e-8)
        assert atoms.info[CONFIG_TYPE] == "IsolatedAtom"

    def test_the_universal_loss_gets_weights_of_labels(self, bed, tmp_path):
        loss = Loss(kind="universal")
        read = ase.io.read(write_for_mace(tmp_path / "x.xyz", [bed.cell(("Cu", "Ni"), 3)], loss, factor=0.25))
        assert [read.info[f"config_{label}_weight"] for label in ("energy", "forces", "stress")] == [0.25] * 3

    def test_stress_of_a_slab_with_open_boundary_is_not_written(self, bed, tmp_path):
        atoms = bed.cell(("Cu", "Ni"), 3)
        atoms.pbc = (True, True, False)
        assert STRESS not in ase.io.read(write_for_mace(tmp_path / "x.xyz", [atoms], Loss(kind="stress"))).info

    def test_every_option_that_matters_is_explicit(self, bed, plan, good):
        made = plan(bed.settings(seed=7), train=good, valid=good)
        options = yaml.safe_load((made.folder / write_inputs(made)).read_text())
        expected = {
            "multiheads_finetuning": False,
            "lr": 0.002,
            "seed": 7,
            "default_dtype": "float64",
            "plot": False,
            "energy_key": ENERGY,
            "forces_key": FORCES,
            "stress_key": STRESS,
            "save_all_checkpoints": True,
            "foundation_model": "base.model",
            "foundation_model_elements": True,
            "optimizer": "adamw",
        }
        assert expected.items() <= options.items()
        assert set(json.loads(json.dumps(eval(options["E0s"])))) == {"13", "28", "29"}
        assert options["patience"] > 10**6  # mace's own stopping does not work; slices of epochs do

    def test_no_option_names_anything_to_download(self, bed, plan, good):
        made = plan(bed.settings(**REPLAY), train=good, valid=good, replay=bed.cells(("Al", "Cu"), 4, 0))
        options = yaml.safe_load((made.folder / write_inputs(made)).read_text())
        for name in ("foundation_model", "pt_train_file", "pt_valid_file", "train_file", "valid_file"):
            assert (made.folder / options[name]).exists()


@pytest.mark.parametrize(
    ("atoms", "isolated"),
    [
        (Atoms("Cu"), True),
        (Atoms("Cu", cell=[8, 8, 8], pbc=True), True),
        (Atoms("Cu", cell=[8, 8, 5], pbc=True), False),
        (Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 20]]), False),
    ],
)
def test_isolated_means_one_atom_without_images_in_reach(atoms, isolated):
    assert is_isolated(atoms, 6.0) is isolated
