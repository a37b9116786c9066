"""The command that fires."""

from __future__ import annotations

import click

from triggers_cli.options import confirm, json_object, json_option, yes_option
from triggers_cli.output import as_json, say


@click.command()
@click.argument("uid")
@click.argument("trigger")
@click.option("--kwargs", help="A JSON object.")
@click.option("--event-id", help="A name for this event; the same id once more changes nothing.")
@yes_option
@json_option
def fire(uid: str, trigger: str, kwargs: str | None, event_id: str | None, yes: bool, json_: bool) -> None:
    r"""Fire a trigger; waits for the works that run in this process.

    \b
    Example:
      triggers fire applicant:42 module1Received --kwargs '{"document": 17}'
    """
    from triggers.manager import get_manager
    from triggers.operating import join_all

    given = json_object(kwargs, "--kwargs")
    confirm(f"fire {trigger!r} in session {uid!r}?", yes)
    result = get_manager(uid).fire(trigger, given, event_id=event_id)
    join_all()
    if json_:
        as_json(result._asdict())
    else:
        for what, names in result._asdict().items():
            if names:
                say(f"{what}: {', '.join(names)}")
        if not any(result):
            say("recorded")
