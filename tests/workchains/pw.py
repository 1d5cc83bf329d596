"""The real pw.x for tests: tiny systems, with the pseudopotentials of Debian's quantum-espresso-data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from aiida import orm

FOLDER = Path("/usr/share/espresso/pseudo")
PSEUDOS = {"Al": FOLDER / "Al.pz-vbc.UPF", "H": FOLDER / "H.pz-vbc.UPF"}

IS_HERE = shutil.which("pw.x") is not None and all(path.exists() for path in PSEUDOS.values())

ENVIRONMENT = "export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"

PARAMETERS = {
    "CONTROL": {"calculation": "scf", "tprnfor": True, "tstress": True},
    "SYSTEM": {"ecutwfc": 12.0, "occupations": "smearing", "smearing": "cold", "degauss": 0.05},
    "ELECTRONS": {"conv_thr": 1e-8},
}


def pw_code(computer: orm.Computer, executable: str | None = None) -> orm.InstalledCode:
    """The installed pw.x, or a script that stands before it."""
    return orm.InstalledCode(
        label="pw",
        computer=computer,
        filepath_executable=executable or shutil.which("pw.x"),
        default_calc_job_plugin="quantumespresso.pw",
        prepend_text=ENVIRONMENT,
        with_mpi=False,
    ).store()


def pseudos(*elements: str) -> dict[str, Any]:
    from aiida_pseudo.data.pseudo.upf import UpfData

    return {element: UpfData.get_or_create(PSEUDOS[element]).store() for element in elements}


def pw_inputs(code: orm.InstalledCode, *elements: str, **options: Any) -> dict[str, Any]:
    """Inputs of the namespace ``pw``."""
    return {
        "pw": {
            "code": code,
            "parameters": orm.Dict(PARAMETERS),
            "pseudos": pseudos(*elements),
            "metadata": {"options": {"resources": {"num_machines": 1}, "withmpi": False, **options}},
        },
        "kpoints_distance": orm.Float(1.0),
    }
