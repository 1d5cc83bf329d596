"""Dispersion that is added to a potential: which correction, for which functional, summed how far."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from aiida_mlip.science.models import StrictModel

DispersionMethod = Literal["d3bj", "d3zero"]

Functional = Literal[
    "b3lyp", "blyp", "bp86", "hse06", "pbe", "pbe0", "pbesol", "r2scan", "revpbe", "rpbe", "scan", "tpss"
]  # fmt: skip
"""Density functionals whose damping parameters are published for D3, by the names of s-dftd3."""

DispersionStatement = Literal["included", "added", "none", "unknown"]
"""Whether the energies of a potential have dispersion.

``included``: the labels it was trained on had it. ``added``: the potential has none, and D3 is added wherever it is
applied. ``none``: there is none. ``unknown``: nobody said.
"""

_TITLES = {"d3bj": "D3(BJ)", "d3zero": "D3(0)"}


class Dispersion(StrictModel):
    """DFT-D3, added to the energy, the forces and the stress of a potential.

    The pairwise energy is that of Grimme, Antony, Ehrlich and Krieg, J. Chem. Phys. 132, 154104 (2010), with the
    damping of that paper (``d3zero``) or of Grimme, Ehrlich and Goerigk, J. Comput. Chem. 32, 1456 (2011) (``d3bj``).
    The numbers and the damping parameters of the functional are those of s-dftd3. Sums over pairs are cut off: for 160
    atoms of a liquid, 25 Å are 0.03 meV/atom and 0.1 MPa away from s-dftd3's own 60 Bohr.
    """

    method: DispersionMethod = Field(default="d3bj", description="damping at short range")
    functional: Functional = Field(
        default="pbe", description="the functional of the labels that the potential was trained on"
    )
    cutoff: float = Field(default=25.0, ge=8.0, le=60.0, description="of pairs [Å]")
    coordination_cutoff: float = Field(
        default=20.0, ge=5.0, le=60.0, description="of coordination numbers [Å]; s-dftd3's own is 40 Bohr, 21.2 Å"
    )
    smoothing: float = Field(
        default=2.0,
        ge=0.0,
        lt=5.0,
        description="energies of pairs (and of triples) go smoothly to zero over this distance below the cut-off [Å]; "
        "0: at once, and molecular dynamics does not quite conserve its energy",
    )
    three_body: bool = Field(
        default=False,
        description="also the Axilrod-Teller-Muto term: on in Quantum ESPRESSO unless told otherwise, off in VASP; "
        "it costs ten times as much as the pairs",
    )
    three_body_cutoff: float = Field(default=12.0, ge=5.0, le=30.0, description="of triples, where they count [Å]")

    @model_validator(mode="after")
    def _consistent(self) -> Dispersion:
        if self.method == "d3zero" and self.functional == "r2scan":
            raise ValueError("functional = 'r2scan' has no parameters for method = 'd3zero': use 'd3bj'")
        return self

    @property
    def title(self) -> str:
        """Return a short name, e.g. ``D3(BJ)-PBE`` or ``D3(BJ)+ATM-PBE``."""
        return f"{_TITLES[self.method]}{'+ATM' if self.three_body else ''}-{self.functional.upper()}"
