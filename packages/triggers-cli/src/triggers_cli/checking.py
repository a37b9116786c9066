"""The command that says what is wrong with an installation: doctor."""

from __future__ import annotations

import click

from triggers_cli.options import json_option
from triggers_cli.output import as_json, pairs, say, table


@click.command()
@json_option
def doctor(json_: bool) -> None:
    """What is installed, what loads, whether the storage answers, and what it promises."""
    from triggers_cli.checkup import checkup

    found = checkup()
    if json_:
        as_json(found)
    else:
        table(["kind", "key", "state", "from"], [[p["kind"], p["key"], p["state"], p["origin"]] for p in found["plugins"]])
        pairs(found["storage"])
        for warning in found["warnings"]:
            say(f"warning: {warning}")
    if not found["healthy"]:
        raise click.exceptions.Exit(1)
