"""What a data set contains, in numbers."""

from __future__ import annotations

import json

import pytest
from ase.build import bulk, molecule

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.statistics import summarize


def test_counts_and_ranges_of_a_small_set():
    tungsten, water = bulk("W", "bcc", a=3.18), molecule("H2O")
    tungsten.info |= {keys.ENERGY: -12.0, keys.STRESS: [-0.1, -0.1, -0.1, 0, 0, 0], keys.CONFIG_TYPE: "bulk"}
    tungsten.arrays[keys.FORCES] = 0.0 * tungsten.positions
    water.info |= {keys.ENERGY: -15.0, keys.GROUP: "g"}
    found = summarize([tungsten, water])
    assert json.loads(json.dumps(found)) == found
    assert found["num_frames"] == 2
    assert found["elements"] == ["H", "O", "W"]
    assert found["config_types"] == {"bulk": 1, "default": 1}
    assert found["labels"] == {keys.ENERGY: 2, keys.FORCES: 1, keys.STRESS: 1}
    assert found["num_groups"] == 1
    assert found["energy_per_atom"] == pytest.approx({"min": -12.0, "mean": -8.5, "max": -5.0})
    assert found["density"]["mean"] == pytest.approx(18.99, abs=0.02)
    assert found["pressure"]["mean"] == pytest.approx(16.02, abs=0.01)
    assert found["min_distance"]["min"] == pytest.approx(0.9686, abs=1e-3)
