"""Looks at liquids as a report reads them: the findings of each trajectory, tests of forces, and verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from aiida import orm
from aiida.common.links import LinkType
from numpy.typing import NDArray

from aiida_mlip.schema.dynamics import WalkerResult
from aiida_mlip.schema.electrolyte import ElectrolyteSettings
from aiida_mlip.schema.liquid import WalkerFindings
from aiida_mlip.science.liquids.conditions import in_words, place_of
from aiida_mlip.science.liquids.findings import CheckResult
from aiida_mlip.science.liquids.force_results import ForceTestResult
from aiida_mlip.science.liquids.verdict import PotentialVerdict
from aiida_mlip.science.models import StrictModel

if TYPE_CHECKING:
    from aiida_mlip.report.subject import Subject

Array = NDArray[np.float64]

ModelT = TypeVar("ModelT", bound=StrictModel)

ELECTROLYTE = "mlip.electrolyte"

LIQUIDS = ("mlip.liquid", "mlip.liquid.base")

STAGES = ("npt", "nvt", "nve")
"""Stages of the dynamics, the one that decides first."""

CURVES = "curves__"
"""Beginning of the labels of the links to curves."""


@dataclass(frozen=True)
class Condition:
    """What a trajectory was run at.

    :param box: name of the box; of a trajectory whose name is not that of a box with conditions, its own name.
    :param stage: ``npt``, ``nvt`` or ``nve``.
    :param temperature: target [K].
    :param pressure: target [GPa]; None without.
    """

    box: str
    stage: str
    temperature: float
    pressure: float | None = None

    @property
    def words(self) -> str:
        """Return it in words, with the box."""
        return in_words(self.box, self.stage.upper(), self.temperature, self.pressure)

    @property
    def short(self) -> str:
        """Return it in words, without box and stage."""
        return in_words("", "", self.temperature, self.pressure)

    @property
    def rank(self) -> tuple[int, str, float, float]:
        """Return a key that sorts conditions as a reader does."""
        place = STAGES.index(self.stage) if self.stage in STAGES else len(STAGES)
        return place, self.box, self.temperature, self.pressure or 0.0


class Curves(Mapping[str, Array]):
    """Arrays of a node by name, each read from its file when it is asked for: there are dozens, and few are drawn.

    :param node: None: there are none.
    """

    def __init__(self, node: orm.Data | None) -> None:
        self._node = node if isinstance(node, orm.ArrayData) else None
        self._names = tuple(self._node.get_arraynames()) if self._node is not None else ()
        self._read: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        """Return an array."""
        if name not in self._names or self._node is None:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = np.asarray(self._node.get_array(name), dtype=float)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return their number."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Return whether there is an array of this name, without reading it."""
        return name in self._names


