"""The registry, and one conformance test over every property in it."""

import json
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

import aiida_mlip
from aiida_mlip.science import properties
from aiida_mlip.science.properties import Journal, Notebook, Property, PropertyError, PropertyRecord
from aiida_mlip.worker.backends.finnis_sinclair import PARAMETERS, FinnisSinclair


def analytic(prop: Property) -> Calculator:
    """Return an analytic potential for the conformance case: Finnis-Sinclair for its bcc metals, else EMT."""
    return FinnisSinclair() if prop.conformance["element"] in PARAMETERS else EMT()


def test_names_hold_the_first_properties() -> None:
    assert {"eos", "elastic", "vacancy"} <= set(properties.names())
    assert not [name for name in properties.names() if name.startswith("_")]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"property = 'elastics' is not known: known are .*elastic"):
        properties.get("elastics")


@pytest.mark.parametrize("name", properties.names())
def test_conformance(name: str) -> None:
    """Every property: named as its module, described, computed, strict inputs, JSON there and back."""
    prop = properties.get(name)
    assert prop.name == name
    assert prop.summary.endswith(".")
    assert all(field.description for field in prop.inputs.model_fields.values()), "every input is described"
    for field in set(prop.result.model_fields) - {"flags"}:
        assert prop.result.model_fields[field].description, f"{field} has a description with its unit"
    stages: list[str] = []
    report = Journal(lambda stage, step, total: stages.append(stage))
    record, structures = properties.compute(prop, prop.conformance, analytic(prop), report)
    assert record.error is None
    assert record.usable()
    assert record.quantities
    assert all(quantity.unit for quantity in record.quantities)
    assert len({item.key for item in (*record.quantities, *record.series)}) == len(record.quantities + record.series)
    assert stages
    assert 0 < record.force_calls <= record.atom_calls
    assert structures
    assert all(atoms.calc is None and atoms.info["config_type"] for atoms in structures)
    assert prop.result.model_validate(record.result) is not None
    assert PropertyRecord.model_validate_json(record.model_dump_json()) == record
    assert properties.parse_inputs(prop, record.inputs) == properties.parse_inputs(prop, prop.conformance)
    with pytest.raises(ValueError, match=rf"{name}.no_such_field is not a known field: known here are"):
        properties.parse_inputs(prop, {**prop.conformance, "no_such_field": 1})


@pytest.mark.parametrize("name", properties.names())
def test_same_inputs_same_numbers(name: str) -> None:
    prop = properties.get(name)
    first, second = (properties.compute(prop, prop.conformance, analytic(prop))[0] for _ in range(2))
    assert first.result == second.result
    assert first.force_calls == second.force_calls


@pytest.mark.parametrize("name", properties.names())
def test_restart_from_finished_steps_gives_the_same(name: str) -> None:
    """What a property keeps is enough to go on: a second run over a full notebook finds the same with fewer calls."""
    prop = properties.get(name)
    notebook = Notebook()
    first, before = properties.compute(prop, prop.conformance, analytic(prop), Journal(notebook=notebook))
    if not notebook.steps:
        pytest.skip(f"{name} keeps no steps: it is short")
    kept = Notebook.model_validate_json(notebook.model_dump_json())
    calls = kept.cost.force_calls
    second, after = properties.compute(prop, prop.conformance, analytic(prop), Journal(notebook=kept))
    assert second.result == first.result
    assert second.series == first.series
    assert len(after) == len(before)
    assert second.force_calls - calls < first.force_calls / 2, "the kept steps are not computed again"


def test_discovery_works_inside_a_zipapp(tmp_path: Path) -> None:
    """The worker is a zipapp: its registry must find what a directory listing would."""
    root = tmp_path / "app" / "aiida_mlip"
    source = Path(aiida_mlip.__file__).parent
    for path in [source / "__init__.py", *(source / "science").rglob("*.py")]:
        target = root / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (root.parent / "__main__.py").write_text(
        "import json\n"
        "from ase.calculators.emt import EMT\n"
        "from aiida_mlip.science import properties as p\n"
        "prop = p.get('elastic')\n"
        "record, _ = p.compute(prop, prop.conformance, EMT())\n"
        "print(json.dumps([p.__file__, p.names(), record.result['c11']]))\n"
    )
    archive = tmp_path / "app.pyz"
    zipapp.create_archive(root.parent, archive)
    done = subprocess.run([sys.executable, "-I", archive], capture_output=True, text=True, check=True)
    file, names, c11 = json.loads(done.stdout)
    assert ".pyz" in file
    assert tuple(names) == properties.names()
    assert c11 > 0


class Broken(Calculator):
    """A calculator that raises."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):  # type: ignore[no-untyped-def]
        raise PropertyError("no such thing")


def test_a_failure_is_recorded_with_type_and_message() -> None:
    record, structures = properties.compute(properties.get("elastic"), {"element": "W"}, Broken())
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("PropertyError", "no such thing")
    assert not record.usable()
    assert structures == ()


def test_named_exceptions_go_through() -> None:
    with pytest.raises(PropertyError, match="no such thing"):
        properties.compute(properties.get("elastic"), {"element": "W"}, Broken(), propagate=(PropertyError,))


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("eos", {}, "eos.element is required"),
        ("eos", {"element": "Xx"}, "eos.element = 'Xx': is not a chemical symbol"),
        ("eos", {"element": "W", "structure": "hcp"}, "eos.structure = 'hcp'"),
        ("eos", {"element": "W", "phases": ["bcc"]}, "phases: a phase is named twice"),
        ("eos", {"element": "W", "volumes": [-1.0]}, "a volume is not positive"),
        ("elastic", {"element": "W", "strains": [0.01, 0.01]}, "two different sizes"),
        ("elastic", {"element": "W", "strains": [0.01, 0.2]}, "two different sizes"),
        ("elastic", {"element": "W", "lattice_constant": -3.0}, "elastic.lattice_constant = -3.0"),
        ("vacancy", {"element": "W", "sizes": [1]}, "sizes of at least 2"),
        ("vacancy", {"element": "W", "fmax": 0}, "vacancy.fmax = 0"),
    ],
)
def test_wrong_inputs_are_refused_in_words(name: str, inputs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        properties.parse_inputs(properties.get(name), inputs)
