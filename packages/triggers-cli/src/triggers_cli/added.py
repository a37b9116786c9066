"""The commands that plugins add, by the hook ``triggers_cli_commands``."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import logging

    from triggers.hooks import Hooks

_GROUP = "triggers.plugins"
_warned: set[str] = set()


def commands_of_plugins(taken: Container[str]) -> dict[str, click.Command]:
    """The commands of all plugins by name; one that cannot be used gives one line of warning.

    Args:
        taken: names that a plugin cannot have.
    """
    if not _any_plugin():
        return {}
    hooks = _loaded()
    for name, error in hooks.broken.items():
        _warn(f"plugin {name!r} cannot be loaded: {type(error).__name__}: {error}")
    found: dict[str, click.Command] = {}
    for implementation in hooks.manager.hook.triggers_cli_commands.get_hookimpls():
        plugin = implementation.plugin_name
        try:
            given = _commands(implementation.function())
        except Exception as error:
            _warn(f"plugin {plugin!r} gives no commands: {type(error).__name__}: {error}")
            continue
        for command in given:
            name = command.name or ""
            if name in taken or name in found:
                _warn(f"plugin {plugin!r} has a command {name!r}, which is there already; it is left out")
            else:
                found[name] = command
    return found


def _loaded() -> Hooks:
    """The hooks with all plugins; what is logged of a broken one is said here in one line."""
    import logging

    from triggers.hooks import get_hooks

    log = logging.getLogger("triggers.hooks")
    log.addFilter(_nothing)
    try:
        return get_hooks()
    finally:
        log.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _any_plugin() -> bool:
    """Whether there may be a plugin: hooks that were never imported have none but those of entry points."""
    if "triggers.hooks" in sys.modules:
        return True
    import importlib.metadata

    return bool(importlib.metadata.entry_points(group=_GROUP))


def _commands(given: object) -> list[click.Command]:
    if isinstance(given, click.Command):
        return [given]
    commands: list[click.Command] = []
    for command in given if isinstance(given, Iterable) else [given]:
        if not isinstance(command, click.Command):
            raise TypeError(f"expected click commands, got {command!r}")
        commands.append(command)
    return commands


def _warn(text: str) -> None:
    if text not in _warned:
        from triggers.settings import redact

        _warned.add(text)
        click.echo(redact(f"warning: {text}"), err=True)
