"""Protocols: the inputs of a work chain for ``fast``, ``balanced`` or ``stringent`` work, kept as differences in YAML.

A file holds ``default_protocol``, ``default_inputs`` and ``protocols`` with a description and what differs from the
default inputs. Where a key is a free-form mapping (its own keys are the user's), it is listed under ``open``.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib.resources import files
from typing import Any

import yaml


def available(workflow: str) -> dict[str, str]:
    """Return the protocols of a workflow with what each is meant for."""
    return {name: str(entry["description"]) for name, entry in _document(workflow)["protocols"].items()}


def protocol_inputs(
    workflow: str, protocol: str | None = None, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the inputs of ``workflow`` for a protocol, with the user's overrides on top.

    :param workflow: stem of the YAML file, e.g. ``finetune``.
    :param protocol: one of :func:`available`; the file's default where it is None.
    :param overrides: nested mapping; it is copied, never changed. A mapping with a ``kind`` replaces one of another
        kind as a whole, since their fields differ.
    :raises ValueError: for an unknown protocol or an unknown key, naming what is known.
    """
    document = _document(workflow)
    name = protocol or document["default_protocol"]
    if name not in document["protocols"]:
        raise ValueError(f"protocol = {name!r} is not known: choose one of {', '.join(document['protocols'])}")
    differences = {key: value for key, value in document["protocols"][name].items() if key != "description"}
    inputs = merge(document["default_inputs"], differences)
    given = overrides or {}
    problem = no_mapping(inputs, given) or _unknown_key(inputs, given, frozenset(document.get("open", ())))
    if problem:
        raise ValueError(problem)
    return merge(inputs, overrides or {})


def no_mapping(known: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return a message on the first input of ``given`` that has to be a mapping and is none, or an empty text."""
    for key, value in given.items():
        if isinstance(known.get(key), Mapping) and not isinstance(value, Mapping):
            return f"overrides.{key} = {value!r}: it has fields: write `field: value` lines below it, or leave it out"
    return ""


def _document(workflow: str) -> dict[str, Any]:
    text = files(__package__).joinpath(f"{workflow}.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``changes`` on top; neither is changed.

    A mapping with a ``kind`` replaces one of another kind as a whole.
    """
    merged = deepcopy(dict(base))
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        if both and not _other_kind(old, value):  # type: ignore[arg-type]
            merged[key] = merge(old, value)  # type: ignore[arg-type]
        else:
            merged[key] = deepcopy(value)
    return merged


def _other_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "kind" in new and new["kind"] != old.get("kind")


def _unknown_key(known: Mapping[str, Any], given: Mapping[str, Any], open_keys: frozenset[str], path: str = "") -> str:
    """Return a message on the first key of ``given`` that ``known`` does not have, or an empty text."""
    for key, value in given.items():
        here = f"{path}.{key}" if path else key
        if key not in known:
            return f"overrides.{here} is not a known input: known here are {', '.join(sorted(known))}"
        if key in open_keys:
            continue
        old = known[key]
        if isinstance(value, Mapping) and isinstance(old, Mapping) and not _other_kind(old, value):
            problem = _unknown_key(old, value, open_keys, here)
            if problem:
                return problem
    return ""
