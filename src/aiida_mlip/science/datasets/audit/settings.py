"""The limits of the audit: each with its unit and why it has this value."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip.science.datasets.fingerprints import Tolerances
from aiida_mlip.science.models import StrictModel


class AuditSettings(StrictModel):
    """What counts as wrong. Values without a source are judgement, chosen so that clean data give no error."""

    require_forces: bool = Field(default=True, description="whether a frame without forces is reported")
    require_stress: bool = Field(
        default=False, description="whether a periodic frame without stress is an error, not only a note"
    )
    expected_config_types: tuple[str, ...] = Field(
        default=(), description="configuration types that the data set must have"
    )
    tolerances: Tolerances = Field(default_factory=Tolerances, description="what counts as the same configuration")
    duplicate_energy: float = Field(
        default=5e-3,
        gt=0,
        description="eV/atom; equal configurations whose energies differ by more were computed differently: ten times "
        "a usual convergence of 0.5 meV/atom",
    )
    net_force_warning: float = Field(
        default=2e-3,
        gt=0,
        description="eV/Å; |sum of forces| / atoms. Kuryla et al. (arXiv:2510.19774) take 1 meV/Å/atom as the limit of "
        "well-converged molecular data; plane-wave codes print drifts up to about twice that",
    )
    net_force_error: float = Field(
        default=0.1,
        gt=0,
        description="eV/Å; |sum of forces| / sqrt(atoms), which is what independent errors of this size on each atom "
        "give: more than a good potential's own error",
    )
    max_force: float = Field(
        default=50.0, gt=0, description="eV/Å; forces above are reported (OMat24 leaves them out, arXiv:2410.12771)"
    )
    force_outlier: float = Field(
        default=15.0, gt=0, description="multiple of the usual deviation from the reference that makes an outlier"
    )
    force_outlier_min: float = Field(default=1.0, gt=0, description="eV/Å; smaller deviations are never outliers")
    energy_outlier: float = Field(
        default=8.0,
        gt=0,
        description="multiple of the usual deviation from the reference, which goes with 1 / sqrt(atoms)",
    )
    energy_outlier_min: float = Field(default=0.03, gt=0, description="eV/atom; smaller deviations are never outliers")
    close_warning: float = Field(
        default=0.6,
        gt=0,
        description="of the sum of covalent radii (Cordero et al., Dalton Trans. 2832 (2008)); the shortest bonds, H2 "
        "included, are above 0.9, thermal ones at 2000 K above 0.75",
    )
    close_error: float = Field(
        default=0.3, gt=0, description="of the sum of covalent radii: atoms on top of each other (0.19 Å for H2)"
    )
    energy_offset: float = Field(
        default=0.1,
        gt=0,
        description="eV/atom; offset of a group of frames against a baseline: above the usual error of a foundation "
        "model for a class of configurations (20-80 meV/atom), below that of another functional, pseudopotential or U",
    )
    energy_offset_fit: float = Field(
        default=0.05, gt=0, description="eV/atom; the same against the fit to the set itself, which is more certain"
    )
    energy_offset_error: float = Field(default=0.2, gt=0, description="eV/atom; offsets above are errors")
    isolated_energy: float = Field(
        default=0.01, gt=0, description="eV; isolated atoms of one element whose energies differ by more contradict"
    )
    slope_tolerance: float = Field(
        default=0.35,
        gt=0,
        lt=1,
        description="of the logarithm of a slope against the reference: within it, the slope is a known unit's",
    )
    min_correlation: float = Field(
        default=0.7, gt=0, lt=1, description="between labels and reference, below which signs and units are not judged"
    )
    max_stress: float = Field(
        default=2.0,
        gt=0,
        description="eV/Å^3 (320 GPa); a typical stress above is taken for a value in other units: tungsten compressed "
        "by 25% in volume has 1 eV/Å^3",
    )
    max_reference_atoms: int = Field(
        default=25_000,
        gt=0,
        description="atoms in the frames whose forces and stresses are compared with the internal fit (about 5 s)",
    )
    min_group: int = Field(default=3, gt=0, description="frames from which on a group is judged as a whole")