@dataclass(frozen=True)
class Look:
    """The checks of all trajectories of one potential and one stage.

    :param potential: its name; empty for a process of checks alone.
    :param node: of ``mlip.liquid`` or ``mlip.liquid.base``.
    """

    potential: str
    node: orm.ProcessNode

    @cached_property
    def outputs(self) -> Mapping[str, orm.Data]:
        """Return label of a link -> output."""
        links = self.node.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).all()
        return {link.link_label: link.node for link in links}

    @cached_property
    def findings(self) -> Mapping[str, WalkerFindings]:
        """Return walker -> what was found; empty where there are no results."""
        results = self.outputs.get("results")
        if not isinstance(results, orm.Dict):
            return {}
        walkers = results.get_dict().get("walkers", {})
        return {name: _read(WalkerFindings, walkers[name]) for name in sorted(walkers)}

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Return the settings of the checks."""
        for label in ("settings", "liquid__settings"):
            found = self.node.base.links.get_incoming(link_label_filter=label).all_nodes()
            if found:
                return dict(found[0].get_dict())
        return {}


@dataclass(frozen=True)
class Run:
    """One trajectory and what was found in it."""

    look: Look
    walker: str
    findings: WalkerFindings
    condition: Condition

    @property
    def potential(self) -> str:
        """Return the name of the potential; empty where nobody knows."""
        return self.look.potential

    @property
    def name(self) -> str:
        """Return potential, condition and, where its number is not 1, walker in words."""
        copy = _copy_of(self.walker)
        words = self.condition.words + (f", walker {copy}" if copy > 1 else "")
        return f"{self.potential}: {words}" if self.potential else words

    @cached_property
    def curves(self) -> Mapping[str, Array]:
        """Return name -> array; empty where the curves are not in this database."""
        return Curves(self.look.outputs.get(f"{CURVES}{self.walker}"))

    @property
    def equilibration(self) -> float:
        """Return the share of the run that is left out of averages."""
        return float(self.look.settings.get("equilibration", 0.2))

    def results(self, check: str) -> tuple[CheckResult, ...]:
        """Return the answers of one check."""
        return tuple(result for result in self.findings.checks if result.check == check)


@dataclass(frozen=True)
class ForceTests:
    """The tests of energies and forces of one potential."""

    potential: str
    result: ForceTestResult
    curves: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Dynamics:
    """The dynamics of one potential and stage: how each walker ended."""

    potential: str
    stage: str
    node: orm.ProcessNode
    walkers: Mapping[str, WalkerResult]


@dataclass(frozen=True)
class Liquids:
    """All that is known so far.

    :param potentials: in the order of their names; an empty name for a process of checks alone.
    """

    potentials: tuple[str, ...]
    looks: tuple[Look, ...]
    forces: Mapping[str, ForceTests] = field(default_factory=dict)
    verdicts: Mapping[str, PotentialVerdict] = field(default_factory=dict)
    dynamics: tuple[Dynamics, ...] = ()
    settings: ElectrolyteSettings | None = None

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Return all trajectories: by condition, then by potential."""
        found = [
            Run(look, name, findings, condition_of(name, findings))
            for look in self.looks
            for name, findings in look.findings.items()
        ]
        return tuple(sorted(found, key=lambda run: (run.condition.rank, self.potentials.index(run.potential))))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Return the conditions of all trajectories."""
        return conditions_of(self.runs)

    def of(self, potential: str) -> tuple[Run, ...]:
        """Return the trajectories of one potential."""
        return tuple(run for run in self.runs if run.potential == potential)

    def telling(self) -> tuple[Run, ...]:
        """Return the trajectories of the stage that says most: at constant pressure, else volume, else energy."""
        for stage in STAGES:
            if found := tuple(run for run in self.runs if run.condition.stage == stage):
                return found
        return ()

    def reference_density(self, run: Run) -> float | None:
        """Return what the density of a run is compared with [g/cm^3]; None: with nothing."""
        if self.settings is not None and run.condition.box in self.settings.reference_densities:
            return self.settings.reference_densities[run.condition.box]
        found = run.look.settings.get("checks", {}).get("density", {}).get("reference")
        return None if found is None else float(found)


def conditions_of(runs: Sequence[Run]) -> tuple[Condition, ...]:
    """Return the conditions of some trajectories, each once."""
    return tuple(dict.fromkeys(run.condition for run in runs))


def condition_of(walker: str, findings: WalkerFindings) -> Condition:
    """Return what a trajectory was run at."""
    facts = findings.facts
    try:
        box = place_of(walker).box
    except ValueError:
        box = walker
    return Condition(box, facts.ensemble, facts.temperature, facts.pressure if facts.ensemble == "npt" else None)


def _copy_of(walker: str) -> int:
    try:
        return place_of(walker).copy
    except ValueError:
        return 1


def liquids_of(subject: Subject) -> Liquids | None:
    """Return what a process found in liquids; None for another process, and before anything was found."""
    if subject.kind in LIQUIDS:
        look = Look("", subject.node)
        return Liquids(("",), (look,)) if look.findings else None
    if subject.kind != ELECTROLYTE:
        return None
    names = _potentials(subject)
    steps = subject.steps
    made = Liquids(
        potentials=names,
        looks=tuple(
            Look(name, steps[f"{name}_{stage}_checks"])
            for name in names
            for stage in STAGES
            if f"{name}_{stage}_checks" in steps
        ),
        forces={item.potential: item for item in _forces(subject, names)},
        verdicts=dict(_verdicts(subject, names)),
        dynamics=tuple(_dynamics(subject, names)),
        settings=_settings(subject),
    )
    return made if made.runs or made.forces or made.verdicts else None


def _potentials(subject: Subject) -> tuple[str, ...]:
    links = subject.node.base.links.get_incoming(link_type=LinkType.INPUT_WORK).all_link_labels()
    begin = "potentials__"
    return tuple(sorted(label.removeprefix(begin) for label in links if label.startswith(begin)))


def _settings(subject: Subject) -> ElectrolyteSettings | None:
    found = subject.node.base.links.get_incoming(link_label_filter="settings").all_nodes()
    return _read(ElectrolyteSettings, found[0].get_dict()) if found else None


def _forces(subject: Subject, names: Sequence[str]) -> Iterator[ForceTests]:
    for name in names:
        step = subject.steps.get(f"{name}_force_tests")
        if step is None:
            continue
        made = {link.link_label: link.node for link in step.base.links.get_outgoing(link_type=LinkType.CREATE).all()}
        if "results" not in made:
            continue
        yield ForceTests(name, _read(ForceTestResult, made["results"].get_dict()), Curves(made.get("curves")))


def _verdicts(subject: Subject, names: Sequence[str]) -> Iterator[tuple[str, PotentialVerdict]]:
    for name in names:
        step = subject.steps.get(f"{name}_verdict")
        made = step.base.links.get_outgoing(link_type=LinkType.CREATE).all_nodes() if step is not None else []
        for node in made:
            yield name, _read(PotentialVerdict, node.get_dict())


def _dynamics(subject: Subject, names: Sequence[str]) -> Iterator[Dynamics]:
    from aiida_mlip.report.dynamics import walkers  # noqa: PLC0415 - that module reads subjects

    for name in names:
        for stage in STAGES:
            step = subject.steps.get(f"{name}_{stage}")
            if step is not None and (found := walkers(step)):
                yield Dynamics(name, stage, step, found)


def _read(model: type[ModelT], content: Mapping[str, Any]) -> ModelT:
    """Return typed content; what an earlier version wrote and this one does not know is left out."""
    return model.model_validate({key: value for key, value in content.items() if key in model.model_fields})
