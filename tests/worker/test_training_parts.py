"""The learning curve, the checkpoints, the process and the proof, each by itself."""

import json
import os
import sys
import zipfile
from copy import deepcopy

import pytest
import torch

from aiida_mlip.schema.errors import TaskError
from aiida_mlip.schema.job import Job
from aiida_mlip.schema.mace_options import MANAGED, OPTIONS, TYPED, UNSUPPORTED
from aiida_mlip.schema.training import TrainSettings
from aiida_mlip.worker.backends.mace import read_model
from aiida_mlip.worker.context import Context
from aiida_mlip.worker.progress import Reporter
from aiida_mlip.worker.training import proof as proofs
from aiida_mlip.worker.training.checkpoints import CheckpointKeeper, TrainingState, load_restart
from aiida_mlip.worker.training.curve import Curve, EpochRecord
from aiida_mlip.worker.training.process import MaceRun


def typed(bed, **changes):
    return TrainSettings.model_validate(bed.settings(**changes))


class TestCurve:
    def write(self, path, *lines):
        with path.open("a") as handle:
            handle.writelines(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)

    def evaluation(self, epoch, loss, head="Default"):
        return {"mode": "eval", "head": head, "epoch": epoch, "loss": loss, "rmse_f": loss / 2}

    @pytest.fixture
    def curve(self, tmp_path):
        return Curve(tmp_path / "r.txt", ["pt_head", "Default"], factor=100.0)

    def test_an_epoch_is_finished_when_all_heads_are_validated(self, curve, tmp_path):
        path = tmp_path / "r.txt"
        assert curve.read() == []
        self.write(path, self.evaluation(None, 3.0, "pt_head"))
        curve.read()
        assert not curve.has_started
        self.write(path, self.evaluation(None, 2.0), {"mode": "opt", "epoch": 0, "loss": 4.0, "time": 1})
        self.write(path, {"mode": "opt", "epoch": 0, "loss": 6.0, "time": 1}, self.evaluation(0, 1.0, "pt_head"))
        assert curve.read() == []
        assert (curve.has_started, curve.first_loss) == (True, 2.0)
        self.write(path, self.evaluation(0, 0.5))
        (record,) = curve.read()
        assert (record.epoch, record.train_loss) == (0, 5.0)
        assert record.valid["Default"] == {"loss": 0.5, "rmse_forces": 0.25}
        assert curve.read() == []

    def test_half_a_line_waits_for_the_rest(self, curve, tmp_path):
        text = json.dumps(self.evaluation(None, 2.0)) + "\n"
        self.write(tmp_path / "r.txt", text[:20])
        curve.read()
        self.write(tmp_path / "r.txt", text[20:])
        curve.read()
        assert curve.first_loss == 2.0

    @pytest.mark.parametrize("value", ["NaN", "Infinity"])
    @pytest.mark.parametrize("mode", ["opt", "eval"])
    def test_a_loss_that_is_not_finite_is_divergence(self, curve, tmp_path, value, mode):
        """mace writes bare NaN and goes on to save the broken model."""
        self.write(tmp_path / "r.txt", f'{{"mode": "{mode}", "epoch": 3, "head": "Default", "loss": {value}}}\n')
        with pytest.raises(TaskError, match="in epoch 3") as error:
            curve.read()
        assert (error.value.kind, error.value.details) == ("diverged", {"epoch": 3})

    def test_growth_beyond_the_factor_is_divergence(self, curve, tmp_path):
        self.write(tmp_path / "r.txt", self.evaluation(None, 2.0), self.evaluation(0, 9.0, "pt_head"))
        self.write(tmp_path / "r.txt", self.evaluation(0, 199.0))
        assert len(curve.read()) == 1
        self.write(tmp_path / "r.txt", self.evaluation(1, 9.0, "pt_head"), self.evaluation(1, 201.0))
        with pytest.raises(TaskError, match="more than 100 times its first value 2"):
            curve.read()

    def test_the_first_loss_of_an_earlier_job_counts(self, tmp_path):
        curve = Curve(tmp_path / "r.txt", ["Default"], factor=10.0, first_loss=1.0)
        self.write(tmp_path / "r.txt", self.evaluation(None, 50.0), self.evaluation(0, 11.0))
        with pytest.raises(TaskError, match="first value 1"):
            curve.read()


def state_of(**changes):
    return TrainingState(
        strategy={"kind": "naive"}, dtype="float64", heads=["Default"], elements=["Cu"], e0s={"Cu": -1.0},
        learning_rate=0.01, **changes,
    )  # fmt: skip


def record(epoch, loss):
    return EpochRecord(epoch=epoch, train_loss=1.0, valid={"Default": {"loss": loss}})


