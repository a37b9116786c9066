"""Places the nodes of a graph in layers from left to right, so that few arrows cross: the method of Sugiyama, in small.

Circles are cut, each node gets the layer after its last predecessor, arrows that span several layers get bends, each layer is
ordered by the positions of its neighbours, and then moved as near to them as the order allows.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Key = Any
"""Whatever can be a key of a dictionary."""
Size = tuple[float, float]

LAYER_GAP = 60.0
NODE_GAP = 16.0
_BEND_GAP = 8.0
_COMPONENT_GAP = 40.0
_ORDER_SWEEPS = 24
_PLACE_SWEEPS = 12


class Layout(NamedTuple):
    """Centres of the nodes, bends of the arrows (from left to right), those drawn against their direction, and the whole size."""

    centres: dict[Key, tuple[float, float]]
    bends: dict[tuple[Key, Key], list[tuple[float, float, float]]]
    """Per arrow the bends as left end, right end and height, in the order of layers."""
    reversed: set[tuple[Key, Key]]
    width: float
    height: float


def place(sizes: Mapping[Key, Size], arrows: Sequence[tuple[Key, Key]]) -> Layout:
    """Places all nodes; parts that no arrow connects are placed by themselves and then packed.

    Args:
        sizes: width and height of each node.
        arrows: from whom to whom; loops on one node are ignored.
    """
    edges = list(dict.fromkeys((source, target) for source, target in arrows if source != target))
    parts = [_place_part({key: sizes[key] for key in keys}, inner) for keys, inner in _components(list(sizes), edges)]
    return _packed(parts)


def layers(keys: Sequence[Key], arrows: Sequence[tuple[Key, Key]]) -> dict[Key, int]:
    """The layer of each node, from 0."""
    edges = list(dict.fromkeys((source, target) for source, target in arrows if source != target))
    against = _cut_circles(list(keys), edges)
    return _layers(list(keys), _forward(edges, against))


def _components(keys: list[Key], edges: list[tuple[Key, Key]]) -> list[tuple[list[Key], list[tuple[Key, Key]]]]:
    root = {key: key for key in keys}

    def find(key: Key) -> Key:
        while root[key] != key:
            root[key] = root[root[key]]
            key = root[key]
        return key

    for source, target in edges:
        root[find(source)] = find(target)
    members: dict[Key, list[Key]] = {}
    for key in keys:
        members.setdefault(find(key), []).append(key)
    inner: dict[Key, list[tuple[Key, Key]]] = {}
    for edge in edges:
        inner.setdefault(find(edge[0]), []).append(edge)
    return [(found, inner.get(top, [])) for top, found in members.items()]


def _place_part(sizes: dict[Key, Size], edges: list[tuple[Key, Key]]) -> Layout:
    against = _cut_circles(list(sizes), edges)
    forward = _forward(edges, against)
    layer = _layers(list(sizes), forward)
    rows = _Rows(sizes, layer, forward)
    rows.order()
    rows.spread()
    lefts, widths = rows.columns()
    centres = {key: (lefts[layer[key]] + widths[layer[key]] / 2, rows.at[key]) for key in sizes}
    bends: dict[tuple[Key, Key], list[tuple[float, float, float]]] = {}
    for edge, drawn in zip(edges, forward, strict=True):
        chain = rows.chains[drawn]
        bends[edge] = [
            (lefts[number], lefts[number] + widths[number], rows.at[bend])
            for number, bend in enumerate(chain, layer[drawn[0]] + 1)
        ]
    top = min(y - sizes[key][1] / 2 for key, (_, y) in centres.items())
    tops = [y for path in bends.values() for _, _, y in path]
    top = min([top, *tops])
    bottom = max([*(y + sizes[key][1] / 2 for key, (_, y) in centres.items()), *tops])
    moved = {key: (x, y - top) for key, (x, y) in centres.items()}
    paths = {edge: [(left, right, y - top) for left, right, y in path] for edge, path in bends.items()}
    return Layout(moved, paths, against, lefts[-1] + widths[-1], bottom - top)


def _cut_circles(keys: list[Key], edges: list[tuple[Key, Key]]) -> set[tuple[Key, Key]]:
    """The arrows that lead back, found by walking in depth from nodes without predecessors first."""
    following: dict[Key, list[Key]] = {key: [] for key in keys}
    entered = {target for _, target in edges}
    for source, target in edges:
        following[source].append(target)
    against: set[tuple[Key, Key]] = set()
    done: set[Key] = set()
    for start in sorted(keys, key=lambda key: key in entered):
        if start in done:
            continue
        path = {start: iter(following[start])}
        while path:
            key = next(reversed(path))
            step = next(path[key], None)
            if step is None:
                del path[key]
                done.add(key)
            elif step in path:
                against.add((key, step))
            elif step not in done:
                path[step] = iter(following[step])
    return against


def _forward(edges: list[tuple[Key, Key]], against: set[tuple[Key, Key]]) -> list[tuple[Key, Key]]:
    return [(target, source) if (source, target) in against else (source, target) for source, target in edges]


def _layers(keys: list[Key], edges: list[tuple[Key, Key]]) -> dict[Key, int]:
    before: dict[Key, set[Key]] = {key: set() for key in keys}
    after: dict[Key, list[Key]] = {key: [] for key in keys}
    for source, target in edges:
        if source not in before[target]:
            before[target].add(source)
            after[source].append(target)
    layer = dict.fromkeys(keys, 0)
    missing = {key: len(sources) for key, sources in before.items()}
    ready = [key for key in keys if not missing[key]]
    for key in ready:
        for target in after[key]:
            layer[target] = max(layer[target], layer[key] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    for key in keys:
        if not before[key] and after[key]:
            layer[key] = min(layer[target] for target in after[key]) - 1
    return layer


class _Rows:
    """The layers of one part, with a bend in each layer that an arrow passes."""

    def __init__(self, sizes: dict[Key, Size], layer: dict[Key, int], edges: list[tuple[Key, Key]]) -> None:
        self.sizes = sizes
        self.layer = dict(layer)
        self.rows: list[list[Key]] = [[] for _ in range(max(layer.values()) + 1)]
        self.before: dict[Key, list[Key]] = {key: [] for key in sizes}
        self.after: dict[Key, list[Key]] = {key: [] for key in sizes}
        self.chains: dict[tuple[Key, Key], list[Key]] = {}
        self.at: dict[Key, float] = {}
        for edge in dict.fromkeys(edges):
            source, target = edge
            chain: list[Key] = [("bend", edge, number) for number in range(layer[source] + 1, layer[target])]
            self.chains[edge] = chain
            for number, bend in enumerate(chain, layer[source] + 1):
                self.layer[bend] = number
            for left, right in zip([source, *chain], [*chain, target], strict=True):
                self.after.setdefault(left, []).append(right)
                self.before.setdefault(right, []).append(left)
        self._first_order()

    def _first_order(self) -> None:
        """In the order in which a walk from the first nodes comes by: neighbours come to lie together."""
        seen: set[Key] = set()
        for start in sorted(self.sizes, key=lambda key: self.layer[key]):
            walk = [start]
            while walk:
                key = walk.pop()
                if key not in seen:
                    seen.add(key)
                    self.rows[self.layer[key]].append(key)
                    walk.extend(reversed(self.after.get(key, [])))
                    walk.extend(other for other in self.before.get(key, []) if not self.before.get(other))

    def order(self) -> None:
        """Sorts each layer by the middle of its neighbours, to and fro; keeps the order with the fewest crossings."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(_ORDER_SWEEPS):
            if not fewest:
                break
            forth = sweep % 2 == 0
            near = self.before if forth else self.after
            for row in self.rows if forth else reversed(self.rows):
                places = {key: index for other in self.rows for index, key in enumerate(other)}
                wanted = {key: _middle([places[other] for other in near.get(key, [])], places[key]) for key in row}
                row.sort(key=lambda key: wanted[key])
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _crossings(self) -> int:
        found = 0
        for left, right in pairwise(self.rows):
            places = {key: index for index, key in enumerate(right)}
            passed: list[int] = []
            for key in left:
                targets = sorted(places[other] for other in self.after.get(key, []))
                found += sum(len(passed) - bisect_right(passed, target) for target in targets)
                for target in targets:
                    insort(passed, target)
        return found

    def spread(self) -> None:
        """Gives heights: each layer as near to its neighbours as its order and the gaps allow."""
        for row in self.rows:
            y = 0.0
            for index, key in enumerate(row):
                y += self._gap(row[index - 1], key) if index else 0.0
                self.at[key] = y
        for sweep in range(_PLACE_SWEEPS):
            forth = sweep % 2 == 0
            last = sweep >= _PLACE_SWEEPS - 2
            for row in self.rows if forth else list(reversed(self.rows)):
                wanted = []
                for key in row:
                    near = self.before.get(key, []) if forth or last else []
                    near = near + (self.after.get(key, []) if not forth or last else [])
                    wanted.append(sum(self.at[other] for other in near) / len(near) if near else self.at[key])
                gaps = [0.0, *(self._gap(above, below) for above, below in pairwise(row))]
                for key, y in zip(row, _nearest(wanted, gaps), strict=True):
                    self.at[key] = y

    def _gap(self, above: Key, below: Key) -> float:
        """The least distance between the centres of two neighbours of a layer."""
        heights = [self.sizes[key][1] if key in self.sizes else 0.0 for key in (above, below)]
        return sum(heights) / 2 + (NODE_GAP if all(heights) else _BEND_GAP)

    def columns(self) -> tuple[list[float], list[float]]:
        """Left ends and widths of the layers; where many arrows run between two, they lie further apart."""
        widths = [max([self.sizes[key][0] for key in row if key in self.sizes], default=0.0) for row in self.rows]
        lefts, x = [], 0.0
        for row, width in zip(self.rows, widths, strict=True):
            lefts.append(x)
            x += width + LAYER_GAP + min(2.0 * sum(len(self.after.get(key, [])) for key in row), 3 * LAYER_GAP)
        return lefts, widths


