"""The ports and exit codes of ``mlip.electrolyte``."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ProcessSpec

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.electrolyte_inputs import settings_port, validate_electrolyte
from aiida_mlip.workchains.label import LabelWorkChain
from aiida_mlip.workchains.liquid_base import LiquidBaseWorkChain
from aiida_mlip.workchains.md_base import MDBaseWorkChain
from aiida_mlip.workchains.window import define_max_concurrent


def define_inputs(spec: ProcessSpec) -> None:
    """Define the inputs."""
    spec.input_namespace(
        "potentials", valid_type=PotentialData, dynamic=True, help="Name, as it is to be printed -> potential."
    )
    spec.input_namespace(
        "dispersion",
        valid_type=(orm.Dict, orm.Str),
        dynamic=True,
        required=False,
        help="Potential -> what is said of its dispersion (Str: included, none, unknown), or D3 that is added (Dict).",
    )
    spec.input_namespace(
        "boxes",
        valid_type=DatasetData,
        dynamic=True,
        required=False,
        help="Name -> a box of your own, one periodic configuration; beside those that the settings have packed.",
    )
    spec.input(
        "labelled",
        valid_type=DatasetData,
        required=False,
        help="Configurations with labels for the tests of forces; without it, the boxes themselves are used.",
    )
    spec.input("settings", valid_type=orm.Dict, **settings_port("settings"))
    _define_steps(spec)
    define_max_concurrent(spec)
    spec.inputs.validator = validate_electrolyte


def _define_steps(spec: ProcessSpec) -> None:
    """Define what the dynamics, the checks and the labels are run with."""
    given = ("settings", "potentials", "uncertainty", "structures", "restart_folder")
    spec.expose_inputs(MDBaseWorkChain, namespace="md", exclude=tuple(f"md.{name}" for name in given))
    spec.input("md.settings", valid_type=orm.Dict, **settings_port("md.settings"))
    found = ("settings", "structures", "md_folder", "trajectories", "series", "restart_folder")
    spec.expose_inputs(LiquidBaseWorkChain, namespace="liquid", exclude=tuple(f"liquid.{name}" for name in found))
    spec.expose_inputs(
        LabelWorkChain,
        namespace="label",
        exclude=("configurations", "pw", "batch.potential"),
        namespace_options={
            "required": False,
            "populate_defaults": False,
            "help": "How the potentials label the probes of the force tests.",
        },
    )
    spec.expose_inputs(
        LabelWorkChain,
        namespace="reference",
        exclude=("configurations",),
        namespace_options={
            "required": False,
            "populate_defaults": False,
            "help": "What labels the probes as a reference: pw.x, or a potential or any ASE calculator.",
        },
    )


def define_outcome(spec: ProcessSpec) -> None:
    """Define outputs and exit codes."""
    spec.output("verdict", valid_type=orm.Dict, required=False, help="Sentence, and name -> PotentialVerdict.")
    spec.output_namespace(
        "boxes", valid_type=DatasetData, dynamic=True, required=False, help="Name -> box, as the dynamics began."
    )
    spec.output_namespace(
        "results",
        valid_type=orm.Dict,
        dynamic=True,
        required=False,
        help="Potential -> `force_tests` (ForceTestResult), `nvt`, `npt`, `nve` (WalkerFindings of each walker).",
    )
    spec.exit_code(460, "ERROR_BOXES_FAILED", message="Boxes could not be made: {reasons}")
    spec.exit_code(461, "ERROR_PROBES_FAILED", message="The tests of forces could not be set up: {reasons}")
    spec.exit_code(462, "ERROR_REFERENCE_FAILED", message="The reference gave no labels: {reasons}")
    spec.exit_code(463, "ERROR_LABELS_FAILED", message="Potentials could not be labelled with: {reasons}")
    spec.exit_code(464, "ERROR_FORCE_TESTS_FAILED", message="Forces could not be compared: {reasons}")
    spec.exit_code(465, "ERROR_DYNAMICS_FAILED", message="The dynamics gave no result: {reasons}")
    spec.exit_code(466, "ERROR_CHECKS_FAILED", message="Trajectories could not be analysed: {reasons}")
