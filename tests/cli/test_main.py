"""The root command: fast, lazy, and each command documented with an example."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from aiida_mlip import __version__
from aiida_mlip.cli import _neighbour, main

CONTEXT = click.Context(main)
HEAVY = ("aiida", "torch", "mace", "ase", "numpy", "pymatgen", "plotly")


def commands() -> dict[str, click.Command]:
    """Every command a user can run, by its full name."""
    found: dict[str, click.Command] = {}

    def walk(name: str, command: click.Command) -> None:
        found[name] = command
        if isinstance(command, click.Group):
            for sub in command.list_commands(CONTEXT):
                child = command.get_command(CONTEXT, sub)
                assert child is not None
                walk(f"{name} {sub}", child)

    walk("aiida-mlip", main)
    return found


COMMANDS = commands()


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys, contextlib, io\n"
        "from aiida_mlip.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print(out.getvalue())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, shown = done.stdout.split("\n", 1)
    assert loaded == "[]"
    for name in main.list_commands(CONTEXT):
        assert f"  {name} " in shown


def test_a_command_of_each_room_is_there():
    assert {"setup", "foundation", "dataset", "report", "lineage", "status"} <= set(main.list_commands(CONTEXT))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_and_shows_an_example(name):
    arguments = name.split()[1:]
    result = CliRunner().invoke(main, [*arguments, "--help"], prog_name="aiida-mlip")
    assert result.exit_code == 0, result.output
    assert "Example" in result.output
    assert name in result.output.split("Example", 1)[1]
    assert [
        option.name for option in COMMANDS[name].params if isinstance(option, click.Option) and not option.help
    ] == []


def test_version_and_unknown_commands():
    assert CliRunner().invoke(main, ["--version"]).output == f"aiida-mlip, version {__version__}\n"
    result = CliRunner().invoke(main, ["fine-tune"])
    assert result.exit_code == 2
    assert "No such command 'fine-tune'" in result.output


def fake_distribution(folder: Path, name: str, version: str) -> None:
    """Write the metadata that an installed distribution leaves."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_the_other_distribution_with_our_import_name_is_reported(tmp_path, monkeypatch):
    fake_distribution(tmp_path, "aiida-mlip", "0.2.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = CliRunner().invoke(main, ["setup", "--local"])
    assert result.exit_code == 1
    for words in ("aiida-mlip 0.2.1", "stfc", "pip uninstall --yes aiida-mlip aiida-mlip-workchains"):
        assert words in result.output


def test_our_own_distribution_is_no_conflict(tmp_path):
    fake_distribution(tmp_path, "aiida-mlip-workchains", "0.1.0")
    assert _neighbour.conflict([str(tmp_path)]) is None
    fake_distribution(tmp_path, "aiida-mlip", "1.0")
    assert "aiida-mlip 1.0" in _neighbour.conflict([str(tmp_path)])


def test_a_missing_profile_is_named_with_the_ways_out():
    example = Path(__file__).parents[2] / "examples" / "computers" / "localhost.yaml"
    result = CliRunner().invoke(main, ["--profile", "no-such-profile", "setup", str(example)])
    assert result.exit_code == 1
    for words in ("no-such-profile", "verdi profile list", "aiida-mlip setup --local"):
        assert words in result.output
