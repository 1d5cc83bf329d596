"""The tungsten configurations of the example data set: pure ASE and numpy, every random number seeded.

``all_configurations()`` returns them in the order in which they are worth computing: cheap crystals first. Each
:class:`ase.Atoms` carries in ``info``

``name``
    unique and stable: the labels of a profile are found again by it;
``config_type``
    the family;
``group``
    frames that must not be parted by a split, because they are the same crystal or come from one trajectory;
``mesh``, ``shift_mesh``, ``slab``, ``degauss``, ``spin_polarised``
    only where pw.x needs something else than the common settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike, NDArray

A0 = 3.185
"""Lattice constant all cells are built from [Å]; close to the PBE minimum, which the volume scan then measures."""

UNIFORM_MESH = [12, 12, 12]
"""k-points of every strained bcc primitive cell: one mesh keeps energy and stress smooth."""

SHIFTED = {"mesh": [4, 4, 4], "shift_mesh": True}
"""k-points of cells with 16 sites: as dense as 8x8x8 in the cubic cell; the shift leaves 4 points instead of 10."""

EQUILIBRIUM = "bcc_equilibrium"
"""Group of all frames that are the unstrained crystal in one cell or another."""

# Girifalco and Weizer, Phys. Rev. 114, 687 (1959): a pair potential, used only to draw thermal displacements.
MORSE = {"epsilon": 0.9906, "rho0": 1.4116 * 3.032, "r0": 3.032, "rcut1": 1.9, "rcut2": 2.3}

# In-plane primitive vectors and one vector to the next layer, in units of a0 / 2: one atom per layer.
PLANES: dict[str, tuple[ArrayLike, ArrayLike, ArrayLike]] = {
    "100": ((0, 2, 0), (0, 0, 2), (1, 1, 1)),
    "110": ((1, -1, 1), (-1, 1, 1), (1, 1, 1)),
    "111": ((2, -2, 0), (0, 2, -2), (1, 1, -1)),
    "112": ((1, 1, -1), (2, -2, 0), (1, -1, 1)),
}


def tag(atoms: Atoms, name: str, config_type: str, group: str | None = None, **info: object) -> Atoms:
    """Return the atoms with the bookkeeping in ``info``; the group defaults to the name."""
    atoms.info = {"name": name, "config_type": config_type, "group": group or name, **info}
    atoms.pbc = True
    return atoms


def deformed(gradient: ArrayLike, base: Atoms | None = None) -> Atoms:
    """Return a crystal (bcc primitive cell by default) under a deformation gradient, shape (3, 3)."""
    atoms = bulk("W", "bcc", a=A0) if base is None else base.copy()
    atoms.set_cell(atoms.cell.array @ np.asarray(gradient, dtype=float).T, scale_atoms=True)
    return atoms


def volumes() -> Iterator[Atoms]:
    """bcc under hydrostatic strain, up to ±10 % of the lattice constant."""
    for scale in (0.90, 0.92, 0.94, 0.96, 0.98, 0.99, 1.00, 1.01, 1.02, 1.04, 1.06, 1.08, 1.10):
        group = EQUILIBRIUM if scale == 1.0 else None
        yield tag(deformed(np.eye(3) * scale), f"bcc_volume_{scale:.2f}", "bcc_volume", group, mesh=UNIFORM_MESH)


def axial_strains() -> Iterator[Atoms]:
    """bcc under tetragonal (volume conserving), uniaxial and orthorhombic strain."""
    for strain in (-0.10, -0.05, -0.02, -0.01, 0.01, 0.02, 0.05, 0.10, 0.20):
        side = 1.0 / np.sqrt(1.0 + strain)
        yield tag(
            deformed(np.diag([side, side, 1.0 + strain])),
            f"tetragonal_{strain:+.2f}",
            "bcc_tetragonal",
            mesh=UNIFORM_MESH,
        )
    for scale, strain in ((0.96, 0.06), (0.96, -0.06), (1.05, 0.06), (1.05, -0.06), (1.00, 0.30)):
        gradient = scale * np.diag([1.0, 1.0, 1.0 + strain])
        yield tag(deformed(gradient), f"bain_{scale:.2f}_{strain:+.2f}", "bcc_tetragonal", mesh=UNIFORM_MESH)
    for strain in (-0.08, -0.04, -0.01, 0.01, 0.04, 0.08):
        yield tag(
            deformed(np.diag([1.0 + strain, 1.0, 1.0])), f"uniaxial_{strain:+.2f}", "bcc_tetragonal", mesh=UNIFORM_MESH
        )
    for x, y, z in (
        (0.02, -0.02, 0.0),
        (0.06, -0.06, 0.0),
        (0.10, -0.10, 0.0),
        (0.05, 0.02, -0.08),
        (0.09, 0.04, -0.02),
    ):
        name = f"orthorhombic_{x:+.2f}_{y:+.2f}_{z:+.2f}"
        yield tag(deformed(np.diag([1.0 + x, 1.0 + y, 1.0 + z])), name, "bcc_orthorhombic", mesh=UNIFORM_MESH)


def shears() -> Iterator[Atoms]:
    """bcc under pure shear of one component, of three at once, and under general strain."""
    for strain in (0.01, 0.03, 0.06, 0.10):
        gradient = np.eye(3) + strain * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
        yield tag(deformed(gradient), f"shear_{strain:+.2f}", "bcc_shear", mesh=UNIFORM_MESH)
    for strain in (-0.08, -0.04, -0.01, 0.01, 0.04, 0.08):
        gradient = np.eye(3) + strain * (np.ones((3, 3)) - np.eye(3))
        yield tag(deformed(gradient), f"trigonal_{strain:+.2f}", "bcc_shear", mesh=UNIFORM_MESH)
    rng = np.random.default_rng(7)
    for index in range(3):
        strain = rng.uniform(-0.06, 0.06, (3, 3))
        yield tag(
            deformed(np.eye(3) + (strain + strain.T) / 2.0), f"general_strain_{index}", "bcc_shear", mesh=UNIFORM_MESH
        )


def other_phases() -> Iterator[Atoms]:
    """fcc, hcp, simple cubic and A15 crystals around the volume of bcc."""
    for scale in (0.94, 0.98, 1.00, 1.03, 1.08):
        lattice = scale * A0 * 2.0 ** (1.0 / 3.0)
        yield tag(bulk("W", "fcc", a=lattice), f"fcc_{scale:.2f}", "fcc", mesh=UNIFORM_MESH)
    a15 = [(0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0, 0.5), (0.75, 0, 0.5)]
    a15 += [(0.5, 0.25, 0), (0.5, 0.75, 0), (0, 0.5, 0.25), (0, 0.5, 0.75)]
    for scale in (0.95, 1.02):
        yield tag(bulk("W", "sc", a=scale * A0 * 0.5 ** (1.0 / 3.0)), f"sc_{scale:.2f}", "sc")
        lattice = scale * A0 / np.sqrt(2.0) * 2.0 ** (1.0 / 3.0)
        yield tag(bulk("W", "hcp", a=lattice, c=lattice * np.sqrt(8.0 / 3.0)), f"hcp_{scale:.2f}", "hcp")
    for scale in (0.97, 1.00, 1.03):
        lattice = scale * A0 * 4.0 ** (1.0 / 3.0)
        yield tag(
            Atoms("W8", scaled_positions=a15, cell=[lattice] * 3),
            f"a15_{scale:.2f}",
            "a15",
            mesh=[6, 6, 6],
            shift_mesh=True,
        )


def shaken(base: Atoms, strain: float, width: float, rng: np.random.Generator, closest: float = 2.1) -> Atoms:
    """Return a copy with random strain components up to ``strain`` and Gaussian displacements of ``width`` [Å].

    Draws with two atoms closer than ``closest`` [Å] are thrown away.
    """
    while True:
        tensor = rng.uniform(-strain, strain, (3, 3))
        atoms = deformed(np.eye(3) + (tensor + tensor.T) / 2.0, base)
        atoms.positions += rng.normal(scale=width, size=(len(atoms), 3))
        if not len(neighbor_list("i", atoms, closest)):
            return atoms


def frozen_phonons() -> Iterator[Atoms]:
    """Frozen zone-boundary phonons in the cubic cell, large to very large amplitude: cheap because symmetric.

    The two sublattices move against each other by ``amplitude`` [Å] along a direction; a combined strain lowers the
    symmetry further. Also the omega path: every third (111) plane stays, the two between them approach.
    """
    for direction, amplitude, stretch in (
        ((0, 0, 1), 0.15, 0.0),
        ((0, 0, 1), 0.40, 0.02),
        ((1, 1, 0), 0.25, 0.0),
        ((1, 1, 0), 0.50, -0.02),
        ((1, 1, 1), 0.20, 0.0),
        ((1, 1, 1), 0.45, 0.01),
        ((0, 0, 1), 0.25, -0.03),
        ((0, 0, 1), 0.60, 0.04),
        ((1, 1, 1), 0.30, -0.02),
        ((1, 1, 1), 0.10, 0.03),
    ):
        atoms = deformed(np.eye(3) * (1.0 + stretch), bulk("W", "bcc", a=A0, cubic=True))
        atoms.positions[1] += amplitude * np.array(direction) / np.linalg.norm(direction)
        name = f"phonon_{''.join(map(str, direction))}_{amplitude:.2f}"
        yield tag(atoms, name, "frozen_phonon", mesh=[8, 8, 8], shift_mesh=True)
    for collapse in (0.4, 1.0):
        atoms = stacked("111", 3)
        normal = atoms.cell.array[2] / np.linalg.norm(atoms.cell.array[2])
        half_spacing = A0 * np.sqrt(3.0) / 12.0
        atoms.positions[1] += collapse * half_spacing * normal
        atoms.positions[2] -= collapse * half_spacing * normal
        yield tag(atoms, f"omega_{collapse:.1f}", "frozen_phonon", mesh=[7, 7, 10])


def rattled() -> Iterator[Atoms]:
    """Random displacements and strains in cells of two and four atoms."""
    rng = np.random.default_rng(11)
    cubic = bulk("W", "bcc", a=A0, cubic=True)
    for index, width in enumerate((0.06, 0.10, 0.15, 0.22)):
        yield tag(shaken(cubic, 0.04, width, rng), f"rattled_2_{index}", "rattled", mesh=[8, 8, 8], shift_mesh=True)
    atoms = shaken(cubic.repeat((1, 1, 2)), 0.03, 0.15, rng)
    yield tag(atoms, "rattled_4_0", "rattled", mesh=[8, 8, 4], shift_mesh=True)


def thermal(base: Atoms, temperature: float, snapshots: int, seed: int) -> list[Atoms]:
    """Return snapshots 0.5 ps apart of Langevin dynamics on a pair potential, at a temperature [K]."""
    atoms = base.copy()
    atoms.calc = MorsePotential(**MORSE)
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms, 4.0 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng, fixcm=False
    )
    frames = []
    for _ in range(snapshots):
        dynamics.run(125)
        frames.append(Atoms(atoms.get_chemical_symbols(), atoms.positions, cell=atoms.cell, pbc=True))
    return frames


def molecular_dynamics() -> Iterator[Atoms]:
    """Cells with thermal displacements, at the volume of the perfect crystal and slightly expanded."""
    conventional = bulk("W", "bcc", a=A0 * 1.01, cubic=True)
    runs = (
        ("md_4_1500K", conventional.repeat((2, 1, 1)), 1500.0, 2),
        ("md_4_3000K", deformed(np.eye(3) * 1.01, conventional.repeat((2, 1, 1))), 3000.0, 2),
        ("md_8_1000K", bulk("W", "bcc", a=A0 * 1.01).repeat(2), 1000.0, 1),
    )
    for seed, (name, base, temperature, snapshots) in enumerate(runs, start=21):
        for index, atoms in enumerate(thermal(base, temperature, snapshots, seed)):
            mesh = {"mesh": [4, 8, 8], "shift_mesh": True} if len(atoms) == 4 else {"mesh": [5, 5, 5]}
            yield tag(atoms, f"{name}_{index}", "md", name, **mesh)


def minimum_image(atoms: Atoms, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shortest vectors from a point to each atom [Å], shape (n, 3), in a cell close to cubic."""
    scaled = (atoms.positions - point) @ np.linalg.inv(atoms.cell.array)
    return np.asarray((scaled - np.round(scaled)) @ atoms.cell.array)


