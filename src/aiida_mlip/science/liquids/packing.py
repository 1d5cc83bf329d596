"""Boxes of liquids, filled by packmol (Martínez et al., J. Comput. Chem. 30, 2157 (2009)) and settled."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import _Nav
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aiida_mlip.science.liquids.components import Component, kind
from aiida_mlip.science.liquids.compositions import Numbers, components_of
from aiida_mlip.science.liquids.embedding import conformers
from aiida_mlip.science.liquids.molecules import Molecule
from aiida_mlip.science.liquids.settling import Settled, settle

Array = NDArray[np.float64]

AMU_PER_ANGSTROM3 = _Nav * 1e-24
"""1 g/cm^3 in u/Å^3: 0.6022."""

CONFORMERS = 10
"""Conformations of one component in a box, at most."""

_SLACK = 0.95
"""A box is refused where a contact is closer than this share of the tolerance: packmol and settling end nearby."""

_PERIODIC_SINCE = (20, 15, 0)
"""Version of packmol that knows periodic boxes."""

_NOT_CONVERGED = 173
"""Exit status of packmol where it writes its best packing, and some molecules are still too close."""

_MAX_SEED = 2**31 - 2


class PackingError(ValueError):
    """A box that cannot be filled as asked; the message says what to change."""


class ChangedMoleculesError(PackingError):
    """A box whose molecules are so close that they would be taken for bonded."""


@dataclass(frozen=True)
class _Body:
    """Copies of one conformation of a component."""

    atoms: Atoms
    number: int
    kind: str


def pack(
    composition: Numbers, density: float, tolerance: float = 2.0, seed: int = 1, *, timeout: float = 120.0
) -> Atoms:
    """Return a cubic periodic box of a liquid.

    Molecules follow one another in the order of the composition, each in one piece with its centre in the cell. They
    are in several conformations, and where the handedness of a SMILES is open, of both hands. They are placed by
    packmol and then moved apart as rigid bodies (:mod:`~aiida_mlip.science.liquids.settling`). The same input gives
    the same box with the same versions of packmol and RDKit.

    :param composition: component, by name or SMILES -> number of molecules.
    :param density: [g/cm^3], of natural isotopes.
    :param tolerance: distance [Å] that atoms of different molecules keep, periodic images included; some may come
        5% nearer where the box is crowded.
    :param seed: of conformations and places.
    :param timeout: seconds that packmol may take.
    :raises ValueError: for a composition that makes no sense (unknown component, charges that do not balance), or a
        density or tolerance that is not positive.
    :raises PackingError: where packmol is missing or fails, or the molecules do not fit; as
        :class:`ChangedMoleculesError` where they fit so tightly that they would be taken for bonded.
    """
    return pack_and_settle(composition, density, tolerance, seed, timeout=timeout).atoms


def pack_and_settle(
    composition: Numbers, density: float, tolerance: float = 2.0, seed: int = 1, *, timeout: float = 120.0
) -> Settled:
    """Return a box as :func:`pack` does, with its closest contacts before and after it was settled."""
    for name, value in (("density", density), ("tolerance", tolerance)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} = {value}: it must be positive")
    bodies = _bodies(components_of(composition), seed)
    length = cell_length(sum(body.number * float(body.atoms.get_masses().sum()) for body in bodies), density)
    positions = _place(bodies, length, tolerance, seed, timeout)
    box, molecules = _assembled(bodies, positions, length)
    settled = settle(box, molecules, smallest=tolerance)
    if settled.after < tolerance:  # packmol keeps the tolerance: where wider gaps cost it, they are not asked for
        settled = settle(box, molecules, smallest=tolerance, share=0.0)
    asked = f"density = {density:g} g/cm^3, tolerance = {tolerance:g} Å, seed = {seed}"
    if settled.after < _SLACK * tolerance:
        raise PackingError(
            f"{asked}: the molecules do not fit, the closest contact is {settled.after:.2f} Å. Pack at a lower density "
            "and let the pressure compress the box, or ask for a smaller tolerance, or try another seed"
        )
    if not settled.kept:
        raise ChangedMoleculesError(
            f"{asked}: molecules are as near as {settled.after:.2f} Å, so that they would be taken for bonded. Ask for "
            "a larger tolerance (2 Å is usual) or a lower density"
        )
    return settled


def cell_length(mass: float, density: float) -> float:
    """Return the edge [Å] of a cube with a mass [u] at a density [g/cm^3]."""
    return float((mass / (density * AMU_PER_ANGSTROM3)) ** (1 / 3))


def _bodies(components: Sequence[tuple[Component, int]], seed: int) -> list[_Body]:
    """Return the conformations that a box is made of, and how often each."""
    bodies = []
    for component, number in components:
        shapes = conformers(component.smiles, min(number, CONFORMERS), seed)
        shares = [number // len(shapes) + (index < number % len(shapes)) for index in range(len(shapes))]
        key = kind(component)
        bodies += [_Body(shape, share, key) for shape, share in zip(shapes, shares, strict=True)]
    return bodies


def _assembled(bodies: Sequence[_Body], positions: Array, length: float) -> tuple[Atoms, list[Molecule]]:
    """Return the box and its molecules; each is its conformation to the last digit, where packmol put it."""
    box, molecules = Atoms(cell=[length] * 3, pbc=True), []
    for body in bodies:
        for _ in range(body.number):
            first, last = len(box), len(box) + len(body.atoms)
            one = body.atoms.copy()
            one.positions = _superposed(one.positions, positions[first:last])
            box += one
            offsets = np.zeros((len(one), 3), dtype=np.int64)
            molecules.append(Molecule(np.arange(first, last), offsets, body.kind))
    return box, molecules


def _superposed(shape: Array, target: Array) -> Array:
    """Return a shape, moved and turned onto a target that has it up to rounding; both have shape (n, 3)."""
    here, there = shape.mean(axis=0), target.mean(axis=0)
    if len(shape) == 1:
        return np.array(target)
    turn, _ = Rotation.align_vectors(target - there, shape - here)
    return np.asarray(turn.apply(shape - here) + there)


def _place(bodies: Sequence[_Body], length: float, tolerance: float, seed: int, timeout: float) -> Array:
    """Return where packmol puts the atoms [Å], shape (n, 3), in the order of the bodies."""
    program = find_packmol()
    with tempfile.TemporaryDirectory(prefix="packmol-") as folder:
        text = _packmol_input(bodies, length, tolerance, seed, periodic=version_of(program) >= _PERIODIC_SINCE)
        for index, body in enumerate(bodies):
            Path(folder, f"{index}.xyz").write_text(_xyz(body.atoms), encoding="utf-8")
        given = Path(folder, "box.inp")
        given.write_text(text, encoding="utf-8")
        try:
            with given.open() as handle:  # packmol reads its input twice: a pipe will not do
                done = subprocess.run(
                    [program], stdin=handle, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout
                )
        except subprocess.TimeoutExpired:
            raise PackingError(
                f"packmol did not end within {timeout:g} s: lower the density ({_stated(bodies, length):.3f} g/cm^3) "
                f"or the tolerance ({tolerance:g} Å), or pack fewer molecules"
            ) from None
        written = Path(folder, "box.xyz")
        if done.returncode not in {0, _NOT_CONVERGED} or not written.is_file():
            raise PackingError(
                f"packmol ended with exit status {done.returncode} and wrote no box at "
                f"{_stated(bodies, length):.3f} g/cm^3 with tolerance {tolerance:g} Å: lower one of them, and read its "
                f"last words: {_last_words(done.stdout + done.stderr)}"
            )
        return _read_positions(written, sum(body.number * len(body.atoms) for body in bodies))


def _stated(bodies: Sequence[_Body], length: float) -> float:
    return float(sum(b.number * b.atoms.get_masses().sum() for b in bodies) / length**3 / AMU_PER_ANGSTROM3)


def _packmol_input(bodies: Sequence[_Body], length: float, tolerance: float, seed: int, *, periodic: bool) -> str:
    """Return the input of packmol; without periodic boxes, molecules keep half the tolerance from each face."""
    lines = [
        f"tolerance {tolerance:.6f}",
        f"seed {1 + seed % _MAX_SEED}",
        "filetype xyz",
        "output box.xyz",
        "nloop 100",
    ]
    inside = []
    if periodic:
        lines.append(f"pbc {length:.9f} {length:.9f} {length:.9f}")
    else:
        low, high = tolerance / 2, length - tolerance / 2
        if high <= low:
            raise PackingError(f"tolerance = {tolerance:g} Å: the box is only {length:.2f} Å wide; pack more molecules")
        inside = [f"  inside box {low:.9f} {low:.9f} {low:.9f} {high:.9f} {high:.9f} {high:.9f}"]
    for index, body in enumerate(bodies):
        if body.number:
            lines += [f"structure {index}.xyz", f"  number {body.number}", *inside, "end structure"]
    return "\n".join(lines) + "\n"


def _xyz(atoms: Atoms) -> str:
    rows = [f"{s} {x:.12f} {y:.12f} {z:.12f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)]
    return "\n".join([str(len(atoms)), "", *rows, ""])


def _read_positions(path: Path, count: int) -> Array:
    rows = [line.split()[1:4] for line in path.read_text(encoding="utf-8").splitlines()[2:] if line.strip()]
    if len(rows) != count:
        raise PackingError(f"packmol wrote {len(rows)} atoms, {count} were asked for: is the disk full?")
    return np.array(rows, dtype=np.float64)


def _last_words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip(" #*-\t")]
    return " / ".join(lines[-3:]) or "none"


def find_packmol() -> str:
    """Return the program: beside the interpreter, where its wheel puts it, or on PATH.

    :raises PackingError: where it is not there.
    """
    beside = Path(sys.executable).parent / "packmol"
    found = str(beside) if beside.is_file() else shutil.which("packmol")
    if found is None:
        raise PackingError("packmol is not installed: `pip install packmol`, or import a box that was packed elsewhere")
    return found


def version_of(program: str) -> tuple[int, ...]:
    """Return the version that packmol prints, e.g. (21, 2, 3); empty where it prints none."""
    done = subprocess.run([program], input="", capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"Version\s+(\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()
