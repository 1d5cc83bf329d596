"""One potential against another on the same data: what became better, what worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida_mlip.science.errors import ERROR_UNITS, QUANTITIES

Table = Mapping[str, Any]
"""What :func:`aiida_mlip.science.errors.error_table` returns."""


def compare_tables(before: Table, after: Table) -> list[dict[str, Any]]:
    """Return one row for each configuration type (and ``all``) and quantity that both tables have.

    :return: rows with ``config_type``, ``quantity``, ``unit``, ``frames``, the root-mean-square errors ``before`` and
        ``after``, and ``ratio`` = after / before (None where before is 0).
    """
    rows = []
    for name, old, new in _common_cells(before, after):
        for quantity in QUANTITIES:
            if quantity in old and quantity in new:
                rmse = {"before": float(old[quantity]["rmse"]), "after": float(new[quantity]["rmse"])}
                ratio = rmse["after"] / rmse["before"] if rmse["before"] > 0 else None
                unit = ERROR_UNITS[quantity]
                rows.append(
                    {"config_type": name, "quantity": quantity, "unit": unit, "frames": new["frames"]}
                    | rmse
                    | {"ratio": ratio}
                )
    return rows


def worse_rows(
    rows: list[dict[str, Any]], max_ratio: Mapping[str, float], floor: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the rows whose error after is above ``floor`` and above ``max_ratio`` times the error before.

    :param max_ratio: quantity -> largest accepted ratio.
    :param floor: quantity -> error below which nothing is called worse, in the unit of the quantity.
    """
    return [
        row
        for row in rows
        if row["after"] > floor[row["quantity"]] and row["after"] > max_ratio[row["quantity"]] * row["before"]
    ]


def describe_row(row: Mapping[str, Any]) -> str:
    """Return a row as words, e.g. ``vacancy: forces 0.10 -> 0.20 eV/angstrom``."""
    return f"{row['config_type']}: {row['quantity']} {row['before']:.4g} -> {row['after']:.4g} {row['unit']}"


def best_member(tables: Mapping[str, Table]) -> str:
    """Return the name of the table with the lowest force error; the energy error decides where there are no forces.

    :param tables: member -> error table on the validation set.
    :raises ValueError: if there is no table.
    """
    if not tables:
        raise ValueError("tables is empty: there is no member to choose from")

    def key(name: str) -> tuple[float, float]:
        cell = tables[name]["all"]
        return tuple(float(cell.get(quantity, {}).get("rmse", float("inf"))) for quantity in ("forces", "energy"))  # type: ignore[return-value]

    return min(sorted(tables), key=key)


def _common_cells(before: Table, after: Table) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    yield "all", before["all"], after["all"]
    for name in sorted(set(before["config_types"]) & set(after["config_types"])):
        yield name, before["config_types"][name], after["config_types"][name]
