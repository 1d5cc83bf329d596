"""Configuration types that are expected and not there."""

from __future__ import annotations

from collections.abc import Iterator

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity


@check("missing_config_types")
def missing_config_types(context: Context) -> Iterator[Finding]:
    """Types that were asked for or that the other set has, and frames without a type among frames that have one."""
    here = set(context.config_types)
    if absent := [name for name in context.settings.expected_config_types if name not in here]:
        yield Finding(
            check="missing_config_types",
            severity=Severity.ERROR,
            frames=(),
            message=f"config_types {', '.join(map(repr, absent))} were expected and are not there; found are "
            f"{', '.join(map(repr, sorted(here)))}.",
            remedy="Add such configurations, correct their config_type, or change expected_config_types.",
        )
    elsewhere = {str(a.info.get(keys.CONFIG_TYPE, keys.DEFAULT_CONFIG_TYPE)) for a in context.against or ()}
    if absent := sorted(elsewhere - here):
        yield Finding(
            check="missing_config_types",
            severity=Severity.WARNING,
            frames=(),
            message=f"config_types {', '.join(map(repr, absent))} are in the other set and not in this one.",
            remedy="If this is the training set, its errors on these types are extrapolations: add some of them.",
        )
    untyped = context.config_types.get(keys.DEFAULT_CONFIG_TYPE, [])
    bound_types = {context.config_type(i) for i in range(len(context.frames)) if i not in context.isolated}
    if untyped and len(bound_types) > 1:
        yield Finding(
            check="missing_config_types",
            severity=Severity.WARNING,
            frames=tuple(untyped),
            message=f"{len(untyped)} frames have no config_type (they count as {keys.DEFAULT_CONFIG_TYPE!r}), while "
            "others have one.",
            remedy="Give them a config_type, so that splits and error tables tell them apart.",
        )
    elif len(bound_types) == 1 and len(context.frames) > 1:
        yield Finding(
            check="missing_config_types",
            severity=Severity.INFO,
            frames=(),
            message="All frames have the same config_type: splits are not stratified and errors are not broken down.",
            remedy="Give config_types, e.g. with --config-type-key, or when importing one file for each type.",
        )