class TestCheckpoints:
    @pytest.fixture
    def keeper(self, tmp_path):
        return CheckpointKeeper(tmp_path / "mace", tmp_path / "kept", "mlip_run-1", state_of())

    def mace_saves(self, tmp_path, epoch, lr=0.01):
        checkpoint = {
            "model": {"w": torch.tensor([float(epoch)])},
            "optimizer": {"param_groups": [{"lr": lr, "name": "readouts"}]},
            "lr_scheduler": {"_last_lr": [lr]},
        }
        torch.save(checkpoint, tmp_path / "mace" / f"mlip_run-1_epoch-{epoch}.pt")

    def weight(self, path):
        return float(torch.load(path, weights_only=False)["model"]["w"])

    def test_best_and_last_are_kept_and_nothing_else(self, keeper, tmp_path):
        for epoch, loss in enumerate([5.0, 1.0, 3.0, 2.0]):
            self.mace_saves(tmp_path, epoch)
            assert keeper.take(record(epoch, loss))
        assert (keeper.state.best, keeper.state.last) == (1, 3)
        assert sorted(path.name for path in (tmp_path / "kept").glob("*.pt")) == ["epoch-000001.pt", "epoch-000003.pt"]
        assert [self.weight(keeper.path(epoch)) for epoch in (1, 3)] == [1.0, 3.0]
        # mace loads its newest one at the end
        assert [path.name for path in (tmp_path / "mace").glob("*.pt")] == ["mlip_run-1_epoch-3.pt"]

    def test_a_checkpoint_that_is_still_written_is_waited_for(self, keeper, tmp_path):
        assert not keeper.take(record(0, 1.0))
        self.mace_saves(tmp_path, 0)
        path = tmp_path / "mace" / "mlip_run-1_epoch-0.pt"
        whole = path.read_bytes()
        path.write_bytes(whole[:-30])
        assert not keeper.take(record(0, 1.0))
        path.write_bytes(whole)
        assert keeper.take(record(0, 1.0))
        assert len(keeper.state.history) == 1

    def job(self, tmp_path, losses, **changes):
        keeper = CheckpointKeeper(tmp_path / "mace", tmp_path / "first" / "checkpoints", "mlip_run-1", state_of())
        for epoch, loss in enumerate(losses):
            self.mace_saves(tmp_path, epoch)
            keeper.take(record(epoch, loss))
        for name, value in changes.items():
            setattr(keeper.state, name, value)
        keeper.save()
        return tmp_path / "first"

    @pytest.mark.parametrize("inner", ["", "checkpoints"])
    def test_a_restart_knows_the_best_epoch_of_before(self, tmp_path, inner):
        """mace would forget it and overwrite the best checkpoint with a worse one."""
        folder = self.job(tmp_path, [1.0, 5.0, 4.0])
        state = load_restart(folder / inner, tmp_path / "second")
        assert (state.best, state.last) == (0, 2)
        keeper = CheckpointKeeper(tmp_path / "mace2", tmp_path / "second", "mlip_run-1", state)
        torch.save({}, tmp_path / "mace2" / "mlip_run-1_epoch-3.pt")
        keeper.take(record(3, 2.0))
        assert keeper.state.best == 0
        assert self.weight(keeper.path(0)) == 0.0

    def test_mace_is_told_the_next_epoch_and_a_stale_file_is_not_taken(self, tmp_path):
        state = load_restart(self.job(tmp_path, [3.0, 2.0]), tmp_path / "second")
        keeper = CheckpointKeeper(tmp_path / "mace2", tmp_path / "second", "mlip_run-1", state)
        keeper.resume(1, learning_rate=0.01)
        assert [path.name for path in (tmp_path / "mace2").glob("*.pt")] == ["mlip_run-1_epoch-2.pt"]
        assert not keeper.take(record(2, 1.0))

    def test_another_learning_rate_is_written_into_the_checkpoint(self, tmp_path):
        state = load_restart(self.job(tmp_path, [3.0]), tmp_path / "second")
        keeper = CheckpointKeeper(tmp_path / "mace2", tmp_path / "second", "mlip_run-1", state)
        keeper.resume(0, learning_rate=0.005)
        checkpoint = torch.load(tmp_path / "mace2" / "mlip_run-1_epoch-1.pt", weights_only=False)
        assert checkpoint["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.005)
        assert torch.load(keeper.path(0), weights_only=False)["optimizer"]["param_groups"][0]["lr"] == 0.01

    def test_after_divergence_it_goes_on_from_the_best(self, tmp_path):
        state = load_restart(self.job(tmp_path, [3.0, 2.0, 900.0], diverged=True), tmp_path / "second")
        assert (state.best, state.last, state.diverged) == (1, 1, False)
        assert [item.epoch for item in state.history] == [0, 1]

    def test_the_earlier_folder_is_not_changed(self, tmp_path):
        folder = self.job(tmp_path, [3.0, 2.0])
        before = {path: (path.read_bytes(), path.stat().st_mtime) for path in folder.rglob("*") if path.is_file()}
        keeper = CheckpointKeeper(
            tmp_path / "mace2", tmp_path / "second", "mlip_run-1", load_restart(folder, tmp_path / "second")
        )
        keeper.resume(1, learning_rate=0.1)
        keeper.save()
        assert before == {path: (path.read_bytes(), path.stat().st_mtime) for path in before}

    def test_a_job_without_a_finished_epoch_is_no_restart(self, tmp_path):
        assert load_restart(tmp_path, tmp_path / "second") is None
        assert load_restart(self.job(tmp_path, []), tmp_path / "second") is None

    def test_a_state_that_cannot_be_read_is_refused(self, tmp_path):
        (tmp_path / "state.json").write_text('{"history": 3}')
        with pytest.raises(TaskError, match=r"state.json cannot be read"):
            load_restart(tmp_path, tmp_path / "second")


class TestProcess:
    """Real processes that end as mace may end."""

    def run(self, tmp_path, script):
        job = Job.model_validate({"task": "train", "settings": {}})
        context = Context(job, tmp_path, Reporter(tmp_path / "progress"))
        keeper = CheckpointKeeper(tmp_path / "mace", tmp_path / "kept", "mlip_run-1", state_of())
        run = MaceRun([sys.executable, "-c", script], tmp_path, tmp_path / "log", max_epochs=1)
        run.run(context, Curve(tmp_path / "r.txt", ["Default"], 100.0), keeper)

    @pytest.mark.parametrize(
        ("script", "kind"),
        [
            ("import torch; torch.empty(10**16)", "out_of_memory"),
            ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "out_of_memory"),
            ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "walltime"),
            ("import no_such_mace", "backend_import"),
            ("raise RuntimeError('torch.cat(): expected a non-empty list')", "exception"),
            ("print('Done')", "exception"),
        ],
    )
    def test_a_bad_end_is_told_from_the_output(self, tmp_path, script, kind):
        with pytest.raises(TaskError) as error:
            self.run(tmp_path, script)
        assert error.value.kind == kind
        assert ("log" in error.value.details) == (kind != "walltime")

    def test_a_good_end_is_silent(self, tmp_path):
        self.run(tmp_path, "print('INFO: Training complete')")
        assert "Training complete" in (tmp_path / "log").read_text()

    def test_divergence_stops_the_process_at_once(self, tmp_path):
        script = 'import time; open(\'r.txt\', \'w\').write(\'{"mode": "opt", "epoch": 0, "loss": NaN}\\n\'); '
        script += "open('pid', 'w').write(str(__import__('os').getpid())); time.sleep(600)"
        with pytest.raises(TaskError, match="loss is nan"):
            self.run(tmp_path, script)
        assert json.loads((tmp_path / "kept" / "state.json").read_text())["diverged"] is True
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


