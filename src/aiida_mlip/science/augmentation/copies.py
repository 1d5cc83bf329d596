"""Copies of one start structure: their random numbers, what is too close, and where each came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from ase import Atoms

from aiida_mlip.science.augmentation.deform import bare, deformed, random_strain, rattled, within_periodic
from aiida_mlip.science.augmentation.vacuum import dimer, neutral_pair, pairs, single
from aiida_mlip.science.contacts import closest_contact
from aiida_mlip.science.keys import CONFIG_TYPE, GROUP
from aiida_mlip.science.liquids.molecules import find_molecules
from aiida_mlip.science.origin import Origin, set_origin

_ATTEMPTS = 20


class Kind(StrEnum):
    """What was done to a structure; these are the config_types of the copies."""

    RATTLED = "rattled"
    STRAINED = "strained"
    VOLUME = "volume"
    MOLECULE = "molecule"
    DIMER = "dimer"


_KEYS = {kind: number for number, kind in enumerate(Kind)}


@dataclass(frozen=True)
class Copies:
    """Makes copies of one structure.

    :param structure: where they start.
    :param number: of the structure among all.
    :param seed: with the number, the kind and the number of the copy, the seed of its random numbers.
    :param min_distance: closest pair of atoms allowed, times the sum of covalent radii.
    :param rattle: displacements of copies that are changed otherwise too, standard deviation [Å].
    """

    structure: Atoms
    number: int
    seed: int
    min_distance: float
    rattle: float

    def rattled(self, count: int, amplitudes: Sequence[float]) -> Iterator[Atoms]:
        """Yield copies with displaced atoms; none of a single atom, which would only be moved as a whole."""
        if len(self.structure) == 1 or not amplitudes:
            return
        for copy in range(count):
            amplitude = amplitudes[copy % len(amplitudes)]
            yield from self._drawn(
                Kind.RATTLED,
                copy,
                partial(rattled, self.structure, amplitude),
                f"atoms displaced by {amplitude:g} Å",
            )

    def strained(self, count: int, largest: float) -> Iterator[Atoms]:
        """Yield copies with a strained cell and displaced atoms; none without periodicity."""
        if not self.structure.pbc.any():
            return
        molecules = find_molecules(self.structure)

        def change(rng: np.random.Generator) -> Atoms:
            strain = within_periodic(random_strain(rng, largest), self.structure)
            return rattled(deformed(self.structure, np.eye(3) + strain, molecules), self.rattle, rng)

        for copy in range(count):
            yield from self._drawn(
                Kind.STRAINED, copy, change, f"cell strained by up to {largest:g}, atoms displaced by {self.rattle:g} Å"
            )

    def volumes(self, factors: Sequence[float]) -> Iterator[Atoms]:
        """Yield copies with other volumes, molecules as they are."""
        molecules = find_molecules(self.structure)
        cluster = not self.structure.pbc.any() and molecules is not None and len(molecules) > 1
        if not self.structure.pbc.all() and not cluster:
            return
        for factor in factors:
            copy = deformed(self.structure, factor ** (1 / 3) * np.eye(3), molecules)
            if self._far_enough(copy):
                rigid = ", molecules rigid" if molecules else ""
                yield self._named(copy, Kind.VOLUME, "", f"volume times {factor:g}{rigid}")

    def molecules(self, vacuum: float, seen: set[str]) -> Iterator[Atoms]:
        """Yield one molecule of each kind alone, as it is and with displaced atoms.

        :param vacuum: distance between images [Å], where the structure is periodic.
        :param seen: kinds that are not wanted any more; those that are made are added.
        """
        found = find_molecules(self.structure) or []
        for order, molecule in enumerate(found):
            if len(molecule.indices) == 1 or molecule.kind in seen or not molecule.closed_shell(self.structure):
                continue
            seen.add(molecule.kind)
            alone = single(self.structure, molecule, self._gap(vacuum))
            words = f"a molecule {molecule.kind} alone"
            if self._far_enough(alone):
                yield self._named(alone, Kind.MOLECULE, f"_{molecule.kind}", words)
            yield from self._drawn(
                Kind.MOLECULE,
                order,
                partial(rattled, alone, self.rattle),
                f"{words}, atoms displaced by {self.rattle:g} Å",
                group=f"_{molecule.kind}",
            )

    def dimers(self, count: int, shifts: Sequence[float], vacuum: float, seen: set[tuple[str, str]]) -> Iterator[Atoms]:
        """Yield pairs of molecules alone, at several distances.

        :param count: pairs for each two kinds.
        :param vacuum: distance between images [Å], where the structure is periodic.
        :param seen: pairs of kinds that are not wanted any more; those that are made are added.
        """
        found = find_molecules(self.structure)
        if found is None:
            return
        done: dict[tuple[str, str], int] = {}
        for pair in pairs(self.structure, found):
            first, second = sorted((pair[0].kind, pair[1].kind))
            kinds = (first, second)
            if kinds in seen or done.get(kinds, 0) >= count or not neutral_pair(self.structure, pair[0], pair[1]):
                continue
            done[kinds] = done.get(kinds, 0) + 1
            for shift in shifts:
                copy = dimer(self.structure, pair, shift, self._gap(vacuum))
                if self._far_enough(copy):
                    words = f"molecules {first} and {second} alone, moved apart by {shift:g} Å"
                    yield self._named(copy, Kind.DIMER, f"_{first}_{second}_{done[kinds]}", words)
        seen |= set(done)

    def _gap(self, vacuum: float) -> float | None:
        return vacuum if self.structure.pbc.any() else None

    def _drawn(
        self,
        kind: Kind,
        copy: int,
        change: Callable[[np.random.Generator], Atoms],
        words: str,
        group: str | None = None,
    ) -> Iterator[Atoms]:
        """Yield a random copy; it is drawn again where atoms are too close, and given up after a while."""
        for attempt in range(_ATTEMPTS):
            sequence = np.random.SeedSequence(self.seed, spawn_key=(self.number, _KEYS[kind], copy, attempt))
            changed = change(np.random.default_rng(sequence))
            if self._far_enough(changed):
                yield self._named(changed, kind, f"_{copy}" if group is None else group, words)
                return

    def _far_enough(self, atoms: Atoms) -> bool:
        return closest_contact(atoms, self.min_distance) >= self.min_distance

    def _named(self, atoms: Atoms, kind: Kind, group: str, words: str) -> Atoms:
        """Return a copy that says what it is; ``group``: what tells its group from others of its kind."""
        copy = bare(atoms)
        copy.info[CONFIG_TYPE] = str(kind)
        copy.info[GROUP] = f"start{self.number}_{kind}{group}"
        return set_origin(copy, Origin(kind="augmentation", reason=f"start structure {self.number}: {words}"))
