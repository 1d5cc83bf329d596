"""What `aiida-mlip launch` can submit: for each workflow the model of its file, and how inputs are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from aiida_mlip.cli._electrolyte_file import ElectrolyteFile
from aiida_mlip.cli._launch_file import DefectsFile, FileT, FinetuneFile, IterativeFile, LaunchFile, PwFile
from aiida_mlip.cli._nodes import find_node

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import Computer


@dataclass(frozen=True)
class Launchable(Generic[FileT]):
    """One workflow that a file can describe.

    :param name: of the command.
    :param summary: one sentence for its help.
    :param model: of the file.
    :param build: makes the inputs from the file's contents and its folder; raises ValueError for what is wrong.
    """

    name: str
    summary: str
    model: type[FileT]
    build: Callable[[FileT, Path], ProcessBuilder]

    @property
    def example(self) -> str:
        """A file of this kind in the repository."""
        return f"examples/{self.name}.yaml"


def _computer(field: str, label: str) -> Computer:
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    try:
        return orm.load_computer(label)
    except NotExistent as error:
        raise ValueError(f"{field} = {label!r} is not in this profile: run `aiida-mlip setup` with its file") from error


def _runtime(described: LaunchFile) -> dict[str, Any]:
    """Return what every builder takes: the worker, the options of its jobs, and the protocol."""
    from aiida_mlip.computers.defaults import find_worker, job_options

    computer = _computer("computer", described.computer)
    return {
        "code": find_worker(computer),
        "options": job_options(computer, walltime=described.walltime),
        "protocol": described.protocol,
    }


def _with_device(described: LaunchFile, key: str) -> dict[str, Any]:
    """Return the overrides with the device of the computer, unless they name one."""
    from aiida_mlip.computers.defaults import job_defaults

    given = described.overrides.get(key, {})
    if not isinstance(given, dict):
        return described.overrides  # the protocol refuses it
    device = job_defaults(_computer("computer", described.computer)).device
    return {**described.overrides, key: {"device": device} | given}


def _finetune(described: FinetuneFile, _folder: Path) -> ProcessBuilder:
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.data.potential import PotentialData
    from aiida_mlip.workchains.finetune import FinetuneWorkChain

    runtime, dataset = _runtime(described), described.dataset
    builder: ProcessBuilder = FinetuneWorkChain.get_builder_from_protocol(
        **runtime,
        potential=find_node(described.potential, PotentialData, "potential"),
        dataset=None if dataset is None else find_node(dataset, DatasetData, "dataset"),
        sets={name: find_node(text, DatasetData, f"sets.{name}") for name, text in described.sets.items()} or None,
        overrides=_with_device(described, "training"),
    )
    if described.replay_pool is not None:
        builder.replay_pool = find_node(described.replay_pool, DatasetData, "replay_pool")
    return builder


def _defects(described: DefectsFile, folder: Path) -> ProcessBuilder:
    from aiida_mlip.data.potential import PotentialData
    from aiida_mlip.science.reference import read_document
    from aiida_mlip.workchains.defects import DefectsWorkChain
    from aiida_mlip.workchains.defects_inputs import special_workers

    found = {name: find_node(text, PotentialData, f"potentials.{name}") for name, text in described.potentials.items()}
    builder: ProcessBuilder = DefectsWorkChain.get_builder_from_protocol(
        **_runtime(described),
        potentials=found,
        elements=described.elements,
        properties=described.properties,
        codes=special_workers(_computer("computer", described.computer), found),
        reference_data=None if described.reference is None else read_document(folder / described.reference),
        max_concurrent=described.max_concurrent,
        overrides=_with_device(described, "settings"),
    )
    return builder


def _iterative(described: IterativeFile, _folder: Path) -> ProcessBuilder:
    from aiida.orm import WorkChainNode

    from aiida_mlip.computers.defaults import find_worker, job_options
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.data.potential import PotentialData
    from aiida_mlip.workchains.iterative import IterativeTrainingWorkChain

    wanted = {"structures": DatasetData, "training_set": DatasetData, "holdout": DatasetData,
              "potential": PotentialData, "teacher": PotentialData, "resume": WorkChainNode}  # fmt: skip
    texts = {name: getattr(described, name) for name in wanted}
    found = {name: find_node(text, wanted[name], name) for name, text in texts.items() if text is not None}
    computer = _computer("computer", described.computer)
    limits = {name: getattr(described, name) for name in ("max_generations", "label_budget")}
    settings = {name: value for name, value in limits.items() if value is not None}
    overrides = dict(described.overrides)
    if settings and isinstance(given_settings := overrides.get("settings", {}), dict):
        overrides["settings"] = {**given_settings, **settings}
    if "resume" in found:
        given = {"previous": found.pop("resume")}
        options = None if described.walltime is None else job_options(computer, walltime=described.walltime)
    else:
        overrides = _with_device(described.model_copy(update={"overrides": overrides}), "training")
        given, options = {"protocol": described.protocol}, job_options(computer, walltime=described.walltime)
    builder: ProcessBuilder = IterativeTrainingWorkChain.get_builder_from_protocol(
        code=find_worker(computer),
        options=options,
        pw=None if described.pw is None else _pw_inputs(described.pw),
        overrides=overrides,
        **found,
        **given,
    )
    return builder


def _electrolyte(described: ElectrolyteFile, _folder: Path) -> ProcessBuilder:
    from aiida_mlip.data.dataset import DatasetData
    from aiida_mlip.data.potential import PotentialData
    from aiida_mlip.workchains.electrolyte import ElectrolyteWorkChain
    from aiida_mlip.workchains.protocols import merge

    labelled, reference = described.labelled, described.reference
    given = _with_device(described, "md")
    overrides = merge({"settings": described.settings}, given) if isinstance(given.get("settings", {}), dict) else given
    builder: ProcessBuilder = ElectrolyteWorkChain.get_builder_from_protocol(
        **_runtime(described),
        potentials={name: find_node(text, PotentialData, f"potentials.{name}")
                    for name, text in described.potentials.items()},
        dispersion=described.said,
        boxes={name: find_node(text, DatasetData, f"imported.{name}") for name, text in described.imported.items()},
        packed=described.packed,
        labelled=None if labelled is None else find_node(labelled, DatasetData, "labelled"),
        reference=None if reference is None else find_node(reference, PotentialData, "reference"),
        pw=None if described.pw is None else _pw_inputs(described.pw),
        max_concurrent=described.max_concurrent,
        overrides=overrides,
    )  # fmt: skip
    return builder


def _pw_inputs(described: PwFile) -> dict[str, Any]:
    """Return the inputs of the namespace ``pw`` of ``mlip.label``."""
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_mlip.workchains.label_builder import PW_PLUGIN, pw_inputs

    try:
        code = orm.load_code(described.code)
    except NotExistent as error:
        raise ValueError(f"pw.code = {described.code!r} is not in this profile: see `verdi code list`") from error
    if code.default_calc_job_plugin != PW_PLUGIN:
        raise ValueError(
            f"pw.code = {described.code!r}: its plugin is {code.default_calc_job_plugin!r}: name a code of "
            f"{PW_PLUGIN!r} (`verdi code list`)"
        )
    return pw_inputs(code, **described.model_dump(exclude={"code"}))


LAUNCHABLE: tuple[Launchable[Any], ...] = (
    Launchable("finetune", "Fine-tune a foundation model, as FILE says.", FinetuneFile, _finetune),
    Launchable(
        "iterative",
        "Train, explore, select, label, and again until converged, as FILE says.",
        IterativeFile,
        _iterative,
    ),
    Launchable(
        "electrolyte",
        "Say whether a liquid electrolyte is stable with potentials, as FILE says.",
        ElectrolyteFile,
        _electrolyte,
    ),
    Launchable("defects", "Evaluate potentials on crystals and defects, as FILE says.", DefectsFile, _defects),
)
"""Adding one needs a model of its file and a function here, and an example."""
