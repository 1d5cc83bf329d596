"""The <100> junction with a Finnis-Sinclair potential: Burgers vector, ends, and its barrier against a plain script."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.mep import NEB
from ase.optimize import FIRE, LBFGS
from matscipy.dislocation import BCCEdge100Dislocation

from aiida_mlip.science import properties
from aiida_mlip.science.properties import PropertyRecord
from aiida_mlip.science.properties.junction_100 import JunctionResult
from aiida_mlip.worker.backends.finnis_sinclair import FinnisSinclair

TANTALUM = {
    "element": "Ta",
    "lattice_constant": 3.3058,
    "elastic_constants": {"c11": 266.0, "c12": 161.2, "c44": 82.4},
    "fix_width": 6.0,
}


def junction(**inputs: Any) -> tuple[JunctionResult, PropertyRecord]:
    record, _ = properties.compute(properties.get("junction_100"), {**TANTALUM, **inputs}, FinnisSinclair())
    assert record.error is None, record.error
    return JunctionResult.model_validate(record.result), record


@pytest.mark.parametrize(("plane", "unit"), [("001", "eV per a"), ("011", "eV per a*sqrt2")])
def test_ends_are_alike_and_hold_one_burgers_vector(plane: str, unit: str) -> None:
    result, record = junction(plane=plane, radius=12.0, fix_width=10.0, images=5)
    assert record.usable()
    for circuit in result.burgers:
        assert np.abs(circuit) == pytest.approx([1, 0, 0], abs=1e-6)
    assert result.energy[-1] == pytest.approx(0.0, abs=0.02)
    assert result.barrier >= max(result.energy) - 1e-9 > 0.05
    assert int(np.argmax(result.energy)) == 2
    (quantity,) = record.quantities
    assert (quantity.key, quantity.unit) == (f"junction_100_{plane}_barrier", unit)
    assert record.series[0].y_unit == unit


def test_barrier_against_a_plain_band() -> None:
    """matscipy's glide configurations and ASE's plain band; total energies."""
    result, _ = junction(radius=8.0, images=5, fmax=0.005, fmax_path=0.02)
    theirs = BCCEdge100Dislocation(3.3058, C11=266.0, C12=161.2, C44=82.4, symbol="Ta")
    _, first, last = theirs.build_glide_configurations(14.0, fix_width=6.0, method="adsl", verbose=False)
    for atoms in (first, last):
        atoms.pbc = (False, False, True)
        atoms.calc = FinnisSinclair()
        LBFGS(atoms, logfile=None).run(fmax=5e-3, steps=300)
    images = [first]
    for fraction in (0.25, 0.5, 0.75):
        image = first.copy()
        image.set_positions((1 - fraction) * first.positions + fraction * last.positions, apply_constraint=False)
        image.calc = FinnisSinclair()
        images.append(image)
    images.append(last)
    FIRE(NEB(images, k=0.5, method="improvedtangent"), logfile=None).run(fmax=0.02, steps=400)
    barrier = max(image.get_potential_energy() for image in images) - first.get_potential_energy()
    assert result.barrier_by_total_energy == pytest.approx(barrier, abs=0.02)


def test_a_path_that_is_not_converged_is_not_usable() -> None:
    result, record = junction(radius=7.0, images=5, max_steps=3)
    assert {"not_converged", "path_not_converged"} <= {flag.name for flag in record.flags}
    assert not result.converged
    assert not record.usable()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({"images": 6}, "odd number"), ({"plane": "112"}, "plane = '112'"), ({"radius": 2.0}, "radius = 2.0")],
)
def test_wrong_inputs_are_refused_in_words(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        properties.parse_inputs(properties.get("junction_100"), {"element": "W", **inputs})


def test_it_is_marked_expensive() -> None:
    assert properties.get("junction_100").expensive
    assert not properties.get("elastic").expensive
