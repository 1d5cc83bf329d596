"""Force tests through AiiDA: probes, labels of two potentials by ``mlip.label``, and the scores."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase import Atoms
from ase.build import molecule
from ase.calculators.lj import LennardJones

from aiida_mlip.calculations.force_tests import probe_frames, score_forces
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.schema.electrolyte import ForceTestSettings
from aiida_mlip.schema.labelling import LabelReport
from aiida_mlip.science.keys import CONFIG_TYPE, ENERGY, FORCES, STRESS
from aiida_mlip.science.liquids.force_plan import ForceTestPlan
from aiida_mlip.science.liquids.force_results import ForceTestResult
from aiida_mlip.workchains.label import LabelWorkChain

SETTINGS = ForceTestSettings(
    configurations=3,
    volume_scan={"densities": (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0)},
    dimers={"pairs": 1, "shifts": (-1.5, -1.0, -0.6, -0.3, 0.0, 0.5, 1.0, 3.0, 8.0)},
).model_dump(mode="json")


def box(seed: int, *, ion: bool = False) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = Atoms(cell=[8.6, 7.8, 8.2], pbc=True)
    for number, spot in enumerate([(0.05, 0.0, 0.98), (0.55, 0.5, 0.0), (0.0, 0.52, 0.48), (0.52, 0.02, 0.5)]):
        part = molecule("H2CO" if number % 2 else "H2O")
        part.rotate(rng.uniform(0, 360), rng.normal(size=3))
        part.positions += np.array(spot) @ atoms.cell.array + rng.normal(scale=0.05, size=part.positions.shape)
        atoms += part
    if ion:
        atoms += Atoms("Li", [[2.1, 2.0, 2.2]])
    atoms = atoms[rng.permutation(len(atoms))]
    atoms.wrap()
    return atoms


def potential(**parameters: float) -> PotentialData:
    known = {"architecture": "ase", "elements": ["H", "Li", "C", "O"]}
    document = {**known, "calculator": "pair_liquid:PairLiquid", "parameters": parameters}
    info = {**known, "r_max": 5.5, "dtype": "float64", "num_parameters": 0, "level_of_theory": "pairs"}
    return PotentialData(io.BytesIO(json.dumps(document).encode()), info)


def pair_liquid(repository: Path) -> Any:
    """The calculator of :func:`potential`, in this process."""
    spec = importlib.util.spec_from_file_location("pair_liquid", folder(repository) / "pair_liquid.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PairLiquid


def folder(repository: Path) -> Path:
    return repository / "tests" / "science" / "liquids"


def labelled_by_hand(frames: list[Atoms], calculator: Any) -> tuple[DatasetData, orm.Dict]:
    """Labels and report as ``mlip.label`` returns them."""
    done = []
    for frame in frames:
        atoms, found = frame.copy(), frame.copy()
        atoms.calc = calculator
        found.info[ENERGY], found.arrays[FORCES] = atoms.get_potential_energy(), atoms.get_forces()
        if atoms.pbc.all():
            found.info[STRESS] = atoms.get_stress()
        done.append(found)
    report = LabelReport(asked=len(frames), labelled=len(frames), reused=0).model_dump(mode="json")
    return DatasetData(done, level_of_theory="pairs"), orm.Dict(report)


def test_a_right_and_a_wrong_potential_from_probes_to_scores(
    aiida_profile, worker_code: orm.PortableCode, localhost: orm.Computer, repository: Path
) -> None:
    """A frame with lithium, which the wrong one refuses, has no label: that is counted, and the others compared."""
    configurations = DatasetData([box(0), box(1), box(2, ion=True)])
    made = probe_frames(configurations, orm.Dict(SETTINGS), small=DatasetData([box(7)]))
    again = probe_frames(configurations, orm.Dict(SETTINGS), small=DatasetData([box(7)]))
    probes, plan = made["probes"], made["plan"]
    assert probes.base.caching.get_hash() == again["probes"].base.caching.get_hash()
    assert probes.creator.process_label == "probe_frames"
    assert probes.config_types["volume_scan"] == 8
    assert ForceTestPlan(**plan.get_dict()).scans[0].name == "small"
    options = {"prepend_text": f"export PYTHONPATH={folder(repository)}"}
    batch = {"code": worker_code, "metadata": {"computer": localhost, "options": options}, "settings": {}}
    wrong, node = run_get_node(
        LabelWorkChain,
        configurations=probes,
        settings={"max_force": None, "max_failed_fraction": 1.0},
        batch={**batch, "potential": potential(hole=12.0, epsilon=0.024, lithium=False)},
    )
    assert node.is_finished_ok, node.exit_message
    assert len(wrong["labelled"]) == len(probes) - 2  # the box with lithium, and lithium alone
    truth, report = labelled_by_hand(list(probes.frames()), pair_liquid(repository)())
    results = {}
    for name, labels, told in (("right", truth, report), ("wrong", wrong["labelled"], wrong["report"])):
        outputs = score_forces(plan, orm.Dict(SETTINGS), labels, told, truth, report)
        results[name] = ForceTestResult(**outputs["results"].get_dict())
        assert outputs["curves"].creator.uuid == outputs["results"].creator.uuid
        assert outputs["curves"].get_array("scan_small_true").shape == (8,)
    right, bad = ({check.check: check.status for check in result.checks} for result in results.values())
    assert (results["right"].failed_predicted, results["wrong"].failed_predicted) == (0, 2)
    assert results["wrong"].failed_true == 0
    assert results["right"].level_of_theory == "pairs"
    assert right.pop("energies_inter") == "inconclusive"  # one frame with lithium: its constant leaves two to compare
    assert right.pop("volume_stress") == "inconclusive"  # eight densities are far apart
    assert set(right.values()) == {"pass"}
    assert {"forces_inter", "volume_depth"} <= {name for name, said in bad.items() if said == "fail"}


def test_without_a_labeller_the_labels_of_the_configurations_count(aiida_profile) -> None:
    frames = [box(0), box(1), box(2)]
    carried, _ = labelled_by_hand(frames, LennardJones(sigma=1.2, epsilon=0.1, rc=5.0))
    made = probe_frames(carried, orm.Dict(SETTINGS))
    predicted, report = labelled_by_hand(list(made["probes"].frames()), LennardJones(sigma=1.2, epsilon=0.11, rc=5.0))
    outputs = score_forces(made["plan"], orm.Dict(SETTINGS), predicted, report, truth=carried)
    result = ForceTestResult(**outputs["results"].get_dict())
    rows = {(row.part, row.quantity): row for row in result.errors}
    assert rows["total", "forces"].relative == pytest.approx(0.1, rel=0.02)
    assert ("inter", "forces") not in rows
    assert any("molecules alone have none" in note for note in result.notes)
    bare = score_forces(made["plan"], orm.Dict(SETTINGS), predicted, report, truth=DatasetData(frames))
    assert ForceTestResult(**bare["results"].get_dict()).level_of_theory == "none"


def test_boxes_alone_are_decomposed_and_scanned(aiida_profile) -> None:
    made = probe_frames(None, orm.Dict(SETTINGS), first=DatasetData([box(3)]), second=DatasetData([box(4)]))
    plan = ForceTestPlan(**made["plan"].get_dict())
    assert len(plan.configurations) == 2
    assert [scan.name for scan in plan.scans] == ["first"]
    whole = next(made["probes"].frames())
    assert whole.info[CONFIG_TYPE] == "configuration"
    assert ENERGY not in whole.info
    assert FORCES not in whole.arrays


def test_labels_of_other_probes_are_refused(aiida_profile) -> None:
    made = probe_frames(DatasetData([box(0)]), orm.Dict(SETTINGS))
    other, report = labelled_by_hand([box(0), box(1)], LennardJones(sigma=1.2, rc=5.0))
    with pytest.raises(ValueError, match="give the labels of these probes"):
        score_forces(made["plan"], orm.Dict(SETTINGS), other, report)
    with pytest.raises(ValueError, match="nothing to test"):
        probe_frames(DatasetData([molecule("H2O")]))
