"""How far an evaluation of defects is: properties done, running and failed, for each potential and element."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from aiida_mlip.provenance.status import State

EVALUATION = "DefectsWorkChain"
"""Process label of the work chain whose steps are jobs of cases."""

BULK = "bulk_"
"""Beginning of the steps that compute the perfect crystal of a case; what follows is the name of the case."""


def case_counts(state: State) -> Mapping[str, Counter[str]]:
    """Return case -> number of its jobs that are ``done``, ``running`` or ``failed``; empty for other processes."""
    if state.name != EVALUATION:
        return {}
    jobs = [child for child in state.children if child.children or child.active or child.failed]
    cases = [child.step.removeprefix(BULK) for child in jobs if child.step.startswith(BULK)]
    found: dict[str, Counter[str]] = {case: Counter() for case in cases}
    for job in jobs:
        case = max((name for name in cases if job.step.endswith(f"_{name}")), key=len, default=None)
        if case is not None:
            found[case]["running" if job.active else "failed" if job.failed else "done"] += 1
    return found


def cases_text(state: State) -> str:
    """Return one line for each case, e.g. ``foundation_W: 3 done, 1 running``."""
    return "\n".join(
        f"{case}: {', '.join(f'{counts[word]} {word}' for word in ('done', 'running', 'failed') if counts[word])}"
        for case, counts in case_counts(state).items()
    )
