"""Where a liquid may become a vapour, so that a falling density says nothing against a potential.

A liquid can be superheated up to about nine tenths of its critical temperature (Skripov, Metastable Liquids, 1974).
Linear carbonates have critical temperatures near 560 K (dimethyl carbonate 557 K), which gives 510 K. Above, a fluid is
as dense as a liquid under pressure only: the equation of van der Waals gives, at twice the critical temperature, twice
the critical density at 20 critical pressures, 0.1 GPa for 5 MPa.
"""

from __future__ import annotations

from pydantic import Field

from aiida_mlip.science.models import StrictModel


class Boiling(StrictModel):
    """Conditions at which a liquid may expand without end."""

    boiling_temperature: float = Field(
        default=510.0, gt=0, description="above it a falling density or a bubble does not fail [K]; proposal"
    )
    boiling_pressure: float = Field(
        default=0.1, description="unless the pressure is as high as this [GPa]; proposal (van der Waals)"
    )

    def possible(self, temperature: float, pressure: float | None) -> bool:
        """Return whether a liquid may boil, or be no liquid.

        :param temperature: [K].
        :param pressure: target [GPa]; None: the volume is constant, and nothing expands.
        """
        return pressure is not None and temperature > self.boiling_temperature and pressure < self.boiling_pressure

    @property
    def remedy(self) -> str:
        """Return at which conditions an answer could be had."""
        return (
            f"a pressure of {self.boiling_pressure:g} GPa, or at most {self.boiling_temperature:g} K: "
            "a real liquid of such molecules may boil here"
        )
