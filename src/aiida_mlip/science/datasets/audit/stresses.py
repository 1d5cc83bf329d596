"""Signs and units of stresses: against a baseline, against the work done on a cell, or against the set's own fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mlip.science import keys
from aiida_mlip.science.datasets.audit.context import Context
from aiida_mlip.science.datasets.audit.registry import check
from aiida_mlip.science.datasets.audit.report import Finding, Severity
from aiida_mlip.science.datasets.audit.work import strain_work

Array = NDArray[np.float64]

_GPA = keys.EV_PER_ANGSTROM3_IN_GPA

HYPOTHESES: Mapping[str, Callable[[Array], Array]] = {
    "right": np.ones_like,
    "the wrong sign": lambda v: -np.ones_like(v),
    "GPa": lambda v: _GPA * np.ones_like(v),
    "GPa with the wrong sign": lambda v: -_GPA * np.ones_like(v),
    "kbar": lambda v: 10 * _GPA * np.ones_like(v),
    "kbar with the wrong sign": lambda v: -10 * _GPA * np.ones_like(v),
    "a virial (-volume * stress) in eV": lambda v: -v,
    "volume * stress in eV": lambda v: v,
    "values divided by 160.2 (converted from GPa twice)": lambda v: np.ones_like(v) / _GPA,
    "values divided by 1602 (converted from kbar twice)": lambda v: np.ones_like(v) / (10 * _GPA),
}
"""What a label is -> labelled over true stress, given volumes [Å^3]."""

_AGREE, _DISAGREE, _APART = 0.45, 0.7, 0.35
_FRAME_AGREE, _FRAME_DISAGREE = 0.55, 0.85
_FRAME_RATIO = 2.5
_NOVEL = 3.0
_MOST = 0.8
_VOLUME_SPREAD = 0.03
_MINIMUM = 1e-3


@dataclass(frozen=True)
class _Evidence:
    """Labelled and expected values of the same quantity for some frames, and the volumes of their cells."""

    frames: tuple[int, ...]
    labelled: Array
    expected: Array
    volumes: Array

    def disagreement(self, hypothesis: str) -> float:
        """Return between 0 (equal) and 1 (opposite or of another order of magnitude), the strongest tenth tamed."""
        one = self.labelled / HYPOTHESES[hypothesis](self.volumes)[:, None]
        numerator = np.linalg.norm(one - self.expected, axis=1)
        denominator = np.linalg.norm(one, axis=1) + np.linalg.norm(self.expected, axis=1)
        cap = max(float(np.quantile(denominator, 0.9)), 1e-12)
        weight = np.minimum(1.0, cap / np.maximum(denominator, 1e-12))
        return float(np.sum(weight * numerator) / max(float(np.sum(weight * denominator)), 1e-12))

    def part(self, keep: list[int]) -> _Evidence:
        """Return the evidence of some rows."""
        frames = tuple(self.frames[k] for k in keep) if len(self.frames) == len(self.labelled) else ()
        return _Evidence(frames, self.labelled[keep], self.expected[keep], self.volumes[keep])


@check("stress_sign_or_unit")
def stress_sign_or_unit(context: Context) -> Iterator[Finding]:
    """Groups of frames whose stress has the wrong sign or unit, or is a virial."""
    bound = [i for i in range(len(context.frames)) if i not in context.isolated]
    labelled = [i for i in bound if context.stress(i) is not None and context.volume(i) > 1e-6]
    if not labelled:
        context.skip("stress_sign_or_unit", "no frame has a stress")
        return
    judged = _judge(context, labelled)
    wrong = _by_verdict([item for item in judged if item.verdict != "right"])
    flagged: set[int] = set()
    for verdict, items in wrong.items():
        frames = sorted({index for item in items for index in item.frames})
        everything = len(wrong) == 1 and all(item.verdict != "right" for item in judged)
        whole = everything and len(frames) >= 0.5 * len(labelled)
        flagged.update(labelled if whole else frames)
        names = "all frames" if whole else ", ".join(item.name for item in items)
        yield _wrong(names, labelled if whole else frames, verdict, items[0].evidence, items[0].how)
    singles = list(_single_frames(context, [index for index in labelled if index not in flagged]))
    flagged.update(index for item in singles for index in item.frames)
    yield from singles
    yield from _too_large(context, [index for index in labelled if index not in flagged])
    if not judged and not flagged:
        context.skip(
            "stress_sign_or_unit",
            "nothing to compare with: give a baseline with stresses, or strained cells of the same structure",
        )


@dataclass(frozen=True)
class _Judged:
    """A type or group whose stresses could be judged, and how."""

    name: str
    frames: tuple[int, ...]
    verdict: str
    evidence: _Evidence
    how: str


def _judge(context: Context, labelled: list[int]) -> list[_Judged]:
    """Return the verdict on each type and group; groups within a type that is wrong are not judged again."""
    there, wrong, least = set(labelled), set[int](), context.settings.min_group
    found = []
    small = [index for members in context.config_types.values() if len(members) < least for index in members]
    for name, members in {**context.partitions, "small config_types": sorted(small)}.items():
        mine = [index for index in members if index in there and index not in wrong]
        if len(mine) < least:
            continue
        for evidence, how in _evidence(context, mine):
            verdict = _verdict(evidence)
            if verdict is not None and _alike(evidence, verdict):
                found.append(_Judged(name, tuple(mine), verdict, evidence, how))
                wrong.update(mine if verdict != "right" else ())
                break
    return found


def _alike(evidence: _Evidence, verdict: str) -> bool:
    """Return whether nearly all rows are for the verdict by themselves: else single frames are wrong, not the group."""
    if verdict == "right":
        return True
    rows = [evidence.part([k]) for k in range(len(evidence.labelled))]
    return float(np.mean([row.disagreement(verdict) < row.disagreement("right") for row in rows])) > _MOST


def _by_verdict(judged: list[_Judged]) -> dict[str, list[_Judged]]:
    found: dict[str, list[_Judged]] = {}
    for item in judged:
        found.setdefault(item.verdict, []).append(item)
    return found


def _evidence(context: Context, members: list[int]) -> Iterator[tuple[_Evidence, str]]:
    """Yield what the stresses of some frames can be compared with, the surest first."""
    if context.reference is not None and context.reference.is_potential:
        found = _against_reference(context, members)
        if len(found.frames) >= context.settings.min_group:
            yield found, f"the stress of {context.reference.name}"
    consistent = context.fit is None or context.fit.scale == 1.0
    pairs = strain_work(context, members) if consistent else []
    if len(pairs) >= context.settings.min_group:
        yield (
            _Evidence(
                tuple(sorted({index for pair in pairs for index in pair.frames})),
                np.array([[pair.by_stress] for pair in pairs]),
                np.array([[pair.energy] for pair in pairs]),
                np.array([pair.volume for pair in pairs]),
            ),
            "the change of energy between strained cells of the same structure",
        )
    if context.fit is not None and consistent:
        found = _against_reference(context, members, own_fit=True)
        if len(found.frames) >= context.settings.min_group:
            yield found, f"the stress of {context.fit.name}"


def _against_reference(context: Context, members: list[int], own_fit: bool = False) -> _Evidence:
    reference = context.fit if own_fit else context.reference
    assert reference is not None
    rows = []
    for index in [i for i in members if i in context.sampled]:
        label, expected = context.stress(index), reference.stress(index)
        if label is not None and expected is not None and np.isfinite(expected).all():
            rows.append((index, label, expected, context.volume(index)))
    labelled, expected = (np.array([row[k] for row in rows]).reshape(-1, 6) for k in (1, 2))
    volumes = np.array([row[3] for row in rows])
    if own_fit and rows and not _volume_varies(context, [row[0] for row in rows]):
        labelled, expected = _without_mean_pressure(labelled), _without_mean_pressure(expected)
    return _Evidence(tuple(row[0] for row in rows), labelled, expected, volumes)


def _volume_varies(context: Context, frames: list[int]) -> bool:
    """Return whether the set has these compositions at other volumes: a fit cannot know the pressure otherwise."""
    wanted = {context.environments[index].composition for index in frames}
    spreads = []
    for composition in wanted:
        values = [
            context.volume(i) / context.sizes[i]
            for i in context.trusted
            if context.frames[i].pbc.all() and context.environments[i].composition == composition
        ]
        spreads.append(np.ptp(values) / np.mean(values) if len(values) > 2 else 0.0)
    return float(np.median(spreads)) > _VOLUME_SPREAD


def _without_mean_pressure(stresses: Array) -> Array:
    found = stresses.copy()
    found[:, :3] -= np.median(stresses[:, :3].mean(axis=1))
    return found


def _verdict(evidence: _Evidence) -> str | None:
    """Return the hypothesis that the evidence is for, ``None`` where it is for none."""
    if float(np.max(np.abs(evidence.expected), initial=0.0)) < _MINIMUM:
        return None
    scores = {name: evidence.disagreement(name) for name in HYPOTHESES}
    best = min(scores, key=lambda name: scores[name])
    if scores["right"] <= 0.5 or best == "right":
        return "right" if scores["right"] <= 0.5 else None
    clear = scores[best] < _AGREE and scores["right"] > _DISAGREE and scores["right"] - scores[best] > _APART
    return best if clear else None


def _wrong(name: str, members: list[int], verdict: str, evidence: _Evidence, how: str) -> Finding:
    right, best = evidence.disagreement("right"), evidence.disagreement(verdict)
    return Finding(
        check="stress_sign_or_unit",
        severity=Severity.ERROR,
        frames=tuple(members),
        message=f"Stresses of {name} have or are {verdict}: against {how} they disagree by {right:.0%} as they are, "
        f"by {best:.0%} if so ({len(evidence.frames)} frames compared; ASE's sign, positive is tensile, eV/Å^3).",
        remedy="Import these frames again with --stress-unit, --stress-sign or --virial-key, or remove their stresses.",
    )


def _single_frames(context: Context, members: list[int]) -> Iterator[Finding]:
    """Yield findings on frames that disagree while most agree, where the wrong ones share no type or group."""
    reference = context.reference
    if reference is None or (not reference.is_potential and context.fit is not None and context.fit.scale != 1.0):
        return
    rows = _against_reference(context, members, own_fit=not reference.is_potential)
    n = len(rows.frames)
    if n < 2 * context.settings.min_group:
        return
    if not reference.is_potential and not _volume_varies(context, list(rows.frames)):
        return
    single = [rows.part([k]) for k in range(n)]
    right = np.array([one.disagreement("right") for one in single])
    error = np.linalg.norm(rows.labelled - rows.expected, axis=1)
    usual = float(np.median(error[right < 0.5])) if (right < 0.5).any() else np.inf
    if np.mean(right < 0.5) < 0.5:
        return
    confirmed = {index for pair in strain_work(context, members) if pair.agrees for index in pair.frames}
    by_verdict: dict[str, list[int]] = {}
    for k in np.flatnonzero((right > _FRAME_DISAGREE) & (error > _FRAME_RATIO * usual)):
        scores = {name: single[k].disagreement(name) for name in HYPOTHESES}
        best = min(scores, key=lambda name: scores[name])
        doubtful = reference.energy_novelty(rows.frames[k]) < _NOVEL and rows.frames[k] not in confirmed
        if scores[best] < _FRAME_AGREE and doubtful:
            by_verdict.setdefault(best, []).append(int(k))
    for verdict, found in by_verdict.items():
        yield _wrong(
            f"{len(found)} single frames", [rows.frames[k] for k in found], verdict, rows.part(found), reference.name
        )


def _too_large(context: Context, members: list[int]) -> Iterator[Finding]:
    """Yield a finding on the types whose stresses are larger than matter withstands."""
    wanted = set(members)
    large: dict[str, list[int]] = {}
    sizes: list[float] = []
    for name, frames in context.config_types.items():
        mine = [index for index in frames if index in wanted]
        found = [float(np.abs(s).max()) for index in mine if (s := context.stress(index)) is not None]
        if found and np.median(found) > context.settings.max_stress:
            large[name] = mine
            sizes += found
    if large:
        yield Finding(
            check="stress_sign_or_unit",
            severity=Severity.ERROR,
            frames=tuple(sorted(index for mine in large.values() for index in mine)),
            message=f"Stresses of {len(large)} config_types ({', '.join(list(large)[:5])}) are typically "
            f"{np.median(sizes):.3g} eV/Å^3 ({np.median(sizes) * _GPA:.0f} GPa), more than matter under ordinary "
            "compression has: another unit (GPa, kbar) or a virial.",
            remedy="Import these frames again with --stress-unit or --virial-key, or remove their stresses.",
        )
