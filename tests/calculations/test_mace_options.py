"""The list of mace's options against mace itself."""

from __future__ import annotations

from importlib import metadata

import pytest

from aiida_mlip.schema import mace_options
from aiida_mlip.schema.training import TrainSettings


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The long options of mace_run_train."""
    from mace.tools.arg_parser import build_default_arg_parser

    actions = build_default_arg_parser()._actions
    names = {text.removeprefix("--") for action in actions for text in action.option_strings if text.startswith("--")}
    return names - {"help"}


def test_the_list_is_that_of_the_installed_mace(known: set[str]) -> None:
    assert metadata.version("mace-torch") == mace_options.MACE_VERSION
    assert known == mace_options.OPTIONS


@pytest.mark.parametrize("table", [mace_options.TYPED, mace_options.MANAGED, mace_options.UNSUPPORTED])
def test_tables_name_options_that_exist(table: set[str], known: set[str]) -> None:
    assert set(table) <= known


def test_no_option_is_in_two_tables() -> None:
    tables = [set(mace_options.TYPED), set(mace_options.MANAGED), set(mace_options.UNSUPPORTED)]
    assert len(set().union(*tables)) == sum(map(len, tables))


def test_typed_options_name_fields_that_exist() -> None:
    fields = {field.split(".")[0] for field in mace_options.TYPED.values()}
    assert fields <= set(TrainSettings.model_fields)
