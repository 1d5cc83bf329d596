"""Checks of labelling: the teacher of a batch, and the settings of pw.x."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.calculations.checks.potential import check_head, check_potential
from aiida_mlip.calculations.checks.wording import LabelledSet, listed, refusal
from aiida_mlip.schema.potential import PotentialInfo


def check_batch(info: PotentialInfo, sets: Mapping[str, LabelledSet | None], head: str | None) -> Iterator[str]:
    """Refuse a teacher that lacks an element or the head asked for."""
    yield from check_potential(info, sets)
    yield from check_head("settings.head", head, info)


def check_pw_parameters(namelists: Mapping[str, Mapping[str, Any]], field: str = "pw.pw.parameters") -> Iterator[str]:
    """Refuse parameters of pw.x that give no label: another calculation, or an energy that forces do not belong to.

    :param namelists: of pw.x, names in capitals and variables in small letters.
    """
    for name in ("CONTROL", "SYSTEM", "ELECTRONS"):
        if not isinstance(namelists.get(name, {}), Mapping):
            yield refusal(f"{field}.{name}", namelists[name], "it is no namelist", "Write variables and values")
            return
        for key, value in namelists.get(name, {}).items():
            if name != "CONTROL" and isinstance(value, str) and _is_no_text(value):
                remedy = "Write numbers with a point, as 1.0e-7 (YAML takes 1e-7 for text), and true or false"
                yield refusal(f"{field}.{name}.{key}", value, "it is text, which pw.x cannot read here", remedy)
    control, system, electrons = (namelists.get(name, {}) for name in ("CONTROL", "SYSTEM", "ELECTRONS"))
    kind = control.get("calculation", "scf")
    if kind != "scf":
        yield refusal(f"{field}.CONTROL.calculation", kind, "a label is one scf", "Leave it out")
    for name in ("tprnfor", "tstress"):
        if control.get(name, True) is not True:
            yield refusal(f"{field}.CONTROL.{name}", control[name], "a label has forces and stress", "Leave it out")
    if "ecutwfc" not in system:
        remedy = "Give it in Ry; get_builder_from_protocol takes it from the pseudopotential family"
        yield refusal(f"{field}.SYSTEM.ecutwfc", None, "the plane-wave cut-off is required", remedy)
    occupations = str(system.get("occupations", ""))
    if occupations.startswith("tetrahedra"):
        why = "this energy is not variational and forces are not its derivatives"
        yield refusal(f"{field}.SYSTEM.occupations", occupations, why, "Use 'smearing'")
    if electrons.get("scf_must_converge", True) is not True or electrons.get("electron_maxstep", 1) == 0:
        why = "a label has to be converged"
        yield refusal(
            f"{field}.ELECTRONS", dict(electrons), why, "Leave out scf_must_converge and electron_maxstep = 0"
        )


def _is_no_text(value: str) -> bool:
    """Return whether a text is a number, or a truth value of Fortran."""
    if value.strip().lower() in {".true.", ".false."}:
        return True
    try:
        float(value.lower().replace("d", "e"))
    except ValueError:
        return False
    return True


def check_pseudos(given: Mapping[str, str], needed: Mapping[str, str], field: str) -> Iterator[str]:
    """Refuse pseudopotentials that do not cover all elements, or are of other elements than their names say.

    :param given: name -> element of the pseudopotential.
    :param needed: element -> the input that has it.
    """
    for name, element in given.items():
        if name != element:
            yield refusal(f"{field}.{name}", element, f"it is of {element}", "Name each by its element")
    missing = sorted(set(needed) - set(given))
    if missing:
        where = listed(sorted({needed[element] for element in missing}))
        yield refusal(field, sorted(given), f"there is none of {listed(missing)}, which {where} has", "Add it")
