"""Every setting, complete with the defaults that were filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.common.links import LinkType

from aiida_mlip.report.numbers import plain
from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.report.subject import Subject


def collect(subject: Subject) -> Content:
    """Return name of an input -> its settings as (dotted name, value)."""
    links = subject.node.base.links.get_incoming(link_type=(LinkType.INPUT_CALC, LinkType.INPUT_WORK)).all()
    tables: dict[str, list[tuple[str, str]]] = {}
    single: list[tuple[str, str]] = []
    for link in sorted(links, key=lambda link: link.link_label):
        name = link.link_label.replace("__", ".")
        if isinstance(link.node, orm.Dict):
            tables[name] = list(flat(link.node.get_dict()))
        elif isinstance(link.node, orm.BaseType | orm.List):
            single.append((name, plain(getattr(link.node, "value", link.node))))
        elif isinstance(link.node, orm.AbstractCode):
            single.append((name, link.node.full_label))
    options = subject.node.get_options() if isinstance(subject.node, orm.CalcJobNode) else {}
    if single:
        tables["other inputs"] = single
    if options:
        tables["options of the job"] = list(flat(options))
    order = sorted(tables, key=lambda name: (not name.startswith("train"), name))
    return {"tables": {name: tables[name] for name in order}, "shown": order[:1]} if tables else {}


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value as text) of nested settings, in their order."""
    for key, item in settings.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            yield from flat(item, f"{name}.")
        else:
            yield name, "none" if item == {} else plain(item)


SECTION = Section("Settings", collect)
