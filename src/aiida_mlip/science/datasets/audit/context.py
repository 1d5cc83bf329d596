"""What the checks share: labels as arrays, environments, duplicates, groups and the reference, each computed once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit.reference import ENERGY_FACTORS, FitReference, PotentialReference, Reference
from aiida_mlip.science.datasets.audit.settings import AuditSettings
from aiida_mlip.science.datasets.baseline import Baseline
from aiida_mlip.science.datasets.environments import Environments, environments
from aiida_mlip.science.datasets.fingerprints import Duplicates, find_duplicates, usable
from aiida_mlip.science.datasets.robust import regress
from aiida_mlip.science.datasets.surrogate import prepare
from aiida_mlip.science.isolated_atoms import is_isolated

Array = NDArray[np.float64]

_MAX_OFFSET_GROUPS = 30
_LEAST_FRAMES = 10
_DEEP = 20.0


class Context:
    """A data set under audit."""

    def __init__(
        self,
        frames: Sequence[Atoms],
        settings: AuditSettings,
        baseline: Baseline | None = None,
        against: Sequence[Atoms] | None = None,
    ) -> None:
        self.frames = frames
        self.settings = settings
        self.baseline = baseline
        self.against = against
        self.not_judged: dict[str, str] = {}

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Return the number of atoms of each frame."""
        return np.array([len(atoms) for atoms in self.frames], dtype=np.int64)

    @cached_property
    def energies(self) -> Array:
        """Return the labelled energies [eV], NaN where there is none."""
        return np.array([float(atoms.info.get(keys.ENERGY, np.nan)) for atoms in self.frames])

    def forces(self, index: int) -> Array | None:
        """Return the labelled forces [eV/Å] of a frame where they are there and finite."""
        found = self.frames[index].arrays.get(keys.FORCES)
        return found if found is not None and np.isfinite(found).all() else None

    def stress(self, index: int) -> Array | None:
        """Return the labelled stress [eV/Å^3] of a frame where it is there and finite."""
        found = self.frames[index].info.get(keys.STRESS)
        return np.asarray(found) if found is not None and np.isfinite(found).all() else None

    def volume(self, index: int) -> float:
        """Return the volume of the cell [Å^3]."""
        return abs(float(np.linalg.det(self.frames[index].cell.array)))

    def config_type(self, index: int) -> str:
        """Return the configuration type of a frame."""
        return str(self.frames[index].info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE))

    @cached_property
    def config_types(self) -> dict[str, list[int]]:
        """Return configuration type -> frames."""
        found: dict[str, list[int]] = defaultdict(list)
        for index in range(len(self.frames)):
            found[self.config_type(index)].append(index)
        return dict(found)

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Return group -> frames, for frames that have one."""
        found: dict[str, list[int]] = defaultdict(list)
        for index, atoms in enumerate(self.frames):
            if name := str(atoms.info.get(keys.GROUP, "")):
                found[name].append(index)
        return dict(found)

    @cached_property
    def partitions(self) -> dict[str, list[int]]:
        """Return described sets of frames that may share a mistake: configuration types, then groups."""
        found = {f"config_type {name!r}": members for name, members in self.config_types.items()}
        known = {tuple(members) for members in found.values()}
        for name, members in self.groups.items():
            if tuple(members) not in known:
                found[f"group {name!r}"] = members
        return found

    @cached_property
    def isolated(self) -> frozenset[int]:
        """Return the frames that are one isolated atom."""
        return frozenset(index for index, atoms in enumerate(self.frames) if is_isolated(atoms))

    @cached_property
    def environments(self) -> dict[int, Environments]:
        """Return the environments of all frames with a usable geometry."""
        return {index: environments(atoms) for index, atoms in enumerate(self.frames) if usable(atoms)}

    @cached_property
    def duplicates(self) -> Duplicates:
        """Return which frames are the same."""
        return find_duplicates(self.frames, self.settings.tolerances, self.environments)

    @cached_property
    def other_energy_unit(self) -> dict[str, list[int]]:
        """Return unit -> frames whose energies are that unit's multiple of what their composition has elsewhere.

        Only total energies that include the core or valence electrons show this: those far below the energies of
        bonds.
        """
        use = [i for i in range(len(self.frames)) if np.isfinite(self.energies[i]) and self.sizes[i] > 1]
        if len(use) < _LEAST_FRAMES:
            return {}
        elements = sorted({int(z) for index in use for z in self.frames[index].numbers})
        fractions = np.array([[np.mean(self.frames[index].numbers == z) for z in elements] for index in use])
        energies: Array = self.energies[use] / self.sizes[use]
        expected = fractions @ regress(fractions, energies, ridge=1e-9)
        deep = np.abs(expected) > _DEEP
        ratio = energies / np.where(deep, expected, np.inf)
        if not deep.any() or np.median(np.abs(ratio[deep] - 1.0)) > 0.05:
            return {}
        found = {
            unit: [use[k] for k in np.flatnonzero(deep & (np.abs(ratio / factor - 1.0) < 0.05))]
            for unit, factor in ENERGY_FACTORS.items()
        }
        return {unit: frames for unit, frames in found.items() if frames}

    @cached_property
    def trusted(self) -> list[int]:
        """Return the frames that a fit may use: several atoms, finite labels, not on top of each other."""
        chosen = []
        suspects = {index for frames in self.other_energy_unit.values() for index in frames}
        for index in self.environments:
            has_forces = keys.FORCES in self.frames[index].arrays
            finite = np.isfinite(self.energies[index]) and not (has_forces and self.forces(index) is None)
            if len(self.frames[index]) > 1 and finite and index not in suspects:
                chosen.append(index)
        return chosen

    @cached_property
    def fit(self) -> FitReference | None:
        """Return the fit to the data themselves, ``None`` where the data do not allow one."""
        counts = Counter(self.config_type(index) for index in self.trusted)
        large = [name for name, n in counts.most_common(_MAX_OFFSET_GROUPS) if n >= self.settings.min_group]
        groups = {i: self.config_type(i) for i in self.trusted if self.config_type(i) in large}
        equations = prepare(self.frames, self.environments, self.trusted, groups)
        if equations is None:
            return None
        found = FitReference(self.frames, self.environments, equations, self.settings.energy_offset_fit)
        return found if found.surrogate is not None else None

    @cached_property
    def reference(self) -> Reference | None:
        """Return the baseline potential, or else the fit to the data, or else ``None``."""
        if self.baseline is not None:
            return PotentialReference(self.frames, self.baseline)
        return self.fit

    @cached_property
    def residuals(self) -> Array:
        """Return labelled minus reference energies [eV/atom], NaN where there is either none."""
        if self.reference is None:
            return np.full(len(self.frames), np.nan)
        return self.residuals_against(self.reference)

    def residuals_against(self, reference: Reference) -> Array:
        """Return labelled minus predicted energies [eV/atom]; NaN for isolated atoms and those in other units."""
        difference = (self.energies - reference.energies()) / np.maximum(self.sizes, 1)
        difference[list(self.isolated)] = np.nan
        difference[[index for frames in self.other_energy_unit.values() for index in frames]] = np.nan
        return np.asarray(difference)

    @cached_property
    def sample(self) -> list[int]:
        """Return the frames whose forces and stresses are compared with the reference.

        All, or so many of each configuration type that the work stays bounded: those with the largest forces, and
        others drawn with a fixed seed. A baseline's predictions cost nothing: then it is all.
        """
        candidates = list(self.environments)
        limit = self.settings.max_reference_atoms
        if self.sizes[candidates].sum() <= limit or (self.reference is not None and self.reference.is_potential):
            return candidates
        generator = np.random.default_rng(0)
        share = limit // len(self.config_types)
        chosen: list[int] = []
        for members in self.config_types.values():
            there = [index for index in members if index in self.environments]
            largest = sorted(there, key=self._largest_force, reverse=True)[: max(1, len(there) // 20)]
            drawn = [*largest, *(there[k] for k in generator.permutation(len(there)).tolist())]
            used = np.cumsum(self.sizes[drawn])
            chosen += drawn[: max(1, int(np.searchsorted(used, share)))]
        return sorted(set(chosen))

    @cached_property
    def sampled(self) -> frozenset[int]:
        """Return the sampled frames as a set."""
        return frozenset(self.sample)

    @cached_property
    def force_errors(self) -> dict[int, float]:
        """Return the root mean square difference of labelled and reference forces [eV/Å] of the sampled frames."""
        found = {}
        for index in self.sample:
            if (error := self.force_error(index)) is not None:
                found[index] = error
        return found

    def force_error(self, index: int) -> float | None:
        """Return the root mean square difference of labelled and reference forces [eV/Å] of a frame."""
        labelled = self.forces(index)
        predicted = self.reference.forces(index) if self.reference is not None else None
        if labelled is None or predicted is None or len(labelled) < 2:
            return None
        return float(np.sqrt(np.mean((labelled - predicted) ** 2)))

    def _largest_force(self, index: int) -> float:
        forces = self.forces(index)
        return 0.0 if forces is None else float(np.abs(forces).max(initial=0.0))

    def skip(self, check: str, reason: str) -> None:
        """Record that a check could not judge all or part of the data."""
        self.not_judged[check] = reason
