"""A diagram as SVG: needs no network, no browser and no other program."""

from __future__ import annotations

import unicodedata
from xml.sax.saxutils import escape, quoteattr

from triggers_cli.diagram import COLOURS, Arrow, Diagram, Node
from triggers_cli.layered import Layout, layers, place

_LETTER = 7.3
_SMALL_LETTER = 6.1
_LONGEST = 34
_MARGIN = 20.0
_LEGEND = 34.0
_HEAD = 8.0
_ASIDE = 9.0
_FAR = 2
"""So many layers away, a trigger is drawn once more."""
_STROKES = {
    "after": 'stroke="#555"',
    "andEvery": 'stroke="#333" stroke-width="3"',
    "unless": 'stroke="#b3261e" stroke-dasharray="5 4"',
}
_HEADS = {"after": "#555", "andEvery": "#333", "unless": "#b3261e"}


def as_svg(diagram: Diagram) -> str:
    """The picture; what is cut off in a label is shown when the pointer rests on it."""
    diagram = _repeated(diagram)
    sizes = {node.key: _size(node) for node in diagram.nodes}
    layout = place(sizes, [(arrow.source, arrow.target) for arrow in diagram.arrows])
    statuses = [status for status in COLOURS if any(node.status == status for node in diagram.nodes)]
    legend, legend_width = _legend(statuses, layout.height + 2 * _MARGIN + 6)
    width = max(layout.width + 2 * _MARGIN, legend_width)
    height = layout.height + 2 * _MARGIN + _LEGEND
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
        *(_arrow(arrow, layout, sizes) for arrow in diagram.arrows),
        *(_node(node, layout, sizes) for node in diagram.nodes),
        "</g>",
        *legend,
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _repeated(diagram: Diagram) -> Diagram:
    """With another picture of a trigger near the tasks that wait for it far from the first, instead of arrows across it all."""
    layer = layers([node.key for node in diagram.nodes], [(arrow.source, arrow.target) for arrow in diagram.arrows])
    triggers = {node.key: node for node in diagram.nodes if node.kind == "trigger"}
    nodes = {node.key: node for node in diagram.nodes}
    renamed: dict[Arrow, Arrow] = {}
    for key, node in triggers.items():
        begin = number = 0
        for arrow in sorted((arrow for arrow in diagram.arrows if arrow.source == key), key=lambda arrow: layer[arrow.target]):
            if not number or layer[arrow.target] - begin >= _FAR:
                begin, number = layer[arrow.target], number + 1
            if number > 1:
                copy = f"{key}@{number}"
                nodes[copy] = node._replace(key=copy)
                renamed[arrow] = arrow._replace(source=copy)
    return Diagram(list(nodes.values()), [renamed.get(arrow, arrow) for arrow in diagram.arrows])


def _size(node: Node) -> tuple[float, float]:
    width = max(_width(shortened(node.name), _LETTER), _width(shortened(node.note), _SMALL_LETTER))
    return width + (24 if node.kind == "task" else 30), 40.0 if node.note else 28.0


def _width(text: str, letter: float) -> float:
    return sum(letter * (1.75 if unicodedata.east_asian_width(sign) in "WF" else 1.0) for sign in text)


