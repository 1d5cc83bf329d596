import pytest
from ase.build import bulk
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from aiida_mlip.science.keys import CONFIG_TYPE
from aiida_mlip.science.replay import choose_frames, prototype_pool

ELEMENTS = ("W", "O", "Li", "Cu", "Si")


def test_equal_seeds_give_equal_crystals_and_others_do_not() -> None:
    one, same, other = (prototype_pool(ELEMENTS, 6, seed) for seed in (3, 3, 4))
    assert all(a == b for a, b in zip(one, same, strict=True))
    assert not all(a.symbols.formula == b.symbols.formula for a, b in zip(one, other, strict=True))


def test_elements_and_prototypes_are_spanned() -> None:
    pool = prototype_pool(ELEMENTS, 60, 1)
    assert {symbol for atoms in pool for symbol in atoms.get_chemical_symbols()} == set(ELEMENTS)
    assert len({atoms.info[CONFIG_TYPE] for atoms in pool}) == 6


def test_neighbours_touch_and_do_not_overlap() -> None:
    for atoms in prototype_pool(ELEMENTS, 60, 2):
        i, j, d = neighbor_list("ijd", atoms, 6.0)
        ratio = d / (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
        assert 0.65 < ratio.min() < 1.15


def test_one_element_only_gives_elemental_crystals() -> None:
    assert all(set(atoms.symbols) == {"W"} for atoms in prototype_pool(["W"], 5, 1))


def test_choice_is_seeded_and_keeps_to_the_known_elements() -> None:
    pool = [bulk(symbol, "fcc", a=4 + 0.01 * k) for k in range(10) for symbol in ("Cu", "Au")]
    chosen = choose_frames(pool, ["Cu"], 4, seed=7)
    assert all(set(atoms.symbols) == {"Cu"} for atoms in chosen)
    assert [a.cell[0, 1] for a in chosen] == [a.cell[0, 1] for a in choose_frames(pool, ["Cu"], 4, seed=7)]


def test_a_pool_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"replay.num_frames = 4, but replay_pool has 1"):
        choose_frames([bulk("Cu"), bulk("Au")], ["Cu"], 4, seed=1)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one element"):
        prototype_pool([], 3, 1)
