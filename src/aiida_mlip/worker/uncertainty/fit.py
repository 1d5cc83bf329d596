"""Make an uncertainty from labelled configurations, before it is calibrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip.schema.uncertainty import LastLayerBayes, Shallow
from aiida_mlip.science.composition import element_counts
from aiida_mlip.science.predictions import FloatArray, Predictions
from aiida_mlip.science.uncertainty import regression
from aiida_mlip.science.uncertainty.committee import energy_spread, forces_spread
from aiida_mlip.science.uncertainty.model import UncertaintyHeader, UncertaintyModel
from aiida_mlip.worker.backends import Potential
from aiida_mlip.worker.uncertainty import Estimate
from aiida_mlip.worker.uncertainty.body import MaceBody
from aiida_mlip.worker.uncertainty.observe import observe

REGULARISATIONS = tuple(10.0**power for power in range(-10, 3))
"""What is tried where none is given, in units of the mean eigenvalue."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Owner:
    """Whose uncertainty it is: checksums of the members' files, and the head."""

    sha256: tuple[str, ...]
    head: str

    def header(self, kind: str, elements: Sequence[str]) -> UncertaintyHeader:
        """Return the header of an uncertainty that is not calibrated yet."""
        return UncertaintyHeader.model_validate(
            {
                "kind": kind,
                "sha256": self.sha256,
                "head": self.head,
                "elements": tuple(elements),
                "energy_scale": 1.0,
                "forces_scale": 1.0,
            }
        )


def fit_deep(owner: Owner, frames: Sequence[Atoms], members: Sequence[Predictions]) -> UncertaintyModel:
    """Return the offsets of a committee, from its predictions for the calibration set.

    The offset of a member is that of its energies from the mean energies, for each element. A constant for each element
    moves no atom, and would hide what the members disagree on.
    """
    elements, counts = element_counts(frames)
    energies = np.array([member.energies for member in members])
    shifts = [regression.element_offsets(counts, row) for row in energies - energies.mean(axis=0)]
    return UncertaintyModel(owner.header("deep", elements), {"shifts": np.array(shifts)})


def deep_estimates(model: UncertaintyModel, frames: Sequence[Atoms], members: Sequence[Predictions]) -> list[Estimate]:
    """Return what the estimator of a committee would say, from predictions that are there."""
    found = []
    for index, atoms in enumerate(frames):
        energies = np.array([member.energies[index] for member in members])
        forces = np.array([member.forces[index] for member in members])
        deviations = energies - model.arrays["shifts"] @ model.counts(atoms.get_chemical_symbols())
        found.append(
            Estimate(
                energy=float(energies.mean()),
                forces=forces.mean(axis=0),
                energy_sigma=energy_spread(deviations),
                forces_sigma=forces_spread(forces),
            )
        )
    return found


def fit_last_layer(
    owner: Owner,
    potential: Potential,
    method: Shallow | LastLayerBayes,
    sets: Mapping[str, Sequence[Atoms]],
    *,
    batch_size: int,
    stage: Callable[[str, int], Progress],
) -> tuple[UncertaintyModel, float]:
    """Return the uncertainty of one MACE potential from its last layer, and the regularisation that was used.

    :param sets: ``training`` and ``calibration`` configurations; the second chooses the regularisation.
    :param stage: begins a stage of a name and a number of frames, and returns what reports the frames done.
    """
    body = MaceBody(potential)
    seen = {
        name: observe(
            body,
            frames,
            projections=method.projections,
            seed=method.seed,
            batch_size=batch_size,
            on_progress=stage(f"observe {name} set", len(frames)),
        )
        for name, frames in sets.items()
    }
    training = seen["training"]
    centres = regression.element_offsets(training.counts, training.features)
    fitted = regression.design(training, centres)
    strength = method.regularisation or regression.choose_regularisation(
        fitted.gram, regression.forces_only(seen["calibration"]), REGULARISATIONS
    )
    rng = np.random.default_rng(method.seed)
    factor, ensemble = _weights(method, fitted, strength, rng)
    directions = regression.combined(ensemble, method.probes, rng)
    header = owner.header(method.kind, potential.info.elements)
    return UncertaintyModel(header, {"centres": centres, "factor": factor, "directions": directions}), strength


def _weights(
    method: Shallow | LastLayerBayes, fitted: regression.Design, strength: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the factor of the energy's uncertainty, and the ensemble of weights that the forces are seen with."""
    if isinstance(method, Shallow):
        ensemble = regression.shallow_ensemble(fitted, strength, method.members, rng)
        return ensemble, ensemble
    factor = regression.posterior_factor(fitted.gram, strength)
    return factor, regression.posterior_samples(factor, method.samples, rng)