def shortened(text: str) -> str:
    """A label of at most 34 signs, cut in the middle: names often begin, or end, alike."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 + 1 :]}"


def _node(node: Node, layout: Layout, sizes: dict[str, tuple[float, float]]) -> str:
    x, y = layout.centres[node.key]
    width, height = sizes[node.key]
    fill = COLOURS[node.status] if node.status else "#fff"
    corner = 6 if node.kind == "task" else height / 2
    stroke = 'stroke="#555"' if node.kind == "task" else 'stroke="#999"'
    first = y + 4 if not node.note else y - 3
    lines = [f'<text x="{x:.1f}" y="{first:.1f}" text-anchor="middle" fill="#111">{escape(shortened(node.name))}</text>']
    if node.note:
        lines.append(
            f'<text x="{x:.1f}" y="{y + 12:.1f}" text-anchor="middle" font-size="10" fill="#444">'
            f"{escape(shortened(node.note))}</text>"
        )
    title = f"{node.name}: {node.note}" if node.note else node.name
    return (
        f'<g id={quoteattr(node.key)}><title>{escape(title)}</title><rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" rx="{corner:.0f}" fill="{fill}" {stroke}/>{"".join(lines)}</g>'
    )


def _arrow(arrow: Arrow, layout: Layout, sizes: dict[str, tuple[float, float]]) -> str:
    if arrow.source == arrow.target:
        return _loop(arrow, layout, sizes)
    edge = (arrow.source, arrow.target)
    back = edge in layout.reversed
    left, right = (arrow.target, arrow.source) if back else edge
    (x1, y1), (x2, y2) = layout.centres[left], layout.centres[right]
    x1, x2 = x1 + sizes[left][0] / 2, x2 - sizes[right][0] / 2
    if back:  # beside what leads the other way
        y1, y2 = y1 + _ASIDE, y2 + _ASIDE
    begin, end = (x1 + _HEAD, x2) if back else (x1, x2 - _HEAD)
    path, x, y = [f"M{begin:.1f},{y1:.1f}"], begin, y1
    for bend_left, bend_right, height in layout.bends[edge]:
        path.append(f"{_curve(x, y, bend_left, height)} L{bend_right:.1f},{height:.1f}")
        x, y = bend_right, height
    path.append(_curve(x, y, end, y2))
    tip = _tip(arrow.kind, x1, y1, -1) if back else _tip(arrow.kind, x2, y2, 1)
    return f'<path d="{" ".join(path)}" fill="none" {_STROKES[arrow.kind]}/>{tip}'


def _loop(arrow: Arrow, layout: Layout, sizes: dict[str, tuple[float, float]]) -> str:
    x, y = layout.centres[arrow.source]
    top = y - sizes[arrow.source][1] / 2
    path = f"M{x - 8:.1f},{top:.1f} C{x - 14:.1f},{top - 18:.1f} {x + 14:.1f},{top - 18:.1f} {x + 8:.1f},{top - 6:.1f}"
    tip = f"M{x + 8:.1f},{top:.1f} l-4,-7 h8 z"
    return f'<path d="{path}" fill="none" {_STROKES[arrow.kind]}/><path d="{tip}" fill="{_HEADS[arrow.kind]}"/>'


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    middle = (x1 + x2) / 2
    return f"C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"


def _tip(kind: str, x: float, y: float, direction: int) -> str:
    back = x - direction * _HEAD
    return f'<path d="M{x:.1f},{y:.1f} L{back:.1f},{y - 4:.1f} L{back:.1f},{y + 4:.1f} z" fill="{_HEADS[kind]}"/>'


def _legend(statuses: list[str], y: float) -> tuple[list[str], float]:
    parts, x = [], _MARGIN
    for kind, text in (("after", "after"), ("andEvery", "andEvery: each time"), ("unless", "unless")):
        parts.append(
            f'<path d="M{x:.0f},{y:.0f} h28" {_STROKES[kind]}/>{_tip(kind, x + 36, y, 1)}'
            f'<text x="{x + 42:.0f}" y="{y + 4:.0f}" font-size="10" fill="#444">{text}</text>'
        )
        x += 42 + _width(text, _SMALL_LETTER) + 18
    for status in statuses:
        parts.append(
            f'<rect x="{x:.0f}" y="{y - 6:.0f}" width="14" height="12" rx="3" fill="{COLOURS[status]}" stroke="#555"/>'
            f'<text x="{x + 20:.0f}" y="{y + 4:.0f}" font-size="10" fill="#444">{status}</text>'
        )
        x += 20 + _width(status, _SMALL_LETTER) + 14
    return parts, x + _MARGIN
