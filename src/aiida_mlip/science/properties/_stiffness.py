"""The elastic constants of a cubic crystal as an input, and whether a dislocation can be built with them."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import PropertyError


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