class TestProof:
    """Proofs have to fail where something else was done."""

    @pytest.fixture
    def models(self, foundation):
        """The foundation model, and a copy in which the weights of all parts are changed."""
        base = read_model(foundation)
        tuned = deepcopy(base)
        with torch.no_grad():
            for name, parameter in tuned.named_parameters():
                if name.split(".")[0] in proofs.GROUPS.values():
                    parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
        return base, tuned

    def test_what_was_trained_as_naive_is_no_frozen_training(self, bed, models):
        proof = proofs.Proof()
        proofs.prove_weights(proof, *models, typed(bed))
        proof.require()
        frozen = typed(bed, strategy={"kind": "frozen", "level": "products"})
        proofs.prove_weights(proof, *models, frozen)
        with pytest.raises(TaskError, match="parameters outside the strategy that changed") as error:
            proof.require()
        assert error.value.kind == "strategy"

    def test_a_training_that_froze_everything_is_found(self, bed, models):
        proof = proofs.Proof()
        proofs.prove_weights(proof, models[0], models[0], typed(bed))
        with pytest.raises(TaskError, match="parts of the model that were trained"):
            proof.require()

    def test_updates_of_full_rank_are_no_lora(self, bed, models):
        settings = typed(bed, strategy={"kind": "lora", "rank": 1})
        base, tuned = deepcopy(models[0]), deepcopy(models[0])
        names = proofs.trainable_names(base, settings)
        with torch.no_grad():
            for name, parameter in tuned.named_parameters():
                if name in names:
                    parameter.copy_(dict(models[1].named_parameters())[name])
        proof = proofs.Proof()
        proofs.prove_weights(proof, base, tuned, settings)
        with pytest.raises(TaskError, match="rank of the largest LoRA update"):
            proof.require()

    def test_other_e0s_in_the_model_are_found(self, bed, models):
        proof = proofs.Proof()
        asked = {"Default": {"Al": bed.shift["Al"], "Ni": -5.0, "Cu": bed.shift["Cu"]}}
        proofs.prove_model(proof, models[0], typed(bed), elements=["Al", "Ni", "Cu"], heads=["Default"], e0s=asked)
        with pytest.raises(
            TaskError, match=r"E0s of head Default in the model: asked for \{'Ni': -5.0\}, found \{'Ni': -5.1"
        ):
            proof.require()

    def test_nan_in_the_weights_is_found(self, bed, models):
        with torch.no_grad():
            next(models[1].parameters())[0] = torch.nan
        proof = proofs.Proof()
        proofs.prove_model(proof, models[1], typed(bed), elements=["Al", "Ni", "Cu"], heads=["Default"], e0s={})
        with pytest.raises(TaskError, match="all weights are finite"):
            proof.require()

    @pytest.mark.parametrize(
        ("log", "words"),
        [
            (
                "Head 'Default' training dataset size: 7\n",
                "training configurations of head Default: asked for 8, found 7",
            ),
            ("Learning rate: 0.0001, weight decay\n", "learning rate: asked for 0.002, found 0.0001"),
            ("UniversalLoss(energy_weight=1)\n", "asked for WeightedEnergyForcesStressLoss, found UniversalLoss"),
            ("Using Exponential Moving Average with decay: 0.99999\n", "ema decay: asked for 0.99, found 0.99999"),
        ],
    )
    def test_what_mace_says_of_itself_is_compared(self, bed, log, words):
        good = [
            "Head 'Default' training dataset size: 8\n",
            "Learning rate: 0.002, weight decay\n",
            "INFO: WeightedEnergyForcesStressLoss(energy_weight=1)\n",
            "Using Exponential Moving Average with decay: 0.99\n",
        ]
        proof = proofs.Proof()
        proofs.prove_log(proof, "".join(good), typed(bed), {"Default": 8})
        proof.require()
        proofs.prove_log(proof, log + "".join(good), typed(bed), {"Default": 8})
        with pytest.raises(TaskError, match=words):
            proof.require()

    @pytest.mark.parametrize("epochs", [[], [0], [0, 1, 1], [1, 0], [1, 2]])
    def test_epochs_that_did_not_increase_to_the_end_are_found(self, bed, epochs):
        proof = proofs.Proof()
        proofs.prove_epochs(proof, epochs, typed(bed))
        assert not proof.checks[0]["ok"]

    def test_a_training_that_started_from_another_model_is_found(self):
        proof = proofs.Proof()
        proofs.prove_start(proof, {"rmse_forces": 0.20}, {"rmse_forces": 0.2001})
        proof.require()
        proofs.prove_start(proof, {"rmse_forces": 0.30}, {"rmse_forces": 0.20})
        with pytest.raises(TaskError, match="validation rmse_forces before the first epoch"):
            proof.require()

    def test_large_energies_in_single_precision_are_no_other_model(self, bed):
        """Two of the last digits of -30950.4 eV in 15 atoms, as a real training of tungsten showed them."""
        single = typed(bed).model_copy(update={"dtype": "float32"})
        double = typed(bed).model_copy(update={"dtype": "float64"})
        rounding = proofs.energy_rounding([-30950.408], [15], single)
        assert rounding == pytest.approx(2 * 2.0**-9 / 15**0.5)
        assert proofs.energy_rounding([-30950.408], [15], double) < 1e-9
        ours, found = {"rmse_energy": 0.010521}, {"rmse_energy": 0.010156}
        for allowed, holds in (({"rmse_energy": rounding}, True), ({}, False)):
            proof = proofs.Proof()
            proofs.prove_start(proof, found, ours, allowed)
            assert proof.checks[0]["ok"] is holds


class TestOptions:
    def test_the_list_of_options_is_that_of_mace(self):
        from mace.tools import build_default_arg_parser

        names = {name.lstrip("-") for action in build_default_arg_parser()._actions for name in action.option_strings}
        assert {name for name in names if name not in ("h", "help")} == OPTIONS

    def test_the_tables_name_options_of_mace_only(self):
        assert set(TYPED) <= OPTIONS
        assert set(MANAGED) <= OPTIONS
        assert set(UNSUPPORTED) <= OPTIONS


def test_checkpoints_of_torch_are_zip_files(tmp_path):
    """Completeness is told by the directory at the end of the file."""
    torch.save({"x": torch.zeros(3)}, tmp_path / "c.pt")
    assert zipfile.is_zipfile(tmp_path / "c.pt")
