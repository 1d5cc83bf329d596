"""The builder of ``mlip.electrolyte`` from a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.electrolyte_inputs import complete
from aiida_mlip.workchains.protocols import protocol_inputs


def electrolyte_builder(
    cls: Any,
    *,
    code: orm.PortableCode,
    potentials: Mapping[str, PotentialData],
    dispersion: Mapping[str, str | Mapping[str, Any]] | None = None,
    boxes: Mapping[str, DatasetData] | None = None,
    packed: Mapping[str, Mapping[str, Any]] | None = None,
    labelled: DatasetData | None = None,
    reference: PotentialData | None = None,
    pw: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    max_concurrent: int | None = None,
) -> ProcessBuilder:
    """Return a builder with the inputs of a protocol.

    :param code: the worker on the computer where the jobs run.
    :param potentials: name, as it is to be printed -> potential.
    :param dispersion: name of a potential -> ``included``, ``none`` or ``unknown``, or D3 that is added: fields of
        ``Dispersion``, e.g. ``{"method": "d3bj", "functional": "pbe"}``.
    :param boxes: name -> a box of your own. With it, the boxes of the protocol are left out.
    :param packed: name -> fields of ``BoxSettings``: boxes that are packed instead of those of the protocol.
    :param labelled: labelled configurations for the tests of forces.
    :param reference: potential, or any ASE calculator, that labels the probes of the tests of forces.
    :param pw: inputs of the namespace ``pw`` of ``mlip.label``: what pw.x labels them with instead.
    :param options: ``metadata.options`` of every job of the worker (resources, queue, walltime).
    :param protocol: ``fast``, ``balanced`` or ``stringent``.
    :param overrides: nested changes to the inputs, e.g. ``{"settings": {"dynamics": {"npt_steps": 5000}}}``.
    :param max_concurrent: jobs at a time; None: what the computer's file says.
    :raises ValueError: for an unknown protocol or key, or where there are two references.
    """
    if reference is not None and pw is not None:
        raise ValueError("reference, pw: give one of the two, what the tests of forces compare with")
    inputs = protocol_inputs("electrolyte", protocol, overrides)
    settings = dict(inputs["settings"])
    if packed is not None or boxes:
        own = (overrides or {}).get("settings", {}).get("boxes", {})
        settings["boxes"] = {**{name: settings["boxes"][name] for name in own}, **dict(packed or {})}
    job = {"options": dict(options or {})}
    runtime = inputs["md"]
    builder = cls.get_builder()
    builder.potentials = dict(potentials)
    if dispersion:
        builder.dispersion = {
            name: orm.Str(said) if isinstance(said, str) else orm.Dict(dict(said)) for name, said in dispersion.items()
        }
    if boxes:
        builder.boxes = dict(boxes)
    if labelled is not None:
        builder.labelled = labelled
    builder.settings = complete("settings", settings)
    builder.md.settings = complete("md.settings", runtime)
    builder.md.md.code = code
    builder.md.md.metadata = dict(job)
    builder.liquid.liquid.code = code
    builder.liquid.liquid.metadata = dict(job)
    if max_concurrent is not None:
        builder.max_concurrent = max_concurrent
    if settings["force_tests"] is not None:
        batch = {"device": runtime["device"], "head": runtime["head"], **inputs["batch"]}
        builder.label.settings = inputs["label"]
        builder.label.batch = {"code": code, "settings": batch, "metadata": dict(job)}
    if reference is not None:
        own = {"device": "cpu", **inputs["batch"]}
        builder.reference.batch = {"code": code, "potential": reference, "settings": own, "metadata": dict(job)}
    if pw is not None:
        builder.reference.pw = dict(pw)
    if reference is not None or pw is not None:
        builder.reference.settings = inputs["label"]
    return builder
