import pytest

from aiida_mlip.science.comparison import best_member, compare_tables, describe_row, worse_rows


def cell(energy: float, forces: float, frames: int = 3) -> dict:
    return {"frames": frames, "energy": {"rmse": energy}, "forces": {"rmse": forces}}


BEFORE = {"all": cell(0.5, 0.8), "config_types": {"bcc": cell(0.2, 0.0), "vacancy": cell(0.9, 1.0)}}
AFTER = {"all": cell(0.1, 0.2), "config_types": {"bcc": cell(0.3, 0.01), "vacancy": cell(0.05, 0.3), "a15": cell(1, 1)}}
ONE = {"energy": 1.0, "forces": 1.0, "stress": 1.0}
FLOOR = {"energy": 0.002, "forces": 0.02, "stress": 0.002}


def test_rows_hold_what_both_tables_have() -> None:
    rows = compare_tables(BEFORE, AFTER)
    assert {row["config_type"] for row in rows} == {"all", "bcc", "vacancy"}
    total = next(row for row in rows if row["config_type"] == "all" and row["quantity"] == "forces")
    assert total["ratio"] == pytest.approx(0.25)
    assert total["unit"] == "eV/angstrom"


def test_an_error_of_zero_before_has_no_ratio() -> None:
    row = next(r for r in compare_tables(BEFORE, AFTER) if r["config_type"] == "bcc" and r["quantity"] == "forces")
    assert row["ratio"] is None


def test_one_configuration_type_that_became_worse_is_found_among_better_ones() -> None:
    worse = worse_rows(compare_tables(BEFORE, AFTER), ONE, FLOOR)
    assert [(row["config_type"], row["quantity"]) for row in worse] == [("bcc", "energy")]
    assert describe_row(worse[0]) == "bcc: energy 0.2 -> 0.3 eV/atom"


def test_what_is_below_the_floor_is_not_worse() -> None:
    worse = worse_rows(compare_tables(BEFORE, AFTER), ONE, FLOOR | {"energy": 0.4})
    assert worse == []


def test_a_ratio_below_one_asks_for_improvement() -> None:
    worse = worse_rows(compare_tables(BEFORE, AFTER), ONE | {"forces": 0.28}, FLOOR)
    assert ("vacancy", "forces") in {(row["config_type"], row["quantity"]) for row in worse}


def test_the_best_member_has_the_lowest_force_error() -> None:
    tables = {"a": {"all": cell(0.1, 0.3)}, "b": {"all": cell(0.2, 0.2)}, "c": {"all": {"energy": {"rmse": 0.0}}}}
    assert best_member(tables) == "b"


def test_no_member_is_refused() -> None:
    with pytest.raises(ValueError, match="tables is empty"):
        best_member({})
