"""Write the tables of ``README.md`` anew from ``convergence.json``, ``labels.csv`` and ``tungsten.xyz``."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from typing import Any

from compare import HERE, PUBLISHED, load, summary

COLUMNS = {
    "E(fcc)-E(bcc)": "E(fcc) - E(bcc) [meV/atom]",
    "E(compressed)-E(bcc)": "E(5 % compressed) - E(bcc) [meV/atom]",
    "E(displaced)-E(bcc)": "E(displaced) - E(bcc) [meV/atom]",
    "force(displaced)": "force [meV/Å]",
    "pressure(bcc)": "pressure [GPa]",
    "stress_xy(displaced)": "shear stress [GPa]",
}


def markdown(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    names = list(header)
    lines = [names, ["---"] * len(names), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def convergence(label: str, varied: str, table: dict[str, Any]) -> str:
    """Return the errors of one series against its last member."""
    rows = table["series"][label]
    columns = [column for column in COLUMNS if column in rows[-1]["values"]]
    body = [
        [f"{row['settings'][varied]:g}", *(f"{row['errors'][c]:.2f}" if c in row["errors"] else "" for c in columns)]
        for row in rows
    ]
    body.append(["*value*", *(f"*{rows[-1]['values'][column]:.2f}*" for column in columns)])
    return markdown([varied, *(COLUMNS[column] for column in columns)], body)


def families() -> str:
    """Return how many frames each family has, of which sizes, and what they cost."""
    found: dict[str, list[dict[str, str]]] = {}
    with (HERE / "labels.csv").open() as handle:
        for row in csv.DictReader(handle):
            found.setdefault(row["config_type"], []).append(row)
    body = []
    for name, rows in found.items():
        sizes = ", ".join(map(str, sorted({int(row["atoms"]) for row in rows})))
        meshes = ", ".join(sorted({row["mesh"] for row in rows}))
        body.append([name, len(rows), sizes, meshes, f"{sum(float(row['wall_time_s']) for row in rows) / 60:.1f}"])
    body.append(["all", sum(row[1] for row in body), "", "", f"{sum(float(row[4]) for row in body):.1f}"])
    return markdown(["config_type", "frames", "atoms", "k-points", "pw.x wall time [min]"], body)


def properties() -> str:
    """Return what the labels say, beside published DFT."""
    values = summary(load(HERE / "tungsten.xyz"))
    body = [
        [name, f"{value:.4g}", f"{PUBLISHED[name]:.5g}" if name in PUBLISHED else ""] for name, value in values.items()
    ]
    return markdown(["", "this data set", "published DFT"], body)


def tables() -> dict[str, str]:
    """Return every table by the name of its place in the README."""
    table = json.loads((HERE / "convergence.json").read_text())
    found = {"families": families(), "properties": properties()}
    for label in table["series"]:
        varied = {"cutoff": "ecutwfc", "smearing": "degauss"}.get(label, "kpoints_distance")
        found[label] = convergence(label, varied, table)
    for label, cells in table["cells"].items():
        body = [[name, f"{error:.2f}", cells["points"][name]["n_kpoints"]] for name, error in cells["errors"].items()]
        found[label] = markdown(["cell", "energy error [meV/atom]", "irreducible k-points"], body)
    return found


def main() -> None:
    """Put the tables between the ``<!-- begin: name -->`` and ``<!-- end -->`` lines of the README."""
    readme = HERE / "README.md"
    text = readme.read_text()
    for name, table in tables().items():
        pattern = re.compile(rf"(<!-- begin: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            print(f"README.md has no place for the table {name}")
        text = pattern.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)
    readme.write_text(text)


if __name__ == "__main__":
    main()
