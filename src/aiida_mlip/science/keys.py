"""The name, unit and shape of every field of a labelled configuration.

``n`` is the number of atoms. Energies are totals of the cell and force-consistent: where the electrons are smeared,
that is the free energy whose derivative the forces are. Stresses follow ASE: positive is tensile, in Voigt order
xx, yy, zz, yz, xz, xy.
"""

from __future__ import annotations

ENERGY = "REF_energy"
"""Total energy of the cell [eV], force-consistent; ``atoms.info``, scalar."""

FORCES = "REF_forces"
"""Force on each atom [eV/Å]; ``atoms.arrays``, shape (n, 3)."""

STRESS = "REF_stress"
"""Stress [eV/Å^3], ASE's sign and Voigt order; ``atoms.info``, shape (6,)."""

CONFIG_TYPE = "config_type"
"""What kind of configuration this is, e.g. ``vacancy``; ``atoms.info``, text. Errors are reported for each."""

GROUP = "group"
"""Frames of one group are never parted by a split (one trajectory, one strain path); ``atoms.info``, text."""

SOURCE = "source"
"""UUID of the AiiDA node that made the label; ``atoms.info``, text, empty where the label was imported."""

ORIGIN = "origin"
"""Where the geometry came from: :class:`aiida_mlip.science.origin.Origin` as JSON; ``atoms.info``, text."""

DEFAULT_CONFIG_TYPE = "default"

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")

UNITS = {ENERGY: "eV", FORCES: "eV/angstrom", STRESS: "eV/angstrom^3"}

EV_PER_ANGSTROM3_IN_GPA = 160.21766208
"""1 eV/Å^3 in GPa (CODATA 2014, the set ASE uses)."""
