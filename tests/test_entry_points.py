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


def test_the_distribution_declares_plugins_of_every_kind():
    assert {point.group for point in PLUGINS} == set(FACTORIES)


@pytest.mark.parametrize("point", PLUGINS, ids=lambda point: f"{point.group}:{point.name}")
def test_plugins_load_and_are_named_by_the_rule(point):
    loaded = FACTORIES[point.group](point.name)
    assert loaded.__name__ == point.attr
    assert loaded.__name__.endswith(SUFFIXES[point.group])
    assert point.name.startswith("mlip.")
    assert loaded.__doc__


@pytest.mark.parametrize("point", [point for point in PLUGINS if point.group == "aiida.parsers"], ids=lambda p: p.name)
def test_every_parser_has_a_calculation_of_its_name(point):
    assert point.name in {other.name for other in PLUGINS if other.group == "aiida.calculations"}


def test_the_command_is_installed():
    (command,) = (point for point in ENTRY_POINTS if point.group == "console_scripts")
    assert command.name == "aiida-mlip"
    assert callable(command.load())
