"""Checks of molecular dynamics: structures that the walkers can start from, and rules that the potential can answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ase import Atoms

from aiida_mlip.calculations.checks.dispersion import check_same_dispersion
from aiida_mlip.calculations.checks.potential import check_head
from aiida_mlip.calculations.checks.wording import listed, refusal
from aiida_mlip.schema.dynamics import MDSettings
from aiida_mlip.schema.potential import PotentialInfo
from aiida_mlip.science.dynamics.observables import is_bulk
from aiida_mlip.science.dynamics.stop_rules import needs_uncertainty
from aiida_mlip.science.uncertainty.model import UncertaintyHeader


def check_walkers(settings: MDSettings, structures: Sequence[Atoms]) -> Iterator[str]:
    """Refuse walkers whose structure is not there, has one atom, or no volume where the pressure is to be constant."""
    for name, walker in settings.walkers.items():
        field = f"settings.walkers.{name}.structure"
        if walker.structure >= len(structures):
            yield refusal(
                field,
                walker.structure,
                f"there are {len(structures)} structures",
                f"Use an index from 0 to {len(structures) - 1}",
            )
            continue
        atoms = structures[walker.structure]
        if len(atoms) < 2:
            yield refusal(field, walker.structure, "one atom alone has no dynamics", "Use at least two atoms")
        if settings.ensemble.kind == "npt" and not is_bulk(atoms):
            yield refusal(
                "settings.ensemble.kind",
                "npt",
                f"structure {walker.structure} of walker {name!r} ({atoms.get_chemical_formula()}) is not periodic in "
                "three directions and has no volume",
                "Use an ensemble of constant volume, e.g. nvt_langevin",
            )


def check_members_known(infos: Mapping[str, PotentialInfo], elements: Sequence[str], head: str | None) -> Iterator[str]:
    """Refuse members that lack an element of the structures, or the head, or differ in their dispersion."""
    yield from check_same_dispersion(infos)
    for name, info in infos.items():
        if missing := sorted(set(elements) - set(info.elements)):
            yield refusal(
                f"potentials.{name}",
                info.name or f"<potential of {len(info.elements)} elements>",
                f"it lacks {listed(missing)}, which structures contains",
                f"Use potentials that know {listed(missing)}, or other structures",
            )
        yield from check_head("settings.head", head, info)


def check_uncertainty(
    settings: MDSettings, infos: Mapping[str, PotentialInfo], header: UncertaintyHeader | None
) -> Iterator[str]:
    """Refuse rules and a bias that need an uncertainty where there is none, and one of other potentials or heads.

    :param header: of the uncertainty; None: there is no uncertainty.
    """
    if header is None:
        wanted = [f"stop.{name}" for name in needs_uncertainty(settings.stop)]
        wanted += ["hal"] if settings.hal is not None else []
        for field in wanted if len(infos) < 2 else ():
            yield refusal(
                f"settings.{field}",
                getattr(settings.stop, field.removeprefix("stop."), "given"),
                "one potential alone has no uncertainty",
                "Give several potentials or the output of mlip.uncertainty, or leave it out",
            )
        return
    found = [infos[name].sha256 for name in sorted(infos)]
    heads = {settings.head or info.head for info in infos.values()}
    if header.head not in heads or len(heads) > 1:
        yield refusal(
            "uncertainty",
            f"<of head {header.head!r}>",
            f"the potentials are used with head {listed(map(repr, sorted(heads)))}",
            f"Set settings.head to {header.head!r}, or run mlip.uncertainty for the other head",
        )
    if list(header.sha256) != found:
        yield refusal(
            "uncertainty",
            f"<of potentials with sha256 {listed(item[:12] for item in header.sha256)}>",
            f"the potentials given are {listed(str(item)[:12] for item in found)}",
            "Run mlip.uncertainty for these potentials, with the same names of the members",
        )
