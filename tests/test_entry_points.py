"""Every entry point of the distribution loads, and has the name AiiDA's registry expects."""

from __future__ import annotations

from importlib import metadata

import pytest
from aiida.plugins import CalculationFactory, DataFactory, ParserFactory, WorkflowFactory

DISTRIBUTION = "aiida-mlip-workchains"
FACTORIES = {
    "aiida.calculations": CalculationFactory,
    "aiida.data": DataFactory,
    "aiida.parsers": ParserFactory,
    "aiida.workflows": WorkflowFactory,
}
SUFFIXES = {
    "aiida.calculations": "Calculation",
    "aiida.data": "Data",
    "aiida.parsers": "Parser",
    "aiida.workflows": "WorkChain",
}

ENTRY_POINTS = list(metadata.distribution(DISTRIBUTION).entry_points)
PLUGINS = [point for point in ENTRY_POINTS if point.group in FACTORIES]
PROCESSES = [point for point in PLUGINS if point.group in {"aiida.calculations", "aiida.workflows"}]


def test_the_distribution_declares_plugins_of_every_kind():
    assert {point.group for point in PLUGINS} == set(FACTORIES)


@pytest.mark.parametrize("point", PLUGINS, ids=lambda point: f"{point.group}:{point.name}")
def test_plugins_load_and_are_named_by_the_rule(point):
    loaded = FACTORIES[point.group](point.name)
    assert loaded.__name__ == point.attr
    assert loaded.__name__.endswith(SUFFIXES[point.group])
    assert point.name.startswith("mlip.")
    assert loaded.__doc__


@pytest.mark.parametrize("point", PROCESSES, ids=lambda point: point.name)
def test_exit_codes_have_one_meaning_and_words_for_it(point):
    codes = [code for code in point.load().spec().exit_codes.values() if code.status >= 200]
    assert codes
    assert len({code.status for code in codes}) == len(codes)
    assert all(code.message and code.status < 800 for code in codes)


@pytest.mark.parametrize("point", PROCESSES, ids=lambda point: point.name)
def test_every_input_and_output_is_explained(point):
    spec = point.load().spec()
    ports = [*spec.inputs.items(), *spec.outputs.items()]
    silent = [name for name, port in ports if not (port.help or getattr(port, "ports", None))]
    assert silent == []


@pytest.mark.parametrize("point", [point for point in PLUGINS if point.group == "aiida.parsers"], ids=lambda p: p.name)
def test_every_parser_has_a_calculation_of_its_name(point):
    assert point.name in {other.name for other in PLUGINS if other.group == "aiida.calculations"}


def test_the_command_is_installed():
    (command,) = (point for point in ENTRY_POINTS if point.group == "console_scripts")
    assert command.name == "aiida-mlip"
    assert callable(command.load())
