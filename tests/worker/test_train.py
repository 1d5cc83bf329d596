"""Trainings with the real mace on tiny models: what was asked for is what is in the model that comes back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch

from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.errors import error_table
from aiida_mlip.worker.backends import backend_of
from aiida_mlip.worker.backends.mace import read_model


def failed(payload):
    return [check for check in payload["proof"] if not check["ok"]]


def check(payload, name):
    return next(check for check in payload["proof"] if check["check"] == name)


def last_epoch(folder):
    """Return the last epoch with a checkpoint of a job that may be running."""
    state = folder / "checkpoints" / "state.json"
    last = json.loads(state.read_text())["last"] if state.exists() else None
    return -1 if last is None else last


def works_in(cwd, folder):
    """Return whether the process with this link in /proc works in the folder."""
    try:
        return cwd.readlink() == folder
    except OSError:
        return False


@pytest.fixture
def naive(bed, tune):
    """All weights, explicit E0s, with an isolated atom in the training set that says otherwise."""
    return tune(
        "naive",
        bed.settings(e0_policy={"kind": "explicit", "values": {"Cu": -5.0, "Ni": -6.25}}),
        train=[*bed.cells(("Cu", "Ni"), 8, 400), bed.lone("Cu", -1.5)],
        valid=bed.cells(("Cu", "Ni"), 3, 500),
        test_held=bed.cells(("Cu", "Ni"), 2, 600),
    )


@pytest.fixture
def replay(bed, tune):
    """Two heads; Al occurs in the replay data only, and the new data are fewer than a batch."""
    return tune(
        "replay",
        bed.settings(
            strategy={"kind": "replay", "weight": 0.5},
            loss={"kind": "universal", "forces_weight": 10.0},
            batch_size=5,
            keep_elements="training",
            e0_policy={"kind": "foundation"},
        ),
        train=bed.cells(("Cu", "Ni"), 4, 400),
        valid=bed.cells(("Cu", "Ni"), 3, 500),
        replay=bed.cells(("Al", "Cu"), 8, 700),
    )


@pytest.fixture
def single_precision(bed, tune):
    return tune("single", bed.settings(dtype="float32", keep_elements="training", ema=None))


class TestScratch:
    def test_the_model_has_the_architecture_elements_and_e0s_asked_for(self, bed, scratch):
        info = PotentialInfo.model_validate(scratch[1]["potential"])
        assert info.elements == ("Al", "Ni", "Cu")
        assert info.r_max == pytest.approx(3.5)
        assert info.e0s["Default"] == pytest.approx({symbol: bed.shift[symbol] for symbol in info.elements})
        assert failed(scratch[1]) == []

    def test_the_errors_are_those_of_the_model_handed_back(self, scratch):
        folder, payload = scratch
        frames = ase.io.read(folder / "test_held.xyz", ":")
        potential = backend_of("mace").load(folder / "potential.model")
        table = error_table(frames, potential.evaluate(frames))
        assert payload["errors"]["held"]["all"]["forces"]["rmse"] == pytest.approx(table["all"]["forces"]["rmse"])

    def test_the_model_learned(self, scratch):
        history = scratch[1]["history"]
        first, best = history["initial"]["Default"]["loss"], min(history["valid"]["Default"]["loss"])
        assert best < 0.8 * first

    def test_the_chosen_epoch_is_the_best_of_the_history(self, scratch):
        losses = scratch[1]["history"]["valid"]["Default"]["loss"]
        assert scratch[1]["chosen_epoch"] == int(np.argmin(losses))

    def test_progress_lines_end_with_the_last_epoch(self, scratch):
        lines = [json.loads(line) for line in (scratch[0] / "progress.jsonl").read_text().splitlines()]
        train = [line for line in lines if line["stage"] == "train"]
        assert (train[-1]["step"], train[-1]["total"]) == (12, 12)
        assert train[-1]["metrics"]["rmse_forces"] > 0

    def test_only_the_checkpoints_of_best_and_last_epoch_are_left(self, scratch):
        folder, payload = scratch
        epochs = {int(path.stem.split("-")[1]) for path in (folder / "checkpoints").glob("*.pt")}
        assert epochs == {payload["chosen_epoch"], 11}
        assert not list((folder / "mace").rglob("*.pt"))


class TestNaive:
    def test_explicit_e0s_win_over_isolated_atoms_and_over_the_base_model(self, bed, naive):
        """mace copies the base model's E0s where shapes agree, and takes isolated atoms for E0s (both unasked)."""
        e0s = naive[1]["potential"]["e0s"]["Default"]
        assert e0s == pytest.approx({"Cu": -5.0, "Ni": -6.25, "Al": bed.shift["Al"]})
        assert check(naive[1], "E0s of head Default in the model")["ok"]

    def test_isolated_atoms_are_counted_and_not_trained_on(self, naive):
        assert naive[1]["counts"]["configurations"]["isolated_atoms"] == 1
        assert check(naive[1], "training configurations of head Default")["found"] == 8
        assert any("isolated atoms are not trained on" in warning for warning in naive[1]["warnings"])

    def test_every_part_changed(self, naive):
        assert {group for group, cell in naive[1]["changes"].items() if cell["changed"]} == {
            "embedding",
            "interactions",
            "products",
            "readouts",
        }

    def test_mace_started_from_the_foundation_model(self, naive):
        for name in ("energy", "forces"):
            found = check(naive[1], f"validation rmse_{name} before the first epoch")
            assert found["found"] == pytest.approx(found["asked"], rel=1e-6)

    def test_weights_of_absent_elements_are_left_alone(self, naive):
        assert naive[1]["largest_change_of_absent_elements"] < 1e-6

    @pytest.mark.slow
    def test_with_the_default_optimiser_of_mace_they_would_not_be(self, bed, tune):
        """There the decay alone moves them by the learning rate in every step."""
        adam = tune("adam", bed.settings(extra={"optimizer": "adam"}))
        assert adam[1]["largest_change_of_absent_elements"] > 1e-3
        assert any("optimizer" in warning for warning in adam[1]["warnings"])

    def test_what_the_job_needed_only_for_itself_is_removed(self, naive):
        assert not list((naive[0] / "mace").glob("*.model"))
        assert (naive[0] / "mace" / "config.yaml").exists()
        assert "Training complete" in (naive[0] / "mace.log").read_text()


