"""The options of ``mace_run_train`` (mace-torch 0.3.16), so that AiiDA can check ``extra`` without importing mace.

A test compares the table with mace's own argument parser.
"""

from __future__ import annotations

from collections.abc import Mapping

MACE_VERSION = "0.3.16"

_OPTIONS = """
E0s MLP_irreps add_local_electron_energy amsgrad apply_cutoff atomic_multipoles_max_l
atomic_multipoles_smearing_width atomic_numbers avg_num_neighbors batch_size beta beta1_schedulefree
beta2_schedulefree charges_key checkpoints_dir clip_grad compute_atomic_dipole compute_avg_num_neighbors
compute_forces compute_polarizability compute_stress config config_type_weights correlation default_dtype device
dipole_key dipole_weight disallow_random_padding_pt distance_transform distributed downloads_dir dry_run
edge_irreps elec_temp_key ema ema_decay embedding_specs enable_cueq enable_oeq energy_key energy_weight
error_table eval_interval field_feature_max_l field_feature_norms field_feature_widths field_norm_factor
field_readout_config field_si filter_type_pt fixedpoint_update_config force_mh_ft_lr forces_key forces_weight
foundation_filter_elements foundation_head foundation_model foundation_model_elements foundation_model_kwargs
foundation_model_readout freeze gate head_key heads hidden_irreps huber_delta
include_electrostatic_self_interaction interaction interaction_first keep_checkpoints keep_isolated_atoms
kspace_cutoff_factor launcher lbfgs les_arguments log_dir log_level lora lora_alpha lora_rank loss lr lr_factor
lr_params_factors lr_scheduler_gamma max_L max_ell max_num_epochs mean model model_dir multi_processed_test
multiheads_finetuning name num_channels num_cutoff_basis num_interactions num_radial_basis num_recursion_steps
num_samples_pt num_workers only_cueq optimizer pair_repulsion patience pin_memory plot plot_frequency
plot_interaction_e polarizability_key polarizability_weight pseudolabel_replay pseudolabel_replay_compute_stress
pt_train_file pt_valid_file quadrupole_feature_corrections r_max radial_MLP radial_type
real_pt_data_ratio_threshold restart_latest results_dir return_electrostatic_potentials save_all_checkpoints
save_cpu scaling scheduler scheduler_patience seed skip_evaluate_heads stage_two stage_two_dipole_weight
stage_two_energy_weight stage_two_forces_weight stage_two_lr stage_two_polarizability_weight
stage_two_stress_weight stage_two_virials_weight start_stage_two start_swa statistics_file std stress_key
stress_weight subselect_pt swa swa_dipole_weight swa_energy_weight swa_forces_weight swa_lr
swa_polarizability_weight swa_stress_weight swa_virials_weight test_dir test_file total_charge_key
total_spin_key train_file use_agnostic_product use_edge_irreps_first use_embedding_readout use_last_readout_only
use_reduced_cg use_so3 valid_batch_size valid_file valid_fraction virials_key virials_weight wandb wandb_dir
wandb_entity wandb_log_hypers wandb_name wandb_project weight_decay weight_pt_head work_dir
"""

OPTIONS: frozenset[str] = frozenset(_OPTIONS.split())
"""Every option that mace_run_train knows, without the leading dashes."""

TYPED: Mapping[str, str] = {
    "E0s": "e0_policy",
    "batch_size": "batch_size",
    "clip_grad": "clip_grad",
    "config_type_weights": "loss.config_type_weights",
    "correlation": "strategy.correlation",
    "default_dtype": "dtype",
    "device": "device",
    "distributed": "distributed",
    "ema": "ema",
    "ema_decay": "ema.decay",
    "energy_weight": "loss.energy_weight",
    "force_mh_ft_lr": "learning_rate",
    "forces_weight": "loss.forces_weight",
    "foundation_head": "foundation_head",
    "foundation_model_elements": "keep_elements",
    "freeze": "strategy",
    "hidden_irreps": "strategy.num_channels",
    "launcher": "distributed.launcher",
    "lora": "strategy",
    "lora_alpha": "strategy.alpha",
    "lora_rank": "strategy.rank",
    "loss": "loss.kind",
    "lr": "learning_rate",
    "lr_factor": "lr_factor",
    "max_L": "strategy.max_L",
    "max_num_epochs": "max_epochs",
    "multiheads_finetuning": "strategy",
    "num_channels": "strategy.num_channels",
    "num_interactions": "strategy.num_interactions",
    "num_radial_basis": "strategy.num_radial_basis",
    "patience": "early_stopping.patience",
    "r_max": "strategy.r_max",
    "scheduler_patience": "scheduler_patience",
    "seed": "seed",
    "stress_weight": "loss.stress_weight",
    "valid_batch_size": "valid_batch_size",
    "weight_decay": "weight_decay",
    "weight_pt_head": "strategy.weight",
}
"""Option -> the field of ``TrainSettings`` that sets it; giving it in ``extra`` too would contradict the field."""

_MANAGED = """
atomic_numbers charges_key checkpoints_dir compute_forces compute_stress config dipole_key
disallow_random_padding_pt downloads_dir dry_run elec_temp_key energy_key error_table eval_interval
filter_type_pt forces_key foundation_filter_elements foundation_model foundation_model_kwargs head_key heads
keep_checkpoints keep_isolated_atoms log_dir log_level model_dir multi_processed_test name num_samples_pt plot
plot_frequency plot_interaction_e polarizability_key pseudolabel_replay pseudolabel_replay_compute_stress
pt_train_file pt_valid_file restart_latest results_dir save_all_checkpoints skip_evaluate_heads
statistics_file stress_key subselect_pt test_dir test_file total_charge_key total_spin_key train_file valid_file
valid_fraction virials_key wandb wandb_dir wandb_entity wandb_log_hypers wandb_name wandb_project work_dir
"""

MANAGED: frozenset[str] = frozenset(_MANAGED.split())
"""Options that the worker sets itself (files, folders, label names, restarts) or that a compute node must not use."""

UNSUPPORTED: Mapping[str, str] = {
    **dict.fromkeys(
        ["swa", "stage_two", "start_swa", "start_stage_two", "swa_lr", "stage_two_lr"],
        "Stage Two has a loss of its own, so that its epochs cannot be compared with the others; set loss weights",
    ),
    **dict.fromkeys(["enable_cueq", "enable_oeq", "only_cueq"], "its checkpoints have another layout"),
    "embedding_specs": "the labels it needs are not in the data sets",
    "lbfgs": "its checkpoints cannot be gone on from",
    "les_arguments": "only models of class ScaleShiftMACE are trained",
    "save_cpu": "models are always saved for the CPU",
}
"""Options that would break the choice of the best epoch, restarts or the proof of the strategy, and why."""
