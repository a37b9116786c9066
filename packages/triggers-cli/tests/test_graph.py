"""``triggers graph``: what is drawn, how it is laid out, and that nothing overlaps or is clipped."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from calling import Call, in_terminal
from triggers.config import parse_task
from triggers_cli.diagram import Diagram, as_dot, as_mermaid, diagram_of
from triggers_cli.drawing import as_svg
from triggers_cli.layered import place

SVG = "{http://www.w3.org/2000/svg}"
FIVE = """\
t_score: {after: [module1Received, module4Received], run: survey.score}
t_page: {after: [module1Received], andEvery: pageReceived, unless: [closed], run: survey.page}
t_match: {after: [t_score, t_page], run: survey.match}
t_letter: {after: [t_match], run: survey.letter, unless: [withdrawn]}
t_archive: {after: [sessionFinalized], run: survey.archive}
"""


def diagram(**directives: dict[str, Any]) -> Diagram:
    """The diagram of tasks."""
    return diagram_of({name: parse_task(name, {"run": "x"} | given) for name, given in directives.items()})


def many(count: int) -> Diagram:
    """A configuration of so many tasks, each after some that came before it."""
    chance = random.Random(7)
    names = [f"t_step_{number:03d}" for number in range(count)]
    given: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        near = names[max(0, number - 25) : number]
        after = chance.sample(near, min(chance.choice([1, 1, 2, 3]), len(near))) if number > 8 else [f"input{number}"]
        given[name] = {"after": after, "unless": ["cancelled"] if chance.random() < 0.1 else []}
        if chance.random() < 0.1:
            given[name]["andEvery"] = f"event{number % 5}"
    return diagram(**given)


CIRCLE = diagram(
    a={"after": ["c", "x"]}, b={"after": ["a"]}, c={"after": ["b"]}, d={"andEvery": "y", "after": ["c"], "unless": ["d"]}
)


@pytest.mark.parametrize(
    "drawn",
    [
        diagram(),
        diagram(a={"after": ["x"]}),
        CIRCLE,
        many(200),
        diagram(**{f"t{number}": {"after": [f"x{number}"]} for number in range(40)}),
        diagram(**{"t_" + "long" * 40: {"after": ["消息" * 30, "<&>\"'"]}}),
    ],
    ids=["nothing", "one", "circle", "many", "forty parts", "long names"],
)
def test_nothing_overlaps_or_lies_outside(drawn: Diagram) -> None:
    """Every node has a place of its own within the picture, and every arrow is drawn within it."""
    root = ET.fromstring(as_svg(drawn))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = []
    for group in root.iter(f"{SVG}g"):
        if "id" in group.attrib:
            box = group.find(f"{SVG}rect")
            assert box is not None
            boxes.append(tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height")))
    assert len(boxes) >= len(drawn.nodes)
    assert all(x >= -0.1 and y >= -0.1 and x + w <= width - 39.4 and y + h <= height - 39.4 for x, y, w, h in boxes)
    for (x1, y1, w1, h1), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert x1 + w1 < x2 or x2 + w2 < x1 or y1 + h1 + 5 < y2 or y2 + h2 + 5 < y1
    lines = [path for path in root.iter(f"{SVG}path") if path.attrib.get("fill") == "none"]
    assert len(lines) == len(drawn.arrows)


def test_tasks_lie_right_of_what_they_wait_for() -> None:
    """Except where a circle leads back."""
    layout = place(dict.fromkeys("abcd", (10.0, 10.0)), [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")])
    assert [key for key, _ in sorted(layout.centres.items(), key=lambda item: item[1][0])] == ["a", "b", "c", "d"]
    assert not layout.reversed
    assert len(layout.bends["a", "c"]) == 1
    circle = place(dict.fromkeys("abc", (10.0, 10.0)), [("a", "b"), ("b", "c"), ("c", "a")])
    assert circle.reversed == {("c", "a")}


def test_arrows_cross_only_where_they_must() -> None:
    """Two pairs that were named crosswise are put in order."""
    arrows = [(f"a{number}", f"b{9 - number}") for number in range(10)] + [("a0", "b8"), ("a1", "b9")]
    keys = [f"a{number}" for number in range(10)] + [f"b{number}" for number in range(10)]
    layout = place(dict.fromkeys(keys, (10.0, 10.0)), arrows)
    height = {key: y for key, (_, y) in layout.centres.items()}
    crossings = sum(
        (height[a] - height[c]) * (height[b] - height[d]) < 0 and layout.centres[a][0] == layout.centres[c][0]
        for (a, b), (c, d) in itertools.combinations([("a0", "b9"), ("a0", "b8"), ("a1", "b8"), ("a1", "b9")], 2)
    )
    assert crossings == 1


def test_mermaid_and_dot(command: Call) -> None:
    """Each node and arrow, with the kind of the arrow."""
    Path("five.yaml").write_text(FIVE)
    mermaid = command("graph", "five.yaml").out.splitlines()
    assert mermaid[0] == "flowchart LR"
    assert '    n2("t_score<br>survey.score")' in mermaid
    assert [line.strip() for line in mermaid if "every" in line or "unless" in line] == [
        "n3 ==>|every| n5", "n4 -.->|unless| n5", "n7 -.->|unless| n8",
    ]  # fmt: skip
    dot = command("graph", "five.yaml", "--format", "dot").out
    assert 'n2 [label="t_score\\nsurvey.score" shape=box]' in dot
    assert 'n4 -> n5 [style=dashed color="#b3261e" label="unless"]' in dot
    assert dot.count("->") == 10


def test_names_are_quoted() -> None:
    """Whatever they contain."""
    drawn = diagram(**{'t"\\<b>': {"after": ['x"]; y']}})
    assert '"x#34;#93;#59; y"' in as_mermaid(drawn)
    assert '"t\\"\\\\<b>\\nx"' in as_dot(drawn)
    titles = [title.text for title in ET.fromstring(as_svg(drawn)).iter(f"{SVG}title")]
    assert titles == ['x"]; y', 't"\\<b>: x']


def test_a_live_session_in_colour(command: Call) -> None:
    """What has run is said in words and colours; what fired, too."""
    command("init")
    command("configure", "s", "workflow.json", "--yes")
    command("fire", "s", "addressReceived", "--yes")
    nodes = {node["name"]: node for node in command("graph", "--session", "s", "--json").json()["nodes"]}
    assert {name: (node["status"], node["note"]) for name, node in nodes.items()} == {
        "nameReceived": (None, ""),
        "addressReceived": ("fired", "fired"),
        "t_greet": ("unstarted", "unstarted"),
        "t_send": ("unstarted", "no instance"),
    }
    command("fire", "s", "nameReceived", "--yes")
    assert command("graph", "--session", "s", "-o", "now.svg").out == "wrote now.svg: 2 tasks\n"
    picture = Path("now.svg").read_text()
    assert picture.count('fill="#c4e6c4"') == 3  # two tasks and the legend
    assert "classDef finished" in command("graph", "--session", "s").out


def test_the_most_urgent_status_gives_the_colour() -> None:
    """One failure among many is seen."""
    task = {"t": parse_task("t", {"andEvery": "x", "run": "y"})}
    (node,) = [
        node
        for node in diagram_of(task, [("t", "finished")] * 12 + [("t", "failed"), ("t", "running")]).nodes
        if node.kind == "task"
    ]
    assert (node.status, node.note) == ("failed", "1 failed, 1 running, 12 finished")


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["graph"], 2, "Name a FILE, or a session"),
        (["graph", "w.json", "--session", "s"], 2, "Name a FILE, or a session"),
        (
            ["graph", "w.json"],
            1,
            "w.json:1: $.t.run: the name of a work must be a string, got 3 (and 1 more: triggers lint w.json)",
        ),
        (["graph", "gone.json"], 2, "gone.json"),
        (["graph", "--session", "nobody"], 1, "there is no session 'nobody'"),
        (["graph", "right.json", "-o", "w.pdf"], 2, "the name should end in .svg, .dot"),
        (["graph", "right.json", "-o", "no/such/folder.svg"], 1, "no/such/folder.svg cannot be written"),
    ],
)
def test_mistakes(command: Call, arguments: list[str], code: int, words: str) -> None:
    """One line, and an exit code."""
    Path("w.json").write_text('{"t": {"run": 3, "after": [4]}}')
    Path("right.json").write_text('{"t": {"run": "x", "after": ["a"]}}')
    answer = command(*arguments)
    assert answer.code == code
    assert words in answer.err
    assert "Traceback" not in answer.err


def test_graph_in_a_terminal(tmp_path: Path) -> None:
    """As text, as JSON, and into a file."""
    (tmp_path / "w.yaml").write_text(FIVE)
    text, machine, picture = in_terminal(
        tmp_path, [["graph", "w.yaml"], ["graph", "w.yaml", "--json"], ["graph", "w.yaml", "-o", "w.svg"]], columns=40
    )
    assert [text.code, machine.code, picture.code] == [0, 0, 0]
    assert text.out.startswith("flowchart LR\n")
    assert {arrow["kind"] for arrow in machine.json()["arrows"]} == {"after", "andEvery", "unless"}
    assert ET.parse(tmp_path / "w.svg").getroot().tag == f"{SVG}svg"
