"""The builder of ``mlip.label`` from a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.plugins import GroupFactory
from aiida_quantumespresso.workflows.pw.base import PwBaseWorkChain

from aiida_mlip.computers.config import parse_walltime
from aiida_mlip.data.dataset import DatasetData
from aiida_mlip.data.potential import PotentialData
from aiida_mlip.workchains.protocols import protocol_inputs

PW_PLUGIN = "quantumespresso.pw"


def label_builder(
    cls: Any,
    *,
    code: orm.AbstractCode,
    configurations: DatasetData | None = None,
    potential: PotentialData | None = None,
    pseudo_family: str | None = None,
    pseudos: Mapping[str, orm.Data] | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    kpoints_distance: float | None = None,
    options: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ProcessBuilder:
    """Return a builder with the inputs of a protocol.

    With a code of pw.x, the parameters are those of aiida-quantumespresso's protocol, with ``parameters`` on top. With
    a worker, ``potential`` makes the labels.

    :param code: of pw.x, or the worker of a computer.
    :param configurations: what is to be labelled; may be set later.
    :param potential: the teacher; with a worker only.
    :param pseudo_family: label of an installed family. Where the parameters have no cut-offs, it has to recommend them.
    :param pseudos: element -> pseudopotential, instead of a family; the parameters need ``ecutwfc`` then.
    :param parameters: namelists -> variables of pw.x that count more than the protocol.
    :param kpoints_distance: instead of that of the protocol [1/Å].
    :param options: ``metadata.options`` of every job (resources, queue, walltime).
    :param protocol: ``fast``, ``balanced`` or ``stringent``.
    :param overrides: nested changes to the protocol's inputs, e.g. ``{"settings": {"max_force": 30.0}}``.
    :raises ValueError: for an unknown protocol or key, or where pseudopotentials or cut-offs are missing.
    """
    inputs = protocol_inputs("label", protocol, overrides)
    builder = cls.get_builder()
    if configurations is not None:
        builder.configurations = configurations
    asked = inputs["settings"]
    builder.settings = asked
    if code.default_calc_job_plugin == PW_PLUGIN:
        if potential is not None:
            raise ValueError(f"potential is given, and code = {code.full_label!r} is pw.x: use one of them")
        elements = (*(configurations.elements if configurations is not None else ()), *asked["isolated_atoms"])
        known = PwBaseWorkChain.get_protocol_inputs(inputs["quantumespresso"])
        namelists = _namelists(known["pw"]["parameters"], parameters or {}, pseudo_family, elements)
        if asked["conv_thr_per_atom"] is None and "conv_thr" not in namelists["ELECTRONS"]:
            builder.settings = {**asked, "conv_thr_per_atom": known["meta_parameters"]["conv_thr_per_atom"]}
        builder.pw.pw.code = code
        builder.pw.pw.parameters = orm.Dict(namelists)
        builder.pw.pw.metadata = {"options": _with_resources(code, dict(options or {}))}
        builder.pw.kpoints_distance = orm.Float(kpoints_distance or known["kpoints_distance"])
        builder.pw.clean_workdir = orm.Bool(inputs["clean_workdir"])
        if (pseudos is None) == (pseudo_family is None):
            raise ValueError("pseudos, pseudo_family: give one of them (`aiida-pseudo list` has the families)")
        if pseudos is not None:
            builder.pw.pw.pseudos = dict(pseudos)
        else:
            builder.pw.pseudo_family = pseudo_family
        return builder
    if potential is None:
        raise ValueError(
            f"code = {code.full_label!r} is no pw.x (its plugin is {code.default_calc_job_plugin!r}), and "
            "potential = None: give the potential that makes the labels, or a code of plugin 'quantumespresso.pw'"
        )
    builder.batch.code = code
    builder.batch.potential = potential
    builder.batch.settings = inputs["batch"]
    builder.batch.metadata = {"options": dict(options or {})}
    return builder


def _namelists(
    base: Mapping[str, Any],
    changes: Mapping[str, Mapping[str, Any]],
    family: str | None,
    elements: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """Return the namelists of a protocol with changes on top, and cut-offs where neither has any."""
    namelists = _merged(base, changes)
    for name in ("forc_conv_thr", "etot_conv_thr"):  # of relaxations
        namelists["CONTROL"].pop(name, None)
    if "ecutwfc" not in namelists["SYSTEM"]:
        namelists["SYSTEM"] |= _cutoffs(family, elements)
    return namelists


def pw_inputs(
    code: orm.AbstractCode,
    *,
    pseudos: str,
    parameters: Mapping[str, Mapping[str, Any]],
    kpoints_distance: float,
    walltime: int | str | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Return the namespace ``pw`` from plain values.

    :param pseudos: label of an installed family of pseudopotentials.
    :param parameters: namelists -> variables of pw.x.
    :param kpoints_distance: largest distance of neighbouring k-points [1/Å].
    :param walltime: longest time of one label [s], or ``HH:MM:SS``.
    :param processes: MPI processes of one label.
    """
    with_mpi = getattr(code, "with_mpi", None)
    options: dict[str, Any] = {
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": processes},
        "withmpi": processes > 1 if with_mpi is None else with_mpi,
    }
    if walltime is not None:
        options["max_wallclock_seconds"] = parse_walltime(walltime)
    namelists = {name.upper(): dict(values) for name, values in parameters.items()}
    return {
        "pw": {"code": code, "parameters": orm.Dict(namelists), "metadata": {"options": options}},
        "pseudo_family": orm.Str(pseudos),
        "kpoints_distance": orm.Float(kpoints_distance),
        "clean_workdir": orm.Bool(True),
    }


def _with_resources(code: orm.AbstractCode, options: dict[str, Any]) -> dict[str, Any]:
    return dict(PwBaseWorkChain.set_default_resources(options, code.computer.scheduler_type))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys((*base, *(name.upper() for name in changes)))
    upper = {name.upper(): values for name, values in changes.items()}
    return {name: {**base.get(name, {}), **upper.get(name, {})} for name in names}


def _cutoffs(family: str | None, elements: tuple[str, ...]) -> dict[str, float]:
    """Return ``ecutwfc`` and ``ecutrho`` that a family recommends [Ry]."""
    remedy = "give them in parameters['SYSTEM']['ecutwfc'], or use a family that recommends them"
    if family is None or not elements:
        raise ValueError(
            f"the cut-offs are not known without pseudo_family (given: {family!r}) and configurations: {remedy}"
        )
    kind = GroupFactory("pseudo.family")
    found = orm.QueryBuilder().append(kind, filters={"label": family}).first(flat=True)
    if found is None:
        raise ValueError(f"pseudo_family = {family!r} is not installed: see `aiida-pseudo install`")
    try:
        wave, density = found.get_recommended_cutoffs(elements=tuple(dict.fromkeys(elements)), unit="Ry")
    except (AttributeError, ValueError) as error:
        raise ValueError(f"pseudo_family = {family!r} recommends no cut-offs ({error}): {remedy}") from error
    return {"ecutwfc": float(wave), "ecutrho": float(density)}
