"""Estimators of potentials to which D3 is added: the same term for all members, so that no uncertainty changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ase import Atoms

from aiida_mlip.schema.errors import ErrorKind, TaskError
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.keys import ENERGY, FORCES, STRESS
from aiida_mlip.worker.backends import Potential
from aiida_mlip.worker.dispersion import D3, DispersionPotential
from aiida_mlip.worker.uncertainty import Estimate, Estimator


class DispersionEstimator:
    """An estimator with D3 added to energy, forces and stress; see :class:`aiida_mlip.worker.uncertainty.Estimator`.

    :param base: of the potentials without dispersion.
    :param info: the description of the first potential with it.
    :param d3: what is added.
    """

    def __init__(self, base: Estimator, info: PotentialInfo, d3: D3) -> None:
        self.info = info
        self._base = base
        self._d3 = d3

    @property
    def has_uncertainty(self) -> bool:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`."""
        return self._base.has_uncertainty

    def estimate(
        self, atoms: Atoms, *, stress: bool = False, forces_sigma: bool = False, bias: bool = False
    ) -> Estimate:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`; D3 is computed once, however many members there are."""
        found = self._base.estimate(atoms, stress=stress, forces_sigma=forces_sigma, bias=bias)
        added = self._d3.evaluate(atoms)
        return replace(
            found,
            energy=found.energy + added.energy,
            forces=found.forces + added.forces,
            stress=None if found.stress is None or added.stress is None else found.stress + added.stress,
        )

    def forget(self) -> None:
        """See :class:`aiida_mlip.worker.uncertainty.Estimator`; D3 keeps nothing between two calls."""
        self._base.forget()


def bare(potentials: Sequence[Potential]) -> tuple[list[Potential], D3 | None]:
    """Return the potentials without what is added to them, and what that is.

    :raises TaskError: of kind ``input`` where it is not the same for all.
    """
    settings = [potential.info.dispersion for potential in potentials]
    if any(other != settings[0] for other in settings):
        named = ", ".join("none" if one is None else one.title for one in settings)
        raise TaskError(
            ErrorKind.INPUT,
            f"potentials: the members differ in the dispersion that is added to them: {named}.",
            "Add the same one to all members, or to none.",
        )
    found = [potential.base if isinstance(potential, DispersionPotential) else potential for potential in potentials]
    first = potentials[0]
    return found, first.d3 if isinstance(first, DispersionPotential) else None


def without_dispersion(frames: Sequence[Atoms], d3: D3) -> list[Atoms]:
    """Return copies of labelled frames with D3 taken off their labels: what the potential alone has to say of them."""
    found = []
    for frame in frames:
        atoms, taken = frame.copy(), d3.evaluate(frame)
        if ENERGY in atoms.info:
            atoms.info[ENERGY] = float(atoms.info[ENERGY]) - taken.energy
        if FORCES in atoms.arrays:
            atoms.arrays[FORCES] = atoms.arrays[FORCES] - taken.forces
        if STRESS in atoms.info and taken.stress is not None:
            atoms.info[STRESS] = atoms.info[STRESS] - taken.stress
        found.append(atoms)
    return found
