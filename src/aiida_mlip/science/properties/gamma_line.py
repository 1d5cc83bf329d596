"""Generalised stacking fault energy of a bcc metal along <111> on {110} and {112}, and how asymmetric it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray
from pydantic import Field, field_validator

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.models import StrictModel
from aiida_mlip.science.properties._base import Flag, Outcome, Property, PropertyResult, Quantity, Report, Series
from aiida_mlip.science.properties._bulk import CrystalInputs, crystal_energy, lattice_constant_of
from aiida_mlip.science.properties._crystals import Structure
from aiida_mlip.science.properties._fault import FaultCurve, FaultPoint, RelaxationAlongNormal
from aiida_mlip.science.properties._slabs import EV_PER_ANGSTROM2_IN_J_PER_M2, Layers, Miller, layers_of, slab

Plane = Literal["110", "112"]

GLIDE: dict[Plane, Miller] = {"110": (-1, 1, 0), "112": (1, 1, -2)}
"""The plane of each family that is used; both hold [111]."""

SYMMETRIC: dict[Plane, bool] = {"110": True, "112": False}
"""Whether the energy is the same at x and 1 - x: a twofold axis normal to the plane turns one into the other."""

MAX_END = 0.005
"""Energy after one period, relative to the maximum, that is flagged."""

MAX_SYMMETRY_ERROR = 0.01
"""Difference between x and 1 - x on {110}, relative to the maximum, that is flagged."""

MAX_THICKNESS_CHANGE = 0.01
"""Relative change of the maximum in the thicker slab that is flagged."""

MIN_DEPTH = 0.005
"""Depth of a further minimum, relative to the maximum, that is flagged."""


class GammaLineInputs(CrystalInputs):
    """Inputs of ``gamma_line``."""

    planes: tuple[Plane, ...] = Field(default=("110", "112"), min_length=1, description="planes of the fault")
    points: int = Field(
        default=31, ge=7, description="displacements from 0 to b, both counted; odd, so that b/2 is one of them"
    )
    thickness: float = Field(default=24.0, gt=0, description="least thickness of the slab [Å]")
    check_thickness: float | None = Field(
        default=None, gt=0, description="[Å] of a thicker slab in which the highest point is computed again"
    )
    vacuum: float = Field(default=10.0, gt=0, description="gap between the slab and its image along the normal [Å]")
    unrelaxed: bool = Field(default=True, description="also compute the energies of the unrelaxed fault")
    fmax: float = Field(default=0.01, gt=0, description="largest force along the normal that counts as relaxed [eV/Å]")
    max_steps: int = Field(default=100, gt=0, description="steps of the relaxation at each displacement")

    @field_validator("structure")
    @classmethod
    def _bcc(cls, value: Structure) -> Structure:
        if value != "bcc":
            raise ValueError("gamma lines along <111> are those of a bcc crystal: give 'bcc'")
        return value

    @field_validator("points")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("is even: give an odd number, so that half the period is one of them")
        return value

    @field_validator("planes")
    @classmethod
    def _distinct(cls, value: tuple[Plane, ...]) -> tuple[Plane, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a plane is named twice: name each once")
        return value


class GammaLine(StrictModel):
    """The fault energies on one plane."""

    layers: int = Field(description="atomic layers of the slab, one atom each")
    area: float = Field(description="of the cell of a layer [Å^2]")
    spacing: float = Field(description="of the layers in the crystal [Å]")
    burgers: float = Field(description="the period b = a sqrt(3) / 2 [Å]")
    displacements: tuple[float, ...] = Field(description="of the upper half along <111>, in units of b, ascending")
    energies: tuple[float, ...] = Field(description="relaxed along the normal [J/m^2]")
    unrelaxed: tuple[float, ...] | None = Field(description="without relaxation [J/m^2]; None: not asked for")
    maximum: float = Field(description="of the periodic cubic spline through the energies [J/m^2]")
    maximum_at: float = Field(description="where it is, in units of b")
    half: float = Field(description="at b / 2 [J/m^2]")
    end: float = Field(description="computed at b, where it must vanish [J/m^2]")
    symmetry_error: float | None = Field(description="largest difference between x and 1 - x [J/m^2]; {110} only")
    twinning: float | None = Field(description="at b / 3 in the twinning sense [J/m^2]; {112} only")
    antitwinning: float | None = Field(description="at b / 3 in the antitwinning sense [J/m^2]; {112} only")
    minima: tuple[float, ...] = Field(description="where further minima are, in units of b")
    surface_energy: float = Field(description="of the slab without fault, relaxed along the normal [J/m^2]")
    thicker: float | None = Field(description="highest point in the thicker slab [J/m^2]; None: not asked for")
    thicker_layers: int | None = Field(description="layers of the thicker slab")
    fmax: float = Field(description="largest force along the normal at the end [eV/Å]")
    steps: int = Field(description="steps of all relaxations together")
    converged: bool = Field(description="whether all forces are below the limit")
    intact: bool = Field(description="whether all layers kept their order and about their distance")


class GammaLineResult(PropertyResult):
    """Result of ``gamma_line``."""

    lattice_constant: float = Field(description="of the cubic cell [Å]")
    planes: dict[str, GammaLine] = Field(description="the lines, by plane")


def glide_layers(plane: Plane) -> Layers:
    """Return the stacking of ``plane``, with the first vector the period of the fault, b = a/2 <111>.

    On {112}, this vector points into the twinning sense: the lattice plane above is found a third of it ahead, so that
    a displacement by another third makes the stacking that of the twin.
    """
    layers = layers_of("bcc", GLIDE[plane], along=(1, 1, 1))
    if layers.vectors[2] @ layers.vectors[0] < 0:
        layers = Layers(layers.vectors * [[-1.0], [-1.0], [1.0]])
    return layers


def fault_slab(element: str, a: float, plane: Plane, count: int, displacement: float, *, vacuum: float = 10.0) -> Atoms:
    """Return a slab of ``count`` layers with one fault in its middle, unrelaxed.

    The upper half is displaced along x, a <111> direction, the twinning sense on {112}; the normal is along z.

    :param a: lattice constant of the cubic cell [Å].
    :param displacement: of the upper half in units of b = a sqrt(3) / 2.
    :param vacuum: gap between the slab and its image along the normal [Å].
    """
    atoms = slab(element, glide_layers(plane), a, count, vacuum)
    atoms.positions[count // 2 :, 0] += displacement * a * np.sqrt(3) / 2
    atoms.wrap(eps=1e-6)
    atoms.info[CONFIG_TYPE] = f"gamma_{plane}"
    return atoms


def displacements(points: int) -> NDArray[np.float64]:
    """Return ``points`` displacements from 0 to 1, in units of b."""
    return np.linspace(0.0, 1.0, points)


def run(inputs: GammaLineInputs, calculator: BaseCalculator, report: Report) -> Outcome[GammaLineResult]:
    """Compute the fault energies of each plane."""
    a = lattice_constant_of(inputs, calculator)
    bulk_energy = crystal_energy(inputs, a, calculator)
    lines: dict[Plane, GammaLine] = {}
    structures: list[Atoms] = []
    for plane in inputs.planes:
        job = _PlaneJob(inputs, plane, a, calculator, report)
        lines[plane] = job.line(bulk_energy)
        structures += job.structures(lines[plane])
    flags = tuple(flag for plane, line in lines.items() for flag in _flags(plane, line))
    result = GammaLineResult(lattice_constant=a, planes=dict(lines), flags=flags)
    return Outcome(result, _quantities(lines), tuple(structures), _series(lines))


class _PlaneJob:
    """The points of one plane, computed one after the other."""

    def __init__(
        self, inputs: GammaLineInputs, plane: Plane, a: float, calculator: BaseCalculator, report: Report
    ) -> None:
        self.inputs, self.plane, self.a, self.calculator, self.report = inputs, plane, a, calculator, report
        self.layers = glide_layers(plane)
        self.area = self.layers.area * a**2
        self.count = self.layers.count(a, inputs.thickness, multiple=2)
        self.computed: dict[int, FaultPoint] = {}

    def line(self, bulk_energy: float) -> GammaLine:
        inputs, last = self.inputs, self.inputs.points - 1
        middle = last // 2
        relaxation = self._relaxation(inputs.unrelaxed)
        for index in range(middle + 1 if SYMMETRIC[self.plane] else last + 1):
            self.computed[index] = self._point(relaxation, index)
        if SYMMETRIC[self.plane]:
            for index in (last - middle // 2, last):
                start = self.computed[last - index].heights
                self.computed[index] = self._point(relaxation, index, start)
        curve = FaultCurve.through(displacements(inputs.points), self._column("energy"))
        points = self.computed.values()
        zero = self.computed[0]
        thicker = self._thicker(curve.highest)
        mirrored = [i for i in self.computed if i > middle and SYMMETRIC[self.plane]]
        energies = {i: self._per_area(point.energy - zero.energy) for i, point in self.computed.items()}
        return GammaLine(
            layers=self.count,
            area=self.area,
            spacing=self.layers.spacing * self.a,
            burgers=self.a * np.sqrt(3) / 2,
            displacements=tuple(curve.x.tolist()),
            energies=tuple(curve.y.tolist()),
            unrelaxed=tuple(self._column("unrelaxed").tolist()) if inputs.unrelaxed else None,
            maximum=curve.maximum,
            maximum_at=curve.maximum_at,
            half=energies[middle],
            end=energies[last],
            symmetry_error=max(abs(energies[i] - energies[last - i]) for i in mirrored) if mirrored else None,
            twinning=None if SYMMETRIC[self.plane] else curve.at(1 / 3),
            antitwinning=None if SYMMETRIC[self.plane] else curve.at(2 / 3),
            minima=curve.minima(MIN_DEPTH),
            surface_energy=self._per_area(zero.energy - self.count * bulk_energy) / 2,
            thicker=thicker[1] if thicker else None,
            thicker_layers=thicker[0] if thicker else None,
            fmax=max(point.fmax for point in points),
            steps=sum(point.steps for point in points),
            converged=all(point.converged for point in points),
            intact=all(self._is_intact(point) for point in points),
        )

    def structures(self, line: GammaLine) -> list[Atoms]:
        """Return the relaxed slab without fault, and the one at the highest point."""
        highest = max(self.computed, key=lambda index: self.computed[index].energy)
        kept = []
        for index, name in ((0, "perfect"), (highest, "max")):
            atoms = fault_slab(
                self.inputs.element,
                self.a,
                self.plane,
                line.layers,
                line.displacements[index],
                vacuum=self.inputs.vacuum,
            )
            atoms.positions[:, 2] += self.computed[index].heights
            atoms.info[CONFIG_TYPE] = f"gamma_{self.plane}_{name}"
            kept.append(atoms)
        return kept

    def _relaxation(self, unrelaxed: bool) -> RelaxationAlongNormal:
        return RelaxationAlongNormal(
            self.calculator,
            self.report,
            stage=f"{{{self.plane}}}",
            fmax=self.inputs.fmax,
            max_steps=self.inputs.max_steps,
            unrelaxed=unrelaxed,
        )

    def _point(self, relaxation: RelaxationAlongNormal, index: int, start: Sequence[float] | None = None) -> FaultPoint:
        self.report(f"{{{self.plane}}}", index, self.inputs.points)
        x = float(displacements(self.inputs.points)[index])
        atoms = fault_slab(self.inputs.element, self.a, self.plane, self.count, x, vacuum=self.inputs.vacuum)
        return self._kept(f"{self.plane}_{index}", relaxation, atoms, start)

    def _kept(
        self, name: str, relaxation: RelaxationAlongNormal, atoms: Atoms, start: Sequence[float] | None = None
    ) -> FaultPoint:
        kept: dict[str, Any] = self.report.keep(name, lambda: relaxation.point(atoms, start).model_dump(mode="json"))
        point = FaultPoint.model_validate(kept)
        relaxation.follow(point)
        return point

    def _thicker(self, index: int) -> tuple[int, float] | None:
        """Return the layers of the thicker slab and the fault energy there at one displacement [J/m^2]."""
        if self.inputs.check_thickness is None:
            return None
        count = self.layers.count(self.a, self.inputs.check_thickness, multiple=2)
        x = float(displacements(self.inputs.points)[index])
        relaxation = self._relaxation(False)
        energies = []
        for name, shift in (("perfect", 0.0), ("max", x)):
            atoms = fault_slab(self.inputs.element, self.a, self.plane, count, shift, vacuum=self.inputs.vacuum)
            energies.append(self._kept(f"{self.plane}_thicker_{name}", relaxation, atoms).energy)
        return count, self._per_area(energies[1] - energies[0])

    def _column(self, name: Literal["energy", "unrelaxed"]) -> NDArray[np.float64]:
        """Return fault energies at all displacements [J/m^2]; those left out by symmetry are mirrored."""
        last = self.inputs.points - 1
        found = [self.computed[i if i in self.computed else last - i] for i in range(last + 1)]
        values = np.array([getattr(point, name) for point in found], dtype=float)
        return np.asarray(self._per_area(1.0) * (values - values[0]))

    def _per_area(self, energy: float) -> float:
        return energy / self.area * EV_PER_ANGSTROM2_IN_J_PER_M2

    def _is_intact(self, point: FaultPoint) -> bool:
        spacing = self.layers.spacing * self.a
        gaps = spacing + np.diff(point.heights)
        return bool(np.all(gaps > 0.4 * spacing) and np.all(gaps < 1.8 * spacing))


def _flags(plane: Plane, line: GammaLine) -> list[Flag]:
    scale = max(abs(line.maximum), 1e-3)
    checks = (
        ("not_converged", not line.converged, True, f"the largest force is {line.fmax:.3f} eV/Å"),
        ("slab_unstable", not line.intact or line.surface_energy < 0, True,
         f"the slab does not hold: its surface energy is {line.surface_energy:.2f} J/m^2, and its layers "
         + ("keep" if line.intact else "leave") + " their order"),
        ("not_periodic", abs(line.end) > MAX_END * scale, True, f"after one period the energy is {line.end:.4f} J/m^2"),
        ("negative_fault", min(line.energies) < -MAX_END * scale, False,
         f"a fault has {min(line.energies):.3f} J/m^2: the crystal is unstable against this shear"),
        ("broken_symmetry", (line.symmetry_error or 0) > MAX_SYMMETRY_ERROR * scale, True,
         f"energies at x and 1 - x differ by up to {line.symmetry_error or 0:.4f} J/m^2"),
        ("wrong_asymmetry", line.twinning is not None and line.twinning >= (line.antitwinning or 0), False,
         f"b/3 costs {line.twinning or 0:.3f} J/m^2 in the twinning and {line.antitwinning or 0:.3f} in the "
         "antitwinning sense: in bcc metals the twinning sense is the easy one"),
        ("metastable_fault", bool(line.minima), False,
         "there are further minima at " + ", ".join(f"{x:.2f} b" for x in line.minima)
         + ": in density functional theory bcc metals have none"),
        ("thickness_dependent", line.thicker is not None
         and abs(line.thicker - max(line.energies)) > MAX_THICKNESS_CHANGE * scale, False,
         f"the highest point is {max(line.energies):.4f} J/m^2 with {line.layers} layers and "
         f"{line.thicker or 0:.4f} with {line.thicker_layers}"),
    )  # fmt: skip
    return [
        Flag(name=name, message=f"{{{plane}}}: {message}", unusable=unusable)
        for name, raised, unusable, message in checks
        if raised
    ]


def _quantities(lines: dict[Plane, GammaLine]) -> tuple[Quantity, ...]:
    return tuple(
        Quantity(key=f"gamma_{kind}_{plane}", value=value, unit="J/m^2", label=f"γ {{{plane}}} {label}")
        for plane, line in lines.items()
        for kind, value, label in (("max", line.maximum, "maximum"), ("half", line.half, "at b/2"))
    )


def _series(lines: dict[Plane, GammaLine]) -> tuple[Series, ...]:
    return tuple(
        Series(
            key=f"gamma_{plane}",
            label=f"γ line on {{{plane}}}",
            x=line.displacements,
            y=line.energies,
            x_label="displacement",
            x_unit="a sqrt(3) / 2 along [111]",
            y_label="fault energy",
            y_unit="J/m^2",
        )
        for plane, line in lines.items()
    )


PROPERTY = Property(
    name="gamma_line",
    summary="Generalised stacking fault energies of a bcc metal along <111> on {110} and {112}.",
    inputs=GammaLineInputs,
    result=GammaLineResult,
    run=run,
    conformance={"element": "W", "points": 7, "thickness": 12.0},
)
