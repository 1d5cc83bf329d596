"""Making ``PotentialData`` nodes of model files: foundation models by name, and the user's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida.orm import QueryBuilder

from aiida_mlip.data.potential import PotentialData
from aiida_mlip.foundation import registry
from aiida_mlip.foundation.download import Limits
from aiida_mlip.foundation.errors import FetchError, FoundationError, InspectionError, UntrustedFileError
from aiida_mlip.foundation.fetch import Fetched, fetch, sha256_of
from aiida_mlip.foundation.inspection import inspect
from aiida_mlip.foundation.progress import Report, silent
from aiida_mlip.foundation.registry import FoundationModel
from aiida_mlip.schema.dispersion import DispersionStatement
from aiida_mlip.schema.potential import PotentialInfo


@dataclass(frozen=True)
class Installed:
    """A potential in the database, and how it came there."""

    node: PotentialData
    created: bool
    source: str
    problems: tuple[str, ...] = ()
    """Why sources before that one failed."""


def install_foundation(
    name: str, *, path: str | Path | None = None, trust: bool = False, head: str | None = None
) -> PotentialData:
    """Return the stored node of a foundation model; see :func:`install` for the details."""
    return install(name, path=path, trust=trust, head=head).node


def install(
    name: str,
    *,
    path: str | Path | None = None,
    trust: bool = False,
    head: str | None = None,
    cache: Path | None = None,
    limits: Limits | None = None,
    report: Report = silent,
) -> Installed:
    """Fetch a foundation model, inspect it and store it, unless the database has it already.

    The node's label is the registry's name. Licence, level of theory, citation and source are recorded on it.

    :param name: any name that :func:`aiida_mlip.foundation.registry.get` knows.
    :param path: the model's file, if the user has it; nothing is downloaded then.
    :param trust: accept a file whose checksum the registry lacks; recorded on the node as ``trusted``.
    :param head: head of a multi-head model to use; None: the registry's choice, or else the file's own.
    :raises FoundationError: where the name, the file, its checksum or the head is wrong, or nothing could be fetched.
    """
    model = registry.get(name)
    head = head or model.head
    if path is None and model.sha256 and (known := find(model.sha256, name=model.name, head=head)):
        return Installed(known, created=False, source="database")
    file = Path(path).expanduser().absolute() if path is not None else None
    fetched = fetch(model, file=file, trust=trust, cache=cache, limits=limits, report=report)
    if known := find(fetched.sha256, name=model.name, head=head):
        return Installed(known, created=False, source="database", problems=fetched.problems)
    report("inspecting the file", 0, None)
    info = _merged(inspect(fetched.path), model, fetched, head)
    node = _store(fetched.path, info, trusted=model.sha256 is None)
    return Installed(node, created=True, source=fetched.source, problems=fetched.problems)


def import_potential(
    file: str | Path,
    *,
    name: str | None = None,
    trust: bool = False,
    head: str | None = None,
    architecture: str | None = None,
    licence: str | None = None,
    level_of_theory: str | None = None,
    dispersion: DispersionStatement | None = None,
    report: Report = silent,
) -> Installed:
    """Store a model file of the user's own.

    A file is known without ``trust`` if it is in the registry or if a node of this database already holds it.

    :param name: label of the node; None: the registry's name, or else the file's name without its ending.
    :param trust: the user vouches for the file; recorded on the node.
    :param head: head to use; None: the file's own.
    :param architecture: backend to read the file with; None: told from the file.
    :param licence: terms of use; None: the registry's, or else ``unknown``.
    :param level_of_theory: what the labels were computed with; None: the registry's, or else ``unknown``.
    :param dispersion: whether the labels had dispersion (``included``, ``none``); None: the registry's statement, or
        else ``unknown``.
    :raises FoundationError: where the file is missing, unknown and not trusted, or not a potential.
    """
    file = Path(file).expanduser().absolute()
    if not file.is_file():
        raise FetchError(f"{file} is not a file")
    sha256 = sha256_of(file)
    model, stored = registry.by_sha256(sha256), find(sha256)
    if model is None and stored is None and not trust:
        raise UntrustedFileError(
            f"{file} (sha256 {sha256}) is neither in the registry nor in this database, and a model file can run any "
            "code when it is loaded: pass --trust (trust=True) if you made it or trust who did; "
            "the node will record that"
        )
    name = name or (model.name if model else file.stem)
    if known := find(sha256, name=name, head=head, dispersion=dispersion):
        return Installed(known, created=False, source="database")
    report("inspecting the file", 0, None)
    info = inspect(file, architecture=architecture)
    head = head or (model.head if model else None)
    if model is not None:
        info = _merged(info, model, Fetched(file, sha256, "local file"), head)
    own = {"name": name, "sha256": sha256, "licence": licence, "level_of_theory": level_of_theory, "head": head}
    own["dispersion_statement"] = dispersion
    info = _updated(info, {field: value for field, value in own.items() if value is not None})
    trusted = model is None and (stored is None or stored.trusted)
    return Installed(_store(file, info, trusted=trusted), created=True, source="local file")


def load_foundation(name: str) -> PotentialData:
    """Return the newest stored node of a foundation model, by any of its names.

    :raises FoundationError: if it is not installed.
    """
    model = registry.get(name)
    query = QueryBuilder().append(PotentialData, filters={"attributes.name": model.name}, tag="potential")
    query.order_by({"potential": {"id": "desc"}}).limit(1)
    found: PotentialData | None = query.first(flat=True)
    if found is None:
        raise FoundationError(
            f"{model.name} is not in this profile: install it with `aiida-mlip foundation install {model.name}`"
        )
    return found


def find(
    sha256: str,
    *,
    name: str | None = None,
    head: str | None = None,
    dispersion: DispersionStatement | None = None,
) -> PotentialData | None:
    """Return the oldest stored potential with this checksum, and with what else is given."""
    wanted = {"sha256": sha256, "name": name, "head": head, "dispersion_statement": dispersion}
    filters = {f"attributes.{field}": value for field, value in wanted.items() if value is not None}
    query = QueryBuilder().append(PotentialData, filters=filters, tag="potential")
    found: PotentialData | None = query.order_by({"potential": {"id": "asc"}}).limit(1).first(flat=True)
    return found


def _merged(info: PotentialInfo, model: FoundationModel, fetched: Fetched, head: str | None) -> PotentialInfo:
    """Return what the file says of itself, completed with what the registry knows."""
    if model.sha256 is None:
        _compare(info, model)
    head = head or info.head
    extra: dict[str, float | int | str | bool] = {
        "citation": "; ".join(model.citation),
        "training_data": model.training_data,
        "url": model.url,
        "source": fetched.source,
        "checksum": model.checksum,
        "licence_url": model.licence.url,
        "licence_restricts_use": model.licence.restricts_use,
    }
    facts = {
        "name": model.name,
        "licence": model.licence.name,
        "level_of_theory": model.level_for(head),
        "dispersion_statement": model.dispersion_for(head),
        "head": head,
        "sha256": fetched.sha256,
        "extra": {**info.extra, **extra},
    }
    return _updated(info, facts)


def _compare(info: PotentialInfo, model: FoundationModel) -> None:
    """Raise where a file of unknown checksum contradicts what the registry says of the model."""
    pairs: list[tuple[str, Any, Any]] = [("elements", model.elements, info.elements)]
    pairs += [("r_max", model.r_max, round(info.r_max, 6))] if model.r_max else []
    pairs += [("heads", model.heads, info.heads)] if model.heads else []
    for field, expected, found in pairs:
        if expected != found:
            raise InspectionError(f"the file is not {model.name}: {field} = {found} instead of {expected}")


def _updated(info: PotentialInfo, changes: dict[str, Any]) -> PotentialInfo:
    changed = PotentialInfo(**{**info.model_dump(), **changes})
    if changed.head not in changed.heads:
        raise InspectionError(f"head = {changed.head!r} is not in the file, which has {', '.join(changed.heads)}")
    return changed


def _store(file: Path, info: PotentialInfo, *, trusted: bool) -> PotentialData:
    node = PotentialData(file, info, trusted=trusted)
    node.store()
    return node
