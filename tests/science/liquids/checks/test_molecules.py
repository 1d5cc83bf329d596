"""Reactions are seen, named and dated; vibrations are none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.data import covalent_radii
from pydantic import ValidationError

from aiida_mlip.science.liquids import checks
from aiida_mlip.science.liquids.bond_graph import BondGraph, bonds_of, components
from aiida_mlip.science.liquids.molecules import BOND, find_molecules
from aiida_mlip.science.liquids.reactions import origins, poisson_rate

OH = float(covalent_radii[1] + covalent_radii[8])


def waters(box: Atoms, number: int) -> list[tuple[int, list[int]]]:
    """Oxygen and hydrogens of the first waters of a box."""
    found = [part.indices for part in find_molecules(box) or [] if part.kind.startswith("H2O_")]
    return [
        (next(int(i) for i in part if box.numbers[i] == 8), [int(i) for i in part if box.numbers[i] == 1])
        for part in found[:number]
    ]


def beside(box: Atoms, oxygen: int, distance: float) -> np.ndarray:
    """A place at a distance from an oxygen and as far as can be from its own hydrogens."""
    arms = box.get_distances(oxygen, [i for i, j in bonds_to(box, oxygen)], mic=True, vector=True)
    away = -arms.sum(axis=0)
    return box.positions[oxygen] + distance * away / np.linalg.norm(away)


def bonds_to(box: Atoms, atom: int) -> list[tuple[int, int]]:
    return [(j if i == atom else i, atom) for i, j in sorted(bonds_of(box)) if atom in (i, j)]


def transfer(box: Atoms, proton: int, oxygen: int, *, at: int, frames: int, free: int = 0) -> list[Atoms]:
    """A proton that leaves at one frame, is free for some, and stays with another oxygen; half of them wrapped."""
    there = beside(box, oxygen, 1.0)
    far = beside(box, oxygen, 1.8)
    made = []
    rng = np.random.default_rng(5)
    for index in range(frames):
        frame = box.copy()
        if index >= at:
            frame.positions[proton] = far if index < at + free else there
        frame.positions += rng.normal(size=frame.positions.shape) * 0.02
        frame.positions += np.array([0.4, -0.3, 0.2]) * index
        if index % 2:
            frame.wrap()
        made.append(frame)
    return made


@pytest.mark.parametrize("free", [0, 3])
def test_a_proton_transfer_is_one_reaction_with_its_species_and_time(make_box, check, free: int) -> None:
    box = make_box(["H2O", "CH3OH", "H2O", "CH3OCH3", "H2O", "CH3OH", "H2O", "CH3OH"])
    (_, (proton, _)), (oxygen, _) = waters(box, 2)
    found = check("molecules", transfer(box, proton, oxygen, at=12, frames=60, free=free), start=box)
    (result,) = found.results
    assert result.status == "fail"
    assert result.value == 1
    assert "2 H2O -> " in result.reason
    (event,) = found.events
    assert event.time_fs == pytest.approx(120.0)
    assert event.step == 120
    assert sorted(key.split("_")[0] for key in event.before) == ["H2O", "H2O"]
    assert sorted(key.split("_")[0] for key in event.after) == ["H3O", "HO"]
    assert event.formed == (tuple(sorted((proton, oxygen))),)
    assert len(event.broken) == 1
    assert proton in event.broken[0]
    product = next(index for index, key in enumerate(event.after) if key.startswith("H3O"))
    came = origins(event, product)
    assert sorted(came) == sorted(event.after_atoms[product])
    assert {proton, oxygen} < set(came)
    species = {item.formula: item for item in found.species}
    assert (species["H2O"].count_first, species["H2O"].count_last) == (4, 2)
    assert (species["H3O"].count_first, species["H3O"].count_last) == (0, 1)
    assert species["H3O"].first_time_fs == pytest.approx(120.0)
    assert sorted(species["H3O"].symbols) == ["H", "H", "H", "O"]
    assert len(species["H3O"].bonds) == 3
    intact = found.curves["molecules_intact"]
    assert intact[11] == 1.0
    assert intact[12] == pytest.approx((8 - (1 if free else 2)) / 8)
    assert intact[-1] == pytest.approx(6 / 8)


def test_an_unchanged_box_passes_and_reactive_mode_names_without_failing(make_box, check) -> None:
    box = make_box(["H2O", "CH3OH", "H2O", "CH3OCH3", "H2O", "CH3OH", "H2O", "CH3OH"])
    (_, (proton, _)), (oxygen, _) = waters(box, 2)
    still = check("molecules", transfer(box, proton, oxygen, at=99, frames=30), start=box)
    assert still.results[0].status == "pass"
    assert not still.events
    assert still.results[0].numbers["rate_high"] == pytest.approx(-np.log(0.05) / (8 * 0.29e-3), rel=1e-9)
    frames = transfer(box, proton, oxygen, at=3, frames=30)
    reactive = check("molecules", frames, start=box, limits={"mode": "reactive"})
    assert reactive.results[0].status == "pass"
    assert len(reactive.events) == 1
    assert reactive.results[0].limit is None


def test_a_product_that_goes_back_is_intact_again(make_box, check) -> None:
    box = make_box(["H2O"] * 8)
    (_, (proton, _)), (oxygen, _) = waters(box, 2)
    frames = transfer(box, proton, oxygen, at=5, frames=30)
    frames += transfer(box, proton, oxygen, at=99, frames=30)
    found = check("molecules", frames, start=box)
    assert [event.time_fs for event in found.events] == pytest.approx([50.0, 300.0])
    assert found.curves["molecules_intact"][20] == pytest.approx(6 / 8)
    assert found.curves["molecules_intact"][-1] == 1.0


def test_what_has_changed_between_step_0_and_the_first_frame_is_seen(make_box, check) -> None:
    box = make_box(["H2O"] * 8)
    (_, (proton, _)), (oxygen, _) = waters(box, 2)
    found = check("molecules", transfer(box, proton, oxygen, at=0, frames=20), start=box)
    assert [event.time_fs for event in found.events] == [0.0]


def hot_waters(temperature: float, steps: int, stride: int) -> list[Atoms]:
    """27 waters, each held at its place, with Morse bonds (4.6 eV, 2.1/Å) and harmonic angles; Langevin, 0.5 fs."""
    rng = np.random.default_rng(3)
    one = molecule("H2O")
    cell = np.diag([18.0, 18.0, 18.0])
    sites = np.array(np.meshgrid(*[np.arange(3)] * 3)).reshape(3, -1).T * 6.0
    positions = one.positions[None] + sites[:, None]
    masses = one.get_masses()[None, :, None]
    step, kT = 0.5 * units.fs, units.kB * temperature
    velocities = rng.normal(size=positions.shape) * np.sqrt(kT / masses)
    depth, width, length, stiffness, angle = 4.6, 2.1, 0.96, 3.3, 1.82
    keep = np.exp(-0.02 * 0.5)

    def forces(x: np.ndarray) -> np.ndarray:
        arms = x[:, 1:] - x[:, :1]
        r = np.linalg.norm(arms, axis=2, keepdims=True)
        e = np.exp(-width * (r - length))
        pull = -2 * depth * width * (1 - e) * e * arms / r
        unit = arms / r
        cosine = (unit[:, 0] * unit[:, 1]).sum(axis=1)[:, None]
        sine = np.sqrt(1 - np.clip(cosine, -0.9999, 0.9999) ** 2)
        turn = stiffness * (np.arccos(np.clip(cosine, -0.9999, 0.9999)) - angle) / sine
        bend = np.stack(
            [turn * (unit[:, 1] - cosine * unit[:, 0]) / r[:, 0], turn * (unit[:, 0] - cosine * unit[:, 1]) / r[:, 1]],
            axis=1,
        )
        on_hydrogens = pull + bend
        on_oxygens = 2.0 * (sites[:, None] - x[:, :1]) - on_hydrogens.sum(axis=1, keepdims=True)
        return np.concatenate([on_oxygens, on_hydrogens], axis=1)

    frames, force = [], forces(positions)
    for index in range(steps + 1):
        if index % stride == 0:
            frames.append(Atoms("OH2" * 27, positions=positions.reshape(-1, 3), cell=cell, pbc=True))
        velocities += 0.5 * step * force / masses
        positions = positions + 0.5 * step * velocities
        velocities = keep * velocities + np.sqrt((1 - keep**2) * kT / masses) * rng.normal(size=velocities.shape)
        positions = positions + 0.5 * step * velocities
        force = forces(positions)
        velocities += 0.5 * step * force / masses
    return frames


@pytest.mark.parametrize("every", [1, 6])
def test_hydrogen_vibrations_at_1200_kelvin_are_no_reactions(check, every: int) -> None:
    """Bonds pass 1.15, and 1.25 as well, which a graph without hysteresis would take for breaking; none counts."""
    frames = hot_waters(1200.0, 5000, 8)
    lengths = np.array([frame.positions.reshape(27, 3, 3) for frame in frames])
    lengths = np.linalg.norm(lengths[:, :, 1:] - lengths[:, :, :1], axis=3) / OH
    assert lengths.max() > BOND
    assert any(len(find_molecules(frame) or ()) != 27 for frame in frames)
    assert (lengths > 1.15).mean() > 0.002
    found = check("molecules", frames[::every], start=frames[0], spacing=4.0 * every)
    assert found.results[0].status == "pass", found.results[0].reason
    assert not found.events


def swinging(distances: np.ndarray) -> list[Atoms]:
    """A water of which one hydrogen has given distances from the oxygen, in units of the sum of the radii."""
    frames = []
    for distance in distances:
        water = molecule("H2O")
        arm = water.positions[1] - water.positions[0]
        water.positions[1] = water.positions[0] + arm / np.linalg.norm(arm) * distance * OH
        water.set_cell(TEN)
        water.pbc = True
        frames.append(water)
    return frames


TEN = [[10.0, 0.0, 0.0], [3.0, 9.0, 0.0], [-2.0, 1.0, 11.0]]


def test_a_bond_that_swings_about_the_limit_counts_once(check) -> None:
    """Broken at 1.6, it may come back to 1.2 as often as it likes: it forms again only below 1.15."""
    swing = 1.6 + 0.35 * np.sin(np.arange(300) * 0.3)
    frames = swinging(np.concatenate([np.full(20, 1.0), swing]))
    found = check("molecules", frames, start=frames[0], spacing=5.0)
    assert len(found.events) == 1
    assert found.events[0].time_fs == pytest.approx(5.0 * (20 + int(np.argmax(swing > 1.6))))
    assert found.results[0].value == 1


def test_a_bond_that_comes_back_within_50_fs_does_not_count(check) -> None:
    away = np.where(np.arange(300) % 20 < 9, 1.8, 1.0)  # 45 fs away, 55 fs back
    frames = swinging(np.concatenate([np.full(5, 1.0), away]))
    found = check("molecules", frames, start=frames[0], spacing=5.0)
    assert not found.events
    assert found.results[0].status == "pass"
    assert found.results[0].numbers["changes_that_went_back"] == 15
    longer = np.where(np.arange(300) % 24 < 12, 1.8, 1.0)
    frames = swinging(np.concatenate([np.full(5, 1.0), longer]))
    assert len(check("molecules", frames, start=frames[0], spacing=5.0).events) > 1


def test_coarse_frames(check) -> None:
    """Two frames in a row show a change that lasts; a change of one frame cannot be judged."""
    lasting = swinging(np.array([1.0, 1.0, 1.0, 1.9, 1.9, 1.9]))
    found = check("molecules", lasting, start=lasting[0], spacing=200.0)
    assert found.results[0].status == "fail"
    assert found.events[0].time_fs == pytest.approx(600.0)
    short = swinging(np.array([1.0, 1.0, 1.9, 1.0, 1.0, 1.0]))
    result = check("molecules", short, start=short[0], spacing=200.0).results[0]
    assert result.status == "inconclusive"
    assert "frames at most 50 fs apart" in result.missing
    intact = swinging(np.full(6, 1.0))
    result = check("molecules", intact, start=intact[0], spacing=200.0).results[0]
    assert result.status == "pass"
    assert "less than two frames was not seen" in result.reason
    assert check("molecules", intact[:1], start=intact[0]).results[0].status == "inconclusive"
    assert check("molecules", [], start=intact[0]).results[0].status == "inconclusive"


def test_a_change_at_the_very_end_is_inconclusive(check) -> None:
    frames = swinging(np.concatenate([np.full(20, 1.0), np.full(3, 1.9)]))
    result = check("molecules", frames, start=frames[0], spacing=10.0).results[0]
    assert result.status == "inconclusive"
    assert "50 fs" in result.missing


def salt() -> Atoms:
    d = 1.6
    anion = Atoms("PF6", positions=[[0, 0, 0], [d, 0, 0], [-d, 0, 0], [0, d, 0], [0, -d, 0], [0, 0, d], [0, 0, -d]])
    solvent = molecule("CH3OH")
    solvent.positions += [6.0, 5.0, 5.0]
    atoms = anion + Atoms("Li", positions=[[2.4, 1.3, 0.4]]) + solvent
    atoms.set_cell([[13.0, 0.5, 0.0], [-0.6, 12.0, 0.4], [0.0, 0.7, 11.0]])
    atoms.pbc = True
    return atoms


def test_the_anion_is_judged_apart_and_lithium_is_never_bonded(check) -> None:
    box = salt()
    left, near = [], []
    for index in range(30):
        frame = box.copy()
        frame.positions[7] = box.positions[1] + [0.9, 0.6, 0.2]  # Li 1.1 Å from F
        near.append(frame.copy())
        if index > 9:
            frame.positions[1, 0] += 2.0
            frame.positions[7, 0] += 3.0
        left.append(frame)
    calm = check("molecules", near, start=box)
    assert [(result.quantity, result.status) for result in calm.results] == [
        ("reactions of molecules", "pass"),
        ("reactions of PF6-", "pass"),
    ]
    found = check("molecules", left, start=box)
    assert [result.status for result in found.results] == ["pass", "fail"]
    assert [key.split("_")[0] for key in found.events[0].after] == ["F5P", "F"]
    assert found.events[0].time_fs == pytest.approx(100.0)


def test_rates_have_the_intervals_of_a_poisson_process() -> None:
    """Exact 95 % limits of a Poisson mean (Garwood 1936): 1 event 0.0253 to 5.572, 10 events 4.795 to 18.391."""
    none, one, ten = (poisson_rate(events, 4.0) for events in (0, 1, 10))
    assert (none.value, none.low, none.high) == pytest.approx((0.0, 0.0, 2.9957 / 4), abs=1e-4)
    assert (one.low, one.high) == pytest.approx((0.0253 / 4, 5.5716 / 4), abs=1e-4)
    assert (ten.low, ten.high) == pytest.approx((4.7954 / 4, 18.3904 / 4), abs=1e-4)
    with pytest.raises(ValueError, match="exposure = 0"):
        poisson_rate(1, 0)


def test_keys_are_those_of_the_molecule_finder(make_box, check) -> None:
    box = make_box(["CH3CH2OH", "CH3OCH3", "H2O", "CH3CH2OH", "CH3OH", "CH3OCH3", "H2O", "CH3OH"])
    found = check("molecules", [box, box], start=box)
    kinds = [part.kind for part in find_molecules(box) or []]
    assert {item.key: item.count_first for item in found.species} == {kind: kinds.count(kind) for kind in kinds}


def test_a_box_that_flies_apart_is_reported_and_bounded(make_box, check) -> None:
    box = make_box(["CH3OH"] * 27)
    rng = np.random.default_rng(1)
    frames = []
    for index in range(40):
        frame = box.copy()
        frame.positions += 0.3 * index * rng.normal(size=frame.positions.shape)
        frames.append(frame)
    found = check("molecules", frames, start=box, limits={"keep_events": 7, "keep_species": 5})
    assert found.results[0].status == "fail"
    assert found.results[0].value > 7
    assert len(found.events) == 7
    assert len(found.species) == 5


def test_components_and_groups() -> None:
    whole = components([(0, 3), (3, 5), (1, 2)], range(6))
    assert whole[5] == (0, 3, 5)
    assert whole[2] == (1, 2)
    assert whole[4] == (4,)
    graph = BondGraph(molecule("H2O"), broken=1.6, formed=1.15, persistence=50.0)
    assert graph.component(2) == (0, 1, 2)


def test_limits_without_hysteresis_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"formed = 1\.7 is not below broken = 1\.6"):
        checks.get("molecules").parse({"formed": 1.7})