class TestFrozen:
    @pytest.mark.parametrize(
        ("level", "trained"),
        [
            pytest.param("embedding", {"interactions", "products", "readouts"}, marks=pytest.mark.slow),
            pytest.param("interactions", {"products", "readouts"}, marks=pytest.mark.slow),
            ("products", {"readouts"}),
        ],
    )
    def test_what_is_frozen_is_bit_for_bit_the_same(self, bed, tune, level, trained):
        settings = bed.settings(strategy={"kind": "frozen", "level": level})
        _, payload = tune(f"frozen_{level}", settings)
        assert {group for group, cell in payload["changes"].items() if cell["changed"]} == trained
        assert payload["counts"]["parameters"]["trainable"] == sum(
            payload["changes"][group]["parameters"] for group in trained
        )


class TestLora:
    @pytest.fixture
    def lora(self, bed, tune):
        return tune("lora", bed.settings(strategy={"kind": "lora", "rank": 2, "alpha": 4.0}))

    def test_updates_have_the_rank_and_are_merged(self, lora):
        rank = check(lora[1], "rank of the largest LoRA update")
        assert (rank["asked"], rank["found"]) == (2, 2)
        model = read_model(lora[0] / "potential.model")
        assert not [name for name, _ in model.named_parameters() if "lora" in name]

    def test_only_the_factors_count_as_trainable(self, lora):
        counts = lora[1]["counts"]["parameters"]
        assert 0 < counts["trainable"] < counts["total"] / 5

    def test_the_merged_model_has_the_errors_that_mace_saw(self, lora):
        """mace validated the factors, we evaluate the merged weights of the same epoch."""
        history, best = lora[1]["history"], lora[1]["chosen_epoch"]
        ours = lora[1]["errors"]["valid"]["all"]["forces"]["rmse"]
        assert ours == pytest.approx(history["valid"]["Default"]["rmse_forces"][best], rel=1e-6)


