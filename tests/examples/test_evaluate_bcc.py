"""The example that evaluates bcc metals: which potentials it takes, and what it refuses before it submits."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType

import click
import pytest
from aiida import orm
from aiida.common.links import LinkType
from click.testing import CliRunner

from aiida_mlip.data.potential import PotentialData

EXAMPLE = Path(__file__).parents[2] / "examples" / "evaluate_bcc.py"


@pytest.fixture
def example(aiida_profile_clean) -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate_bcc", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def potential(label: str, *elements: str) -> PotentialData:
    known = {"architecture": "finnis_sinclair", "elements": list(elements)}
    info = {**known, "r_max": 4.4, "dtype": "float64", "num_parameters": 0, "name": label}
    return PotentialData(io.BytesIO(json.dumps(known).encode()), info).store()


def fine_tuned(start: PotentialData, label: str) -> PotentialData:
    """A potential that a fine-tuning of this label returned."""
    chain = orm.WorkChainNode(process_type="aiida.workflows:mlip.finetune", label=label)
    chain.base.links.add_incoming(start, LinkType.INPUT_WORK, "potential")
    chain.store()
    job = orm.CalcJobNode(computer=orm.load_computer("localhost"), process_type="aiida.calculations:mlip.train")
    job.base.links.add_incoming(chain, LinkType.CALL_CALC, "train")
    job.store()
    found = PotentialData(
        io.BytesIO(json.dumps({"architecture": "lj", "elements": ["W"]}).encode()),
        start.info.model_copy(update={"architecture": "lj", "elements": ("W",), "sha256": "", "name": label}),
    )
    found.base.links.add_incoming(job, LinkType.CREATE, "potential")
    found.store()
    found.base.links.add_incoming(chain, LinkType.RETURN, "potential")
    return found


def test_without_a_choice_the_foundation_model_and_the_newest_fine_tuned_one(example, aiida_localhost) -> None:
    foundation = potential(example.FOUNDATION, "W", "Mo")
    assert {name: node.uuid for name, node in example.before_and_after().items()} == {"foundation": foundation.uuid}
    fine_tuned(foundation, "tungsten, naive, fast")
    newest = fine_tuned(foundation, "tungsten, lora, fast")
    fine_tuned(foundation, "copper, naive")
    fine_tuned(potential("other", "W"), "tungsten, from another one")
    assert {name: node.uuid for name, node in example.before_and_after().items()} == {
        "foundation": foundation.uuid,
        "tungsten": newest.uuid,
    }


def test_potentials_are_named_by_the_user_or_by_their_labels(example) -> None:
    first, second = potential("mace-omat-0", "W"), potential("other", "W", "Mo")
    found = example.named(("mace-omat-0", f"mine={second.pk}"))
    assert {name: node.uuid for name, node in found.items()} == {"mace_omat_0": first.uuid, "mine": second.uuid}
    with pytest.raises(click.BadParameter, match="given twice"):
        example.named(("other", "other"))


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--property", "vacency"], ["vacency", "vacancy"]),
        (["--potential", "absent"], ["'absent'", "PotentialData"]),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_submitted(
    example, worker_code, arguments: list[str], messages: list[str]
) -> None:
    potential("fs", "W")
    result = CliRunner().invoke(example.main, ["--potential", "classical=fs", *arguments])
    assert result.exit_code == 1, result.output
    for message in messages:
        assert message in result.output
    assert orm.QueryBuilder().append(orm.ProcessNode).count() == 0
