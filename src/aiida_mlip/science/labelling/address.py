"""The address of a label: a digest of everything that decides its number, and of nothing else.

Machine, number of processes, and how self-consistency is reached are left out: they change the cost of a label, not
the label. Two configurations with one address are the same to 1e-6 Å and labelled in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

NOT_OF_THE_NUMBER: Mapping[str, frozenset[str]] = {
    "CONTROL": frozenset(
        {
            "calculation", "disk_io", "etot_conv_thr", "forc_conv_thr", "iprint", "lkpoint_dir", "max_seconds",
            "nstep", "outdir", "prefix", "pseudo_dir", "restart_mode", "title", "tprnfor", "tstress", "verbosity",
            "wf_collect", "wfcdir",
        }
    ),
    "ELECTRONS": frozenset(
        {
            "diago_cg_maxiter", "diago_david_ndim", "diago_full_acc", "diago_gs_nblock", "diago_ppcg_maxiter",
            "diago_rmm_conv", "diago_rmm_ndim", "diago_thr_init", "diagonalization", "electron_maxstep",
            "mixing_beta", "mixing_fixed_ns", "mixing_mode", "mixing_ndim", "startingpot", "startingwfc",
        }
    ),
    "SYSTEM": frozenset({"nbnd"}),
}  # fmt: skip
"""Namelist -> variables of pw.x that decide how a converged number is reached, and not the number."""

NOT_OF_THE_SETTINGS = frozenset({"CMDLINE", "PARSER_OPTIONS", "PARENT_FOLDER_SYMLINK", "NO_BANDS", "ALSO_BANDS"})
"""Keys of the plugin's ``settings`` that concern the run alone."""


def geometry_digest(atoms: Atoms) -> str:
    """Return the digest of species, cell, periodicity and positions, which agree to 1e-6 Å where digests agree.

    The order of the atoms counts, since forces have it; neither wrapping nor translation is looked through.
    """
    rounded = [np.round(part, 6) + 0.0 for part in (atoms.positions, np.asarray(atoms.cell))]  # + 0.0 drops -0.0
    parts = [np.asarray(atoms.numbers, dtype=np.int64), np.asarray(atoms.pbc, dtype=np.int64), *rounded]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def digest_of(values: Any) -> str:
    """Return the digest of values that can be written as JSON; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def pw_method(
    parameters: Mapping[str, Mapping[str, Any]],
    pseudos: Mapping[str, str],
    *,
    settings: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what decides a number of pw.x besides geometry and k-points.

    :param parameters: namelists -> variables.
    :param pseudos: element -> md5 of its pseudopotential.
    :param settings: of the plugin, where there are any.
    :param files: name -> digest of further input files, such as a van der Waals table.
    """
    namelists = {
        name: {
            key.lower(): value
            for key, value in values.items()
            if key.lower() not in NOT_OF_THE_NUMBER.get(name.upper(), ())
        }
        for name, values in ((name.upper(), values) for name, values in parameters.items())
        if name in {"CONTROL", "SYSTEM", "ELECTRONS"}
    }
    kept = {key.upper(): value for key, value in (settings or {}).items() if key.upper() not in NOT_OF_THE_SETTINGS}
    return {
        "code": "pw.x",
        "parameters": {name: values for name, values in namelists.items() if values},
        "pseudos": dict(pseudos),
        "settings": kept,
        "files": dict(files or {}),
    }


def pw_address(
    atoms: Atoms,
    method: Mapping[str, Any],
    mesh: Sequence[int],
    offset: Sequence[float] = (0.0, 0.0, 0.0),
) -> str:
    """Return the address of a label of pw.x; only the pseudopotentials of the elements present count.

    :param atoms: the configuration in the cell that pw.x gets.
    :param method: of :func:`pw_method`.
    :param mesh: k-points along each axis, shape (3,).
    :param offset: of the mesh, in units of its step, shape (3,).
    """
    present = set(atoms.get_chemical_symbols())
    used = {element: md5 for element, md5 in method["pseudos"].items() if element in present}
    kpoints = {"mesh": [int(number) for number in mesh], "offset": [float(number) for number in offset]}
    return digest_of({**method, "pseudos": used, "kpoints": kpoints, "geometry": geometry_digest(atoms)})


def potential_method(info: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the digest of what decides a number of a potential besides the geometry.

    :param info: fields of the description of the potential.
    :param settings: of the job; the device does not count.
    """
    facts = ["architecture", "sha256", "backend_version", "extra"]
    facts += ["dispersion"] if info.get("dispersion") else []  # where there is none, addresses are as they were
    head = settings.get("head") or info.get("head")
    numeric = {key: settings.get(key) for key in ("dtype", "stress")}
    return digest_of({"potential": {key: info.get(key) for key in facts}, "head": head, **numeric})


def firsts(digests: Sequence[str]) -> list[int]:
    """Return for each entry the index of the first one that is equal to it."""
    seen: dict[str, int] = {}
    return [seen.setdefault(digest, index) for index, digest in enumerate(digests)]
