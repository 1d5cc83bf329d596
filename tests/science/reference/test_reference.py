"""The built-in reference data are consistent, cited and in the units of the properties; own files are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT

from aiida_mlip.science import properties, reference

GOOD = """
format: 1
citations: {me: "A. Author, J. Journal 1, 2 (2026)"}
elements:
  W:
    values:
      C11: {value: 520.0, unit: GPa, source: DFT, citation: me}
"""


def test_tungsten_has_what_the_report_shows() -> None:
    data = reference.load()
    assert {"W", "Mo", "Nb"} <= set(data.elements)
    wanted = {"lattice_constant": 3.1854, "C11": 516.0, "C12": 198.0, "C44": 140.0, "vacancy_formation": 3.35}
    for key, value in wanted.items():
        entry = data.get("W", key)
        assert entry is not None
        assert entry.value == value
        assert "Grigorev" in entry.citation
        assert entry.source == "DFT"


@pytest.mark.parametrize("element", ["W", "Mo", "Nb"])
def test_derived_numbers_follow_from_the_others(element: str) -> None:
    data = reference.load()
    values = {key: data.get(element, key).value for key in data.keys(element)}  # type: ignore[union-attr]
    assert values["bulk_modulus"] == pytest.approx((values["C11"] + 2 * values["C12"]) / 3, rel=1e-4)
    assert values["Cprime"] == pytest.approx((values["C11"] - values["C12"]) / 2, rel=1e-4)
    assert values["anisotropy"] == pytest.approx(values["C44"] / values["Cprime"], rel=1e-3)
    assert values["volume_BCC"] == pytest.approx(values["lattice_constant"] ** 3 / 2, rel=0.02)
    assert values["gamma_half_110"] <= values["gamma_max_110"]


@pytest.mark.parametrize("element", ["W", "Mo", "Nb"])
def test_curves_agree_with_the_values(element: str) -> None:
    data = reference.load()
    curve, volume = data.curve(element, "eos_BCC"), data.get(element, "volume_BCC")
    assert curve is not None
    assert volume is not None
    lowest = curve.x[int(np.argmin(curve.y))]
    assert lowest == pytest.approx(volume.value, abs=0.4)
    gamma = data.curve(element, "gamma_110")
    assert gamma is not None
    assert max(gamma.y) == pytest.approx(data.get(element, "gamma_max_110").value, rel=0.02)  # type: ignore[union-attr]


def test_every_quantity_has_the_unit_of_its_reference() -> None:
    data = reference.load()
    found = 0
    for name in properties.names():
        prop = properties.get(name)
        record, _ = properties.compute(prop, prop.conformance, EMT())
        for quantity in record.quantities:
            entry = data.get("W", quantity.key)
            if entry is not None:
                assert entry.unit == quantity.unit, quantity.key
                found += 1
    assert found >= 8


def test_what_is_not_known_is_none() -> None:
    data = reference.load()
    assert data.get("Xe", "C11") is None
    assert data.get("W", "colour") is None
    assert data.curve("W", "colour") is None


def test_own_file_counts_more(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    data = reference.load(path)
    entry = data.get("W", "C11")
    assert entry is not None
    assert (entry.value, entry.citation) == (520.0, "A. Author, J. Journal 1, 2 (2026)")
    assert data.get("W", "C12") is not None
    assert reference.load(path, built_in=False).get("W", "C12") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "mine.yaml holds a list: it needs format, citations and elements"),
        ("a: [", "mine.yaml is not valid YAML"),
        (GOOD.replace("format: 1", "format: 2"), "mine.yaml.format = 2"),
        (GOOD.replace("citation: me", "citation: you"), "elements.W.C11 cites 'you', which is not among the citations"),
        (GOOD.replace("unit: GPa", "unit: kbar"), "mine.yaml.elements.W.values.C11.unit = 'kbar'"),
        (GOOD.replace("value: 520.0", "value: much"), "mine.yaml.elements.W.values.C11.value = 'much'"),
        (GOOD.replace("  W:", "  Wolfram:"), "'Wolfram' is not a chemical symbol"),
        (GOOD.replace(", source: DFT", ""), "mine.yaml.elements.W.values.C11.source is required"),
        (
            GOOD + "    curves: {e: {x: [1, 2], y: [1, 2, 3], x_unit: '1', y_unit: eV, source: DFT, citation: me}}",
            "x has 2 points and y 3",
        ),
    ],
)
def test_wrong_files_are_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml") as caught:
        reference.load(path)
    assert message in str(caught.value)


def test_missing_file_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be read: No such file or directory; check the path"):
        reference.load(tmp_path / "none.yaml")
