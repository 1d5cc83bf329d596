"""The calcfunction `augment`: the first set has a creator, and is the same for the same inputs."""

from __future__ import annotations

import pytest
from aiida import orm
from ase.build import bulk

from aiida_mlip.calculations.augmentation import augment
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.iterative import AugmentationSettings


def test_the_first_set_is_made_by_a_calculation(aiida_profile) -> None:
    structures = DatasetData([bulk("W", "bcc", a=3.17, cubic=True)])
    settings = AugmentationSettings(seed=5).model_dump(mode="json")
    first, again = (augment(structures, orm.Dict(settings)) for _ in range(2))
    other = augment(structures, orm.Dict({**settings, "seed": 6}))
    assert first.config_types == {"rattled": 4, "strained": 2, "volume": 3}
    assert first.creator.process_label == "augment"
    assert first.base.caching.get_hash() == again.base.caching.get_hash() != other.base.caching.get_hash()


@pytest.mark.parametrize("wrong", [{"max_strain": 0.6}, {"volumes": [0.0]}, {"rattle_amplitudes": []}, {"rattle": 3}])
def test_wrong_settings_are_refused(aiida_profile, wrong: dict) -> None:
    structures = DatasetData([bulk("W", "bcc", a=3.17, cubic=True)])
    with pytest.raises(ValueError, match=next(iter(wrong))):
        augment(structures, orm.Dict(wrong))
