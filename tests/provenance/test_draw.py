"""Pictures of an ancestry."""

from __future__ import annotations

import shutil
from xml.etree import ElementTree

import pytest
from aiida import orm

from aiida_mlip.provenance import draw as drawing
from aiida_mlip.provenance.ancestry import ancestry
from aiida_mlip.provenance.draw import GraphvizMissingError, draw, svg, visible
from aiida_mlip.provenance.layout import layered

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def graph(aiida_profile, graphs):
    labels = graphs.labels(4)
    return ancestry(graphs.finetuning(labels.dataset, graphs.potential("foundation").store()).potential)


def test_the_plain_drawing_is_valid_and_has_one_box_for_each_group(graph):
    condensed = visible(graph)
    root = ElementTree.fromstring(svg(condensed))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert len(list(root.iter(f"{SVG}rect"))) == len(condensed.groups)
    assert len(list(root.iter(f"{SVG}path"))) == len(condensed.edges)
    assert "4 × PwCalculation" in texts


def test_boxes_of_the_plain_drawing_do_not_overlap(graph):
    root = ElementTree.fromstring(svg(visible(graph)))
    boxes = [tuple(float(rect.get(k) or 0) for k in ("x", "y", "width", "height")) for rect in root.iter(f"{SVG}rect")]
    width, height = float(root.get("width") or 0), float(root.get("height") or 0)
    for i, (x, y, w, h) in enumerate(boxes):
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
        for u, v, p, q in boxes[:i]:
            assert x + w <= u or u + p <= x or y + h <= v or v + q <= y


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")])
def test_graphviz_draws_all_formats(graph, tmp_path, suffix, start):
    assert draw(graph, tmp_path / f"lineage{suffix}").read_bytes().startswith(start)


def test_without_graphviz_an_svg_is_drawn_and_a_pdf_is_refused_with_the_remedy(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert b"PwCalculation" in draw(graph, tmp_path / "lineage.svg").read_bytes()
    with pytest.raises(GraphvizMissingError, match=r"install graphviz.*\.svg"):
        draw(graph, tmp_path / "lineage.pdf")


def test_another_suffix_is_refused(graph, tmp_path):
    with pytest.raises(ValueError, match=r"\.jpg"):
        draw(graph, tmp_path / "lineage.jpg")


def test_every_link_goes_down_one_or_more_layers():
    edges = [(0, 1), (1, 2), (0, 2), (3, 2), (0, 4)]
    layout = layered([0, 1, 2, 3, 4], edges)
    for source, target in edges:
        line = layout.lines[source, target]
        assert line[0] == layout.boxes[source]
        assert line[-1] == layout.boxes[target]
        assert [y for _, y in line] == list(range(int(line[0][1]), int(line[-1][1]) + 1))
    assert layout.boxes[3][1] == layout.boxes[1][1]
    assert len(layout.lines[0, 2]) == 3


def test_a_crossing_that_can_be_avoided_is_avoided():
    layout = layered([0, 1, 2, 3], [(0, 3), (1, 2)])
    (a, b, c, d) = (layout.boxes[i][0] for i in range(4))
    assert (a - b) * (d - c) > 0


def test_a_single_box_is_drawn():
    layout = layered([7], [])
    assert layout.boxes == {7: (0.5, 0.0)}
    assert layout.height == 1


def test_the_kinds_of_boxes_have_distinct_colours():
    assert len({line for _, line in drawing.COLOURS.values()}) == len(drawing.COLOURS)


def test_a_calculation_that_only_gave_a_folder_stays_connected(aiida_profile, graphs):
    """An scf that was restarted from the folder of another one: the folder is drawn, so that nothing hangs loose."""
    kind = "aiida.calculations:quantumespresso.pw"
    first = graphs.start(orm.CalcJobNode, "PwCalculation", kind=kind)
    folder = orm.RemoteData("/scratch/x", computer=orm.Computer("here", "localhost", transport_type="core.local",
                                                               scheduler_type="core.direct").store())  # fmt: skip
    graphs.end(first, {"remote_folder": folder})
    second = graphs.start(orm.CalcJobNode, "PwCalculation", {"parent_folder": folder}, kind=kind)
    output = orm.Dict({"energy": -1.0})
    graphs.end(second, {"output_parameters": output})
    condensed = visible(ancestry(output))
    assert [group.row.class_name for group in condensed.groups] == [
        "Dict",
        "PwCalculation",
        "RemoteData",
        "PwCalculation",
    ]
    assert [(edge.source, edge.target) for edge in condensed.edges] == [(1, 0), (2, 1), (3, 2)]
