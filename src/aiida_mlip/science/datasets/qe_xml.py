"""Quantum ESPRESSO's ``data-file-schema.xml`` (or ``prefix.xml``): the labels of each ionic step.

``etot`` is the free energy F = E - TS where the electrons are smeared, so it is force-consistent. All is in Hartree
atomic units. The stress has the sign of pw.x's output, positive for compression, and is turned to ASE's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.espresso import label_to_symbol
from ase.io.formats import open_with_compression
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from aiida_mlip.science.datasets.errors import DatasetError, DatasetWarning

Array = NDArray[np.float64]


def read_qe_xml(path: Path, text_keys: frozenset[str]) -> Iterator[Atoms]:
    """Yield one configuration for each ionic step whose electrons converged, results in a calculator.

    In a relaxation the structure of the file's output block is the one after the last move, while its forces are those
    before: steps are read instead, and the stress of the output block goes to the step that has its forces.

    :param path: the file.
    :param text_keys: not used; every format's reader takes it.
    :raises DatasetError: if the file is not complete or no calculation in it converged.
    """
    del text_keys
    try:
        with open_with_compression(str(path), "rb") as handle:
            root = ET.parse(handle).getroot()  # noqa: S314  expat >= 2.4.1 limits entity expansion
    except ET.ParseError as error:
        raise DatasetError(f"{path}: not complete XML ({error}): the calculation may have been cut short") from None
    steps, output = root.findall("step"), root.find("output")
    converged = [step for step in steps if _converged(step, "scf_conv")]
    frames = [_frame(step) for step in converged]
    complete = output is not None and output.find("total_energy") is not None
    if output is not None and complete and _converged(output, "convergence_info/scf_conv"):
        last = _frame(output)
        if frames and _same_forces(frames[-1], last):
            for name, value in last.calc.results.items():
                frames[-1].calc.results.setdefault(name, value)
        else:
            frames.append(last)
    if not frames:
        raise DatasetError(f"{path}: no step whose electrons converged: such a calculation gives no label")
    if left_out := len(steps) - len(converged):
        warnings.warn(f"{path}: left out {left_out} steps that did not converge", DatasetWarning, stacklevel=2)
    yield from frames


def _converged(element: ET.Element, path: str) -> bool:
    text = element.findtext(f"{path}/convergence_achieved")
    return text is None or text.strip().lower() == "true"


def _same_forces(one: Atoms, other: Atoms) -> bool:
    first, second = one.calc.results.get("forces"), other.calc.results.get("forces")
    return first is not None and second is not None and np.array_equal(first, second)


def _frame(element: ET.Element) -> Atoms:
    structure = element.find("atomic_structure")
    if structure is None:
        raise DatasetError("Quantum ESPRESSO XML: a step without atomic_structure")
    sites = structure.findall("atomic_positions/atom")
    atoms = Atoms(
        symbols=[label_to_symbol(site.get("name", "")) for site in sites],
        positions=np.array([_numbers(site) for site in sites]) * Bohr,
        cell=np.array([_numbers(structure.find(f"cell/a{k}")) for k in (1, 2, 3)]) * Bohr,
        pbc=True,
    )
    energy = float(_numbers(element.find("total_energy/etot"))[0]) * Hartree
    results: dict[str, Any] = {"energy": energy, "free_energy": energy}
    if (forces := element.find("forces")) is not None:
        results["forces"] = _numbers(forces).reshape(-1, 3) * Hartree / Bohr
    if (stress := element.find("stress")) is not None:
        tensor = -_numbers(stress).reshape(3, 3) * Hartree / Bohr**3
        results["stress"] = tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _numbers(element: ET.Element | None) -> Array:
    if element is None or not element.text:
        raise DatasetError("Quantum ESPRESSO XML: a step without energy, cell or positions")
    return np.array([float(item) for item in element.text.split()])
