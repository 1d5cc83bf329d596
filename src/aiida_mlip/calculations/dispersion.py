"""Calcfunctions that say what dispersion a potential has, or add some: the same file with another description."""

from __future__ import annotations

from typing import Any, get_args

from aiida import orm
from aiida.engine import calcfunction
from pydantic import ValidationError

from aiida_mlip.calculations.checks.dispersion import check_no_dispersion
from aiida_mlip.calculations.checks.wording import listed, refusal
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.dispersion import Dispersion, DispersionStatement
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.models import explain

STATEMENTS = tuple(statement for statement in get_args(DispersionStatement) if statement != "added")
"""What can be stated of a potential as it is."""


@calcfunction
def with_dispersion(potential: PotentialData, settings: orm.Dict) -> PotentialData:
    """Return the potential with D3 added to its energies, forces and stresses, wherever it is applied.

    The model file is the same. Its description, its hash and the addresses of labels that it makes differ.

    :param settings: of :class:`~aiida_mlip.schema.dispersion.Dispersion`; an empty one is D3(BJ) for PBE.
    :raises ValueError: where a setting is wrong, or the potential has dispersion, or seems to.
    """
    try:
        dispersion = Dispersion(**settings.get_dict())
    except ValidationError as error:
        raise ValueError(explain(error, what="settings", model=Dispersion)) from error
    info = potential.info
    if problems := list(check_no_dispersion(info)):
        raise ValueError(" ".join(problems))
    name = info.name or potential.label
    return _described(
        potential,
        dispersion=dispersion,
        dispersion_statement="added",
        name=f"{name}+{dispersion.title}" if name else "",
        level_of_theory=f"{info.level_of_theory} + {dispersion.title}",
    )


@calcfunction
def state_dispersion(potential: PotentialData, statement: orm.Str) -> PotentialData:
    """Return the potential with a statement of whether its labels had dispersion: ``included``, ``none``, ``unknown``.

    Nothing that it predicts changes, and neither does its hash.

    :raises ValueError: for another statement, or where dispersion is added to the potential.
    """
    if statement.value not in STATEMENTS:
        raise ValueError(
            refusal("statement", statement.value, "it is none of the statements", f"Say one of {listed(STATEMENTS)}")
        )
    if potential.info.dispersion is not None:
        problem = "dispersion is added to this potential, which says what it has"
        raise ValueError(
            refusal("potential.dispersion", potential.info.dispersion.title, problem, "State it of the one without")
        )
    return _described(potential, dispersion_statement=statement.value)


def _described(potential: PotentialData, **changes: Any) -> PotentialData:
    """Return the same file with another description."""
    facts = potential.info.model_dump(mode="json") | {
        name: value.model_dump(mode="json") if isinstance(value, Dispersion) else value
        for name, value in changes.items()
    }
    info = PotentialInfo.model_validate(facts)
    with potential.open(mode="rb") as handle:
        found = PotentialData(handle, info, trusted=potential.trusted)
    found.label = info.name or potential.label
    return found
