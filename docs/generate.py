"""Writes the parts of the manual that come from the code: the status table with its picture, settings, hooks, commands."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from pathlib import Path

import click

from triggers import hooks, settings
from triggers.engine.transitions import TRANSITIONS
from triggers.instance import RESOLVED, Status
from triggers_cli.frame import command_line

FOLDER = Path(__file__).parent / "_generated"
_PLACES = {
    Status.UNSTARTED: (90, 60),
    Status.SCHEDULED: (290, 60),
    Status.RUNNING: (490, 60),
    Status.FINISHED: (690, 60),
    Status.ABANDONED: (90, 260),
    Status.FAILED: (490, 200),
    Status.SKIPPED: (690, 200),
    Status.REPLAYED: (490, 320),
}
_HALF_WIDTH, _HALF_HEIGHT = 58, 18
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
)


def write_all() -> None:
    """Writes all generated parts."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "status.svg").write_text(status_picture(), encoding="utf-8")
    (FOLDER / "status.md").write_text(status_table(), encoding="utf-8")
    (FOLDER / "settings.md").write_text(settings_table(), encoding="utf-8")
    (FOLDER / "hooks.md").write_text(hooks_table(), encoding="utf-8")
    (FOLDER / "commands.md").write_text(command_reference(), encoding="utf-8")


def status_table() -> str:
    """The picture, and the table as Markdown."""
    rows = [f"| {source} | {target} | {by} |" for source, targets in TRANSITIONS.items() for target, by in targets.items()]
    picture = "```{image} /_generated/status.svg\n:alt: The statuses of an instance and what leads from one to the next\n```"
    return "\n".join([picture, "", "| from | to | by |", "| --- | --- | --- |", *rows, ""])


def status_picture() -> str:
    """The table as an SVG."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 360" font-family="sans-serif" font-size="14">',
        _TIP,
    ]
    parts.extend(_arrow(source, target) for source, targets in TRANSITIONS.items() for target in targets)
    parts.extend(_box(status) for status in Status)
    return "\n".join([*parts, "</svg>", ""])


def _box(status: Status) -> str:
    x, y = _PLACES[status]
    fill = "#e3f1e3" if status in RESOLVED else "#fbe3e0" if status is Status.FAILED else "#e6edf7"
    return (
        f'<rect x="{x - _HALF_WIDTH}" y="{y - _HALF_HEIGHT}" width="{2 * _HALF_WIDTH}" height="{2 * _HALF_HEIGHT}" rx="8" '
        f'fill="{fill}" stroke="#555"/><text x="{x}" y="{y + 5}" text-anchor="middle" fill="#222">{status}</text>'
    )


def _arrow(source: Status, target: Status) -> str:
    (x1, y1), (x2, y2) = _PLACES[source], _PLACES[target]
    shift = 26 if target is Status.SCHEDULED and x1 > x2 else 0
    start, end = _edge(x1, y1, x2, y2), _edge(x2, y2, x1, y1)
    bend = f"Q{(x1 + x2) / 2},{(y1 + y2) / 2 - shift * 2}" if shift else f"Q{(start[0] + end[0]) / 2},{(start[1] + end[1]) / 2}"
    return f'<path d="M{start[0]},{start[1]} {bend} {end[0]},{end[1]}" fill="none" stroke="#555" marker-end="url(#tip)"/>'


def _edge(x1: float, y1: float, x2: float, y2: float) -> tuple[float, float]:
    """Where the line from one box to another leaves the first."""
    dx, dy = x2 - x1, y2 - y1
    scale = min(_HALF_WIDTH / abs(dx) if dx else 1e9, _HALF_HEIGHT / abs(dy) if dy else 1e9)
    return round(x1 + dx * scale, 1), round(y1 + dy * scale, 1)


def settings_table() -> str:
    """Each setting with its default and its docstring."""
    texts = _attribute_texts(settings.Settings)
    defaults = settings.Settings()
    rows = []
    for field in dataclasses.fields(settings.Settings):
        default = getattr(defaults, field.name)
        rows.append(f"| `{field.name}` | `{default!r}` | {texts.get(field.name, '')} |")
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows, ""])


def hooks_table() -> str:
    """Each hook with its arguments and its docstring."""
    rows = []
    for name, function in vars(hooks.HookSpecs).items():
        if name.startswith("triggers_"):
            arguments = ", ".join(list(inspect.signature(function).parameters)[1:])
            rows.append(f"| `{name}({arguments})` | {inspect.getdoc(function)} |")
    return "\n".join(["| hook | called when |", "| --- | --- |", *rows, ""])


def command_reference() -> str:
    """Each command with its usage, its help and its options."""
    context = click.Context(command_line, info_name="triggers")
    parts = []
    for name in sorted(command_line.commands):
        command = command_line.commands[name]
        inner = click.Context(command, parent=context, info_name=name)
        usage = " ".join(["triggers", name, *command.collect_usage_pieces(inner)])
        parts += [f"### {name}", "", "```text", usage, "```", "", *_help_of(command), *_options_of(command, inner), ""]
    return "\n".join(parts)


def _help_of(command: click.Command) -> list[str]:
    lines = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if not paragraph.startswith("\b"):
            lines += [_plain(" ".join(paragraph.split())), ""]
            continue
        first, *rest = paragraph.removeprefix("\b\n").splitlines()
        if first.endswith(":") and rest:
            lines += [_plain(first), ""]
        else:
            rest = [first, *rest]
        lines += ["```text" if rest[0] == first else "```sh", textwrap.dedent("\n".join(rest)), "```", ""]
    return lines


def _options_of(command: click.Command, context: click.Context) -> list[str]:
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in record[0]:
            name, text = (part.replace("|", "\\|") for part in (record[0], _plain(record[1])))
            rows.append(f"| `{name}` | {text} |")
    return ["| option | |", "| --- | --- |", *rows, ""] if rows else []


def _plain(text: str) -> str:
    return "".join("\\" + sign if sign in "*<>`{}[]" else sign for sign in text)


def _attribute_texts(owner: type) -> dict[str, str]:
    """The docstrings below the attributes of a class."""
    body = ast.parse(inspect.getsource(owner)).body[0]
    texts: dict[str, str] = {}
    name = None
    for node in getattr(body, "body", []):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            texts[name] = " ".join(str(node.value.value).split()).replace("``", "`")
            name = None
        else:
            name = None
    return texts


if __name__ == "__main__":
    write_all()
