"""The command that draws: graph."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click

from triggers_cli.options import existing
from triggers_cli.output import as_json, say

if TYPE_CHECKING:
    from triggers_cli.diagram import Diagram

_SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".json": "json"}


@click.command()
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--session", "uid", metavar="UID", help="Draw a live session, its statuses in colour.")
@click.option("--format", "form", type=click.Choice(["mermaid", "dot", "svg", "json"]), help="By default by the name of -o.")
@click.option("--json", "json_", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
def graph(file: Any, uid: str | None, form: str | None, json_: bool, output: Path | None) -> None:
    """Draw a configuration file, or a live session: Mermaid, DOT, or SVG.

    SVG is drawn here, without a network, a browser or another program.

    \b
    Examples:
      triggers graph workflow.json
      triggers graph workflow.yaml -o workflow.svg
      triggers graph --session applicant:42 -o now.svg

    \b
    JSON: {"nodes": [{"key", "name", "kind": "task" or "trigger", "note", "status"}],
      "arrows": [{"source": key, "target": key, "kind": "after", "andEvery" or "unless"}]}
    """  # noqa: D301 - click wants the backspace itself
    if (file is None) == (uid is None):
        raise click.UsageError("Name a FILE, or a session with --session UID.")
    form = "json" if json_ else form or _format_of(output)
    diagram = _of_session(uid) if uid is not None else _of_file(file)
    if form == "json" and output is None:
        as_json(_document(diagram))
        return
    text = _drawn(diagram, form)
    if output is None:
        say(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    say(f"wrote {output}: {sum(node.kind == 'task' for node in diagram.nodes)} tasks")


def _format_of(output: Path | None) -> str:
    if output is None:
        return "mermaid"
    ending = PurePath(output).suffix.lower()
    if ending not in _SUFFIXES:
        raise click.BadParameter(f"the name should end in {', '.join(_SUFFIXES)}; or give --format", param_hint="-o")
    return _SUFFIXES[ending]


def _drawn(diagram: Diagram, form: str) -> str:
    from triggers_cli import diagram as texts

    if form == "svg":
        from triggers_cli.drawing import as_svg

        return as_svg(diagram)
    if form == "json":
        import json

        return json.dumps(_document(diagram), ensure_ascii=False, indent=2) + "\n"
    return texts.as_dot(diagram) if form == "dot" else texts.as_mermaid(diagram)


def _document(diagram: Diagram) -> dict[str, Any]:
    return {"nodes": [node._asdict() for node in diagram.nodes], "arrows": [arrow._asdict() for arrow in diagram.arrows]}


def _of_session(uid: str | None) -> Diagram:
    from triggers_cli.diagram import diagram_of

    storage = existing(str(uid)).storage
    instances = [(instance.task, str(instance.status)) for instance in storage]
    return diagram_of(storage.tasks, instances, set(storage.latest_kwargs))


def _of_file(file: Any) -> Diagram:
    from triggers_cli.diagram import diagram_of
    from triggers_cli.documents import read_document
    from triggers_cli.linting import parse_all, problems_of

    document = read_document(file.name, file.read())
    errors = [problem for problem in problems_of(document) if problem.severity == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more: triggers lint {file.name})" if len(errors) > 1 else ""
        raise click.ClickException(f"{file.name}:{first.line}: {first.place}: {first.message}{more}")
    return diagram_of(parse_all(document.value)[0])
