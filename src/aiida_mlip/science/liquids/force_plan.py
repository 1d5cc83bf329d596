"""Which configurations the force tests need labels of, and how these belong together."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip.science.models import StrictModel

CONFIGURATION, MOLECULE, SCAN, DIMER = "configuration", "molecule", "volume_scan", "dimer"
"""The config_types of the probes."""


class MoleculePlan(StrictModel):
    """A molecule of a configuration, and which probe it is alone."""

    kind: str
    formula: str
    atoms: tuple[int, ...] = Field(description="of the configuration, ascending")
    offsets: tuple[tuple[int, int, int], ...] = Field(description="cells by which each is moved to make it whole")
    probe: int = Field(ge=0, description="the molecule alone")
    charged: bool = Field(default=False, description="an ion or a radical: alone and neutral it is another species")


class ConfigurationPlan(StrictModel):
    """A configuration that is decomposed."""

    source: int = Field(ge=0, description="index in the set that was given")
    probe: int = Field(ge=0)
    formula: str
    molecules: tuple[MoleculePlan, ...]


class ScanPoint(StrictModel):
    """One density of a volume scan."""

    density: float = Field(description="[g/cm^3]")
    probe: int = Field(ge=0)


class ScanPlan(StrictModel):
    """A volume scan of one box; the molecules are those of the box, alone."""

    name: str
    formula: str
    molecules: tuple[int, ...] = Field(description="probe of each molecule alone")
    atoms: tuple[tuple[int, ...], ...] = Field(description="of each molecule in the box; in the probes it is whole")
    points: tuple[ScanPoint, ...] = Field(description="ascending in density")
    charged: bool = Field(default=False, description="it holds ions or radicals")
    density: float = Field(default=0.0, ge=0, description="of the box itself [g/cm^3]")


class DimerPoint(StrictModel):
    """One distance of a dimer."""

    shift: float = Field(description="from where the pair was found, along the line of centres [Å]")
    distance: float = Field(description="of the centres of mass [Å]")
    contact: float = Field(description="closest atoms of the two, over the sum of their covalent radii")
    probe: int = Field(ge=0)


class DimerPlan(StrictModel):
    """Two molecules at several distances."""

    kinds: tuple[str, str]
    formulas: tuple[str, str]
    molecules: tuple[int, int] = Field(description="probe of each alone")
    points: tuple[DimerPoint, ...] = Field(description="the nearest first")
    charged: bool = Field(default=False, description="ions or radicals")


class ForceTestPlan(StrictModel):
    """How the probes belong together; numbers called `probe` are indices in the set of probes."""

    probes: int = Field(ge=0)
    configurations: tuple[ConfigurationPlan, ...] = ()
    scans: tuple[ScanPlan, ...] = ()
    dimers: tuple[DimerPlan, ...] = ()
    notes: tuple[str, ...] = Field(default=(), description="what was left out and why, in sentences")
