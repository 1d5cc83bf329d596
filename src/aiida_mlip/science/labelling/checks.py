"""What is no label, though a code returned it: numbers that are not finite, and outliers."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip.science.keys import ENERGY, FORCES, STRESS


def refusal_of(atoms: Atoms, max_force: float | None) -> str:
    """Return why a labelled configuration is refused, or an empty text.

    :param atoms: with energy [eV], forces [eV/Å] and, where there is one, stress [eV/Å^3].
    :param max_force: largest length of a force on an atom [eV/Å]; None: any.
    """
    values = {"energy": atoms.info.get(ENERGY), "forces": atoms.arrays.get(FORCES), "stress": atoms.info.get(STRESS)}
    for name in ("energy", "forces"):
        if values[name] is None:
            return f"the label has no {name}"
    for name, value in values.items():
        if value is not None and not np.isfinite(value).all():
            return f"the {name} of the label is not finite"
    if max_force is None:
        return ""
    lengths = np.linalg.norm(values["forces"], axis=1)
    worst = int(lengths.argmax())
    if lengths[worst] <= max_force:
        return ""
    return (
        f"outlier: the force on atom {worst} ({atoms.symbols[worst]}) is {lengths[worst]:.1f} eV/Å, "
        f"and max_force = {max_force:g}"
    )
