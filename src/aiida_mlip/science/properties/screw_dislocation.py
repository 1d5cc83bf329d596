"""The 1/2<111> screw dislocation of a bcc metal: energies of its cores, and the Peierls barrier between easy cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from matscipy.dislocation import BCCScrew111Dislocation
from numpy.typing import NDArray
from pydantic import Field, field_validator

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.properties._base import Flag, Outcome, Property, Quantity, Report, Series
from aiida_mlip.science.properties._bulk import CrystalInputs
from aiida_mlip.science.properties._cores import columns_of
from aiida_mlip.science.properties._dislocations import TWOFOLD, Array, Cylinder, build_cylinder, transplanted
from aiida_mlip.science.properties._precon import CollapsedCoreError, Watch
from aiida_mlip.science.properties._screw_cores import RelaxedCore, Setting, relax_core
from aiida_mlip.science.properties._screw_flags import core_flags, glide_flags, method_flags, order_flags, radius_flags
from aiida_mlip.science.properties._screw_glide import GlideSettings, KeptPath, glide, relax_midpoint
from aiida_mlip.science.properties._screw_result import CoreInCylinder, RequestedCore, ScrewResult
from aiida_mlip.science.properties._stiffness import CubicStiffness, DislocationCrystal, crystal_for_dislocations

PUSH = 0.1
"""How far the hard core is pushed towards the easy one to see whether it comes back, as a fraction of the way."""


KICK = 0.04
"""First shift of the three columns of the easy core along the line, in b: a core that polarises has to be pushed."""

OFF_COLUMN = 0.1
"""How far the centre of the split core is from the atomic column, where the elastic field has no value, relative."""


class ScrewInputs(CrystalInputs):
    """Inputs of ``screw_dislocation``."""

    structure: Literal["bcc"] = Field(default="bcc", description="crystal structure: bcc only")
    elastic_constants: CubicStiffness | None = Field(
        default=None, description="of the potential, to build the dislocation with [GPa]; None: computed here"
    )
    radii: tuple[float, ...] = Field(
        default=(12.0,),
        min_length=1,
        description="of the region that relaxes about the glide path [Å]; path in the last",
    )
    fix_width: float = Field(
        default=12.0, ge=4.0, description="of the ring that does not move [Å]; twice the cut-off of the potential"
    )
    length: int = Field(default=1, ge=1, le=4, description="periods b along the line")
    cores: tuple[Literal["hard", "split"], ...] = Field(
        default=("hard", "split"), description="cores to compare with the easy one"
    )
    release_hard: bool = Field(default=True, description="let the hard core go and see whether it collapses")
    images: int = Field(default=7, ge=0, description="of the glide path, both ends included, odd; 0: no path")
    use_symmetry: bool = Field(default=True, description="compute half of the glide path, where the midpoint is on it")
    fmax: float = Field(default=0.01, gt=0, description="largest force on an atom that counts as relaxed [eV/Å]")
    fmax_path: float = Field(default=0.03, gt=0, description="largest force perpendicular to the path [eV/Å]")
    max_steps: int = Field(default=200, gt=0, description="steps of each relaxation, and iterations of the path")
    noise: float = Field(
        default=0.005, ge=0, description="standard deviation of the initial displacements [Å]; breaks the symmetry"
    )
    seed: int = Field(default=1, ge=0, description="of the initial displacements")

    @field_validator("radii")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(radius < 6 for radius in value) or len(set(value)) != len(value):
            raise ValueError("need different radii of at least 6 Å, e.g. (12.0, 15.0)")
        return tuple(sorted(value))

    @field_validator("images")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value and (value < 7 or value % 2 == 0):
            raise ValueError("need an odd number of at least 7, or 0 for no path")
        return value


@dataclass(frozen=True)
class _Work:
    """What the steps of one run share."""

    inputs: ScrewInputs
    calculator: BaseCalculator
    report: Report
    crystal: DislocationCrystal

    def setting(self, radius: float) -> Setting:
        inputs = self.inputs
        cylinder = screw_cylinder(
            inputs.element,
            self.crystal.a,
            self.crystal.stiffness,
            radius=radius,
            fix_width=inputs.fix_width,
            length=inputs.length,
        )
        b = float(np.linalg.norm(cylinder.burgers))
        return Setting(
            cylinder=cylinder,
            columns=columns_of(cylinder.bulk, b),
            b=b,
            stiffness=self.crystal.stiffness,
            bulk_energy=self.crystal.energy,
            radius=radius,
            fix_width=inputs.fix_width,
            fmax=inputs.fmax,
            max_steps=inputs.max_steps,
        )

    def keep(self, name: str, make: Callable[[str], RelaxedCore]) -> RelaxedCore:
        return RelaxedCore.model_validate(self.report.keep(name, lambda: make(name).model_dump(mode="json")))

    def try_to_keep(self, name: str, make: Callable[[str], RelaxedCore]) -> RelaxedCore | Flag:
        """Return the core, or why the potential has none; either is kept."""

        def tried() -> dict[str, object]:
            try:
                return {"core": make(name).model_dump(mode="json")}
            except CollapsedCoreError as error:
                return {"flag": Flag(name="core_collapsed", message=str(error)).model_dump(mode="json")}

        kept = self.report.keep(name, tried)
        return RelaxedCore.model_validate(kept["core"]) if "core" in kept else Flag.model_validate(kept["flag"])

    def noise(self, setting: Setting) -> Array:
        return setting.cylinder.noise(self.inputs.noise, self.inputs.seed)


def screw_cylinder(
    element: str, a: float, stiffness: CubicStiffness, *, radius: float, fix_width: float, length: int = 1
) -> Cylinder:
    """Return a cylinder for the glide of a 1/2<111> screw dislocation; see :func:`build_cylinder`."""
    return build_cylinder(
        BCCScrew111Dislocation,
        element,
        a,
        stiffness,
        radius=radius,
        fix_width=fix_width,
        length=length,
        symmetry=TWOFOLD,
    )


def core_positions(cylinder: Cylinder) -> dict[RequestedCore, Array]:
    """Return where the cores are centred in ``cylinder`` [Å], each of shape (2,).

    Half way between two easy cores and d / (2 sqrt 3) to one side is a hard core, to the other side an atomic column,
    where the split core is; d is the glide distance.
    """
    across = np.array([0.0, cylinder.glide[0] / (2 * np.sqrt(3))])
    middle = cylinder.middle
    split = middle - (1 - OFF_COLUMN) * across
    return {"easy": cylinder.start, "midpoint": middle, "hard": middle + across, "split": split}


def held_columns(setting: Setting, kind: RequestedCore) -> NDArray[np.intp]:
    """Return the atoms whose heights keep a core where it is.

    Hard: the three columns around it, which stay level. Split: the column at its centre and the two beside it along the
    glide direction.
    """
    centre = core_positions(setting.cylinder)[kind]
    if kind == "hard":
        return setting.columns_near(centre, 3)
    glide_vector = setting.cylinder.glide
    return np.concatenate([setting.columns_near(centre + factor * glide_vector, 1) for factor in (-1, 0, 1)])


def run(inputs: ScrewInputs, calculator: BaseCalculator, report: Report) -> Outcome[ScrewResult]:
    """Relax the cores in each radius, and find the glide path in the largest.

    :raises UnstableConstants: where no elastic solution of a dislocation exists.
    """
    crystal = crystal_for_dislocations(inputs, inputs.elastic_constants, calculator, report)
    work = _Work(inputs, calculator, report, crystal)
    cores: list[tuple[CoreInCylinder, Atoms]] = []
    seeds: dict[RequestedCore, tuple[Setting, RelaxedCore]] = {}
    collapses: bool | None = None
    kept: KeptPath | None = None
    flags: list[Flag] = []
    for radius in inputs.radii:
        setting = work.setting(radius)
        relaxed, lost = _relaxed_cores(work, setting, seeds)
        flags += lost
        if inputs.release_hard and "hard" in relaxed and collapses is None:
            collapses = _collapses(work, setting, relaxed["hard"], relaxed["easy"])
        if inputs.images and relaxed["easy"].after.kind in ("easy", "degenerate"):
            found = work.try_to_keep(
                f"{radius:g} Å midpoint",
                partial(_midpoint, work, setting, relaxed["easy"]),
            )
            if isinstance(found, Flag):
                flags.append(found)
            else:
                relaxed["midpoint"] = found
        seeds = {kind: (setting, core) for kind, core in relaxed.items()}
        cores += [_in_cylinder(kind, core, relaxed["easy"], setting) for kind, core in relaxed.items()]
        if radius == inputs.radii[-1] and "midpoint" in relaxed:
            kept = _glide(work, setting, relaxed["easy"], relaxed["midpoint"])
    return _outcome(work, cores, collapses, kept, flags)


def _relaxed_cores(
    work: _Work, setting: Setting, seeds: Mapping[RequestedCore, tuple[Setting, RelaxedCore]]
) -> tuple[dict[RequestedCore, RelaxedCore], list[Flag]]:
    relaxed: dict[RequestedCore, RelaxedCore] = {}
    flags: list[Flag] = []
    kinds: tuple[RequestedCore, ...] = ("easy", *work.inputs.cores)
    for kind in kinds:
        centre = core_positions(setting.cylinder)[kind]

        def make(name: str, kind: RequestedCore = kind, centre: Array = centre) -> RelaxedCore:
            if kind in seeds:
                earlier, core = seeds[kind]
                atoms = transplanted(earlier.rebuilt(core.positions), earlier.cylinder, setting.cylinder, centre)
            else:
                atoms = setting.cylinder.with_core(centre)
            if kind == "easy":
                if kind not in seeds:
                    atoms.positions += work.noise(setting)
                    atoms.positions[setting.columns_near(centre, 3), 2] += KICK * setting.b
                held = np.array([], dtype=int)
            else:
                held = held_columns(setting, kind)
            return relax_core(atoms, setting, work.calculator, Watch(work.report, name), held=held)

        name = f"{setting.radius:g} Å {kind}"
        core = work.keep(name, make) if kind == "easy" else work.try_to_keep(name, make)
        if isinstance(core, Flag):
            flags.append(core)
        else:
            relaxed[kind] = core
    return relaxed, flags


def _collapses(work: _Work, setting: Setting, hard: RelaxedCore, easy: RelaxedCore) -> bool:
    """Let the hard core go, pushed a little towards the easy one; return whether it leaves."""

    def gone(state: Atoms) -> bool:
        return setting.label(state).kind in ("easy", "degenerate", "none", "several")

    def make(name: str) -> RelaxedCore:
        here, there = np.array(hard.positions), np.array(easy.positions)
        way = setting.cylinder.unwrapped(there, here) - here
        way[setting.cylinder.fixed] = 0.0
        atoms = setting.rebuilt((here + PUSH * way + work.noise(setting)).tolist())
        return relax_core(atoms, setting, work.calculator, Watch(work.report, name, gone))

    return work.keep(f"{setting.radius:g} Å hard let go", make).after.kind != "hard"


def _midpoint(work: _Work, setting: Setting, easy: RelaxedCore, name: str) -> RelaxedCore:
    return relax_midpoint(easy, setting, work.calculator, Watch(work.report, name))


def _glide(work: _Work, setting: Setting, easy: RelaxedCore, midpoint: RelaxedCore) -> KeptPath:
    inputs = work.inputs
    settings = GlideSettings(inputs.images, inputs.use_symmetry, inputs.fmax_path, inputs.max_steps)
    name = f"{setting.radius:g} Å path"

    def search() -> dict[str, object]:
        watch = Watch(work.report, name)
        return glide((easy, midpoint), settings, setting, work.calculator, watch).model_dump(mode="json")

    return KeptPath.model_validate(work.report.keep(name, search))


def _in_cylinder(
    kind: RequestedCore, core: RelaxedCore, easy: RelaxedCore, setting: Setting
) -> tuple[CoreInCylinder, Atoms]:
    atoms = setting.rebuilt(core.positions)
    atoms.info[CONFIG_TYPE] = f"screw_{kind}_{setting.radius:g}"
    built = np.asarray(core.field_centre or core_positions(setting.cylinder)[kind])
    lag = float(np.linalg.norm(np.asarray(core.after.centre) - built)) if core.after.centre else float("inf")
    described = CoreInCylinder(
        requested=kind,
        radius=setting.radius,
        atoms=len(atoms),
        held=kind != "easy",
        before=core.before,
        after=core.after,
        energy=core.energy - easy.energy,
        by_total_energy=core.total - easy.total,
        lag=min(lag, setting.radius),
        fmax=core.fmax,
        steps=core.steps,
        converged=core.converged,
    )
    return described, atoms


def _outcome(
    work: _Work,
    found: list[tuple[CoreInCylinder, Atoms]],
    collapses: bool | None,
    kept: KeptPath | None,
    flags: list[Flag],
) -> Outcome[ScrewResult]:
    cores = [core for core, _ in found]
    last = {core.requested: core for core in cores}
    path = kept.path if kept else None
    atomic_energies = "energies" in work.calculator.implemented_properties
    result = ScrewResult(
        lattice_constant=work.crystal.a,
        elastic_constants=work.crystal.stiffness,
        hard_minus_easy=last["hard"].energy if "hard" in last else None,
        split_minus_easy=last["split"].energy if "split" in last else None,
        hard_collapses=collapses,
        glide_barrier=path.barrier if path else None,
        polarity=last["easy"].after.polarity,
        atomic_energies=atomic_energies,
        cores=tuple(cores),
        glide=path,
        flags=(
            *flags,
            *method_flags(work.crystal.stiffness, atomic_energies=atomic_energies),
            *core_flags(cores),
            *order_flags(cores, collapses),
            *radius_flags(cores),
            *(glide_flags(path) if path else ()),
        ),
    )
    structures = [atoms for _, atoms in found]
    if kept:
        setting_atoms = structures[-1]
        for index, positions in enumerate(kept.positions):
            image = setting_atoms.copy()
            image.set_positions(positions, apply_constraint=False)
            image.info[CONFIG_TYPE] = f"screw_glide_{index}"
            structures.append(image)
    return Outcome(result, _quantities(result), tuple(structures), _series(result))


def _quantities(result: ScrewResult) -> tuple[Quantity, ...]:
    rows = (
        ("screw_glide_barrier", result.glide_barrier, "Peierls barrier of the screw"),
        ("screw_hard_minus_easy", result.hard_minus_easy, "screw, hard minus easy core"),
        ("screw_split_minus_easy", result.split_minus_easy, "screw, split minus easy core"),
    )
    return tuple(
        Quantity(key=key, value=value, unit="eV per b", label=label) for key, value, label in rows if value is not None
    )


def _series(result: ScrewResult) -> tuple[Series, ...]:
    path = result.glide
    if path is None:
        return ()
    texts = {"y_label": "energy", "y_unit": "eV per b"}
    return (
        Series(
            key="screw_glide",
            label="glide of the 1/2<111> screw dislocation",
            x=path.length,
            y=path.energy,
            x_label="path length",
            x_unit="path length",
            **texts,
        ),
        Series(
            key="screw_glide_by_position",
            label="glide of the 1/2<111> screw dislocation, by position of the core",
            x=path.position,
            y=path.energy,
            x_label="position of the core along the glide direction",
            x_unit="distance of easy cores",
            **texts,
        ),
    )


PROPERTY = Property(
    name="screw_dislocation",
    summary="Easy, hard and split cores of the 1/2<111> screw dislocation of a bcc metal, and its Peierls barrier.",
    inputs=ScrewInputs,
    result=ScrewResult,
    run=run,
    conformance={"element": "Ta", "radii": [9.0], "fix_width": 6.0},
)