class TestSinglePrecision:
    def test_estimated_e0s_work(self, bed, single_precision):
        """mace's own estimate ends with 'both inputs should have same dtype'."""
        assert single_precision[1]["potential"]["dtype"] == "float32"
        assert set(single_precision[1]["e0s"]["Default"]) == {"Cu", "Ni"}

    def test_the_model_is_pruned_to_the_elements_of_the_data(self, single_precision):
        assert single_precision[1]["potential"]["elements"] == ["Ni", "Cu"]


class TestReplay:
    def test_both_heads_have_e0s_for_all_elements(self, bed, replay):
        """mace leaves the new head's E0 at zero for elements that only the replay data contain."""
        e0s = replay[1]["potential"]["e0s"]
        assert e0s["Default"]["Al"] == pytest.approx(bed.shift["Al"])
        assert e0s["pt_head"] == pytest.approx({symbol: bed.shift[symbol] for symbol in ("Al", "Ni", "Cu")})

    def test_the_new_head_is_meant_and_decides(self, replay):
        assert replay[1]["potential"]["heads"] == ["pt_head", "Default"]
        assert replay[1]["potential"]["head"] == "Default"
        losses = replay[1]["history"]["valid"]["Default"]["loss"]
        assert replay[1]["chosen_epoch"] == int(np.argmin(losses))

    def test_learning_rate_ema_and_data_are_not_overridden(self, replay):
        """mace sets lr = 1e-4 and another ema in this mode, and multiplies data where replay data prevail."""
        assert check(replay[1], "learning rate")["found"] == pytest.approx(0.002)
        assert check(replay[1], "ema decay")["found"] == pytest.approx(0.99)
        assert check(replay[1], "training configurations of head Default")["found"] == 4
        assert check(replay[1], "training configurations of head pt_head")["found"] == 7

    def test_the_replay_set_is_judged_on_its_own_head(self, replay):
        folder, payload = replay
        assert payload["errors"]["replay_valid"]["all"]["frames"] == 1
        one = backend_of("mace").load(folder / "potential.model", head="Default")
        other = backend_of("mace").load(folder / "potential.model", head="pt_head")
        frames = ase.io.read(folder / "train.xyz", ":")
        assert np.abs(one.evaluate(frames).energies - other.evaluate(frames).energies).max() > 1e-6

    def test_one_head_of_it_serves_as_foundation_model(self, bed, replay, tmp_path):
        from aiida_mlip.schema.training import TrainSettings
        from aiida_mlip.worker.training.foundation import prepare_foundation

        path, frames = replay[0] / "potential.model", bed.cells(("Al", "Cu"), 3, 900)
        settings = TrainSettings.model_validate(bed.settings(foundation_head="pt_head"))
        model = prepare_foundation(path, None, settings, tmp_path / "base.model", frames)
        expected = backend_of("mace").load(path, head="pt_head").evaluate(frames).energies
        assert model.potential.evaluate(frames).energies == pytest.approx(expected, abs=1e-8)
        assert torch.load(tmp_path / "base.model", weights_only=False).atomic_energies_fn.atomic_energies.dim() == 1