def vacancies() -> Iterator[Atoms]:
    """Vacancies in 8-site and 16-site cells.

    In the 16-site cell symmetry leaves a single relaxation, the breathing of the nearest neighbours, so that three
    frames give the relaxed energy. In the 8-site cell two vacancies share each neighbour and symmetry leaves none.
    """
    sixteen = bulk("W", "bcc", a=A0, cubic=True).repeat(2)
    for inward in (0.0, 0.05, 0.10):
        atoms = sixteen[1:]
        vectors = minimum_image(atoms, sixteen.positions[0])
        lengths = np.linalg.norm(vectors, axis=1)
        near = lengths < 0.95 * A0
        atoms.positions[near] -= inward * vectors[near] / lengths[near, None]
        yield tag(atoms, f"vacancy_16_{inward:.2f}", "vacancy", **SHIFTED)
    eight = bulk("W", "bcc", a=A0).repeat(2)
    rng = np.random.default_rng(13)
    for index, width in enumerate((0.0, 0.08)):
        atoms = eight[1:]
        atoms.positions += rng.normal(scale=width, size=atoms.positions.shape)
        yield tag(atoms, f"vacancy_8_{index}", "vacancy")


def divacancies() -> Iterator[Atoms]:
    """First- and second-neighbour divacancies in a 16-site cell."""
    sixteen = bulk("W", "bcc", a=A0, cubic=True).repeat(2)
    distances = sixteen.get_distances(0, range(16), mic=True)
    for name, distance in (("1nn", A0 * np.sqrt(3.0) / 2.0), ("2nn", A0)):
        partner = int(np.argmin(np.abs(distances - distance)))
        atoms = sixteen[[index for index in range(16) if index not in (0, partner)]]
        yield tag(atoms, f"divacancy_{name}", "divacancy", **SHIFTED)


