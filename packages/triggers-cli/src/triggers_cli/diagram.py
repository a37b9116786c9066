"""A configuration, or a live session, as nodes and arrows; and as text for Mermaid and Graphviz."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from triggers.config import TaskConfig

COLOURS = {
    "failed": "#f6c1bb",
    "running": "#a9cdf3",
    "scheduled": "#d6e6f8",
    "unstarted": "#ffffff",
    "finished": "#c4e6c4",
    "skipped": "#e5e0c8",
    "replayed": "#e3d4ee",
    "abandoned": "#dcdcdc",
    "fired": "#fdeeb5",
}
"""The fill of what has a status; the words beside it say the same. The first that a task has an instance of gives its colour."""


class Node(NamedTuple):
    """A task, or a trigger that no task fires."""

    key: str
    name: str
    kind: str
    note: str
    status: str | None


class Arrow(NamedTuple):
    """What a task waits for: ``after``, ``andEvery`` or ``unless``."""

    source: str
    target: str
    kind: str


class Diagram(NamedTuple):
    """All nodes, in the order of the configuration, and all arrows."""

    nodes: list[Node]
    arrows: list[Arrow]


def diagram_of(
    tasks: Mapping[str, TaskConfig],
    instances: Iterable[tuple[str, str]] | None = None,
    fired: Collection[str] = (),
) -> Diagram:
    """The diagram of tasks; with the statuses of a session if ``instances`` are given.

    Args:
        tasks: the configuration.
        instances: task and status of each instance.
        fired: the triggers that have fired.
    """
    counts: dict[str, Counter[str]] = {}
    for task, status in instances or ():
        counts.setdefault(task, Counter())[status] += 1
    nodes: dict[str, Node] = {}
    arrows: list[Arrow] = []
    for name, config in tasks.items():
        for kind, trigger in _waits(config):
            key = f"task:{trigger}" if trigger in tasks else f"trigger:{trigger}"
            arrows.append(Arrow(key, f"task:{name}", kind))
            if trigger not in tasks:
                live = "fired" if trigger in fired else None
                nodes.setdefault(key, Node(key, trigger, "trigger", live or "", live))
        if instances is None:
            nodes[f"task:{name}"] = Node(f"task:{name}", name, "task", config.run, None)
        else:
            of_task = counts.get(name, Counter())
            nodes[f"task:{name}"] = Node(f"task:{name}", name, "task", _counted(of_task), _most_urgent(of_task))
    return Diagram(list(nodes.values()), arrows)


def _waits(task: TaskConfig) -> Iterator[tuple[str, str]]:
    yield from (("after", trigger) for trigger in task.after)
    if task.and_every is not None:
        yield "andEvery", task.and_every
    yield from (("unless", trigger) for trigger in task.unless)


def _counted(statuses: Counter[str]) -> str:
    ordered = [(status, statuses[status]) for status in COLOURS if statuses[status]]
    if len(ordered) == 1 and ordered[0][1] == 1:
        return ordered[0][0]
    return ", ".join(f"{count} {status}" for status, count in ordered) or "no instance"


def _most_urgent(statuses: Counter[str]) -> str:
    return next((status for status in COLOURS if statuses[status]), "unstarted")


def as_mermaid(diagram: Diagram) -> str:
    """The diagram for Mermaid."""
    ids = {node.key: f"n{number}" for number, node in enumerate(diagram.nodes)}
    lines = ["flowchart LR"]
    for node in diagram.nodes:
        text = "<br>".join(_for_mermaid(part) for part in (node.name, node.note) if part)
        shape = f'("{text}")' if node.kind == "task" else f'(["{text}"])'
        lines.append(f"    {ids[node.key]}{shape}{f':::{node.status}' if node.status else ''}")
    lines += [f"    {ids[arrow.source]} {_MERMAID[arrow.kind]} {ids[arrow.target]}" for arrow in diagram.arrows]
    used = {node.status for node in diagram.nodes}
    lines += [f"    classDef {status} fill:{colour},stroke:#555" for status, colour in COLOURS.items() if status in used]
    return "\n".join([*lines, ""])


_MERMAID = {"after": "-->", "andEvery": "==>|every|", "unless": "-.->|unless|"}


def _for_mermaid(text: str) -> str:
    return "".join(f"#{ord(letter)};" if letter in '"#<>&`;\\[](){}|' else letter for letter in text)


def as_dot(diagram: Diagram) -> str:
    """The diagram for Graphviz."""
    ids = {node.key: f"n{number}" for number, node in enumerate(diagram.nodes)}
    lines = ["digraph {", "    rankdir=LR", '    node [fontname="sans-serif" style="filled,rounded" fillcolor=white]']
    for node in diagram.nodes:
        text = "\\n".join(part.replace("\\", "\\\\").replace('"', '\\"') for part in (node.name, node.note) if part)
        shape = "box" if node.kind == "task" else "ellipse"
        colour = f' fillcolor="{COLOURS[node.status]}"' if node.status else ""
        lines.append(f'    {ids[node.key]} [label="{text}" shape={shape}{colour}]')
    lines += [f"    {ids[arrow.source]} -> {ids[arrow.target]}{_DOT[arrow.kind]}" for arrow in diagram.arrows]
    return "\n".join([*lines, "}", ""])


_DOT = {
    "after": "",
    "andEvery": ' [penwidth=2.5 label="every"]',
    "unless": ' [style=dashed color="#b3261e" label="unless"]',
}
