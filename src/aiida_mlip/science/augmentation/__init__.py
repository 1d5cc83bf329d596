"""The first set of an iterative training: changed copies of the start structures.

Every random copy has a generator of its own, keyed by seed, structure, kind and number of the copy: one more structure
at the end, or one more copy, leaves all others as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from aiida_mlip.science.augmentation.copies import Copies, Kind
from aiida_mlip.science.augmentation.deform import bare, deformed, random_strain, rattled, within_periodic
from aiida_mlip.science.datasets.errors import DatasetError
from aiida_mlip.science.datasets.fingerprints import find_duplicates

__all__ = [
    "Copies",
    "Kind",
    "augment",
    "bare",
    "deformed",
    "random_strain",
    "rattled",
    "within_periodic",
]


def augment(
    structures: Sequence[Atoms],
    *,
    rattles: int = 4,
    rattle_amplitudes: Sequence[float] = (0.05, 0.15),
    strains: int = 2,
    max_strain: float = 0.04,
    volumes: Sequence[float] = (0.95, 1.0, 1.05),
    molecules: bool = True,
    dimers: int = 2,
    dimer_shifts: Sequence[float] = (0.0, 1.0),
    vacuum: float = 10.0,
    min_distance: float = 0.6,
    seed: int = 1,
) -> list[Atoms]:
    """Return changed copies of structures, without labels, each with its type, group and origin.

    A random copy is one sample, and a group of its own; copies along a path (volumes of one structure, distances of one
    pair, one kind of molecule) are one group, so that a split does not put neighbours on a path into two sets. Of
    copies that are the same, in whatever order or orientation, the first is kept. Copies with atoms too close are drawn
    again, or left out where nothing about them is random.

    :param structures: at least one; labels are ignored, and nothing is changed.
    :param rattles: copies of each structure with displaced atoms; none of single atoms.
    :param rattle_amplitudes: standard deviations [Å], in turn.
    :param strains: copies with a random strain in the periodic directions, and the smallest rattle.
    :param max_strain: largest principal strain.
    :param volumes: volume factors; 1 is the structure itself. Molecules stay rigid. For structures that are periodic in
        three directions, and clusters of molecules that are not periodic at all.
    :param molecules: cut out one molecule of each kind (as it is, and with the smallest rattle), and pairs.
    :param dimers: pairs of molecules for each two kinds, closest contacts first.
    :param dimer_shifts: for each pair, distances by which it is moved apart [Å].
    :param vacuum: distance between images of molecules cut out of periodic structures [Å].
    :param min_distance: closest pair of atoms allowed, times the sum of covalent radii.
    :param seed: of all random numbers.
    :raises DatasetError: where nothing is made.
    """
    smallest = min(rattle_amplitudes, default=0.0)
    makers = [Copies(bare(a), number, seed, min_distance, smallest) for number, a in enumerate(structures)]
    made: list[Atoms] = []
    kinds: set[str] = set()
    kinds_of_pairs: set[tuple[str, str]] = set()
    for maker in makers:
        made += maker.rattled(rattles, rattle_amplitudes)
        made += maker.strained(strains, max_strain)
        made += maker.volumes(volumes)
        if molecules:
            made += maker.molecules(vacuum, kinds)
            made += maker.dimers(dimers, dimer_shifts, vacuum, kinds_of_pairs)
    repeats = {index for same in find_duplicates(made).exact for index in sorted(same)[1:]}
    kept = [atoms for index, atoms in enumerate(made) if index not in repeats]
    if not kept:
        raise DatasetError(
            f"augmentation of {len(structures)} structures gives nothing: ask for rattles, strains or volumes, and "
            f"give structures whose atoms are further apart than {min_distance} times the sum of their covalent radii"
        )
    return kept
