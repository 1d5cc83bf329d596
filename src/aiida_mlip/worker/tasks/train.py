"""Train or fine-tune a MACE model with ``mace_run_train``, and prove that it was done as asked.

The steps: prepare (refuse, compute E0s, write mace's input), run mace and follow it, put the weights of the best
epoch into the model, prove the strategy, and compute the errors of the model that is handed back.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.schema.training import NEW_HEAD, REPLAY_HEAD
from aiida_mlip.science.composition import composition_energy
from aiida_mlip.science.errors import error_table
from aiida_mlip.science.predictions import Predictions
from aiida_mlip.worker.backends import sha256_of
from aiida_mlip.worker.backends.mace import bind, describe
from aiida_mlip.worker.context import Context, Stopped
from aiida_mlip.worker.training import proof as proofs
from aiida_mlip.worker.training.checkpoints import CheckpointKeeper, TrainingState
from aiida_mlip.worker.training.curve import Curve
from aiida_mlip.worker.training.data import config_type, describe_types
from aiida_mlip.worker.training.finalise import learning_rate_of, model_of_epoch
from aiida_mlip.worker.training.options import NAME, command, heads, tag
from aiida_mlip.worker.training.plan import Plan, make_plan, write_inputs
from aiida_mlip.worker.training.process import MaceRun

MODEL_FILE = "potential.model"
LOG_FILE = "mace.log"


def run(context: Context) -> dict[str, Any]:
    """Run the task.

    Files: ``train``, ``valid``, ``test_<name>``, ``potential`` (but for scratch), ``replay`` (for replay), ``restart``
    (a folder of checkpoints of an earlier job, or that job's folder). Writes ``potential.model``, the folder
    ``checkpoints`` and mace's log.

    :return: see ``_payload``.
    :raises TaskError: for each expected failure; after ``walltime`` the folder ``checkpoints`` serves for a restart.
    """
    context.reporter.stage("prepare")
    plan = make_plan(context)
    context.partial["warnings"] = plan.warnings
    keeper = CheckpointKeeper(plan.folder / "checkpoints", plan.checkpoints, tag(plan.settings), plan.state)
    try:
        curve = _train(context, plan, keeper)
        context.reporter.stage("finalise")
        model = model_of_epoch(plan.folder / f"{NAME}.model", keeper.path(plan.state.best or 0), plan.settings)
        torch.save(model, context.directory / MODEL_FILE)
        proof = _prove(context, plan, curve, model)
        context.partial.update(proof=proof.checks, history=_history(plan.state))
        proof.require()
        return _payload(context, plan, keeper, model, proof)
    except Stopped as stop:
        details = {"checkpoint": plan.state.last is not None, "last_epoch": plan.state.last}
        raise Stopped(stop.message, {**stop.details, **details}) from stop
    finally:
        context.partial["history"] = _history(plan.state)
        _clean(plan.folder)


def _train(context: Context, plan: Plan, keeper: CheckpointKeeper) -> Curve:
    """Run mace and return the learning curve of this job."""
    settings, state = plan.settings, plan.state
    if state.last is not None:
        keeper.resume(state.last, learning_rate=settings.learning_rate)
    keeper.save()
    config = write_inputs(plan)
    curve = Curve(
        plan.folder / "results" / f"{tag(settings)}_train.txt",
        heads(settings),
        settings.divergence_factor,
        state.first_loss,
    )
    mace = MaceRun(
        command(sys.executable, settings, config), plan.folder, context.directory / LOG_FILE, settings.max_epochs
    )
    mace.run(context, curve, keeper)
    return curve


def _prove(context: Context, plan: Plan, curve: Curve, model: Any) -> proofs.Proof:
    """Return all checks of what mace did."""
    settings, proof = plan.settings, proofs.Proof()
    log = (context.directory / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    proofs.prove_log(proof, log, settings, plan.sizes())
    proofs.prove_epochs(proof, [record.epoch for record in plan.state.history], settings)
    proofs.prove_model(proof, model, settings, elements=plan.elements, heads=heads(settings), e0s=plan.e0s)
    if plan.foundation:
        initial = proofs.initial_model(model, plan.foundation.potential.model.to("cpu"), settings)
        proofs.prove_weights(proof, initial, model, settings)
        context.partial["changes"] = proofs.changes(initial, model)
        context.partial["largest_change_of_absent_elements"] = proofs.untouched_elements(
            initial, model, plan.data.elements()
        )
        if curve.first_loss is not None and not plan.is_restart and curve.initial:
            proofs.prove_start(proof, curve.initial[NEW_HEAD], *_errors_at_start(plan))
    return proof


def _errors_at_start(plan: Plan) -> tuple[dict[str, float], dict[str, float]]:
    """Return validation errors of the foundation model with the new E0s, over the frames that mace counts.

    With them, by how much mace's own may differ because of the type it computes in.
    """
    if plan.foundation is None:
        return {}, {}
    potential = bind(plan.foundation.potential.model, device=plan.settings.device, dtype=plan.settings.dtype, head=None)
    old = potential.info.e0s[potential.info.head]
    shift = {symbol: value - old[symbol] for symbol, value in plan.e0s[NEW_HEAD].items()}
    weights = plan.settings.loss.config_type_weights
    frames = [atoms for atoms in plan.data.valid if weights.get(config_type(atoms), 1.0) > 0]
    found = potential.evaluate(frames, batch_size=plan.settings.valid_batch_size, stress=False)
    energies = found.energies + [composition_energy(atoms, shift) for atoms in frames]
    cell = error_table(frames, Predictions(energies, found.forces, found.stresses))["all"]
    errors = {f"rmse_{name}": cell[name]["rmse"] for name in ("energy", "forces") if name in cell}
    sizes = [len(atoms) for atoms in frames]
    return errors, {"rmse_energy": proofs.energy_rounding(list(energies), sizes, plan.settings)}


def _payload(context: Context, plan: Plan, keeper: CheckpointKeeper, model: Any, proof: proofs.Proof) -> dict[str, Any]:
    """Return what the task hands back.

    ``potential`` describes ``potential.model``; ``history`` has one array per metric over the epochs; ``errors`` maps
    set -> table of errors of the chosen model; ``proof`` lists every check.
    """
    state = plan.state
    return {
        "potential": _describe(context, plan, model).model_dump(mode="json"),
        "history": _history(state),
        "chosen_epoch": state.best,
        "errors": _errors(context, plan, model),
        "counts": {
            "configurations": plan.data.counts(),
            "config_types": dict(describe_types(plan.data.train)),
            "parameters": proofs.parameter_counts(model, plan.settings),
        },
        "changes": context.partial.get("changes", {}),
        "largest_change_of_absent_elements": context.partial.get("largest_change_of_absent_elements", 0.0),
        "e0s": plan.e0s,
        "proof": proof.checks,
        "warnings": plan.warnings,
        "restarted": plan.is_restart,
        "final_learning_rate": learning_rate_of(keeper.path(state.last or 0)),
    }


def _describe(context: Context, plan: Plan, model: Any) -> PotentialInfo:
    info = describe(model, sha256=sha256_of(context.directory / MODEL_FILE))
    facts: dict[str, Any] = {"strategy": plan.settings.strategy.kind, "chosen_epoch": plan.state.best or 0}
    updates: dict[str, Any] = {"head": NEW_HEAD}
    if plan.foundation:
        facts["foundation_sha256"] = plan.foundation.source.sha256
        updates["licence"] = (context.job.potential or {}).get("licence", "unknown")
    return info.model_copy(update={**updates, "extra": {**info.extra, **facts}})


def _errors(context: Context, plan: Plan, model: Any) -> dict[str, Any]:
    """Return set -> table of errors of the chosen model; the replay frames are judged on their own head."""
    sets: dict[str, tuple[str, list[Atoms]]] = {
        "train": (NEW_HEAD, plan.data.train),
        "valid": (NEW_HEAD, plan.data.valid),
        **{name: (NEW_HEAD, frames) for name, frames in plan.data.tests.items()},
    }
    if plan.data.replay_valid:
        sets["replay_valid"] = (REPLAY_HEAD, plan.data.replay_valid)
    settings, done = plan.settings, 0
    context.reporter.stage("evaluate", sum(len(frames) for _, frames in sets.values()))
    tables = {}
    for name, (head, frames) in sets.items():
        potential = bind(model, device=settings.device, dtype=settings.dtype, head=head)
        predictions = potential.evaluate(
            frames, batch_size=settings.valid_batch_size, on_progress=partial(_report, context, done)
        )
        done += len(frames)
        tables[name] = error_table(frames, predictions)
    return tables


def _report(context: Context, before: int, count: int) -> None:
    context.reporter.update(before + count)


def _history(state: TrainingState) -> dict[str, Any]:
    """Return the learning curve as arrays: epoch, train_loss, seconds, and valid -> head -> metric."""
    metrics = {head: sorted({name for record in state.history for name in record.valid[head]}) for head in state.heads}
    return {
        "epoch": [record.epoch for record in state.history],
        "train_loss": [record.train_loss for record in state.history],
        "seconds": [record.seconds for record in state.history],
        "valid": {
            head: {name: [record.valid[head].get(name) for record in state.history] for name in names}
            for head, names in metrics.items()
        },
        "initial": state.initial,
    }


def _clean(folder: Path) -> None:
    """Remove what mace wrote and nobody needs again; its log, its options and its results stay."""
    for pattern in ("*.model", "*.xyz", "checkpoints/*"):
        for path in folder.glob(pattern):
            path.unlink()