def _middle(places: list[int], own: int) -> float:
    places.sort()
    half = len(places) // 2
    if not places:
        return float(own)
    return float(places[half]) if len(places) % 2 else (places[half - 1] + places[half]) / 2


def _nearest(wanted: list[float], gaps: list[float]) -> list[float]:
    """The values nearest to those wanted that keep their order and gaps (isotonic regression: neighbours that clash pool)."""
    offsets, total = [], 0.0
    for gap in gaps:
        total += gap
        offsets.append(total)
    pools: list[list[float]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        pools.append([value - offset, 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, weight = pools.pop()
            pools[-1] = [(pools[-1][0] * pools[-1][1] + mean * weight) / (pools[-1][1] + weight), pools[-1][1] + weight]
    spread = [mean for mean, weight in pools for _ in range(int(weight))]
    return [mean + offset for mean, offset in zip(spread, offsets, strict=True)]


def _packed(parts: list[Layout]) -> Layout:
    """The parts in shelves, so that the whole is about as wide as it is high."""
    area = sum((part.width + _COMPONENT_GAP) * (part.height + _COMPONENT_GAP) for part in parts)
    limit = max([1.6 * area**0.5, *(part.width for part in parts)], default=0.0)
    x = y = shelf = width = 0.0
    whole = Layout({}, {}, set(), 0.0, 0.0)
    for part in sorted(parts, key=lambda part: -part.height):
        if x and x + part.width > limit:
            x, y, shelf = 0.0, y + shelf + _COMPONENT_GAP, 0.0
        for key, (cx, cy) in part.centres.items():
            whole.centres[key] = (cx + x, cy + y)
        for edge, path in part.bends.items():
            whole.bends[edge] = [(left + x, right + x, height + y) for left, right, height in path]
        whole.reversed.update(part.reversed)
        x, shelf, width = x + part.width + _COMPONENT_GAP, max(shelf, part.height), max(width, x + part.width)
    return whole._replace(width=width, height=y + shelf)
