"""What several commands share: options, the question before a change, and reading what was typed."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from triggers import errors
from triggers_cli.output import only_documents

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
label_option = click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only sessions with this attribute.")


def json_option(function: Callable[..., None]) -> Callable[..., None]:
    """The option ``--json``, with which nothing else gets to standard output while the command runs."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        with only_documents() if options["json_"] else nullcontext():
            function(*arguments, **options)

    return click.option("--json", "json_", is_flag=True, help="Print one JSON document.")(run)


def confirm(question: str, yes: bool) -> None:
    """Asks on standard error, unless the answer was given.

    Raises:
        Exit: the answer was no; nothing may be done.
        UsageError: nobody is there to answer, since standard input is no terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can answer, standard input is no terminal; give --yes.")
    if not click.confirm(question, err=True):
        click.echo("nothing was done", err=True)
        raise click.exceptions.Exit(130)


def existing(uid: str) -> Any:
    """The manager of a session that is there.

    Raises:
        UnknownSession: it is not.
    """
    from triggers.manager import get_manager

    manager = get_manager(uid)
    if not manager.storage.exists():
        raise errors.UnknownSession(f"there is no session {uid!r} in the storage {manager.storage.key!r}")
    return manager


def json_object(text: str | None, option: str) -> dict[str, Any] | None:
    """The JSON object that an option was given, if it was."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except RecursionError:
        raise click.BadParameter("no JSON that can be read: it is nested too deeply", param_hint=option) from None
    except ValueError as error:  # also a number of too many digits
        raise click.BadParameter(f"no JSON: {error}", param_hint=option) from error
    if not isinstance(value, dict):
        raise click.BadParameter("expected a JSON object", param_hint=option)
    return value


def attributes(labels: tuple[str, ...]) -> dict[str, Any]:
    """``NAME=VALUE`` of ``--label`` as attributes."""
    from triggers.engine.lifecycle import NOT_SEARCHABLE

    found: dict[str, Any] = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {label!r}", param_hint="--label")
        if name in NOT_SEARCHABLE:
            raise click.BadParameter(f"no session can have an attribute {name!r}", param_hint="--label")
        found[name] = value
    return found


def end_of_work() -> None:
    """Waits for the works that this process took on."""
    from triggers.operating import join_all

    join_all()


def configuration_of(path: str, hint: str) -> Any:
    """The configuration in a file (JSON, YAML, TOML), ``-`` for standard input.

    Args:
        path: the file.
        hint: the option or argument that named it.

    Raises:
        BadParameter: it cannot be read, or is not of its format.
    """
    from triggers_cli.documents import read_document

    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}", param_hint=hint) from None
    document = read_document(path, raw)
    for problem in document.problems:
        if problem.severity == "error":
            raise click.BadParameter(f"{path}, line {problem.line}: {problem.message}", param_hint=hint)
    return document.value
