"""Calcfunctions that put findings together to verdicts: of one potential, and of all side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.calculations.electrolyte import STAGES
from aiida_mlip.schema.boxes import BoxSettings
from aiida_mlip.schema.dynamics import MDSettings, WalkerResult
from aiida_mlip.schema.electrolyte import ElectrolyteSettings
from aiida_mlip.schema.liquid import WalkerFindings
from aiida_mlip.science.liquids.boiling import Boiling
from aiida_mlip.science.liquids.checks.duration import UNSURE
from aiida_mlip.science.liquids.compositions import components_of
from aiida_mlip.science.liquids.conditions import Stage, place_of
from aiida_mlip.science.liquids.findings import CheckResult
from aiida_mlip.science.liquids.force_results import ForceTestResult
from aiida_mlip.science.liquids.naming import name_of
from aiida_mlip.science.liquids.transfer import density_order, reference_density, transfer_checks
from aiida_mlip.science.liquids.verdict import Evidence, PotentialVerdict, Question, judge
from aiida_mlip.science.models import StrictModel


def question_of(settings: ElectrolyteSettings) -> Question:
    """Return what the settings ask."""
    runs = any((settings.dynamics.nvt_steps, settings.dynamics.npt_steps, settings.dynamics.nve_steps))
    return Question(
        temperatures=settings.dynamics.temperatures if runs else (),
        pressures=settings.dynamics.pressures,
        min_time_ps=settings.min_time_ps,
        min_molecules=settings.min_molecules,
        reference_densities=settings.reference_densities,
        boiling=_boiling(settings),
    )


def _boiling(settings: ElectrolyteSettings) -> Boiling:
    """Return where a liquid may boil, as it is said for the check of the density."""
    return Boiling(**_known(settings.checks.get("density", {}), Boiling))


@calcfunction
def judge_potential(settings: orm.Dict, outcome: orm.Dict, **nodes: orm.Dict) -> orm.Dict:
    """Return the verdict on one potential.

    :param outcome: ``potential``: its name; ``dispersion``: what is known of it; ``failed_steps``: step -> why it gave
        no result.
    :param nodes: ``force_tests``, and for each stage ``<stage>_settings`` and ``<stage>_dynamics`` (of ``mlip.md``)
        and ``<stage>_checks`` (of ``mlip.liquid``), as far as they are there.
    """
    asked = ElectrolyteSettings(**settings.get_dict())
    question = question_of(asked)
    runs = list(_runs(asked, nodes))
    tests = (
        ForceTestResult(**_known(nodes["force_tests"].get_dict(), ForceTestResult)).checks
        if "force_tests" in nodes
        else ()
    )
    verdict = judge(
        str(outcome["potential"]),
        question,
        runs,
        dispersion=str(outcome["dispersion"]),
        force_tests=tests,
        transfer=transfer_checks(question, runs),
        accuracy=[*reference_density(question, runs), *density_order(question, runs)],
        failed_steps=outcome["failed_steps"],
    )
    return orm.Dict(verdict.model_dump(mode="json"))


@calcfunction
def join_verdicts(**verdicts: orm.Dict) -> orm.Dict:
    """Return all verdicts side by side: ``potentials`` (name -> PotentialVerdict) and ``sentence``."""
    found = {name: PotentialVerdict(**node.get_dict()) for name, node in sorted(verdicts.items())}
    return orm.Dict(
        {
            "sentence": "; ".join(verdict.sentence for verdict in found.values()),
            "potentials": {name: verdict.model_dump(mode="json") for name, verdict in found.items()},
        }
    )


def _known(values: Mapping[str, Any], model: type[StrictModel]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


def _runs(settings: ElectrolyteSettings, nodes: Mapping[str, orm.Dict]) -> Iterator[Evidence]:
    started: dict[str, dict[str, int]] = {}
    for stage in STAGES:
        if f"{stage}_dynamics" not in nodes:
            continue
        made = MDSettings(**nodes[f"{stage}_settings"].get_dict())
        walkers = nodes[f"{stage}_dynamics"]["walkers"]
        checked = nodes[f"{stage}_checks"]["walkers"] if f"{stage}_checks" in nodes else {}
        for name, values in sorted(walkers.items()):
            findings = WalkerFindings(**checked[name]) if name in checked else None
            box = place_of(name).box
            if findings is not None:
                started.setdefault(box, findings.molecules)
            yield _evidence(
                settings,
                made=made,
                stage=stage,
                name=name,
                result=WalkerResult(**values),
                findings=findings,
                started=started.get(box, {}),
            )


def _evidence(
    settings: ElectrolyteSettings,
    *,
    made: MDSettings,
    stage: Stage,
    name: str,
    result: WalkerResult,
    findings: WalkerFindings | None,
    started: Mapping[str, int],
) -> Evidence:
    """Return what one walker showed.

    :param started: molecules of its box when the first run began.
    """
    place, schedule = place_of(name), made.walkers[name].stages[0]
    if findings is not None:
        results = [*findings.checks, *_unlike_the_box(findings.molecules, started)]
    else:
        results = [_of_the_run(result)]
        if result.stopped_by == "density" and _boiling(settings).possible(schedule.temperature, schedule.pressure):
            results = [results[0].model_copy(update={"status": "inconclusive", "missing": _boiling(settings).remedy})]
    packed = settings.boxes.get(place.box)
    time_ps = findings.time_ps if findings is not None else result.stable_steps * made.timestep / 1000.0
    return Evidence(
        walker=name,
        box=place.box,
        stage=stage,
        temperature=schedule.temperature,
        pressure=schedule.pressure,
        copy_number=place.copy,
        composition=_packed(packed) if packed is not None else _named(started),
        time_ps=time_ps,
        asked_ps=result.asked_steps * made.timestep / 1000.0,
        checks=tuple(results),
    )


def _packed(box: BoxSettings) -> dict[str, int]:
    """Return the molecules of a packed box by their usual names, also those that were given as SMILES."""
    return {component.name: number for component, number in components_of(box.composition)}


def _named(molecules: Mapping[str, int]) -> dict[str, int]:
    """Return the molecules of an imported box by their usual names, as far as they have one."""
    found: Counter[str] = Counter()
    for key, number in molecules.items():
        found[name_of(key) or key] += number
    return dict(found)


def _of_the_run(result: WalkerResult) -> CheckResult:
    """Return what the end of a run says whose trajectory nobody looked at: one that a rule stopped has failed."""
    where = f"stopped after {result.stable_steps} of {result.asked_steps} steps by {result.stopped_by!r}"
    numbers: dict[str, float | int | str | None] = {"stopped_by": result.stopped_by}
    if result.stopped_by is None:
        reason, missing = f"it made all of its {result.asked_steps} steps", "a look at its trajectory"
        return CheckResult(check="run", status="inconclusive", reason=reason, missing=missing)
    if result.stopped_by == "calculator_error" and not result.stable_steps:
        reason = f"the potential could not be evaluated for the first configuration: {result.message}"
        missing = "a potential that can be run here"
        return CheckResult(check="run", status="inconclusive", reason=reason, missing=missing, numbers=numbers)
    if result.stopped_by in UNSURE:
        reason, missing = f"{where}: {result.message}", "a run without a limit of the uncertainty"
        return CheckResult(check="run", status="inconclusive", reason=reason, missing=missing, numbers=numbers)
    return CheckResult(
        check="run",
        status="fail",
        quantity="steps before a stop rule was broken",
        value=float(result.stable_steps),
        limit=float(result.asked_steps),
        reason=f"{where}: {result.message}",
        numbers=numbers,
    )


def _unlike_the_box(now: Mapping[str, int], before: Mapping[str, int]) -> Iterator[CheckResult]:
    """Yield a failure where a run did not begin with the molecules of its box: they changed just before."""
    if dict(now) == dict(before):
        return
    changed = [
        f"{key}: {before.get(key, 0)} -> {now.get(key, 0)}"
        for key in sorted({*now, *before})
        if now.get(key, 0) != before.get(key, 0)
    ]
    yield CheckResult(
        check="start", status="fail", reason=f"it does not begin with the molecules of its box ({', '.join(changed)})"
    )
