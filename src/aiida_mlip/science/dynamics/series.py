"""Time series of a run: rows of numbers in a text file that grows, and the same as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TextIO

import numpy as np

from aiida_mlip.science.predictions import FloatArray

SERIES_FILE = "series.csv"

COLUMNS: Mapping[str, str] = {
    "step": "",
    "time_fs": "fs",
    "stage": "",
    "temperature": "K",
    "target_temperature": "K",
    "energy": "eV",
    "kinetic_energy": "eV",
    "conserved_energy": "eV",
    "pressure": "GPa",
    "target_pressure": "GPa",
    "volume": "Å^3",
    "density": "g/cm^3",
    "energy_sigma": "eV",
    "max_forces_sigma": "eV/Å",
    "tau": "",
}
"""Column -> unit. What a run does not have (pressure of a cluster, uncertainty of one potential) is NaN.

``conserved_energy`` is what the integrator would conserve at constant conditions, without a bias: NaN for Langevin.
"""


def header() -> str:
    """Return the first line of the file."""
    return ",".join(COLUMNS) + "\n"


def row(values: Mapping[str, float | None]) -> str:
    """Return the line of one step; a column that is missing or None is NaN.

    :raises KeyError: where a name is no column.
    """
    if unknown := sorted(set(values) - set(COLUMNS)):
        raise KeyError(f"{', '.join(unknown)}: not a column of the series")
    numbers = [values.get(name) for name in COLUMNS]
    return ",".join(repr(math.nan if number is None else float(number)) for number in numbers) + "\n"


def read_series(handle: TextIO) -> dict[str, FloatArray]:
    """Return column -> values, one for each row.

    :raises ValueError: where the file is damaged.
    """
    first, *lines = handle.read().splitlines()
    names = first.split(",")
    rows = [[float(item) for item in line.split(",")] for line in lines]
    if any(len(numbers) != len(names) for numbers in rows):
        raise ValueError("a row of the time series does not have one number for each column")
    table = np.array(rows).reshape(len(rows), len(names))
    return {name: table[:, index].copy() for index, name in enumerate(names)}
