"""The commands `aiida-mlip foundation` and `aiida-mlip potential`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aiida_mlip.cli import main
from aiida_mlip.foundation import registry


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_list_works_without_a_profile_and_without_aiida(tmp_path: Path) -> None:
    program = (
        "import sys; from aiida_mlip.cli import main\n"
        "main(['foundation', 'list'], standalone_mode=False)\n"
        "assert not {'aiida', 'torch', 'mace'} & sys.modules.keys()"
    )
    environment = {**os.environ, "AIIDA_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in registry.registry())
    assert list(tmp_path.iterdir()) == []


def test_list_as_json_with_filters() -> None:
    everything = json.loads(run("foundation", "list", "--json").stdout)
    assert [entry["name"] for entry in everything] == list(registry.registry())
    free = json.loads(run("foundation", "list", "--json", "--licence", "mit", "--elements", "W,O").stdout)
    assert {entry["licence"]["name"] for entry in free} == {"MIT"}
    assert 0 < len(free) < len(everything)
    organic = json.loads(run("foundation", "list", "--json", "--elements", "W").stdout)
    assert not any(entry["family"] == "MACE-OFF23" for entry in organic)


def test_wrong_element_is_named() -> None:
    result = run("foundation", "list", "--elements", "W,Wo")
    assert result.exit_code == 1
    assert "Wo is no chemical symbol" in result.output


def test_show_tells_the_licence_and_where_the_checksum_is_from() -> None:
    output = run("foundation", "show", "small-omat-0").output
    for part in ("mace-omat-0-small", "non-commercial", "0abfde07", "macer==0.1.15", "omat_pbe", "arXiv:2410.12771"):
        assert part in output
    assert json.loads(run("foundation", "show", "mh-1", "--json").stdout)["head"] == "omat_pbe"


def test_unknown_name_says_what_comes_close() -> None:
    result = run("foundation", "show", "mace-omat-small")
    assert result.exit_code == 1
    assert "did you mean mace-omat-0-small" in result.output


@pytest.mark.usefixtures("aiida_profile_clean")
def test_install_shows_the_licence_and_a_wrong_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.model"
    path.write_bytes(b"wrong")
    result = run("foundation", "install", "small-omat-0", "--file", str(path))
    assert result.exit_code == 1
    assert "Academic Software License" in result.output
    assert "this is not the file of mace-omat-0-small: it has 5 bytes" in result.output


@pytest.mark.usefixtures("aiida_profile_clean")
def test_import_and_list(tmp_path: Path) -> None:
    path = tmp_path / "copper.json"
    path.write_text(json.dumps({"architecture": "emt", "elements": ["Cu"], "r_max": 6.5}))
    assert "No potentials yet" in run("potential", "list").output
    refused = run("potential", "import", str(path))
    assert refused.exit_code == 1
    assert "--trust" in refused.output
    accepted = run("potential", "import", str(path), "--name", "mine", "--trust", "--licence", "CC0")
    assert accepted.exit_code == 0, accepted.output
    assert "you vouched for the file" in accepted.output
    (row,) = json.loads(run("potential", "list", "--json").stdout)
    assert (row["name"], row["licence"], row["trusted by hand"]) == ("mine", "CC0", "yes")
    assert "mine" in run("potential", "list").output
