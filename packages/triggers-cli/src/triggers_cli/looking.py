"""Commands that look: sessions, show, explain, history, children."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from triggers import errors
from triggers.instance import Status
from triggers.settings import redact
from triggers_cli.options import attributes, existing, json_option, label_option
from triggers_cli.output import as_json, cut, pairs, plain, say, say_wrapped, table

_RESULT = 120
"""So many characters of a result or an error are shown."""
_STATUSES = [str(status) for status in Status]
_STATES = ["failed", "finalized", "cancelled", "moved", "copy"]


@click.command()
@click.option("--status", type=click.Choice(_STATES), help="Only those; failed: those with a failed instance.")
@label_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="How many to look at for a page.")
@click.option("--cursor", help="Where the page before ended.")
@click.option("--all", "all_", is_flag=True, help="All pages.")
@json_option
def sessions(status: str | None, labels: tuple[str, ...], limit: int, cursor: str | None, all_: bool, json_: bool) -> None:
    r"""List sessions, page by page.

    \b
    Examples:
      triggers sessions --status failed
      triggers sessions --label customer=7 --label year=2026 --all

    \b
    JSON: {"uids": [uid], "sessions": [{"uid", "unresolved_tasks", "failed_instances", "instances", "touched_at",
    "closed", "finalized_at", "attributes"}], "cursor": text or null}.
    """
    from triggers.sessions import find_sessions

    found: list[dict[str, Any]] = []
    while True:
        page = find_sessions(status=status, cursor=cursor, limit=limit, **attributes(labels))
        found.extend(_described(page.uids))
        cursor = page.cursor
        if cursor is None or (cursor.isprintable() and not all_):
            break  # a cursor that nobody could type is that of a storage's own note; the page goes on behind it
    if json_:
        as_json({"uids": [entry["uid"] for entry in found], "sessions": found, "cursor": cursor})
        return
    if not found:
        say("no such sessions" if cursor is None else "none on this page")
    else:
        table(["session", "unresolved", "failed", "instances", "last change"], [
            [entry["uid"], entry["unresolved_tasks"], entry["failed_instances"], entry["instances"], entry["touched_at"]]
            for entry in found
        ])  # fmt: skip
    if cursor is not None:
        say(f"more: --cursor {shlex.quote(cursor)}")


def _described(uids: list[str]) -> Iterator[dict[str, Any]]:
    """What is known of each session; one that was deleted meanwhile is left out."""
    from triggers.settings import get_settings
    from triggers.storages import storage_backends

    names = ("unresolved_tasks", "failed_instances", "instances", "touched_at", "closed", "finalized_at", "attributes")
    for uid in uids:
        known = storage_backends.get(get_settings().storage, uid).metadata
        if known:
            yield {"uid": uid, **{name: known[name] for name in names}}


@click.command()
@click.argument("uid")
@click.option("--task", help="Only instances of this task.")
@click.option("--status", type=click.Choice(_STATUSES), help="Only instances in this status.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(0), help="How many instances; 0 shows all.")
@click.option("--traceback", is_flag=True, help="The tracebacks of those that failed, too.")
@json_option
def show(uid: str, task: str | None, status: str | None, limit: int, traceback: bool, json_: bool) -> None:
    r"""A session: its state, its instances (unresolved ones first where there are many), what fired.

    \b
    Examples:
      triggers show applicant:42
      triggers show applicant:42 --status failed --traceback

    \b
    JSON: {"session": {"created_at", "touched_at", "finalized_at", "closed", "parent", "children", "attributes", "tasks",
    "unresolved_tasks", "instances", "failed_instances", "fires", ...}, "instances": [instance], "fired": {trigger: kwargs}};
    an instance has "name", "task", "status", "attempt", "kwargs", "result", "metadata", "created_at", "resolved_at", ...
    """
    storage = existing(uid).storage
    if task is not None and task not in storage.tasks and not storage.instances_of_task(task):
        from triggers.names import suggestion

        meant = suggestion(task, storage.tasks)
        raise errors.UnknownTask(f"session {uid!r} has no task {task!r}{f', did you mean {meant!r}?' if meant else ''}")
    instances = [
        found for found in storage if (task is None or found.task == task) and (status is None or found.status == status)
    ]
    if json_:
        listed = [document_of(found) for found in instances]
        as_json({"session": storage.metadata, "instances": listed, "fired": storage.latest_kwargs})
        return
    pairs({"session": uid, **{name.replace("_", " "): value for name, value in storage.metadata.items() if _says(value)}})
    say("")
    if limit and len(instances) > limit:
        counts = Counter(str(found.status) for found in instances)
        say_wrapped(", ".join(f"{number} {name}" for name, number in counts.most_common()))
        left = len(instances) - limit
        instances = sorted(instances, key=lambda found: (found.resolved, -found.created_at.timestamp()))[:limit]
        say_wrapped(f"{limit} of them, unresolved and newest first; {left} more with --limit 0, or choose with --task, --status")
    table(["instance", "status", "attempt", "has received", "result"], [
        [found.name, found.status, found.attempt, ", ".join(found.kwargs), outcome(found)] for found in instances
    ])  # fmt: skip
    say_wrapped(f"fired: {', '.join(storage.latest_kwargs) or 'nothing'}")
    for found in instances if traceback else ():
        if error_of(found):
            say(f"\n{found.name}: {redact(plain(found.metadata['exception'].get('traceback'))).rstrip()}")


def outcome(instance: Any) -> str:
    """The result of an instance, or why it failed."""
    error = error_of(instance)
    return cut(error or ("" if instance.result is None else plain(instance.result)), _RESULT)


def document_of(instance: Any) -> dict[str, Any]:
    """An instance as JSON, without the passwords of URLs in its error; what was fired, and the result, are as they are."""
    document: dict[str, Any] = msgspec.to_builtins(instance)
    if "exception" in document["metadata"]:
        document["metadata"]["exception"] = redact(document["metadata"]["exception"])
    return document


def error_of(instance: Any) -> str:
    """Why an instance failed, ``ValueError: no paper``; empty where it did not."""
    exception = instance.metadata.get("exception") if instance.status == "failed" else None
    if not isinstance(exception, dict):
        return ""
    return str(redact(f"{str(exception.get('type')).removeprefix('builtins.')}: {exception.get('message')}"))


def _says(value: Any) -> bool:
    return value is not None and value != {}


@click.command()
@click.argument("uid")
@click.argument("task", required=False)
@json_option
def explain(uid: str, task: str | None, json_: bool) -> None:
    r"""Why a task, or all of a session, has not run yet.

    \b
    Examples:
      triggers explain applicant:42
      triggers explain applicant:42 t_score

    \b
    JSON: {"uid", "state", "tasks": [task]}, with TASK one task: {"task", "arrived", "missing", "any_of", "forbidden_by",
    "resolved", "instances": [{"name", "status", "missing", "next_at", "line"}], "lines"}.
    """
    found = existing(uid).explain(task)
    if json_:
        as_json(_explained(found))
    else:
        say_wrapped(redact(str(found)))


def _explained(found: Any) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(found)
    for task in document.get("tasks", [document]):
        task["lines"] = redact(task["lines"])
        for instance in task["instances"]:
            instance["line"] = redact(instance["line"])
    return document


@click.command()
@click.argument("uid")
@click.option("--limit", default=0, type=click.IntRange(0), help="Only the last so many; all by default.")
@json_option
def history(uid: str, limit: int, json_: bool) -> None:
    r"""What happened to a session, oldest first, as far as the setting history keeps it.

    \b
    Example:
      triggers history applicant:42 --limit 20

    \b
    JSON: [{"commit", "at", "kind", "subject", "detail"}]; what has the same commit was stored in one step.
    """
    entries = existing(uid).history()[-limit:]
    if json_:
        as_json(entries)
        return
    for entry in entries:
        say_wrapped(str(entry))
    if not entries:
        say("nothing is kept; the setting history says how much")


@click.command()
@click.argument("uid")
@json_option
def children(uid: str, json_: bool) -> None:
    r"""The sessions that joined this one.

    \b
    Example:
      triggers children survey:2026

    \b
    JSON: {alias: uid}.
    """
    found = existing(uid).children()
    if json_:
        as_json(found)
    elif found:
        table(["alias", "session"], sorted(found.items()))
    else:
        say("no session has joined this one")
