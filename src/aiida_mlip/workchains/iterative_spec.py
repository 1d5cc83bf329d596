"""The ports and exit codes of ``mlip.iterative_training``."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ProcessSpec

from aiida_mlip.calculations.evaluate import EvaluateCalculation
from aiida_mlip.calculations.select import SelectCalculation
from aiida_mlip.calculations.uncertainty import UncertaintyCalculation
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.data.trajectory import MDTrajectoryData
from aiida_mlip.data.uncertainty import UncertaintyData
from aiida_mlip.workchains.committee import NOT_EXPOSED
from aiida_mlip.workchains.iterative_inputs import settings_port, validate_iterative
from aiida_mlip.workchains.label import LabelWorkChain
from aiida_mlip.workchains.md_base import MDBaseWorkChain
from aiida_mlip.workchains.train_base import TrainBaseWorkChain


def define_inputs(spec: ProcessSpec) -> None:
    """Define the inputs."""
    spec.input(
        "potential", valid_type=PotentialData, required=False, help="Foundation model; none for strategy 'scratch'."
    )
    spec.input("structures", valid_type=DatasetData, help="Where the walkers start, and what is augmented.")
    spec.input("training_set", valid_type=DatasetData, required=False, help="Labelled configurations to begin with.")
    spec.input("holdout", valid_type=DatasetData, required=False, help="Labelled configurations to measure errors on.")
    spec.input("settings", valid_type=orm.Dict, **settings_port("settings"))
    _define_previous(spec)
    spec.expose_inputs(TrainBaseWorkChain, namespace="training", exclude=NOT_EXPOSED)
    spec.expose_inputs(EvaluateCalculation, namespace="evaluation", exclude=("potential", "datasets"))
    spec.expose_inputs(
        UncertaintyCalculation, namespace="uncertainty", exclude=("potentials", "training_set", "calibration_set")
    )
    given = ("settings", "potentials", "uncertainty", "structures", "restart_folder")
    spec.expose_inputs(MDBaseWorkChain, namespace="md", exclude=tuple(f"md.{name}" for name in given))
    spec.input("md.settings", valid_type=orm.Dict, **settings_port("md.settings"))
    spec.expose_inputs(
        SelectCalculation, namespace="selection", exclude=("potential", "trajectories", "known", "settings")
    )
    spec.input("selection.settings", valid_type=orm.Dict, **settings_port("selection.settings"))
    spec.expose_inputs(LabelWorkChain, namespace="label", exclude=("configurations",))
    spec.inputs.validator = validate_iterative


def _define_previous(spec: ProcessSpec) -> None:
    """Define what a run that goes on takes over; ``iterative_resume`` finds it in the graph of the earlier run."""
    spec.input_namespace("previous", required=False, help="What an earlier run left; with it, nothing is done again.")
    spec.input("previous.history", valid_type=orm.Dict, required=False, help="Its generations so far.")
    spec.input("previous.training_set", valid_type=DatasetData, required=False, help="Its last training set.")
    spec.input("previous.holdout", valid_type=DatasetData, required=False, help="Its hold-out set.")
    spec.input("previous.selected", valid_type=DatasetData, required=False, help="Frames that still need labels.")
    spec.input_namespace(
        "previous.potentials", valid_type=PotentialData, dynamic=True, required=False, help="Its last members."
    )
    spec.input_namespace("previous.unfinished", required=False, help="Steps of a generation that was cut short.")
    where = "previous.unfinished"
    spec.input_namespace(
        f"{where}.potentials", valid_type=PotentialData, dynamic=True, required=False, help="Members it had trained."
    )
    spec.input_namespace(
        f"{where}.trained", valid_type=orm.Dict, dynamic=True, required=False, help="Results of their training."
    )
    spec.input(f"{where}.uncertainty", valid_type=UncertaintyData, required=False, help="Their uncertainty.")
    spec.input(f"{where}.doubts", valid_type=orm.Dict, required=False, help="Results of `mlip.uncertainty`.")
    spec.input(f"{where}.md", valid_type=orm.Dict, required=False, help="Results of the dynamics.")
    spec.input(f"{where}.md_settings", valid_type=orm.Dict, required=False, help="Settings of the dynamics.")
    spec.input_namespace(
        f"{where}.trajectories", valid_type=MDTrajectoryData, dynamic=True, required=False, help="Its trajectories."
    )


def define_outcome(spec: ProcessSpec) -> None:
    """Define outputs and exit codes."""
    spec.output("potential", valid_type=PotentialData, required=False, help="Member with the lowest validation error.")
    spec.output_namespace(
        "potentials", valid_type=PotentialData, dynamic=True, required=False, help="All members of the last committee."
    )
    spec.output("uncertainty", valid_type=UncertaintyData, required=False, help="Their calibrated uncertainty.")
    spec.output("training_set", valid_type=DatasetData, required=False, help="All that can be trained on.")
    spec.output("holdout", valid_type=DatasetData, required=False, help="What was never trained on.")
    spec.output("history", valid_type=orm.Dict, required=False, help="All generations: counts, errors, survival, cost.")
    spec.exit_code(201, "ERROR_SETS", message="The sets cannot be made: {reasons}")
    spec.exit_code(460, "ERROR_FIRST_SET_FAILED", message="The first set was not labelled: {reason}")
    spec.exit_code(
        461, "ERROR_TRAINING_FAILED", message="{left} members were trained and {needed} are needed: {reason}"
    )
    spec.exit_code(462, "ERROR_MEASUREMENT_FAILED", message="The members could not be measured: {reason}")
    spec.exit_code(463, "ERROR_EXPLORATION_FAILED", message="The dynamics left no trajectory: {reason}")
    spec.exit_code(464, "ERROR_SELECTION_FAILED", message="No frames could be selected: {reason}")
    spec.exit_code(465, "ERROR_LABELLING_FAILED", message="Too few frames were labelled: {reason}")
    spec.exit_code(
        705, "WARNING_NOT_CONVERGED", message="Finished {generations} generations, and not converged: {reasons}"
    )
    spec.exit_code(
        706, "WARNING_LABEL_BUDGET", message="All {budget} labels are used, and it is not converged: {reasons}"
    )
    spec.exit_code(
        707, "WARNING_NOTHING_TO_LABEL", message="No frame is left that could be labelled, not converged: {reasons}"
    )