def self_interstitials() -> Iterator[Atoms]:
    """Dumbbells in a 17-atom cell, with the atoms next to them pushed away to a given distance.

    Two by two by two cubic cells are the smallest in which the two atoms of a dumbbell are not neighbours of their own
    images and the rest is still recognisably bcc. The cell is far too small for a formation energy: it is kept at
    constant volume, under a pressure of tens of GPa. What a potential learns from it is the short distances (2.1 to
    2.4 Å) and the crowded rows that few other frames of the set have.
    """
    sixteen = bulk("W", "bcc", a=A0, cubic=True).repeat(2)
    for name, direction, half, push in (
        ("111", (1, 1, 1), 1.08, 2.18),
        ("111_tight", (1, 1, 1), 1.03, 2.10),
        ("110", (1, 1, 0), 1.09, 2.31),
    ):
        arm = half * np.array(direction) / np.linalg.norm(direction)
        atoms = sixteen.copy()
        centre = atoms.positions[0].copy()
        atoms = atoms[1:]
        for end in (centre + arm, centre - arm):
            vectors = minimum_image(atoms, end)
            lengths = np.linalg.norm(vectors, axis=1)
            near = lengths < push
            atoms.positions[near] += (push / lengths[near, None] - 1.0) * vectors[near]
        atoms += Atoms("W2", positions=[centre - arm, centre + arm])
        yield tag(atoms, f"sia_{name}", "self_interstitial", **SHIFTED)


