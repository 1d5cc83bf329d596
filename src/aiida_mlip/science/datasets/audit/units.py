"""Units and signs of energies and forces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.reference import ENERGY_FACTORS, UNIT_HYPOTHESES, Reference
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity
from aiida_mlip.science.datasets.robust import correlation, regress

Array = NDArray[np.float64]

FORCE_FACTORS: Mapping[str, float] = {
    "the wrong sign (gradients instead of forces)": -1.0,
    "Hartree/bohr": 1 / 51.4221,
    "Rydberg/bohr": 1 / 25.7110,
    "Hartree/bohr with the wrong sign": -1 / 51.4221,
    "kcal/mol/Å": 23.0605,
    "kJ/mol/Å": 96.4853,
    "meV/Å": 1e3,
}
"""What the labels have -> labelled over true force."""

_FRAMES = 40
_UNRELATED, _DESCRIBED = 1.2, 0.5


@check("units")
def units(context: Context) -> Iterator[Finding]:
    """Energies and forces in units other than eV and eV/Å, of the whole set or of a part."""
    fit = context.fit
    if fit is not None and fit.scale != 1.0:
        right, usual = fit.errors[fit.unit], fit.errors[next(iter(UNIT_HYPOTHESES))]
        yield Finding(
            check="units",
            severity=Severity.ERROR,
            frames=tuple(context.trusted),
            message=f"Energies are not the integral of the forces in eV and eV/Å: a fit to both leaves "
            f"{usual:.0%} of the energy differences unexplained, and {right:.0%} if {fit.unit} (a factor of "
            f"{fit.scale:.4g}).",
            remedy="Import again with --energy-unit, --forces-unit, or correct the sign.",
        )
    yield from _unrelated_energies(context)
    for unit, suspects in context.other_energy_unit.items():
        yield Finding(
            check="units",
            severity=Severity.ERROR,
            frames=tuple(suspects),
            message=f"Energies of {len(suspects)} frames are {ENERGY_FACTORS[unit]:.4g} times what their composition "
            f"has in the other frames, which is {unit} instead of eV.",
            remedy="Import these frames again with --energy-unit.",
        )
    if context.reference is None:
        context.skip("units", "no baseline, and too few frames or too many elements for a fit to the set")
        return
    found: set[int] = set()
    for name, members in context.partitions.items():
        factor = _force_factor(context, context.reference, members)
        if factor is not None and not found.issuperset(members):
            found.update(members)
            yield Finding(
                check="units",
                severity=Severity.ERROR,
                frames=tuple(members),
                message=f"Forces of {name} are {FORCE_FACTORS[factor]:.4g} times those of {context.reference.name}, "
                f"which fits {factor}.",
                remedy="Import these frames again with --forces-unit, or correct the sign.",
            )
    if context.baseline is not None:
        yield from _energies(context)


def _unrelated_energies(context: Context) -> Iterator[Finding]:
    """Yield a finding where energies do not follow from forces in any unit, though a fit describes the forces."""
    fit = context.fit
    if fit is None or fit.scale != 1.0 or fit.surrogate is None or not fit.errors:
        return
    error = fit.errors[next(iter(UNIT_HYPOTHESES))]
    if error > _UNRELATED and fit.surrogate.force_error < _DESCRIBED:
        yield Finding(
            check="units",
            severity=Severity.ERROR if error > 2.0 * _UNRELATED else Severity.WARNING,
            frames=tuple(context.trusted),
            message=f"Differences of energies have nothing to do with the forces: a fit that describes the forces to "
            f"{fit.surrogate.force_error:.0%} is off by {error:.3g} times the spread of the energies.",
            remedy="Check that these are potential energies (not kinetic and potential together, as MD programs print "
            "them, and not one value for all), that they belong to these frames, and that they are of one level of "
            "theory.",
        )


def _force_factor(context: Context, reference: Reference, members: list[int]) -> str | None:
    """Return what is wrong with the forces of some frames, ``None`` where nothing is or they cannot be judged."""
    y, x = _labelled_and_predicted(context, reference, members)
    if len(y) < 12 or np.sqrt(np.mean(x**2)) < 0.02:
        return None
    near = np.abs(y) <= np.quantile(np.abs(y), 0.98)
    if abs(correlation(x[near], y[near])) < context.settings.min_correlation:
        return None
    slope = float(regress(x[:, None], y)[0])
    return matching(slope, FORCE_FACTORS, context.settings.slope_tolerance)


def _labelled_and_predicted(context: Context, reference: Reference, members: list[int]) -> tuple[Array, Array]:
    labelled, predicted = [], []
    for index in [i for i in members if i in context.sampled][:_FRAMES]:
        one, other = context.forces(index), reference.forces(index)
        if one is not None and other is not None and len(one) > 1:
            labelled.append(one.ravel())
            predicted.append(other.ravel())
    if len(labelled) < context.settings.min_group:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(labelled), np.concatenate(predicted)


def _energies(context: Context) -> Iterator[Finding]:
    """Yield a finding where labelled energies are a unit's multiple of the baseline's, compositions aside."""
    assert context.baseline is not None
    predicted = np.asarray(context.baseline.energies, dtype=np.float64)
    use = np.isfinite(predicted) & np.isfinite(context.energies) & (context.sizes > 1)
    if use.sum() < 10:
        return
    elements = sorted({int(z) for atoms in context.frames for z in atoms.numbers})
    counts = np.array([[np.count_nonzero(a.numbers == z) for z in elements] for a in context.frames], dtype=np.float64)
    fractions = counts[use] / context.sizes[use, None]
    x, y = predicted[use] / context.sizes[use], context.energies[use] / context.sizes[use]
    x = x - fractions @ regress(fractions, x, ridge=1e-9)
    y = y - fractions @ regress(fractions, y, ridge=1e-9)
    if np.std(x) < 0.01 or abs(correlation(x, y)) < context.settings.min_correlation:
        return
    factor = matching(float(regress(x[:, None], y)[0]), ENERGY_FACTORS, context.settings.slope_tolerance)
    if factor is not None:
        yield Finding(
            check="units",
            severity=Severity.ERROR,
            frames=tuple(np.flatnonzero(use).tolist()),
            message=f"Differences of energies are {ENERGY_FACTORS[factor]:.4g} times those of {context.baseline.name}, "
            f"which fits {factor}.",
            remedy="Import again with --energy-unit.",
        )


def matching(slope: float, factors: Mapping[str, float], tolerance: float) -> str | None:
    """Return the factor that a slope is, to within a tolerance of its logarithm; ``None`` for 1 and for no match."""
    if slope == 0.0:
        return None
    if slope > 0 and abs(np.log(slope)) < 1.0:
        return None
    distances = {
        name: abs(np.log(abs(slope / value))) for name, value in factors.items() if np.sign(value) == np.sign(slope)
    }
    best = min(distances, key=lambda name: distances[name], default=None)
    if best is None:
        return None
    wide = 2.0 if factors[best] == -1.0 else 1.0  # no other factor is near, and a wrong sign disturbs the fit itself
    return best if distances[best] < wide * tolerance else None
