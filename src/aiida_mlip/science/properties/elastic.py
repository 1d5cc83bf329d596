"""Elastic constants of a cubic crystal from stresses under strain, and whether it is elastically stable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator

from aiida_mlip.science.keys import EV_PER_ANGSTROM3_IN_GPA
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import (
    Flag,
    Outcome,
    Property,
    PropertyError,
    PropertyResult,
    Quantity,
    Report,
)
from aiida_mlip.science.properties._bulk import CrystalInputs, equation_of_state, lattice_constant_of
from aiida_mlip.science.properties._crystals import primitive_cell, strained
from aiida_mlip.science.properties._relax import relax

STRAIN_PATTERNS = ((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0, 0.0, 0.0))
"""Strain along [100], and shear yz, in Voigt order with engineering shears: enough for the three constants."""

MAX_SPREAD = 0.05
"""Relative change of a constant between the two strains that is flagged."""

MAX_SYMMETRY_ERROR = 0.02
"""Stress per strain that a cubic crystal does not have, relative to the largest constant, that is flagged."""

MAX_BULK_MISMATCH = 0.03
"""Relative difference of the bulk moduli from stresses and from energies that is flagged."""


class ElasticInputs(CrystalInputs):
    """Inputs of ``elastic``."""

    strains: tuple[float, float] = Field(
        default=(0.005, 0.01),
        description="the two sizes of the strain; engineering shears are of the same size",
    )
    fmax: float = Field(default=1e-3, gt=0, description="of the atoms in the strained cell [eV/Å]")
    max_steps: int = Field(default=200, gt=0, description="of the relaxation of the atoms in the strained cell")

    @field_validator("strains")
    @classmethod
    def _two_sizes(cls, value: tuple[float, float]) -> tuple[float, float]:
        small, large = sorted(value)
        if not 0 < small < large <= 0.05:
            raise ValueError("need two different sizes above 0 and up to 0.05, e.g. (0.005, 0.01)")
        return small, large


class CubicConstants(StrictModel):
    """The three constants at one size of the strain."""

    strain: float = Field(description="size of the strain")
    c11: float = Field(description="[GPa]")
    c12: float = Field(description="[GPa]")
    c44: float = Field(description="[GPa]")
    symmetry_error: float = Field(
        description="largest stress per strain that a cubic crystal does not have, relative to the largest constant"
    )


class ElasticResult(PropertyResult):
    """Result of ``elastic``; the constants are those of the smaller strain."""

    lattice_constant: float = Field(description="of the cubic cell that was strained [Å]")
    c11: float = Field(description="[GPa]")
    c12: float = Field(description="[GPa]")
    c44: float = Field(description="[GPa]")
    c_prime: float = Field(description="(C11 - C12) / 2 [GPa]")
    bulk_modulus: float = Field(description="(C11 + 2 C12) / 3 [GPa]")
    bulk_modulus_eos: float | None = Field(description="from the energies of the Birch-Murnaghan fit [GPa]")
    anisotropy: float | None = Field(description="Zener ratio C44 / C'; None where C' is 0")
    spread: float = Field(
        description="largest change of a constant between the two strains, relative to it, or to 2 % of C11 if more"
    )
    stable: bool = Field(description="Born: C44 > 0, C' > 0 and B > 0")
    by_strain: tuple[CubicConstants, CubicConstants] = Field(description="ascending strain")


@dataclass(frozen=True)
class CubicFit:
    """Least-squares constants of a cubic crystal.

    :param c11, c12, c44: [GPa].
    :param misfit: largest deviation of a stress per unit strain from cubic symmetry [GPa].
    """

    c11: float
    c12: float
    c44: float
    misfit: float


def strain_set(size: float) -> list[NDArray[np.float64]]:
    """Return the strains of one size: each pattern with both signs, each of shape (6,)."""
    return [sign * size * np.array(pattern) for pattern in STRAIN_PATTERNS for sign in (1.0, -1.0)]


def central_differences(
    strains: Sequence[ArrayLike], stresses: Sequence[ArrayLike]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return half differences of pairs: entries 2k and 2k + 1 belong to opposite strains.

    The terms of even order in the strain, and any stress at zero strain, cancel.

    :return: strains and stresses, each of shape (m / 2, 6).
    """
    e, s = np.asarray(strains, dtype=float), np.asarray(stresses, dtype=float)
    return (e[0::2] - e[1::2]) / 2, (s[0::2] - s[1::2]) / 2