def stacked(plane: str, n_layers: int, shift: float = 0.0, vacuum: float | None = None) -> Atoms:
    """Return ``n_layers`` layers of one atom each.

    Without vacuum the third cell vector closes the stack after ``n_layers`` steps and is tilted by ``shift`` times the
    first in-plane vector: one stacking fault per cell, no surface. A shift by a whole in-plane lattice vector gives the
    perfect crystal again, in another cell: E(b) = E(0) by construction. With vacuum [Å] the cell vector is normal.
    """
    first, second, step = (np.array(vector, dtype=float) * A0 / 2.0 for vector in PLANES[plane])
    normal = np.cross(first, second)
    normal /= np.linalg.norm(normal)
    if step @ normal < 0.0:
        normal = -normal
    total = n_layers * step
    in_plane = np.array([first, second])
    closing = total - np.round(np.linalg.lstsq(in_plane.T, total, rcond=None)[0]) @ in_plane + shift * first
    if vacuum is not None:
        closing = (total @ normal + vacuum) * normal
    cell = np.array([first, second, closing])
    atoms = Atoms(f"W{n_layers}", positions=[index * step for index in range(n_layers)], cell=cell, pbc=True)
    return Atoms(atoms.numbers, cell=atoms.cell.cellpar(), scaled_positions=atoms.get_scaled_positions(), pbc=True)


