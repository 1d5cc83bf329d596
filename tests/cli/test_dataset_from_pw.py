"""`aiida-mlip dataset import --from-pw` on calculations that the real pw.x has just finished."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk
from click.testing import CliRunner

from aiida_mlip.science import keys

PSEUDO = Path("/usr/share/espresso/pseudo/Al.pz-vbc.UPF")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("pw.x") is None or not PSEUDO.exists(),
        reason="needs Debian's quantum-espresso and quantum-espresso-data: make system-deps",
    ),
]


@pytest.fixture
def finished(aiida_profile_clean, localhost) -> list[orm.CalcJobNode]:
    """Two scf calculations of distorted aluminium, 0.01 Å^3/atom apart in volume."""
    from aiida_pseudo.data.pseudo.upf import UpfData

    code = orm.InstalledCode(
        label="pw",
        computer=localhost,
        filepath_executable=shutil.which("pw.x"),
        default_calc_job_plugin="quantumespresso.pw",
        prepend_text="export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
        with_mpi=False,
    ).store()
    return [_scf(code, UpfData(PSEUDO), scale) for scale in (1.0, 1.0002)]


def _scf(code: orm.InstalledCode, pseudo: orm.Data, scale: float) -> orm.CalcJobNode:
    atoms = bulk("Al", "fcc", a=4.0, cubic=True)
    atoms.set_cell(np.diag([4.0, 4.1, 3.9]), scale_atoms=True)
    atoms.positions[1] += [0.1, 0.05, 0.0]
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([3, 3, 3])
    builder = CalculationFactory("quantumespresso.pw").get_builder()
    builder.code = code
    builder.structure = orm.StructureData(ase=atoms)
    builder.pseudos = {"Al": pseudo}
    builder.kpoints = kpoints
    builder.parameters = orm.Dict(
        {
            "CONTROL": {"calculation": "scf", "tstress": True, "tprnfor": True},
            "SYSTEM": {"ecutwfc": 16.0, "occupations": "smearing", "smearing": "cold", "degauss": 0.05},
            "ELECTRONS": {"conv_thr": 1e-11},
        }
    )
    builder.metadata.options = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "withmpi": False}
    node = run_get_node(builder)[1]
    assert node.is_finished_ok, node.exit_message
    return node


def test_labels_of_real_calculations_are_force_consistent_and_linked(finished: list[orm.CalcJobNode]) -> None:
    from aiida_mlip.cli import main
    from aiida_mlip.data.dataset import DatasetData

    pks = ",".join(str(node.pk) for node in finished)
    result = CliRunner().invoke(main, ["dataset", "import", "--from-pw", pks, "--config-type", "al", "--label", "al"])
    assert result.exit_code == 0, result.output
    dataset = orm.QueryBuilder().append(DatasetData).one()[0]
    first, second = dataset.frames()
    assert {first.info[keys.SOURCE], second.info[keys.SOURCE]} == {node.uuid for node in finished}
    assert dataset.creator is not None
    strain = (second.cell[0, 0] - first.cell[0, 0]) / first.cell[0, 0]
    pressure_work = (second.info[keys.ENERGY] - first.info[keys.ENERGY]) / (first.get_volume() * 3 * strain)
    trace = (first.info[keys.STRESS][:3].mean() + second.info[keys.STRESS][:3].mean()) / 2
    assert trace == pytest.approx(pressure_work, rel=0.05)
    np.testing.assert_allclose(first.arrays[keys.FORCES].sum(axis=0), 0.0, atol=1e-3)
    assert np.abs(first.arrays[keys.FORCES]).max() > 0.05
    audit = CliRunner().invoke(main, ["dataset", "audit", "al", "--strict"])
    assert audit.exit_code == 0, audit.output


def test_an_unfinished_calculation_is_refused(aiida_profile_clean, localhost) -> None:
    from aiida_mlip.cli import main

    node = orm.CalcJobNode(computer=localhost, process_type="aiida.calculations:quantumespresso.pw").store()
    result = CliRunner().invoke(main, ["dataset", "import", "--from-pw", str(node.pk)])
    assert result.exit_code == 1
    assert str(node.pk) in result.output
