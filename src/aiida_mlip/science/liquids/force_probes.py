"""The configurations that the force tests need labels of: each geometry once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from aiida_mlip.science.augmentation.deform import bare
from aiida_mlip.science.dynamics.observables import density_of
from aiida_mlip.science.keys import CONFIG_TYPE, GROUP, ORIGIN
from aiida_mlip.science.labelling.address import geometry_digest
from aiida_mlip.science.liquids.decomposition import alone, has_charge
from aiida_mlip.science.liquids.dimers import Pair, choose_pairs, dimer_frames
from aiida_mlip.science.liquids.force_plan import (
    CONFIGURATION,
    DIMER,
    MOLECULE,
    SCAN,
    ConfigurationPlan,
    DimerPlan,
    DimerPoint,
    ForceTestPlan,
    MoleculePlan,
    ScanPlan,
    ScanPoint,
)
from aiida_mlip.science.liquids.molecules import Molecule, find_molecules
from aiida_mlip.science.liquids.volume_scan import scan_frames

_SOURCES = 10
"""Pairs are taken from so many configurations at most: looking for neighbours takes time."""


@dataclass(frozen=True)
class Wanted:
    """What is to be tested; fields of ``ForceTestSettings`` say what each is.

    :param configurations: how many are decomposed at most; the choice is random where there are more.
    :param densities: of volume scans [g/cm^3]; empty: none.
    :param scans: how many boxes are scanned at most.
    :param pairs: of molecules in all.
    :param shifts: of their distance [Å].
    """

    configurations: int = 10
    densities: tuple[float, ...] = ()
    scans: int = 1
    pairs: int = 0
    shifts: tuple[float, ...] = ()
    min_contact: float = 1.2
    seed: int = 1


@dataclass
class _Probes:
    """Frames collected so far, and where each geometry is."""

    frames: list[Atoms] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)

    def add(self, atoms: Atoms, kind: str, group: str, origin: str = "") -> int:
        """Return the index of this geometry, which is added where it is new."""
        digest = geometry_digest(atoms)
        if digest not in self.known:
            self.known[digest] = len(self.frames)
            frame = bare(atoms)
            frame.info |= {CONFIG_TYPE: kind, GROUP: group, **({ORIGIN: origin} if origin else {})}
            self.frames.append(frame)
        return self.known[digest]

    def add_alone(self, atoms: Atoms, molecule: Molecule, group: str) -> int:
        """Return the index of a molecule alone."""
        return self.add(alone(atoms, molecule), MOLECULE, group)


def plan_probes(
    configurations: Sequence[Atoms], boxes: Mapping[str, Atoms], wanted: Wanted
) -> tuple[list[Atoms], ForceTestPlan]:
    """Return the configurations to be labelled, without old labels, and how they belong together.

    :param configurations: are decomposed; the periodic ones are scanned, and give the dimers, where there is no box.
    :param boxes: name -> periodic box that is scanned and gives dimers; decomposed where there are no configurations.
    :raises ValueError: where nothing has molecules, so that there is nothing to test.
    """
    notes: list[str] = []
    given = list(configurations) or list(boxes.values())
    found = {index: molecules for index, atoms in enumerate(given) if (molecules := _several(atoms))}
    if len(found) < len(given):
        notes.append(f"{len(given) - len(found)} of {len(given)} configurations are no two molecules or more")
    probes = _Probes()
    parts = [_configuration(probes, index, given[index], found[index]) for index in _chosen(sorted(found), wanted)]
    named = dict(boxes) or {f"configuration_{i}": given[i] for i in sorted(found) if given[i].pbc.all()}
    liquids = {name: (atoms, molecules) for name, atoms in named.items() if (molecules := _several(atoms))}
    scanned = list(liquids.items())[: wanted.scans] if wanted.densities else []
    scans = [_scan(probes, name, *liquid, wanted.densities) for name, liquid in scanned]
    if wanted.densities and not scans:
        notes.append("no volume scan: there is no periodic configuration of several molecules")
    sources = liquids or {f"configuration_{i}": (given[i], found[i]) for i in sorted(found)}
    dimers = _dimers(probes, sources, wanted)
    if wanted.pairs and not dimers:
        notes.append("no dimers: no two neighbours make sense alone without charges")
    if not probes.frames:
        raise ValueError("configurations: none has two molecules or more, so that there is nothing to test")
    plan = ForceTestPlan(
        probes=len(probes.frames),
        configurations=tuple(parts),
        scans=tuple(scans),
        dimers=tuple(dimers),
        notes=tuple(notes),
    )
    return probes.frames, plan


def _several(atoms: Atoms) -> list[Molecule] | None:
    """Return the molecules where there are two or more."""
    molecules = find_molecules(atoms)
    return molecules if molecules is not None and len(molecules) > 1 else None


def _chosen(indices: Sequence[int], wanted: Wanted) -> list[int]:
    if len(indices) <= wanted.configurations:
        return list(indices)
    rng = np.random.default_rng(wanted.seed)
    return sorted(int(index) for index in rng.choice(indices, size=wanted.configurations, replace=False))


def _configuration(probes: _Probes, source: int, atoms: Atoms, molecules: Sequence[Molecule]) -> ConfigurationPlan:
    group = f"configuration_{source}"
    probe = probes.add(atoms, CONFIGURATION, group, str(atoms.info.get(ORIGIN, "")))
    parts = [
        MoleculePlan(
            kind=molecule.kind,
            formula=_formula(atoms, molecule),
            atoms=tuple(molecule.indices.tolist()),
            offsets=tuple((x, y, z) for x, y, z in molecule.offsets.tolist()),
            probe=probes.add_alone(atoms, molecule, group),
            charged=has_charge(atoms, molecule),
        )
        for molecule in molecules
    ]
    formula = atoms.get_chemical_formula()
    return ConfigurationPlan(source=source, probe=probe, formula=formula, molecules=tuple(parts))


def _scan(
    probes: _Probes, name: str, atoms: Atoms, molecules: Sequence[Molecule], densities: Sequence[float]
) -> ScanPlan:
    group = f"scan_{name}"
    ascending = sorted(densities)
    frames = scan_frames(atoms, molecules, ascending)
    points = [
        ScanPoint(density=density, probe=probes.add(frame, SCAN, group))
        for density, frame in zip(ascending, frames, strict=True)
    ]
    return ScanPlan(
        name=name,
        formula=atoms.get_chemical_formula(),
        molecules=tuple(probes.add_alone(atoms, molecule, group) for molecule in molecules),
        atoms=tuple(tuple(molecule.indices.tolist()) for molecule in molecules),
        points=tuple(points),
        charged=any(has_charge(atoms, molecule) for molecule in molecules),
        density=density_of(atoms),
    )


def _dimers(probes: _Probes, sources: Mapping[str, tuple[Atoms, list[Molecule]]], wanted: Wanted) -> list[DimerPlan]:
    """Return pairs of the first configurations, kinds that are new first."""
    if not wanted.pairs:
        return []
    chosen = choose_pairs(list(sources.values())[:_SOURCES], wanted.pairs)
    return [_dimer(probes, number, atoms, pair, wanted) for number, (atoms, pair) in enumerate(chosen)]


def _dimer(probes: _Probes, number: int, atoms: Atoms, pair: Pair, wanted: Wanted) -> DimerPlan:
    group = f"dimer_{number}"
    points = [
        DimerPoint(
            shift=frame.shift,
            distance=frame.distance,
            contact=frame.contact,
            probe=probes.add(frame.atoms, DIMER, group),
        )
        for frame in dimer_frames(atoms, pair, wanted.shifts, wanted.min_contact)
    ]
    one, other = pair[:2]
    return DimerPlan(
        kinds=(one.kind, other.kind),
        formulas=(_formula(atoms, one), _formula(atoms, other)),
        molecules=(probes.add_alone(atoms, one, group), probes.add_alone(atoms, other, group)),
        points=tuple(points),
        charged=has_charge(atoms, one) or has_charge(atoms, other),
    )


def _formula(atoms: Atoms, molecule: Molecule) -> str:
    return str(atoms[molecule.indices].get_chemical_formula())
