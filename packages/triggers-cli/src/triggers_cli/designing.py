"""Commands for who writes a workflow: lint."""

from __future__ import annotations

import json
from typing import Any

import click

from triggers import errors
from triggers_cli.output import say


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.File("rb"))
def lint(files: tuple[Any, ...]) -> None:
    """Check configuration files (JSON)."""
    from triggers.config import parse_configuration

    wrong = 0
    for file in files:
        try:
            parse_configuration(json.loads(file.read()))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            wrong += 1
            say(f"{file.name}: no JSON: {error}")
        except errors.ConfigurationError as error:
            wrong += 1
            say(f"{file.name}: {error}")
        else:
            say(f"{file.name}: fine")
    if wrong:
        raise click.exceptions.Exit(1)
