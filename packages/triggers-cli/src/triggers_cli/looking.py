"""Commands that look: sessions, show, explain, history, children."""

from __future__ import annotations

import click

from triggers_cli.options import attributes, existing, json_option
from triggers_cli.output import as_json, pairs, say, table


@click.command()
@click.option("--status", type=click.Choice(["failed", "finalized", "cancelled", "moved", "copy"]), help="Only those.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only those with this attribute; may be repeated.")
@click.option("--limit", default=100, show_default=True, help="How many to look at.")
@click.option("--cursor", help="Where the page before ended.")
@json_option
def sessions(status: str | None, labels: tuple[str, ...], limit: int, cursor: str | None, json_: bool) -> None:
    """List sessions, page by page."""
    from triggers.sessions import find_sessions
    from triggers.storages import storage_backends

    page = find_sessions(status=status, cursor=cursor, limit=limit, **attributes(labels))
    if json_:
        as_json({"uids": page.uids, "cursor": page.cursor})
        return
    from triggers.settings import get_settings

    key = get_settings().storage
    rows = []
    for uid in page.uids:
        known = storage_backends.get(key, uid).metadata
        if known:
            rows.append([uid, known["unresolved_tasks"], known["failed_instances"], known["instances"], known["touched_at"]])
    table(["session", "unresolved", "failed", "instances", "last change"], rows)
    if page.cursor:
        say(f"more: --cursor '{page.cursor}'")


@click.command()
@click.argument("uid")
@json_option
def show(uid: str, json_: bool) -> None:
    """A session: its state, its instances, what fired."""
    storage = existing(uid).storage
    instances = list(storage)
    if json_:
        as_json({"session": storage.metadata, "instances": instances, "fired": storage.latest_kwargs})
        return
    pairs({"session": uid, **storage.metadata})
    table(["instance", "status", "attempt", "has received", "result"], [
        [found.name, found.status, found.attempt, ", ".join(found.kwargs), found.result] for found in instances
    ])  # fmt: skip
    say(f"fired: {', '.join(storage.latest_kwargs) or 'nothing'}")


@click.command()
@click.argument("uid")
@click.argument("task", required=False)
@json_option
def explain(uid: str, task: str | None, json_: bool) -> None:
    """Why a task, or all of a session, has not run yet."""
    found = existing(uid).explain(task)
    if json_:
        as_json(found)
    else:
        say(str(found))


@click.command()
@click.argument("uid")
@json_option
def history(uid: str, json_: bool) -> None:
    """What happened to a session, oldest first."""
    entries = existing(uid).history()
    if json_:
        as_json(entries)
    else:
        for entry in entries:
            say(str(entry))


@click.command()
@click.argument("uid")
@json_option
def children(uid: str, json_: bool) -> None:
    """The sessions that joined this one."""
    found = existing(uid).children()
    if json_:
        as_json(found)
    else:
        table(["alias", "session"], sorted(found.items()))