def fit_cubic(strains: ArrayLike, stresses: ArrayLike) -> CubicFit:
    """Fit C11, C12 and C44 of a crystal whose cube axes are x, y, z to any set of strains.

    sigma_i = C11 e_i + C12 (e_j + e_k) and sigma_jk = C44 gamma_jk.

    :param strains: shape (m, 6), Voigt order with engineering shears.
    :param stresses: [eV/Å^3], shape (m, 6), ASE's sign and Voigt order.
    :raises PropertyError: where the strains do not determine all three constants.
    """
    e, s = np.asarray(strains, dtype=float), np.asarray(stresses, dtype=float) * EV_PER_ANGSTROM3_IN_GPA
    normal, shear = e[:, :3], e[:, 3:]
    zero = np.zeros_like(normal)
    columns = [
        np.hstack([normal, zero]),
        np.hstack([normal.sum(axis=1, keepdims=True) - normal, zero]),
        np.hstack([zero, shear]),
    ]
    matrix = np.stack([column.ravel() for column in columns], axis=1)
    if np.linalg.matrix_rank(matrix) < 3:
        raise PropertyError("the strains do not determine C11, C12 and C44: add a shear and a uniaxial strain")
    constants, *_ = np.linalg.lstsq(matrix, s.ravel(), rcond=None)
    deviation = (s.ravel() - matrix @ constants).reshape(s.shape)
    sizes = np.linalg.norm(e, axis=1, keepdims=True)
    c11, c12, c44 = (float(value) for value in constants)
    return CubicFit(c11, c12, c44, float(np.abs(deviation / sizes).max()))


def run(inputs: ElasticInputs, calculator: BaseCalculator, report: Report) -> Outcome[ElasticResult]:
    """Compute C11, C12 and C44 at two sizes of the strain, and check them against the equation of state."""
    a = float(report.keep("lattice constant", lambda: lattice_constant_of(inputs, calculator)))
    cell = primitive_cell(inputs.element, inputs.structure, a)
    at_strain = []
    for index, size in enumerate(inputs.strains):
        report("strains", index, 2)
        kept = report.keep(f"strain {size}", partial(_kept, cell, size, inputs, calculator, report))
        at_strain.append(CubicConstants.model_validate(kept))
    bulk_eos = report.keep("equation of state", lambda: _from_energies(inputs, a, calculator))["bulk_modulus"]
    result = _assemble(a, at_strain[0], at_strain[1], bulk_eos)
    return Outcome(result, _quantities(result), (cell,))


def _from_energies(inputs: ElasticInputs, a: float, calculator: BaseCalculator) -> dict[str, float | None]:
    try:
        fit = equation_of_state(inputs.element, inputs.structure, a, calculator)
    except PropertyError:
        return {"bulk_modulus": None}
    return {"bulk_modulus": fit.bulk_modulus}


def _kept(
    cell: Atoms, size: float, inputs: ElasticInputs, calculator: BaseCalculator, report: Report
) -> dict[str, Any]:
    return _constants(cell, size, inputs, calculator, report).model_dump(mode="json")


