"""What several commands share: options, the question before a change, and reading what was typed."""

from __future__ import annotations

import json
from typing import Any

import click

from triggers import errors

json_option = click.option("--json", "json_", is_flag=True, help="Print one JSON document.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def confirm(question: str, yes: bool) -> None:
    """Asks, unless the answer was given; no ends the command."""
    if not yes:
        click.confirm(question, abort=True)


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
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint=option) from error
    if not isinstance(value, dict):
        raise click.BadParameter("expected a JSON object", param_hint=option)
    return value


def attributes(labels: tuple[str, ...]) -> dict[str, Any]:
    """``NAME=VALUE`` of ``--label`` as attributes."""
    found: dict[str, Any] = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {label!r}", param_hint="--label")
        found[name] = value
    return found


def end_of_work() -> None:
    """Waits for the works that this process took on."""
    from triggers.operating import join_all

    join_all()
