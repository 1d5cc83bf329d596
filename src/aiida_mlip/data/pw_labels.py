"""From the outputs of pw.x, as aiida-quantumespresso parses them, to labelled configurations.

Units and signs on the way in: energies in eV, forces in eV/Å, stresses in GPa with the sign of pw.x, which is positive
under compression. On the way out: the canonical keys of :mod:`aiida_mlip.science.keys`.

The total energy that pw.x prints is the one its forces are derivatives of. Where electrons are smeared it is the free
energy F = E - TS (generalised for cold and Methfessel-Paxton smearing), and not the internal energy E.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from aiida_mlip.science.keys import ENERGY, EV_PER_ANGSTROM3_IN_GPA, FORCES, STRESS

Which = Literal["last", "all"]

ARRAYS = ("cells", "positions", "energy", "forces", "stress")
"""What is read of ``output_trajectory``, which has many more."""

UNITS = {"energy_units": "eV", "forces_units": "ev / angstrom", "stress_units": "GPascal"}
"""The units that aiida-quantumespresso states in ``output_parameters``, where it states them."""

ENERGY_TERMS = ("energy_one_electron", "energy_hartree", "energy_xc", "energy_ewald")
OPTIONAL_TERMS = ("energy_smearing", "energy_one_center_paw", "energy_vdw", "energy_hubbard")
"""Contributions to the printed total [eV]; the optional ones are zero where they are absent."""

TOLERANCE = 1.0e-3
"""How far the sum of the contributions may be from the total [eV]."""


def frames_from_pw(
    parameters: Mapping[str, Any],
    arrays: Mapping[str, NDArray[np.float64]],
    symbols: Sequence[str],
    *,
    pbc: Sequence[bool] = (True, True, True),
    variable_cell: bool = False,
    which: Which = "last",
) -> list[Atoms]:
    """Return labelled configurations from the parsed outputs of one pw.x run with ``n`` atoms and ``f`` frames.

    :param parameters: content of ``output_parameters``.
    :param arrays: of ``output_trajectory``: ``cells`` (f, 3, 3) [Å], ``positions`` (f, n, 3) [Å], ``energy`` (f,) [eV],
        ``forces`` (f, n, 3) [eV/Å] and, where it was computed, ``stress`` (f, 3, 3) [GPa, positive under compression].
    :param symbols: chemical symbols, length n.
    :param pbc: periodic directions.
    :param variable_cell: whether the cell moved. Then only the final scf has a basis that belongs to its own cell.
    :param which: ``last`` frame or ``all``.
    :return: configurations with energy, forces and, where there is one, stress.
    :raises ValueError: if a label is missing, not converged, not finite or not force-consistent.
    """
    check_parameters(parameters)
    if which == "all" and variable_cell:
        raise ValueError(
            "which = 'all' with a variable cell: the plane waves of all steps but the final scf were chosen for "
            "another cell, so their energies lie off the surface of the others; take which = 'last', or relabel frames"
        )
    frames = _aligned(arrays, len(symbols), which)
    result = []
    for cell, positions, energy, forces, stress in frames:
        atoms = Atoms(list(symbols), positions=positions, cell=cell, pbc=list(pbc))
        atoms.info[ENERGY] = float(energy)
        atoms.arrays[FORCES] = np.array(forces, dtype=float)
        if stress is not None:
            atoms.info[STRESS] = stress_from_pw(stress)
        result.append(atoms)
    return result


def stress_from_pw(stress: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the stress in ASE's convention [eV/Å^3], Voigt order, shape (6,).

    :param stress: as pw.x prints it, but in GPa: shape (3, 3), positive under compression.
    """
    return np.asarray(full_3x3_to_voigt_6_stress(-np.asarray(stress, dtype=float) / EV_PER_ANGSTROM3_IN_GPA))


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse outputs without a converged, force-consistent energy in the units expected.

    :param parameters: content of ``output_parameters``.
    :raises ValueError: naming field, value and remedy.
    """
    for key, unit in UNITS.items():
        if parameters.get(key, unit) != unit:
            raise ValueError(f"{key} = {parameters[key]!r}, expected {unit!r}: parse with aiida-quantumespresso >= 4")
    occupations = str(parameters.get("occupations", ""))
    if occupations.startswith("tetrahedra"):
        raise ValueError(
            f"occupations = {occupations!r}: this energy is not variational and the forces are not its derivatives; "
            "repeat the calculation with occupations = 'smearing'"
        )
    scf = parameters.get("convergence_info", {}).get("scf_conv", {})
    if not scf.get("convergence_achieved", True):
        raise ValueError(
            f"scf_error = {scf.get('scf_error')!r} Ha: the last self-consistency cycle did not converge; "
            "repeat the calculation with more steps (electron_maxstep) or gentler mixing (mixing_beta)"
        )
    if "energy" in parameters:
        _check_free_energy(parameters)


def _check_free_energy(parameters: Mapping[str, Any]) -> None:
    """Refuse a total energy that lacks the entropy term of the smearing."""
    if any(parameters.get(term) is None for term in ENERGY_TERMS):
        return
    total = sum(float(parameters.get(term) or 0.0) for term in (*ENERGY_TERMS, *OPTIONAL_TERMS))
    entropy = float(parameters.get("energy_smearing") or 0.0)
    energy = float(parameters["energy"])
    lacks_entropy = abs(energy - (total - entropy)) < TOLERANCE < abs(energy - total)
    if lacks_entropy:
        raise ValueError(
            f"energy = {energy} eV is the internal energy: it lacks the smearing term -TS = {entropy} eV and is not "
            "force-consistent; use the total energy that pw.x prints"
        )


Frame = tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64], NDArray[np.float64] | None]


def _aligned(arrays: Mapping[str, NDArray[np.float64]], n_atoms: int, which: Which) -> list[Frame]:
    """Return (cell, positions, energy, forces, stress or None) of each frame wanted."""
    remedies = {
        "energy": "only scf, relax, vc-relax and md runs have a total energy",
        "forces": "repeat the calculation with tprnfor = .true. in &CONTROL",
        "positions": "the output trajectory is incomplete: parse the calculation again",
        "cells": "the output trajectory is incomplete: parse the calculation again",
    }
    for name, remedy in remedies.items():
        if name not in arrays or not len(arrays[name]):
            raise ValueError(f"{name}: not among the outputs {sorted(arrays)}; {remedy}")
    shape = np.shape(arrays["forces"])[1:]
    if shape != (n_atoms, 3):
        raise ValueError(f"forces have shape {shape} for {n_atoms} atoms: the trajectory belongs to another structure")
    stress = arrays.get("stress", np.empty(0))
    names = ["cells", "positions", "energy", "forces", *(["stress"] if len(stress) else [])]
    lengths = {name: len(arrays[name]) for name in names}
    if which == "all" and len(set(lengths.values())) > 1:
        raise ValueError(f"numbers of frames differ: {lengths}; take which = 'last', or parse the calculation again")
    chosen = range(lengths["energy"]) if which == "all" else [-1]
    for name in names:
        if not all(np.isfinite(np.asarray(arrays[name][index], dtype=float)).all() for index in chosen):
            raise ValueError(f"{name} has values that are not finite: repeat the calculation")
    return [
        (
            arrays["cells"][index],
            arrays["positions"][index],
            float(arrays["energy"][index]),
            arrays["forces"][index],
            stress[index] if len(stress) else None,
        )
        for index in chosen
    ]
