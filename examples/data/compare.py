"""What the labels say about tungsten, beside published DFT: ``python compare.py`` reads ``tungsten.xyz`` and prints it.

Nothing is relaxed here and no pw.x is run: every number comes from energies and stresses that are in the file.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.eos import EquationOfState
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import minimize_scalar

HERE = Path(__file__).resolve().parent

EQUILIBRIUM = "bcc_equilibrium"
"""Name of the unstrained primitive cell."""

GPA = 160.21766208
"""1 eV/Å^3 in GPa."""

PUBLISHED = {
    "a0 [Å]": 3.1854,
    "B [GPa]": 304.0,
    "C11 [GPa]": 516.0,
    "C12 [GPa]": 198.0,
    "C' [GPa]": 159.0,
    "C44 [GPa]": 140.0,
    "vacancy formation [eV]": 3.35,
}
"""DFT values collected by P. Grigorev, T. D. Swinburne and J. R. Kermode, "Use of foundation model for defects in BCC
metals" (poster) and https://github.com/pgrigorev/mace_bcc_test."""


def load(path: Path) -> dict[str, Atoms]:
    """Return the frames of a file by the name of their structure.

    The group of a frame is its name, except where several frames share a group: then ``#2``, ``#3``, ... follow the
    second, third, ... of them. The first of ``bcc_equilibrium`` is the primitive cell.
    """
    found: dict[str, Atoms] = {}
    seen: Counter[str] = Counter()
    for atoms in ase.io.read(path, ":"):
        group = str(atoms.info["group"])
        seen[group] += 1
        found[group if seen[group] == 1 else f"{group}#{seen[group]}"] = atoms
    return found


def energy(atoms: Atoms) -> float:
    """Return the energy per atom [eV]."""
    return float(atoms.info["REF_energy"]) / len(atoms)


def equation_of_state(frames: dict[str, Atoms], largest: float = 0.04) -> tuple[float, float]:
    """Return lattice constant [Å] and bulk modulus [GPa] of a Birch-Murnaghan fit up to a linear strain."""
    middle = frames[EQUILIBRIUM].get_volume()
    scan = [atoms for atoms in frames.values() if atoms.info["config_type"] == "bcc_volume"]
    chosen = [a for a in scan if abs((a.get_volume() / middle) ** (1.0 / 3.0) - 1.0) < largest + 1.0e-6]
    fit = EquationOfState([a.get_volume() for a in chosen], [energy(a) for a in chosen], eos="birchmurnaghan")
    volume, _, modulus = fit.fit()
    return float((2.0 * volume) ** (1.0 / 3.0)), float(modulus) * GPA


def stress(atoms: Atoms) -> np.ndarray:
    """Return the stress [GPa], Voigt order, shape (6,)."""
    return np.asarray(atoms.info["REF_stress"]) * GPA


def elastic_constants(frames: dict[str, Atoms]) -> dict[str, float]:
    """Return C11, C12, C' and C44 [GPa] from the stresses at one per cent of strain of the unstrained cell.

    Stresses are Cauchy stresses, so the residual stress of the reference is taken off by central differences. C44 comes
    from one shear of each sign of the trigonal path, where s_yz = 2 C44 e_yz.
    """
    plus, minus = stress(frames["uniaxial_+0.01"]), stress(frames["uniaxial_-0.01"])
    c11, c12 = (plus[0] - minus[0]) / 0.02, (plus[1] - minus[1]) / 0.02
    up, down = stress(frames["trigonal_+0.01"]), stress(frames["trigonal_-0.01"])
    c44 = (up[3:].mean() - down[3:].mean()) / 0.04
    return {"C11 [GPa]": c11, "C12 [GPa]": c12, "C' [GPa]": (c11 - c12) / 2.0, "C44 [GPa]": c44}


def vacancy_formation(frames: dict[str, Atoms]) -> dict[str, float]:
    """Return formation energies [eV] of a vacancy in 16 sites at constant volume, as cut and with breathing neighbours.

    The breathing of the eight neighbours is the only relaxation that symmetry leaves. The relaxed value is the minimum
    of the cubic spline through energies and slopes along it, the slopes from the forces.
    """
    bulk = energy(frames[EQUILIBRIUM])
    found = {float(n.rsplit("_", 1)[1]): atoms for n, atoms in frames.items() if n.startswith("vacancy_16")}
    inward = sorted(found)
    if len(inward) < 2:
        return {}
    first, last = found[inward[0]], found[inward[-1]]
    direction = (last.positions - first.positions) / (inward[-1] - inward[0])
    energies = [len(found[u]) * (energy(found[u]) - bulk) for u in inward]
    slopes = [-float(np.sum(found[u].arrays["REF_forces"] * direction)) for u in inward]
    spline = CubicHermiteSpline(inward, energies, slopes)
    relaxed = minimize_scalar(spline, bounds=(inward[0], inward[-1]), method="bounded")
    return {
        "vacancy, 16 sites, unrelaxed [eV]": energies[0],
        "vacancy formation [eV]": float(relaxed.fun),
        "inward relaxation of its neighbours [Å]": float(relaxed.x),
    }


def phases(frames: dict[str, Atoms]) -> dict[str, float]:
    """Return energies of other crystals at the lowest volume sampled over that of bcc [meV/atom]."""
    ground = energy(frames[EQUILIBRIUM])
    result = {}
    for phase in ("fcc", "hcp", "a15", "sc", "omega_1.0"):
        values = [energy(a) for name, a in frames.items() if name.startswith(phase)]
        if values:
            result[f"{phase} - bcc [meV/atom]"] = 1000.0 * (min(values) - ground)
    return result


def interfaces(frames: dict[str, Atoms]) -> dict[str, float]:
    """Return unrelaxed surface energies and generalised stacking fault energies [J/m^2] of the cells of the set."""
    bulk = energy(frames[EQUILIBRIUM])
    result = {}
    for name, atoms in frames.items():
        if name.startswith(("surface", "gamma")):
            area = np.linalg.norm(np.cross(*atoms.cell.array[:2])) * (2.0 if name.startswith("surface") else 1.0)
            result[f"{name} [J/m^2]"] = len(atoms) * (energy(atoms) - bulk) / area * 16.021766208
    return result


def summary(frames: dict[str, Atoms]) -> dict[str, float]:
    """Return everything that the frames at hand allow."""
    a0, modulus = equation_of_state(frames)
    values = {"a0 [Å]": a0, "B [GPa]": modulus} | elastic_constants(frames)
    if "isolated_atom" in frames:
        values["cohesive energy [eV/atom]"] = energy(frames["isolated_atom"]) - energy(frames[EQUILIBRIUM])
    return values | vacancy_formation(frames) | phases(frames) | interfaces(frames)


def main() -> None:
    """Print the table."""
    print(f"{'':45s}{'here':>10s}{'published':>11s}")
    for name, value in summary(load(HERE / "tungsten.xyz")).items():
        print(f"{name:45s}{value:10.4g}" + (f"{PUBLISHED[name]:11.5g}" if name in PUBLISHED else ""))


if __name__ == "__main__":
    main()
