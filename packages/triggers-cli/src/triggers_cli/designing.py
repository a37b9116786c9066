"""Commands for who writes a workflow: init, lint, schema."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from triggers_cli.options import json_option
from triggers_cli.output import as_json, say


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.File("rb"))
@click.option("--format", "form", type=click.Choice(["json", "yaml", "toml"]), help="By default by the name of each file.")
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@json_option
def lint(files: tuple[Any, ...], form: str | None, strict: bool, json_: bool) -> None:
    """Check configuration files: JSON, YAML or TOML; - is standard input.

    Every error is shown with its line and place, then what is probably not meant: cascades that run in a circle for ever,
    tasks that nothing can start, an unless that always wins, works and runners that are not known here.

    \b
    Examples:
      triggers lint workflow.json more/*.yaml
      triggers lint --strict --json workflow.toml

    \b
    JSON: {"errors": number, "warnings": number, "unchecked": reason or null,
      "files": [{"file", "problems": [{"line", "place": "$.t_score.after[1]",
        "severity": "error" or "warning", "message", "code": "syntax", "duplicate",
        "configuration", "circle", "unreachable", "unless", "run" or "using"}]}]}
    """  # noqa: D301 - click wants the backspace itself
    from triggers_cli.documents import read_document
    from triggers_cli.linting import KnownNames, problems_of

    known = KnownNames()
    found = {file.name: problems_of(read_document(file.name, file.read(), form), known) for file in files}
    severities = [problem.severity for problems in found.values() for problem in problems]
    errors, warnings = severities.count("error"), severities.count("warning")
    if json_:
        listed = [{"file": name, "problems": [problem._asdict() for problem in problems]} for name, problems in found.items()]
        as_json({"files": listed, "errors": errors, "warnings": warnings, "unchecked": known.problem or None})
    else:
        for name, problems in found.items():
            for problem in problems:
                say(f"{name}:{problem.line}: {problem.severity}: {problem.place}: {problem.message}")
            if not problems:
                say(f"{name}: fine")
        if known.problem:
            say(f"warning: {known.problem}")
    if errors or (strict and (warnings or known.problem)):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@json_option
def init(folder: Path, json_: bool) -> None:
    """Write settings and a first workflow that runs, and say what to type next. Nothing is overwritten.

    \b
    Examples:
      triggers init
      triggers init survey

    \b
    JSON: {"written": [files], "next": [commands]}
    """  # noqa: D301 - click wants the backspace itself
    from triggers_cli import starting

    occupied = starting.in_the_way(folder)
    if occupied:
        raise click.ClickException(f"there is already {', '.join(map(str, occupied))}; nothing was written")
    try:
        written = starting.write(folder)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}") from error
    following = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    following += starting.NEXT
    if json_:
        as_json({"written": [str(path) for path in written], "next": following})
        return
    for path in written:
        say(f"wrote {path}")
    say("\nNow:")
    for line in following:
        say(f"  {line}")


@click.command()
@click.option("--json", is_flag=True, expose_value=False, help="Print one JSON document.")
def schema() -> None:
    """Print the JSON Schema of configurations, for editors.

    \b
    Example:
      triggers schema > workflow.schema.json

    \b
    JSON: the schema itself, with --json and without.
    """  # noqa: D301 - click wants the backspace itself
    from triggers_cli.schema import configuration_schema

    as_json(configuration_schema())