class TestRestart:
    @pytest.fixture(scope="class")
    def stopped(self, bed, foundation, tmp_path_factory):
        """A worker that was told to stop after its first epochs, as the scheduler does before it kills."""
        folder = tmp_path_factory.mktemp("stopped")
        bed.job(folder, bed.settings(max_epochs=100000, scheduler_patience=10**6), potential=foundation)
        with subprocess.Popen(
            [sys.executable, "-m", "aiida_mlip.worker", "job.json"], cwd=folder, stderr=subprocess.DEVNULL
        ) as worker:
            deadline = time.monotonic() + 120
            while last_epoch(folder) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
        return folder

    @pytest.fixture(scope="class")
    def continued(self, bed, foundation, stopped, tmp_path_factory):
        done = json.loads((stopped / "result.json").read_text())["error"]["details"]["last_epoch"]
        folder = tmp_path_factory.mktemp("continued")
        settings = bed.settings(max_epochs=done + 3, learning_rate=0.001, scheduler_patience=10**6)
        return folder, done, bed.payload(folder, settings, potential=foundation, files={"restart": str(stopped)})

    def test_a_signal_ends_in_a_result_that_names_the_checkpoint(self, stopped):
        error = json.loads((stopped / "result.json").read_text())["error"]
        assert error["kind"] == "walltime"
        assert "SIGTERM" in error["message"]
        assert error["details"]["checkpoint"] is True
        assert error["details"]["last_epoch"] >= 2
        assert not (stopped / "potential.model").exists()

    def test_no_process_of_mace_is_left(self, stopped):
        """mace was started in the folder ``mace`` of the job; no process works there any more."""
        left = [path for path in Path("/proc").glob("[0-9]*/cwd") if works_in(path, stopped / "mace")]
        assert left == []

    def test_no_epoch_is_repeated_or_left_out(self, continued):
        _, done, payload = continued
        assert payload["history"]["epoch"] == list(range(done + 3))
        assert payload["restarted"] is True

    def test_the_best_epoch_is_chosen_over_the_whole_history(self, continued):
        _, _, payload = continued
        assert payload["chosen_epoch"] == int(np.argmin(payload["history"]["valid"]["Default"]["loss"]))

    def test_a_lower_learning_rate_is_taken_over(self, continued):
        """mace restores the old one with the optimiser."""
        assert continued[2]["final_learning_rate"] == pytest.approx(0.001)

    def test_a_restart_of_another_strategy_is_refused(self, bed, foundation, stopped, tmp_path):
        settings = bed.settings(strategy={"kind": "frozen", "level": "products"}, max_epochs=100)
        error = bed.run(tmp_path, settings, potential=foundation, files={"restart": str(stopped)})["error"]
        assert error["kind"] == "input"
        assert "restart: strategy was" in error["message"]

    def test_a_restart_with_fewer_epochs_is_refused(self, bed, foundation, stopped, tmp_path):
        error = bed.run(tmp_path, bed.settings(max_epochs=1), potential=foundation, files={"restart": str(stopped)})
        assert "max_epochs = 1" in error["error"]["message"]

    def test_a_damaged_checkpoint_is_refused(self, bed, foundation, stopped, tmp_path):
        copy = shutil.copytree(stopped / "checkpoints", tmp_path / "copy")
        for path in copy.glob("*.pt"):
            path.write_bytes(path.read_bytes()[:1000])
        error = bed.run(
            tmp_path / "job", bed.settings(max_epochs=10**6), potential=foundation, files={"restart": str(copy)}
        )
        assert "cut short" in error["error"]["message"]


def test_a_training_that_explodes_ends_as_diverged_without_a_model(bed, foundation, tmp_path):
    """mace itself goes on, keeps the broken checkpoint and ends with status 0."""
    result = bed.run(tmp_path, bed.settings(learning_rate=0.9, max_epochs=50), potential=foundation)
    assert result["error"]["kind"] == "diverged"
    assert result["error"]["details"]["epoch"] is not None
    assert not (tmp_path / "potential.model").exists()
    assert json.loads((tmp_path / "checkpoints" / "state.json").read_text())["diverged"] is True


@pytest.mark.slow
def test_it_stops_before_the_time_limit(bed, foundation, tmp_path):
    result = bed.run(tmp_path, bed.settings(max_epochs=10**6), potential=foundation, time_limit=15)
    assert result["error"]["kind"] == "walltime"
    assert result["timings"]["total"] < 30


@pytest.mark.slow
@pytest.mark.foundation
def test_fine_tuning_of_a_real_foundation_model(bed, tmp_path):
    path = os.environ.get("AIIDA_MLIP_TEST_FOUNDATION")
    if not path:
        pytest.skip("AIIDA_MLIP_TEST_FOUNDATION names no file of MACE-OMAT-0 small")
    payload = bed.payload(tmp_path, bed.settings(learning_rate=1e-4, dtype="float32"), potential=path)
    assert failed(payload) == []
    assert len(payload["potential"]["elements"]) == 89
    losses = [payload["history"]["initial"]["Default"]["loss"], *payload["history"]["valid"]["Default"]["loss"]]
    assert losses[-1] < losses[0]
    assert payload["largest_change_of_absent_elements"] < 1e-6
