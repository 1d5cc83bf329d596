"""Settings and results of uncertainties: three kinds, one interface."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aiida_mlip.schema.potential import Device, Dtype
from aiida_mlip.schema.selection import AbsoluteLevels, CalibratedLevels
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.uncertainty.levels import absolute_levels

CALIBRATION_FILE = "calibration.npz"
"""The pairs of uncertainty and error behind a calibration."""


class Deep(StrictModel):
    """Independent potentials; all of ``potentials`` are the members. One evaluation of each member a step."""

    kind: Literal["deep"] = "deep"


class LastLayer(StrictModel):
    """What the kinds on the last layer of one potential have in common."""

    regularisation: float | None = Field(
        default=None, gt=0, description="in units of the mean eigenvalue; None: chosen on the calibration set"
    )
    projections: int = Field(default=8, ge=1, le=256, description="directions that the forces of a frame are seen in")
    probes: int = Field(
        default=2,
        ge=0,
        le=256,
        description="backward passes of one force uncertainty, each with a random combination of the weights; "
        "0: one for each, which is exact",
    )
    seed: int = Field(default=1, ge=0)


class Shallow(LastLayer):
    """Many readouts of the last layer on the body of one potential (doi:10.1088/2632-2153/ad594a)."""

    kind: Literal["shallow"] = "shallow"
    members: int = Field(default=16, ge=2, le=256)


class LastLayerBayes(LastLayer):
    """Closed form from features of the last layer (LLPR: Bigi, Chong, Ceriotti and Grasselli, 2024)."""

    kind: Literal["last_layer_bayes"] = "last_layer_bayes"
    samples: int = Field(default=16, ge=2, le=256, description="weights drawn from the posterior, for forces")


Method = Annotated[Deep | Shallow | LastLayerBayes, Field(discriminator="kind")]


class UncertaintySettings(StrictModel):
    """How the uncertainty of a potential, or of a committee, is made and calibrated."""

    method: Method = Field(default_factory=Deep)
    batch_size: int = Field(default=8, gt=0)
    device: Device = "cpu"
    dtype: Dtype = "float64"
    head: str | None = None


class Calibration(StrictModel):
    """Scale and quality of one uncertainty on the calibration set; forces per atom, energies per atom."""

    scale: float = Field(gt=0, description="factor on the raw uncertainty, so that error / sigma has unit variance")
    coverage_before: float = Field(ge=0, le=1, description="share of errors within one sigma before scaling")
    coverage_after: float = Field(ge=0, le=1)
    expected_coverage: float = Field(ge=0, le=1, description="what a Gaussian error would give")
    rank_correlation: float | None = Field(default=None, ge=-1, le=1, description="Spearman, sigma and |error|")
    count: int = Field(ge=0, description="numbers compared")


class UncertaintyResult(StrictModel):
    """What ``mlip.uncertainty`` found on the calibration set."""

    kind: str
    members: int = Field(ge=1)
    forces: Calibration = Field(description="per atom: sqrt(mean_k |F_k - mean F|^2) and |F - label| [eV/Å]")
    energy: Calibration | None = Field(default=None, description="per atom [eV/atom]")
    max_force: Calibration | None = Field(default=None, description="the largest of each frame [eV/Å]")
    median_max_forces_sigma: float = Field(
        ge=0, description="median over the calibration frames of the largest calibrated force uncertainty [eV/Å]"
    )
    warnings: tuple[str, ...] = ()


def trust_levels(levels: AbsoluteLevels | CalibratedLevels, result: UncertaintyResult) -> AbsoluteLevels:
    """Return trust levels in eV/Å.

    :param levels: multiples of the median of ``result``, or absolute ones, which are returned as they are.
    :raises ValueError: where the median and the floor are both zero.
    """
    if isinstance(levels, AbsoluteLevels):
        return levels
    bounds = {"floor": levels.floor, "ceiling": levels.ceiling}
    lower, upper = absolute_levels(result.median_max_forces_sigma, levels.lower, levels.upper, **bounds)
    return AbsoluteLevels(lower=lower, upper=upper)