def _constants(
    cell: Atoms, size: float, inputs: ElasticInputs, calculator: BaseCalculator, report: Report
) -> CubicConstants:
    strains, stresses = strain_set(size), []
    for strain in strains:
        atoms = strained(cell, strain)
        atoms.calc = calculator
        if len(atoms) > 1:
            relax(atoms, fmax=inputs.fmax, max_steps=inputs.max_steps, report=report, stage="strains")
        stresses.append(atoms.get_stress(voigt=True))
    fit = fit_cubic(*central_differences(strains, stresses))
    scale = max(abs(fit.c11), abs(fit.c12), abs(fit.c44))
    return CubicConstants(strain=size, c11=fit.c11, c12=fit.c12, c44=fit.c44, symmetry_error=fit.misfit / scale)


def _assemble(a: float, small: CubicConstants, large: CubicConstants, bulk_eos: float | None) -> ElasticResult:
    c_prime = (small.c11 - small.c12) / 2
    bulk = (small.c11 + 2 * small.c12) / 3
    spread = max(
        abs(getattr(large, name) - getattr(small, name)) / max(abs(getattr(small, name)), 0.02 * abs(small.c11))
        for name in ("c11", "c12", "c44")
    )
    return ElasticResult(
        lattice_constant=a,
        c11=small.c11,
        c12=small.c12,
        c44=small.c44,
        c_prime=c_prime,
        bulk_modulus=bulk,
        bulk_modulus_eos=bulk_eos,
        anisotropy=small.c44 / c_prime if c_prime else None,
        spread=spread,
        stable=small.c44 > 0 and c_prime > 0 and bulk > 0,
        by_strain=(small, large),
        flags=tuple(_flags(small, c_prime, bulk, bulk_eos, spread)),
    )


def _flags(small: CubicConstants, c_prime: float, bulk: float, bulk_eos: float | None, spread: float) -> list[Flag]:
    flags = [
        Flag(
            name=f"unstable_{name}",
            message=f"{symbol} = {value:.1f} GPa: the crystal is elastically unstable, so no elastic solution of a "
            "dislocation exists",
        )
        for name, symbol, value in (("c44", "C44", small.c44), ("c_prime", "C'", c_prime), ("bulk", "B", bulk))
        if value <= 0
    ]
    if spread > MAX_SPREAD:
        flags.append(
            Flag(
                name="strain_dependent",
                message=f"a constant changes by {100 * spread:.1f} % between the two strains: the potential is not "
                "smooth, or the strains leave the linear range",
            )
        )
    if small.symmetry_error > MAX_SYMMETRY_ERROR:
        flags.append(
            Flag(
                name="not_cubic",
                message=f"stresses break the cubic symmetry by {100 * small.symmetry_error:.1f} %: the potential is "
                "not invariant under rotation, or the atoms left their sites",
            )
        )
    if bulk_eos is None:
        flags.append(Flag(name="no_eos", message="no equation of state could be fitted to check the bulk modulus"))
    elif abs(bulk / bulk_eos - 1) > MAX_BULK_MISMATCH:
        flags.append(
            Flag(
                name="bulk_modulus_mismatch",
                message=f"B = {bulk:.1f} GPa from the stresses, {bulk_eos:.1f} GPa from the energies: they differ by "
                f"{100 * abs(bulk / bulk_eos - 1):.1f} %",
            )
        )
    return flags


def _quantities(result: ElasticResult) -> tuple[Quantity, ...]:
    rows = (
        ("C11", result.c11, "C11"),
        ("C12", result.c12, "C12"),
        ("C44", result.c44, "C44"),
        ("Cprime", result.c_prime, "C'"),
        ("bulk_modulus", result.bulk_modulus, "B"),
    )
    quantities = tuple(Quantity(key=key, value=value, unit="GPa", label=label) for key, value, label in rows)
    if result.anisotropy is None:
        return quantities
    return (*quantities, Quantity(key="anisotropy", value=result.anisotropy, unit="1", label="C44 / C'"))


PROPERTY = Property(
    name="elastic",
    summary="C11, C12 and C44 of a cubic crystal at two sizes of the strain, and its elastic stability.",
    inputs=ElasticInputs,
    result=ElasticResult,
    run=run,
    conformance={"element": "Ni", "structure": "fcc"},
)
