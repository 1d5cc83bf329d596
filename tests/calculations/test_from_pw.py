"""Data sets from pw.x calculations of the database: links, bookkeeping, and what is refused."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState
from ase.build import bulk

from aiida_mlip.calculations.from_pw import PW_PROCESS_TYPE, import_pw, pw_calculation
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, GROUP, SOURCE, STRESS

pytestmark = pytest.mark.usefixtures("aiida_profile")

UPF = '<UPF version="2.0.1"><PP_HEADER element="W" z_valence="14.0"/>{}</UPF>'


def pseudo(comment: str = "") -> Any:
    from aiida_pseudo.data.pseudo.upf import UpfData

    return UpfData(io.BytesIO(UPF.format(comment).encode()), filename="W.upf")


def make_calculation(
    localhost,
    *,
    calculation: str = "scf",
    state: ProcessState = ProcessState.FINISHED,
    exit_status: int = 0,
    n_frames: int = 1,
    energy: float = -10.0,
    cutoff: float = 60.0,
    upf: str = "",
    leave_out: tuple[str, ...] = (),
) -> orm.CalcJobNode:
    """A PwCalculation as the parser of aiida-quantumespresso leaves it, for two atoms of different kinds."""
    atoms = bulk("W", "bcc", a=3.2, cubic=True)
    structure = orm.StructureData(cell=atoms.cell.tolist(), pbc=[True] * 3)
    for name, position in zip(("W1", "W2"), atoms.positions, strict=True):
        structure.append_atom(symbols="W", name=name, position=position)
    node = orm.CalcJobNode(computer=localhost, process_type=PW_PROCESS_TYPE)
    parameters = orm.Dict({"CONTROL": {"calculation": calculation}, "SYSTEM": {"ecutwfc": cutoff}})
    for label, data in {"structure": structure, "parameters": parameters, "pseudos__W1": pseudo(upf)}.items():
        node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, label)
    node.set_process_state(state)
    node.set_exit_status(exit_status)
    node.store()
    trajectory = orm.TrajectoryData()
    trajectory.set_trajectory(
        symbols=["W1", "W2"],
        positions=np.array([atoms.positions] * n_frames),
        cells=np.array([atoms.cell.array] * n_frames),
        pbc=[True] * 3,
    )
    values = {
        "energy": energy + 0.1 * np.arange(n_frames),
        "forces": np.arange(n_frames * 6.0).reshape(n_frames, 2, 3),
        "stress": np.array([np.diag([16.0, 32.0, 48.0])] * n_frames),
    }
    for name, value in values.items():
        if name not in leave_out:
            trajectory.set_array(name, value)
    outputs = {"output_trajectory": trajectory, "output_parameters": orm.Dict({"dft_exchange_correlation": "PBE"})}
    for label, data in outputs.items():
        if label not in leave_out:
            data.base.links.add_incoming(node, LinkType.CREATE, label)
            data.store()
    return node


def test_data_set_is_linked_to_each_calculation(localhost) -> None:
    nodes = [make_calculation(localhost, energy=-10.0), make_calculation(localhost, energy=-11.0)]
    dataset = import_pw(nodes, config_types=["bcc", "fcc"], groups=["g1", "g2"])
    frames = list(dataset.frames())
    assert [atoms.info[ENERGY] for atoms in frames] == [-10.0, -11.0]
    assert [atoms.info[CONFIG_TYPE] for atoms in frames] == ["bcc", "fcc"]
    assert [atoms.info[GROUP] for atoms in frames] == ["g1", "g2"]
    assert [atoms.info[SOURCE] for atoms in frames] == [node.uuid for node in nodes]
    assert frames[0].get_chemical_symbols() == ["W", "W"]
    np.testing.assert_allclose(frames[0].info[STRESS][:3] * -160.21766208, [16.0, 32.0, 48.0])
    inputs = dataset.creator.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all_nodes()
    assert {node.creator.uuid for node in inputs if node.creator} == {node.uuid for node in nodes}
    assert "PBE, 60 Ry" in dataset.level_of_theory


def test_order_is_kept_beyond_ten(localhost) -> None:
    nodes = [make_calculation(localhost, energy=-float(index)) for index in range(12)]
    frames = list(import_pw(nodes).frames())
    assert [atoms.info[ENERGY] for atoms in frames] == [-float(index) for index in range(12)]


def test_all_frames_of_one_run_share_a_group(localhost) -> None:
    node = make_calculation(localhost, calculation="md", n_frames=3)
    frames = list(import_pw([node], which="all").frames())
    assert len(frames) == 3
    assert {atoms.info[GROUP] for atoms in frames} == {node.uuid}
    np.testing.assert_array_equal(frames[1].arrays[FORCES], np.arange(6.0, 12.0).reshape(2, 3))


def test_relaxation_cut_short_has_valid_labels(localhost) -> None:
    node = make_calculation(localhost, calculation="relax", exit_status=502, n_frames=2)
    assert len(import_pw([node], which="all")) == 2


def test_work_chain_stands_for_its_last_calculation(localhost) -> None:
    first, last = make_calculation(localhost, exit_status=410), make_calculation(localhost)
    chain = orm.WorkChainNode().store()
    for index, node in enumerate((first, last)):
        again = orm.CalcJobNode(computer=localhost, process_type=node.process_type)
        again.base.links.add_incoming(chain, LinkType.CALL_CALC, f"iteration_{index}")
        again.store()
        latest = again
    assert pw_calculation(chain).uuid == latest.uuid


@pytest.mark.parametrize(
    ("kwargs", "which", "message"),
    [
        ({"state": ProcessState.RUNNING}, "last", "is running: wait"),
        ({"exit_status": 410}, "last", "exit status 410"),
        ({"calculation": "vc-relax", "exit_status": 502}, "last", "exit status 502"),
        ({"calculation": "nscf"}, "last", "run an scf instead"),
        ({"calculation": "vc-md"}, "last", "no final scf"),
        ({"calculation": "vc-relax", "n_frames": 2}, "all", "variable cell"),
        ({"leave_out": ("forces",)}, "last", "tprnfor"),
        ({"leave_out": ("output_trajectory",)}, "last", "no output_trajectory"),
    ],
)
def test_refused(localhost, kwargs, which, message) -> None:
    node = make_calculation(localhost, **kwargs)
    with pytest.raises(ValueError, match=message) as caught:
        import_pw([node], which=which)
    assert str(node.pk) in str(caught.value)


def test_missing_stress_is_allowed(localhost) -> None:
    (atoms,) = import_pw([make_calculation(localhost, leave_out=("stress",))]).frames()
    assert STRESS not in atoms.info


@pytest.mark.parametrize("change", [{"cutoff": 40.0}, {"upf": "<!-- another -->"}])
def test_levels_of_theory_are_not_mixed(localhost, change) -> None:
    with pytest.raises(ValueError, match=r"[Ii]mport each (of them|set) on its own"):
        import_pw([make_calculation(localhost), make_calculation(localhost, **change)])


def test_refusal_leaves_no_process_behind(localhost) -> None:
    node = make_calculation(localhost, leave_out=("forces",))
    before = orm.QueryBuilder().append(orm.CalcFunctionNode).count()
    with pytest.raises(ValueError, match="tprnfor"):
        import_pw([node])
    assert orm.QueryBuilder().append(orm.CalcFunctionNode).count() == before


def test_other_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="no PwCalculation"):
        pw_calculation(orm.WorkChainNode().store())
    with pytest.raises(ValueError, match="nodes is empty"):
        import_pw([])
    with pytest.raises(ValueError, match="groups has 2 entries for 1"):
        import_pw([orm.WorkChainNode().store()], groups=["a", "b"])
