"""Strength of the bias of hyperactive learning: dynamics on E - tau sigma.

``tau = tau_rel <|F|> / <|dsigma/dx|>``, with averages over the last ``window`` steps, and 0 until there are as many.
Source: van der Oord et al., npj Comput. Mater. 9, 168 (2023).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.predictions import FloatArray


class HalState(StrictModel):
    """What the strength of the bias depends on; as JSON and back it is the same to the last bit."""

    forces: tuple[float, ...] = Field(default=(), description="mean |F_i| of the last steps [eV/Å], oldest first")
    bias: tuple[float, ...] = Field(default=(), description="mean |dsigma/dx_i| of the last steps [eV/Å]")


def tau(state: HalState, tau_rel: float, window: int) -> float:
    """Return the strength of the bias, without unit.

    :param tau_rel: mean bias force over mean force.
    :param window: steps of the averages, and of the delay.
    """
    if len(state.forces) < window:
        return 0.0
    bias = float(np.mean(state.bias))
    return tau_rel * float(np.mean(state.forces)) / bias if bias > 0.0 else 0.0


def advanced(state: HalState, forces: FloatArray, sigma_forces: FloatArray, window: int) -> HalState:
    """Return the state after one more step; one that is not finite leaves it as it is.

    :param forces: without the bias [eV/Å], shape (n, 3).
    :param sigma_forces: -d sigma / d positions [eV/Å], shape (n, 3).
    """
    mean_force, mean_bias = (float(np.linalg.norm(vectors, axis=1).mean()) for vectors in (forces, sigma_forces))
    if not (np.isfinite(mean_force) and np.isfinite(mean_bias)):
        return state
    return HalState(
        forces=(*state.forces, mean_force)[-window:],
        bias=(*state.bias, mean_bias)[-window:],
    )
