"""Calcfunction that makes the first set of an iterative training."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.schema.iterative import AugmentationSettings
from aiida_mlip.science import augmentation


@calcfunction
def augment(structures: DatasetData, settings: orm.Dict) -> DatasetData:
    """Return changed copies of structures, without labels.

    :param settings: of :class:`~aiida_mlip.schema.iterative.AugmentationSettings`.
    :raises DatasetError: where nothing is made.
    """
    options = AugmentationSettings(**settings.get_dict())
    copies = DatasetData(
        augmentation.augment(list(structures.frames()), **options.model_dump()), level_of_theory="none"
    )
    copies.label = "augmentation"
    return copies
