"""Errors before and after, and the figures made of them."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mlip.report import figures
from aiida_mlip.report.compare import error_set, error_sets
from aiida_mlip.report.parity import points_of
from aiida_mlip.report.subject import Subject
from aiida_mlip.science import keys
from aiida_mlip.science.errors import error_table
from aiida_mlip.science.parity import parity_arrays


@pytest.fixture
def frames(finished):
    return [finished.frame(i, finished.TYPES[i % 3]) for i in range(9)]


def test_rows_hold_what_the_tables_say(finished, frames):
    before, after = (error_table(frames, finished.predictions(frames, noise, 3)) for noise in (0.3, 0.1))
    made = error_set("test", before, after)
    assert made.compared
    assert [row.name for row in made.types] == sorted(finished.TYPES[:3])
    for row in made.types:
        for metric, cells in row.cells.items():
            for key, cell in cells.items():
                assert cell.before == before["config_types"][row.name][key][metric]
                assert cell.after == after["config_types"][row.name][key][metric]
    assert {cell.verdict for cell in made.total.cells["rmse"].values()} == {"better"}


def test_what_became_worse_is_called_worse_and_small_changes_are_not(finished, frames):
    table = error_table(frames, finished.predictions(frames, 0.1, 3))
    worse = error_table(frames, finished.predictions(frames, 0.2, 3))
    assert error_set("test", table, worse).total.cells["rmse"]["forces"].verdict == "worse"
    assert error_set("test", table, table).total.cells["rmse"]["forces"].verdict == "same"
    assert error_set("test", None, table).total.cells["rmse"]["forces"].verdict == ""


def test_a_quantity_without_labels_is_left_out(finished, frames):
    for atoms in frames:
        del atoms.info[keys.STRESS]
    made = error_set("test", None, error_table(frames, finished.predictions(frames, 0.1, 3)))
    assert made.quantities == ("energy", "forces")
    assert [note.text for note in figures.errors_by_type(made).layout.annotations] == [
        "Energy [meV/atom]",
        "Forces [meV/Å]",
    ]


def test_the_test_set_comes_first_and_sets_without_labels_do_not_come(finetuning):
    assert [item.name for item in error_sets(Subject(finetuning))] == ["test", "validation", "training"]


def test_points_are_labels_and_predictions_in_the_unit_of_the_axis(finished, frames):
    found = finished.predictions(frames, 0.1, 3, offset=2.0)
    shift = 2.0 * np.array([float(len(atoms)) for atoms in frames])
    points = points_of(parity_arrays(frames, found, shift))
    sizes = np.array([len(atoms) for atoms in frames])
    np.testing.assert_allclose(points["energy"].predicted, found.energies / sizes - 2.0)
    np.testing.assert_allclose(points["forces"].predicted, np.concatenate([f.ravel() for f in found.forces]))
    np.testing.assert_allclose(points["stress"].predicted, found.stresses.ravel() * keys.EV_PER_ANGSTROM3_IN_GPA)
    owners = np.repeat(np.arange(9), 3 * sizes)
    np.testing.assert_array_equal(points["forces"].frames, owners)
    assert list(points["forces"].types) == [frames[i].info[keys.CONFIG_TYPE] for i in owners]


def test_thinning_keeps_the_largest_errors_and_says_how_many_there_were(finished, frames):
    arrays = parity_arrays(frames, finished.predictions(frames, 0.1, 3))
    whole, thin = points_of(arrays)["forces"], points_of(arrays, limit=20)["forces"]
    assert len(thin.reference) == 20
    assert thin.total == len(whole.reference)
    assert np.abs(thin.error).max() == np.abs(whole.error).max()


def test_frames_without_a_label_are_not_drawn(finished, frames):
    del frames[4].info[keys.ENERGY]
    points = points_of(parity_arrays(frames, finished.predictions(frames, 0.1, 3)))
    assert 4 not in points["energy"].frames
    assert len(points["energy"].reference) == 8


@pytest.mark.parametrize("values", [[1.3, 45.0], [270.0, 340.0], [0.9, 1.1], [1e-3, 5e3], [2.0], [2.0, 2.0]])
def test_a_logarithmic_axis_has_ticks_inside_and_holds_all_values(values):
    axis = figures.log_axis(values)
    low, high = (10**end for end in axis["range"])
    assert low < min(values) <= max(values) < high
    assert 3 <= len(axis["tickvals"]) <= 12
    assert all(low <= tick <= high for tick in axis["tickvals"])


def test_a_logarithmic_axis_of_nothing_is_left_to_plotly():
    assert figures.log_axis([None, 0.0, -1.0, np.nan]) == {"type": "log"}


def test_curves_of_other_heads_are_told_apart():
    x = np.arange(3)
    arrays = {
        "epoch": x, "train_loss": x + 1.0, "valid_loss": x + 1.0, "valid_rmse_forces": x + 1.0,
        "valid_pt_head_rmse_forces": x + 2.0, "valid_mae_forces": x + 9.0,
    }  # fmt: skip
    figure = figures.learning_curves({"training": arrays}, {"training": 2})
    assert [trace.name for trace in figure.data] == [
        "training", "validation", "validation, head pt_head", "validation",
    ]  # fmt: skip
    assert list(figure.data[2].y) == [2000.0, 3000.0, 4000.0]
    assert [shape.x0 for shape in figure.layout.shapes] == [2, 2]


def test_energies_are_drawn_from_the_lowest_label(finished, frames):
    points = points_of(parity_arrays(frames, finished.predictions(frames, 0.1, 3)))
    before, after = figures.from_lowest({}, points)
    assert before == {}
    assert after["energy"].reference.min() == 0.0
    np.testing.assert_allclose(after["energy"].error, points["energy"].error, atol=1e-12)
    assert after["forces"] is points["forces"]


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("fcc: energy 0.04931 -> 0.2122 eV/atom", "fcc: energy 49.3 → 212 meV/atom (× 4.3)"),
        ("a: b: forces 0.1 -> 0.12 eV/angstrom", "a: b: forces 100 → 120 meV/Å (+20 %)"),
        ("something else entirely", "something else entirely"),
    ],
)
def test_what_became_worse_is_said_in_the_units_of_the_page(text, readable):
    from aiida_mlip.report.sections import outcome

    assert outcome._readable(text) == readable


def test_a_finding_is_shown_once_however_often_it_was_made(finished):
    from types import SimpleNamespace

    from aiida_mlip.report.sections import audit

    def finding(name, frames, **more):
        return {"set": name, "check": "duplicates", "severity": "warning", "frames": frames, "message": "m", **more}

    reports = {
        "audit": {"findings": [finding("dataset", [3, 8])], "sets": {"dataset": 10}},
        "audit_against_baseline": {
            "findings": [finding("training", [1, 2], dataset_frames=[3, 8]), finding("test", [0], dataset_frames=[5])],
            "sets": {},
        },
    }
    content = audit.collect(SimpleNamespace(audits=reports))
    assert [item["frames"] for item in content["findings"]] == [
        "frames 3, 8 of the data set",
        "frame 5 of the data set",
    ]
