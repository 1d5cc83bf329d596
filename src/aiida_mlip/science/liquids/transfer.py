"""Does a verdict hold elsewhere: for another composition, a larger cell, other temperatures, pressures and seeds?

Each answer compares runs at constant pressure that differ in one thing. It is ``fail`` where one of them fails,
``pass`` where all of them pass and support a claim, and else ``inconclusive``. None of them decides the verdict: a
potential that was tried on one composition can be stable for that one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from math import gcd, hypot
from typing import TypeVar

from aiida_mlip.science.liquids.conditions import BAR_IN_GPA
from aiida_mlip.science.liquids.findings import CheckResult, Status
from aiida_mlip.science.liquids.verdict import Evidence, Question, mean_density, supports, together

KeyT = TypeVar("KeyT", bound=Hashable)

SIGMAS = 2.0
"""Two densities differ where they are this many standard errors apart."""


def transfer_checks(question: Question, runs: Sequence[Evidence]) -> list[CheckResult]:
    """Return for each kind of change whether the answer holds.

    :param runs: of one potential; those at constant pressure count.
    """
    npt = [run for run in runs if run.stage == "npt"]
    if not npt:
        return []
    target_t, target_p = question.temperatures[0], question.pressures[0] if question.pressures else None
    at_target = [run for run in npt if run.temperature == target_t and run.pressure == target_p]
    return [
        _compared("composition", "composition", at_target, lambda run: ratio_of(run.composition), question),
        _compared(
            "size",
            "size of one composition",
            _several_sizes(at_target),
            lambda run: f"{ratio_of(run.composition)}, {run.molecules} molecules",
            question,
        ),
        _compared(
            "temperature",
            "temperature",
            [run for run in npt if run.pressure == target_p],
            lambda run: f"{run.temperature:g} K",
            question,
        ),
        _compared(
            "pressure",
            "pressure",
            [run for run in npt if run.temperature == target_t],
            lambda run: f"{(run.pressure or 0.0) / BAR_IN_GPA:.4g} bar",
            question,
        ),
        _seeds(npt, question),
    ]


def ratio_of(composition: Mapping[str, int]) -> str:
    """Return a composition in smallest whole numbers, e.g. ``EC:EMC 1:2``, the same for all sizes of the box."""
    divisor = gcd(*composition.values()) if composition else 1
    names = sorted(composition)
    return f"{':'.join(names)} {':'.join(str(composition[name] // divisor) for name in names)}"


def _compared(
    what: str, words: str, runs: Sequence[Evidence], key: Callable[[Evidence], str], question: Question
) -> CheckResult:
    groups = _groups(runs, key)
    status = {name: status_of(group, question) for name, group in groups.items()}
    failed = [name for name, found in status.items() if found == "fail"]
    name = f"transfer_{what}"
    listed = ", ".join(f"{label}: {found}" for label, found in status.items())
    numbers: dict[str, float | int | str | None] = dict(status)
    if len(groups) < 2:
        return CheckResult(
            check=name,
            status="inconclusive",
            reason=f"one {words} only: {listed}" if listed else f"no runs that differ in {words}",
            missing=f"runs of another {words}",
            numbers=numbers,
        )
    if failed:
        held = [label for label in status if label not in failed]
        rest = f", not for {', '.join(held)}" if held else ", that is for all"
        return CheckResult(check=name, status="fail", reason=f"fails for {', '.join(failed)}{rest}", numbers=numbers)
    if all(found == "pass" for found in status.values()):
        return CheckResult(check=name, status="pass", reason=f"the same answer for each: {listed}", numbers=numbers)
    return CheckResult(
        check=name,
        status="inconclusive",
        reason=f"nothing failed: {listed}",
        missing=f"runs that support a claim ({question.min_time_ps:g} ps, {question.min_molecules} molecules)",
        numbers=numbers,
    )


def status_of(runs: Sequence[Evidence], question: Question) -> Status:
    """Return what runs show together: pass only where each supports a claim."""
    found = together(run.status for run in runs)
    if found == "pass" and not all(supports(run, question) for run in runs):
        return "inconclusive"
    return found


def _several_sizes(runs: Sequence[Evidence]) -> list[Evidence]:
    """Return the runs of compositions of which there is more than one size."""
    groups = _groups(runs, lambda run: ratio_of(run.composition))
    return [run for group in groups.values() if len({item.molecules for item in group}) > 1 for run in group]


def _seeds(runs: Sequence[Evidence], question: Question) -> CheckResult:
    """Return whether trajectories that differ in their seed say the same."""
    several = [
        group
        for group in _groups(runs, lambda run: (run.box, run.temperature, run.pressure)).values()
        if len(group) > 1
    ]
    if not several:
        return CheckResult(
            check="transfer_seeds",
            status="inconclusive",
            reason="one trajectory of each condition only",
            missing="several walkers of each condition",
        )
    differ = [group[0].where for group in several if len({status_of([run], question) for run in group}) > 1]
    if differ:
        return CheckResult(check="transfer_seeds", status="fail", reason=f"trajectories disagree: {'; '.join(differ)}")
    return CheckResult(
        check="transfer_seeds", status="pass", reason=f"trajectories agree in all {len(several)} conditions"
    )


def density_order(question: Question, runs: Sequence[Evidence], component: str = "EC") -> list[CheckResult]:
    """Return whether the density rises with the fraction of a component, at target temperature and pressure.

    Experiment at 298 K: EMC 1.006, EC:EMC about 3:7 1.095 g/cm^3; EC at 313 K 1.32. Boxes with ions are left out.

    :returns: one result of accuracy, or none where fewer than two fractions were run.
    """
    groups = _groups(_at_target(question, runs), lambda run: fraction_of(run.composition, component))
    found = {}
    for fraction, group in sorted(item for item in groups.items() if item[0] is not None):
        density, error = mean_density(group)
        if density is not None and fraction is not None:
            found[float(fraction)] = density, error or 0.0
    if len(found) < 2:
        return []
    points = sorted(found.items())
    status: Status = "pass"
    for (_, (low, low_error)), (_, (high, high_error)) in pairwise(points):
        margin = SIGMAS * hypot(low_error, high_error)
        if high <= low - margin:
            status = "fail"
        elif high <= low + margin and status == "pass":
            status = "inconclusive"
    listed = ", ".join(f"{density:.3f} ± {error:.3f} at {fraction:.2f}" for fraction, (density, error) in points)
    return [
        CheckResult(
            check="density_order",
            status=status,
            aspect="accuracy",
            quantity=f"density against the fraction of {component}",
            unit="g/cm^3",
            reason=f"density by fraction of {component}: {listed}",
            missing="" if status != "inconclusive" else "smaller errors: longer runs",
        )
    ]


def reference_density(question: Question, runs: Sequence[Evidence]) -> list[CheckResult]:
    """Return how far densities at target temperature and pressure are from their references."""
    results = []
    for box, group in _groups(_at_target(question, runs), lambda run: run.box).items():
        reference = question.reference_densities.get(box)
        density, error = mean_density(group)
        if reference is None:
            continue
        if density is None:
            results.append(
                CheckResult(
                    check="reference_density",
                    status="inconclusive",
                    aspect="accuracy",
                    reason=f"{box}: no mean density could be taken",
                    missing="a longer run at constant pressure",
                )
            )
            continue
        deviation, spread = density / reference - 1.0, (error or 0.0) / reference
        status: Status = "pass" if abs(deviation) <= question.density_limit else "fail"
        if abs(abs(deviation) - question.density_limit) <= SIGMAS * spread:
            status = "inconclusive"
        results.append(
            CheckResult(
                check="reference_density",
                status=status,
                aspect="accuracy",
                quantity="deviation of the mean density from the reference, relative",
                value=deviation,
                error=spread,
                limit=question.density_limit,
                reason=f"{box}: {density:.3f} ± {error or 0.0:.3f} g/cm^3, reference {reference:.3f} "
                f"({100.0 * deviation:+.1f}%)",
                missing="" if status != "inconclusive" else "a smaller error: a longer run",
                numbers={"box": box, "density": density, "reference": reference},
            )
        )
    return results


def fraction_of(composition: Mapping[str, int], component: str) -> Fraction | None:
    """Return the fraction of molecules that are of a component; None where there are ions."""
    if not composition or any(name.endswith(("+", "-")) for name in composition):
        return None
    return Fraction(composition.get(component, 0), sum(composition.values()))


def _at_target(question: Question, runs: Iterable[Evidence]) -> Iterator[Evidence]:
    pressure = question.pressures[0] if question.pressures else None
    for run in runs:
        if run.stage == "npt" and run.temperature == question.temperatures[0] and run.pressure == pressure:
            yield run


def _groups(runs: Iterable[Evidence], key: Callable[[Evidence], KeyT]) -> dict[KeyT, list[Evidence]]:
    found: dict[KeyT, list[Evidence]] = defaultdict(list)
    for run in runs:
        found[key(run)].append(run)
    return dict(found)
