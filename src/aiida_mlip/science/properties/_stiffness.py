"""The elastic constants of a cubic crystal as an input, and whether a dislocation can be built with them."""

from __future__ import annotations

from dataclasses import dataclass

from ase.calculators.calculator import BaseCalculator
from pydantic import Field

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import PropertyError, Report
from aiida_mlip.science.properties._bulk import CrystalInputs, crystal_energy, lattice_constant_of
from aiida_mlip.science.properties.elastic import ElasticInputs
from aiida_mlip.science.properties.elastic import run as run_elastic


class CubicStiffness(StrictModel):
    """The three elastic constants of a cubic crystal."""

    c11: float = Field(description="[GPa]")
    c12: float = Field(description="[GPa]")
    c44: float = Field(description="[GPa]")


class UnstableConstants(PropertyError):  # noqa: N818 - the name is stable, and recorded
    """The crystal is elastically unstable: no elastic solution of a dislocation exists."""


def why_unstable(stiffness: CubicStiffness) -> str | None:
    """Return which of Born's criteria for a cubic crystal fail, with the numbers, or None where the crystal is stable.

    They are C44 > 0, C' = (C11 - C12) / 2 > 0 and B = (C11 + 2 C12) / 3 > 0 (M. Born, Proc. Cambridge Philos. Soc. 36,
    160 (1940)).
    """
    values = {
        "C44": stiffness.c44,
        "C' = (C11 - C12) / 2": (stiffness.c11 - stiffness.c12) / 2,
        "B = (C11 + 2 C12) / 3": (stiffness.c11 + 2 * stiffness.c12) / 3,
    }
    failed = [f"{name} = {value:.1f} GPa" for name, value in values.items() if not value > 0]
    return f"{' and '.join(failed)}: not positive" if failed else None


def require_stable(stiffness: CubicStiffness) -> None:
    """Refuse elastic constants with which no dislocation exists.

    :raises UnstableConstants: the message names the constants.
    """
    reason = why_unstable(stiffness)
    if reason is not None:
        raise UnstableConstants(
            f"{reason}. The crystal is elastically unstable, so no elastic solution of a dislocation exists: "
            "no dislocation is built with this potential"
        )


@dataclass(frozen=True)
class DislocationCrystal:
    """What a dislocation is built from.

    :param a: lattice constant of the cubic cell [Å].
    :param energy: of the perfect crystal [eV/atom].
    :param stiffness: its elastic constants, stable ones.
    """

    a: float
    energy: float
    stiffness: CubicStiffness


def crystal_for_dislocations(
    inputs: CrystalInputs, given: CubicStiffness | None, calculator: BaseCalculator, report: Report
) -> DislocationCrystal:
    """Return the crystal of the inputs with its elastic constants, computed as in ``elastic`` where None is given.

    :raises UnstableConstants: where no elastic solution of a dislocation exists.
    """
    if given is not None:
        require_stable(given)

    def compute() -> dict[str, float]:
        a = lattice_constant_of(inputs, calculator)
        constants = given
        if constants is None:
            elastic = ElasticInputs(element=inputs.element, structure=inputs.structure, lattice_constant=a)
            found = run_elastic(elastic, calculator, report).result
            constants = CubicStiffness(c11=found.c11, c12=found.c12, c44=found.c44)
        energy = crystal_energy(inputs, a, calculator)
        return {"a": a, "energy": energy, "c11": constants.c11, "c12": constants.c12, "c44": constants.c44}

    kept = report.keep("crystal", compute)
    stiffness = CubicStiffness(c11=kept["c11"], c12=kept["c12"], c44=kept["c44"])
    require_stable(stiffness)
    return DislocationCrystal(a=kept["a"], energy=kept["energy"], stiffness=stiffness)
