"""Units, shapes and signs of labels: from what a file has to eV, eV/Å and eV/Å^3 with ASE's sign and Voigt order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ase.units
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.models import StrictModel

Array = NDArray[np.float64]

KCAL_PER_MOL = ase.units.kcal / ase.units.mol
KJ_PER_MOL = ase.units.kJ / ase.units.mol

ENERGY_UNITS: Mapping[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Ha": ase.units.Hartree,
    "Ry": ase.units.Rydberg,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}
"""One of the unit in eV."""

FORCES_UNITS: Mapping[str, float] = {
    "eV/angstrom": 1.0,
    "meV/angstrom": 1e-3,
    "Ha/bohr": ase.units.Hartree / ase.units.Bohr,
    "Ry/bohr": ase.units.Rydberg / ase.units.Bohr,
    "Ha/angstrom": ase.units.Hartree,
    "kcal/mol/angstrom": KCAL_PER_MOL,
    "kJ/mol/angstrom": KJ_PER_MOL,
    "kJ/mol/nm": KJ_PER_MOL / ase.units.nm,
}
"""One of the unit in eV/Å."""

STRESS_UNITS: Mapping[str, float] = {
    "eV/angstrom^3": 1.0,
    "GPa": ase.units.GPa,
    "kbar": 0.1 * ase.units.GPa,
    "bar": 1e-4 * ase.units.GPa,
    "Ha/bohr^3": ase.units.Hartree / ase.units.Bohr**3,
    "Ry/bohr^3": ase.units.Rydberg / ase.units.Bohr**3,
}
"""One of the unit in eV/Å^3."""

_TABLES = {"energy": ENERGY_UNITS, "forces": FORCES_UNITS, "stress": STRESS_UNITS}
_SPELLINGS = {"Å": "angstrom", "å": "angstrom", "Angstrom": "angstrom", "**": "^", "Hartree": "Ha", "hartree": "Ha"}


class LabelUnits(StrictModel):
    """The units of the labels in a file. A virial is an energy and has the energy's unit."""

    energy: str = Field(default="eV", description=f"one of {', '.join(ENERGY_UNITS)}")
    forces: str = Field(default="eV/angstrom", description=f"one of {', '.join(FORCES_UNITS)}")
    stress: str = Field(default="eV/angstrom^3", description=f"one of {', '.join(STRESS_UNITS)}")
    stress_sign: int = Field(default=1, description="1: positive is tensile, as in ASE; -1: positive is compressive")

    @field_validator("energy", "forces", "stress")
    @classmethod
    def _known(cls, value: str, info: Any) -> str:
        table = _TABLES[info.field_name]
        spelled = value.strip()
        for found, replacement in _SPELLINGS.items():
            spelled = spelled.replace(found, replacement)
        matches = [name for name in table if name.lower() == spelled.lower()]
        if spelled in table or len(matches) == 1:
            return spelled if spelled in table else matches[0]
        raise ValueError(f"is not a known unit: use one of {', '.join(table)}")

    @field_validator("stress_sign")
    @classmethod
    def _sign(cls, value: int) -> int:
        if value not in (1, -1):
            raise ValueError("use 1 (positive is tensile) or -1 (positive is compressive)")
        return value


def voigt(values: Any, *, what: str) -> Array:
    """Return six components xx, yy, zz, yz, xz, xy of a symmetric tensor.

    :param values: 6 components in this order, or 9 or 3x3 of the whole tensor, symmetrised if it is symmetric to 1%
        of its largest component or to 1e-4 (rounding in the file).
    :param what: name of the value for messages.
    :raises DatasetError: if the shape is another one or the tensor is not symmetric.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DatasetError(f"{what} = {values!r} is not numeric: give 6, 9 or 3x3 numbers") from None
    if array.shape == (6,):
        return array
    if array.shape not in ((9,), (3, 3)):
        raise DatasetError(f"{what} has shape {array.shape}: a stress or virial has shape (6,), (9,) or (3, 3)")
    tensor = array.reshape(3, 3)
    finite = bool(np.isfinite(tensor).all())
    if finite and np.abs(tensor - tensor.T).max() > max(1e-2 * np.abs(tensor).max(), 1e-4):
        raise DatasetError(
            f"{what} = {tensor.tolist()} is not symmetric: a stress or virial is; check which columns were written"
        )
    with np.errstate(invalid="ignore"):
        symmetric = 0.5 * (tensor + tensor.T)
    return symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