def gamma_surfaces() -> Iterator[Atoms]:
    """{110} and {112} planes shifted along <111>/2, with one mesh for each path.

    Both ends of a path are the perfect crystal whatever the number of layers, and two layers are enough for them. {112}
    has no mirror at b/2 (twinning and antitwinning sense), so its path is sampled on both sides of the middle.
    """
    for plane, n_layers, mesh, shifts in (
        ("110", 2, [10, 10, 5], (0.0, 1.0)),
        ("110", 3, [10, 10, 3], (1 / 2, 1 / 3, 1 / 6)),
        ("112", 4, [10, 6, 4], (1 / 3, 2 / 3, 1 / 2, 1 / 6, 5 / 6)),
    ):
        for shift in shifts:
            group = EQUILIBRIUM if shift in {0.0, 1.0} else None
            atoms = stacked(plane, n_layers, shift)
            name = f"gamma_{plane}_{shift:.3f}"
            yield tag(atoms, name, f"gamma_{plane}", group, mesh=mesh, shift_mesh=plane == "112")


def surfaces() -> Iterator[Atoms]:
    """Slabs with 8 Å of vacuum, as cut and with the outer layers moved inwards as they relax in bcc metals."""
    for plane, n_layers, inward in (("110", 4, 0.08), ("100", 6, 0.18), ("112", 6, 0.20), ("111", 8, 0.25)):
        for name, move in (("cut", 0.0), ("contracted", inward)):
            atoms = stacked(plane, n_layers, vacuum=8.0)
            normal = np.cross(*atoms.cell.array[:2])
            normal /= np.linalg.norm(normal)
            atoms.positions[0] += move * normal
            atoms.positions[-1] -= move * normal
            # pw.x uses the inversion of the slab only if it is about a point of its FFT grid, such as the origin.
            atoms.positions -= atoms.positions.mean(axis=0)
            mesh = {"110": {"mesh": [10, 10, 1]}, "111": {}}.get(plane, {"shift_mesh": True})
            yield tag(atoms, f"surface_{plane}_{name}", f"surface_{plane}", slab=True, **mesh)


def isolated_atom() -> Iterator[Atoms]:
    """The free atom, spin polarised, in a box without symmetry that would force its d shell to be spherical."""
    atoms = Atoms("W", positions=[(0.0, 0.0, 0.0)], cell=[9.0, 9.5, 10.0])
    yield tag(atoms, "isolated_atom", "isolated_atom", mesh=[1, 1, 1], degauss=0.005, spin_polarised=True)


ONE_OF_EACH = (
    *("gamma_110_0.000", "gamma_110_1.000", "vacancy_16_0.00", "surface_110_cut", "gamma_110_0.500", "a15_1.00"),
    *("rattled_2_1", "gamma_112_0.333", "sia_111", "md_4_1500K_0", "divacancy_2nn", "vacancy_16_0.10"),
    *("surface_100_cut", "gamma_112_0.667", "surface_111_cut", "surface_112_cut", "rattled_2_2", "md_4_3000K_0"),
)
"""Costly frames, in the order in which they are worth computing: every family before any second member."""

LAST = ("contracted", "vacancy_8", "gamma_110", "gamma_112", "divacancy", "md_", "sia_", "general_strain", "a15_")
LAST += ("rattled", "surface", "vacancy")
"""Beginnings of the names of costly frames that wait for all others."""


def urgency(atoms: Atoms) -> int:
    """Return the position of a configuration in the queue: cheap crystals, one of each family, the rest."""
    name = atoms.info["name"]
    if name in ONE_OF_EACH:
        return 1 + ONE_OF_EACH.index(name)
    return 1 + len(ONE_OF_EACH) if name.startswith(LAST) else 0


def all_configurations() -> list[Atoms]:
    """Return every configuration, the cheap and indispensable ones first."""
    families = (
        volumes,
        axial_strains,
        shears,
        other_phases,
        isolated_atom,
        frozen_phonons,
        rattled,
        vacancies,
        surfaces,
        gamma_surfaces,
        self_interstitials,
        divacancies,
        molecular_dynamics,
    )
    frames = [atoms for family in families for atoms in family()]
    repeated = [name for name, count in Counter(atoms.info["name"] for atoms in frames).items() if count > 1]
    if repeated:
        raise ValueError(f"names must be unique, but these occur more than once: {repeated}")
    return sorted(frames, key=urgency)


if __name__ == "__main__":
    for config_type, number in Counter(atoms.info["config_type"] for atoms in all_configurations()).items():
        print(f"{config_type:20s} {number:3d}")
