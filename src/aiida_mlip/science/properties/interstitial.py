"""Formation energies of self-interstitials at constant volume: requested against final configuration."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from pydantic import Field, field_validator

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.properties._base import Flag, Outcome, Property, PropertyError, Quantity, Report
from aiida_mlip.science.properties._bulk import CrystalInputs
from aiida_mlip.science.properties._interstitial_search import InterstitialInCell, Search, SearchLimits
from aiida_mlip.science.properties._interstitials import LABELS, Kind, interstitial_cell
from aiida_mlip.science.properties._point_defects import DefectResult, convergence_flags, host

MAX_ANGLE = 10.0
"""Angle between the axis and the nearest of <100>, <110>, <111> [degrees] that is flagged."""


class InterstitialInputs(CrystalInputs):
    """Inputs of ``interstitial``."""

    kinds: tuple[Kind, ...] = Field(
        default=("111", "110", "100", "crowdion", "octahedral", "tetrahedral"),
        min_length=1,
        description="configurations to start from",
    )
    sizes: tuple[int, ...] = Field(default=(4,), min_length=1, description="cubic cells along each edge")
    fmax: float = Field(default=0.01, gt=0, description="largest force on an atom that counts as relaxed [eV/Å]")
    max_steps: int = Field(default=400, gt=0, description="steps of each relaxation")
    noise: float = Field(
        default=0.02, ge=0.005, description="standard deviation of the initial displacements [Å]; breaks the symmetry"
    )
    seed: int = Field(default=1, ge=0, description="of the initial displacements")
    check_stability: bool = Field(
        default=True,
        description="whether a soft mode is searched at the end, so that a saddle cannot pass for stable",
    )
    stop_at_known: bool = Field(
        default=True, description="whether a relaxation ends where it falls onto a configuration found before"
    )

    @field_validator("structure")
    @classmethod
    def _lattice(cls, value: str) -> str:
        if value not in {"bcc", "fcc"}:
            raise ValueError("has no list of interstitials: choose bcc or fcc")
        return value

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 2 for size in value) or len(set(value)) != len(value):
            raise ValueError("need different sizes of at least 2: an interstitial must not be its own neighbour")
        return tuple(sorted(value))

    @field_validator("kinds")
    @classmethod
    def _distinct(cls, value: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a configuration is named twice: name each once")
        return value


class InterstitialResult(DefectResult):
    """Result of ``interstitial``."""

    formation_energies: dict[str, float] = Field(
        description="requested configuration -> formation energy where it ended [eV], largest cell, constant volume"
    )
    corrected: dict[str, float] = Field(description="the same at zero pressure in linear elasticity [eV]")
    final: dict[str, str] = Field(description="requested configuration -> the one it ended in, largest cell")
    lowest: float = Field(description="lowest formation energy [eV], largest cell, constant volume")
    lowest_corrected: float = Field(description="that of the same configuration at zero pressure [eV]")
    lowest_kind: str = Field(description="the configuration that has it")
    cells: tuple[InterstitialInCell, ...] = Field(description="by requested configuration, then ascending size")


def run(inputs: InterstitialInputs, calculator: BaseCalculator, report: Report) -> Outcome[InterstitialResult]:
    """Relax each configuration in each size; a larger cell starts from the displacements of the smaller one."""
    crystal = host(inputs, calculator, report)
    search = Search(
        calculator,
        report,
        crystal,
        inputs.structure,
        SearchLimits(inputs.fmax, inputs.max_steps, inputs.noise, inputs.seed),
        stability=inputs.check_stability,
        stop_at_known=inputs.stop_at_known,
    )
    cells: list[InterstitialInCell] = []
    structures: list[Atoms] = []
    smaller: dict[Kind, tuple[Atoms, Atoms]] = {}
    for size in inputs.sizes:
        for kind in inputs.kinds:
            ideal = interstitial_cell(inputs.element, inputs.structure, crystal.bulk.a, size, kind)
            cell, atoms = search.relaxed(kind, size, ideal, smaller.get(kind))
            smaller[kind] = (ideal, atoms)
            cells.append(cell)
            if cell.ended_on is None and not cell.collapsed:
                named = atoms.copy()
                named.info = {CONFIG_TYPE: f"interstitial_{kind}_{size}x{size}x{size}"}
                structures.append(named)
    result = _assemble(inputs, sorted(cells, key=lambda cell: inputs.kinds.index(cell.requested)), crystal.summary())
    return Outcome(result, _quantities(result), tuple(structures))


def _assemble(
    inputs: InterstitialInputs, cells: list[InterstitialInCell], summary: dict[str, float]
) -> InterstitialResult:
    largest = {cell.requested: cell for cell in cells if cell.size == inputs.sizes[-1]}
    good = {kind: cell for kind, cell in largest.items() if cell.usable()}
    if not good:
        reasons = "; ".join(f"{LABELS[kind]}: {cell.problem()}" for kind, cell in largest.items())
        raise PropertyError(f"no interstitial was found: {reasons}")
    lowest = min(good.values(), key=lambda cell: cell.formation_energy)
    return InterstitialResult(
        formation_energies={kind: cell.formation_energy for kind, cell in good.items()},
        corrected={kind: cell.corrected for kind, cell in good.items()},
        final={kind: cell.final for kind, cell in good.items()},
        lowest=lowest.formation_energy,
        lowest_corrected=lowest.corrected,
        lowest_kind=lowest.final,
        cells=tuple(cells),
        flags=tuple(flag for kind in inputs.kinds for flag in _flags(kind, [c for c in cells if c.requested == kind])),
        **summary,
    )


def _flags(kind: Kind, cells: list[InterstitialInCell]) -> list[Flag]:
    """Return the flags of one requested configuration; ``cells`` are its sizes, ascending."""
    label, cell = LABELS[kind], cells[-1]
    flags = convergence_flags([c for c in cells if not c.collapsed], label, unusable=False)
    found: list[tuple[bool, str, str]] = [
        (cell.collapsed, "collapsed", f"atoms came within {cell.separation:.2f} Å: the potential fails here"),
        (
            cell.final != kind and not cell.collapsed,
            "relaxed_to_other",
            f"ended as {LABELS[cell.final]}, {cell.angle:.0f} degrees from its ideal axis",
        ),
        (cell.vacant > 0 and not cell.collapsed, "atom_left", f"{cell.vacant} lattice sites were left empty"),
        (
            cell.angle > MAX_ANGLE and not cell.collapsed,
            "tilted_axis",
            f"the axis is {cell.angle:.0f} degrees from the nearest of <100>, <110>, <111>",
        ),
        (
            cell.unstable(),
            "unstable",
            f"a curvature of {cell.curvature or 0:.2f} eV/Å^2 is left: it is a saddle, and other minima are lower",
        ),
        (
            cell.formation_energy < 0 and not cell.collapsed,
            "negative_energy",
            f"E_f = {cell.formation_energy:.3f} eV: interstitials form by themselves",
        ),
    ]
    return flags + [Flag(name=name, message=f"{label}: {text}") for raised, name, text in found if raised]


def _quantities(result: InterstitialResult) -> tuple[Quantity, ...]:
    rows = []
    for kind, energy in result.formation_energies.items():
        final = result.final[kind]
        label = LABELS[kind] if final == kind else f"{LABELS[kind]}, ended as {LABELS[final]}"  # type: ignore[index]
        rows.append((f"interstitial_formation_{kind}", energy, f"E_f ({label})"))
    rows.append(("interstitial_lowest", result.lowest, "E_f (lowest interstitial)"))
    rows.append(("interstitial_lowest_corrected", result.lowest_corrected, "E_f (lowest interstitial, zero pressure)"))
    return tuple(Quantity(key=key, value=value, unit="eV", label=label) for key, value, label in rows)


PROPERTY = Property(
    name="interstitial",
    summary="Formation energies of self-interstitials at constant volume, and the configurations they end in.",
    inputs=InterstitialInputs,
    result=InterstitialResult,
    run=run,
    conformance={"element": "W", "kinds": ["111", "100"], "sizes": [3]},
)
