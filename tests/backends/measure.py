"""Run in the environment of CHGNet and SevenNet: print what our backend and the package's own calculator compute.

measure.py WORKER ARCHITECTURE MODEL
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100
from ase.calculators.calculator import PropertyNotImplementedError

warnings.simplefilter("ignore")
STEP = 1e-4
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def frames() -> dict[str, Atoms]:
    """A cell without symmetry, a slab, and a cluster without a cell."""
    rng = np.random.default_rng(3)
    alloy = bulk("W", "bcc", a=3.2, cubic=True) * (2, 1, 1)
    alloy.symbols[:] = ["W", "Mo", "Nb", "W"]
    alloy.set_cell(alloy.cell @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
    alloy.positions += rng.normal(scale=0.08, size=alloy.positions.shape)
    slab = fcc100("Cu", (1, 1, 3), vacuum=8.0)
    slab.positions += rng.normal(scale=0.05, size=slab.positions.shape)
    cluster = Atoms("W3O", positions=[[0, 0, 0], [2.5, 0.1, 0], [0.3, 2.4, 0.2], [1.2, 1.1, 1.7]])
    return {"alloy": alloy, "slab": slab, "cluster": cluster}


def strained(atoms: Atoms, i: int, j: int, size: float) -> Atoms:
    """A copy with a symmetric strain whose components ij and ji are of half this size each."""
    strain = np.zeros((3, 3))
    strain[i, j] += size / 2
    strain[j, i] += size / 2
    copy = atoms.copy()
    copy.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def apply(calculator, atoms: Atoms) -> dict[str, object]:
    """Energy, forces and stress, as plain values; the stress is None where the calculator has none."""
    atoms = atoms.copy()
    atoms.calc = calculator
    found = {"energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces().tolist()}
    try:
        found["stress"] = atoms.get_stress().tolist()
    except PropertyNotImplementedError:
        found["stress"] = None
    return found


def differences(calculator, atoms: Atoms) -> dict[str, list[float]]:
    """Central differences of the energy: minus that to the positions of atom 1, and that to each strain over volume."""

    def energy(copy: Atoms) -> float:
        copy.calc = calculator
        return float(copy.get_potential_energy())

    forces = []
    for axis in range(3):
        up, down = atoms.copy(), atoms.copy()
        up.positions[1, axis] += STEP
        down.positions[1, axis] -= STEP
        forces.append(-(energy(up) - energy(down)) / (2 * STEP))
    stress = [
        (energy(strained(atoms, i, j, STEP)) - energy(strained(atoms, i, j, -STEP))) / (2 * STEP * atoms.get_volume())
        for i, j in VOIGT
    ]
    return {"force": forces, "stress": stress}


def library(architecture: str, path: Path):
    """The calculator of the package, called as its documentation says."""
    if architecture == "chgnet":
        from chgnet.model import CHGNetCalculator

        return CHGNetCalculator.from_file(str(path), use_device="cpu", return_site_energies=True)
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(str(path), device="cpu")


def main(worker: str, architecture: str, model: str) -> dict[str, object]:
    """Measure all."""
    sys.path.insert(0, worker)
    from aiida_mlip.worker.backends import load_potential

    path, systems = Path(model), frames()
    single = load_potential(path, None, dtype="float32")
    double = load_potential(path, None, dtype="float64")
    ours32, ours64, theirs = single.calculator(), double.calculator(), library(architecture, path)
    boxed = systems["cluster"].copy()
    boxed.set_cell([25, 26, 27])
    boxed.pbc = True
    batch = double.evaluate(list(systems.values()))
    alloy = systems["alloy"].copy()
    alloy.calc = ours64
    alloy_theirs = systems["alloy"].copy()
    alloy_theirs.calc = theirs
    alloy_theirs.get_potential_energy()
    library_energies = np.ravel(theirs.results["energies"]).tolist()
    return {
        "info": double.info.model_dump(mode="json"),
        "ours32": {name: apply(ours32, atoms) for name, atoms in systems.items()},
        "ours64": {name: apply(ours64, atoms) for name, atoms in systems.items()},
        "library": {name: apply(theirs, atoms) for name, atoms in systems.items() if name != "cluster"},
        "boxed": apply(ours64, boxed),
        "differences": differences(ours64, systems["alloy"]),
        "energies": alloy.get_potential_energies().tolist(),
        "library_energies": library_energies,
        "batch": {"energies": batch.energies.tolist(), "stress_missing": np.isnan(batch.stresses).any(axis=1).tolist()},
        "free_energy": float(alloy.get_potential_energy(force_consistent=True)),
    }


if __name__ == "__main__":
    answer = json.dumps(main(*sys.argv[1:]))
    print(answer)
