"""Where the boxes of a layered drawing go: layers by the longest path, order by barycentres (Sugiyama's method)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 60
"""Passes up and down. Crossings are gone after a few; the rest lets boxes slide over their neighbours."""

BEND = 0.18
"""Width of the channel that a line gets on its way through a layer, in units of a box."""

Key = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Positions in units of boxes: ``x`` counts from the left and ``y`` is the layer, the given data on top.

    :param boxes: box -> (x of its centre, y).
    :param lines: (source, target) -> the points its line goes through, both ends included.
    """

    boxes: Mapping[int, tuple[float, float]]
    lines: Mapping[tuple[int, int], tuple[tuple[float, float], ...]]

    @property
    def width(self) -> float:
        """Return the width in boxes."""
        points = [x for x, _ in self.boxes.values()] + [x for line in self.lines.values() for x, _ in line]
        return max(points, default=0.0) + 0.5

    @property
    def height(self) -> int:
        """Return the number of layers."""
        return int(max((y for _, y in self.boxes.values()), default=0)) + 1


def layered(nodes: Sequence[int], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place the nodes of a directed graph without cycles, sources above targets.

    :param nodes: the boxes.
    :param edges: (source, target) pairs of boxes.
    """
    depth = _depths(nodes, edges)
    chains = {(s, t): _chain(s, t, depth) for s, t in edges}
    layers: dict[int, list[Key]] = defaultdict(list)
    for node in nodes:
        layers[depth[node]].append((node,))
    for (source, _), chain in chains.items():
        for step, key in enumerate(chain[1:-1], start=depth[source] + 1):
            layers[step].append(key)
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    x = _place([layers[level] for level in sorted(layers)], links)
    boxes = {node: (x[node,], float(depth[node])) for node in nodes}
    lines = {
        (s, t): tuple((x[key], float(depth[s] + step)) for step, key in enumerate(chain))
        for (s, t), chain in chains.items()
    }
    return Layout(boxes, lines)


def _depths(nodes: Sequence[int], edges: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return the layer of each node, counted from the top; a node sits as close above what it leads to as it can."""
    targets: dict[int, list[int]] = defaultdict(list)
    for source, target in edges:
        targets[source].append(target)
    from_bottom: dict[int, int] = {}

    def height(node: int) -> int:
        if node not in from_bottom:
            from_bottom[node] = 1 + max((height(target) for target in targets[node]), default=-1)
        return from_bottom[node]

    top = max((height(node) for node in nodes), default=0)
    return {node: top - from_bottom[node] for node in nodes}


def _chain(source: int, target: int, depth: Mapping[int, int]) -> list[Key]:
    """Return the two ends with one bend for each layer in between."""
    return [(source,), *[(source, target, level) for level in range(depth[source] + 1, depth[target])], (target,)]


def _place(layers: list[list[Key]], links: Sequence[tuple[Key, Key]]) -> dict[Key, float]:
    """Return the x of every box and bend: ordered by where the neighbours are, then packed without overlap."""
    near: dict[Key, list[Key]] = defaultdict(list)
    for a, b in links:
        near[a].append(b)
        near[b].append(a)
    x = {key: float(i) for layer in layers for i, key in enumerate(layer)}
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 else reversed(layers):
            wish = {key: sum(x[n] for n in near[key]) / len(near[key]) if near[key] else x[key] for key in layer}
            layer.sort(key=lambda key: (wish[key], x[key]))
            x.update(_pack(layer, wish))
    left = min((x[key] - _width(key) / 2 for key in x), default=0.0)
    return {key: value - left for key, value in x.items()}


def _pack(layer: Sequence[Key], wish: Mapping[Key, float]) -> dict[Key, float]:
    """Return positions in the given order, as near to the wishes as fits (isotonic regression: pool neighbours)."""
    offset, offsets = 0.0, []
    for i, key in enumerate(layer):
        offset += (_width(layer[i - 1]) + _width(key)) / 2 if i else 0.0
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []
    for key, shift in zip(layer, offsets, strict=True):
        blocks.append((wish[key] - shift, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    flat = [value for value, number in blocks for _ in range(number)]
    return {key: value + shift for key, value, shift in zip(layer, flat, offsets, strict=True)}


def _width(key: Key) -> float:
    return 1.0 if len(key) == 1 else BEND
