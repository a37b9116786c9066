"""The command that replays failed instances in bulk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from triggers_cli.options import attributes, confirm, end_of_work, json_option, label_option, yes_option
from triggers_cli.output import as_json, counted, cut, one_line, say, say_wrapped

_JOIN_EVERY = 100
"""After so many replays the works that run here catch up."""
_SHOWN = 120


@click.command("retry-failed")
@label_option
@click.option("--task", help="Only instances of this task.")
@click.option("--error", help="Only those whose error contains this text, whatever the case: 'timeouterror', 'no paper'.")
@click.option("--dry-run", is_flag=True, help="Only list what would be replayed.")
@yes_option
@json_option
def retry_failed(labels: tuple[str, ...], task: str | None, error: str | None, dry_run: bool, yes: bool, json_: bool) -> None:
    r"""Replay every failed instance of every session; goes on where one is refused.

    Waits for the works that run in this process, and says which of them failed again.

    \b
    Examples:
      triggers retry-failed --dry-run
      triggers retry-failed --task t_score --error "connection refused" --yes

    \b
    JSON: {"dry_run", "found", "replayed", "refused", "interrupted", "instances": [{"uid", "instance", "error",
    "replacement": instance or null, "status": of the replacement or null, "refused": reason or null}]}.
    """
    found = list(_failed(attributes(labels), task, (error or "").lower()))
    if not json_:
        for entry in found:
            say_wrapped(f"{entry['uid']} {entry['instance']}  {cut(one_line(entry['error']), _SHOWN)}")
    interrupted = False
    if found and not dry_run:
        confirm(f"replay {counted(len(found), 'instance')}?", yes)
        interrupted = _replay_all(found)
    replayed = [entry for entry in found if entry["replacement"] is not None]
    refused = [entry for entry in found if entry["refused"] is not None]
    if json_:
        as_json({
            "dry_run": dry_run, "found": len(found), "replayed": len(replayed), "refused": len(refused),
            "interrupted": interrupted, "instances": found,
        })  # fmt: skip
    elif dry_run or not found:
        say(counted(len(found), "failed instance"))
    else:
        for entry in refused:
            say_wrapped(f"refused: {entry['uid']} {entry['instance']}: {entry['refused']}")
        statuses = Counter(entry["status"] for entry in replayed)
        told = ", ".join(f"{number} {status}" for status, number in statuses.most_common())
        say(f"replayed {len(replayed)}{f': {told}' if told else ''}{f'; refused {len(refused)}' if refused else ''}")
    if interrupted:
        raise click.exceptions.Exit(130)
    if refused:
        raise click.exceptions.Exit(1)


def _failed(wanted: dict[str, Any], task: str | None, text: str) -> Iterator[dict[str, Any]]:
    from triggers.manager import get_manager
    from triggers.sessions import find_sessions
    from triggers_cli.looking import error_of

    cursor = None
    while True:
        page = find_sessions(status="failed", cursor=cursor, limit=100, **wanted)
        for uid in page.uids:
            for instance in get_manager(uid).storage:
                if instance.status != "failed" or task not in (None, instance.task):
                    continue
                error = error_of(instance)
                if text in error.lower():
                    yield {
                        "uid": uid, "instance": instance.name, "error": error,
                        "replacement": None, "status": None, "refused": None,
                    }  # fmt: skip
        cursor = page.cursor
        if cursor is None:
            return


def _replay_all(found: list[dict[str, Any]]) -> bool:
    """Replays, and notes in each entry what became of it; returns whether it was interrupted."""
    from triggers_cli.interrupting import on_signals
    from triggers_cli.progress import Progress

    interrupted = False

    def interrupt(number: int, frame: Any) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True  # the replay that is under way is finished, and told

    with on_signals(interrupt), Progress("replayed", len(found)) as progress:
        for number, entry in enumerate(found, 1):
            _replay(entry)
            if number % _JOIN_EVERY == 0:
                end_of_work()
            progress.show(number, number)
            if interrupted:
                break
        end_of_work()
    for entry in found:
        if entry["replacement"] is not None:
            entry["status"] = _status(entry["uid"], entry["replacement"])
    return interrupted


def _replay(entry: dict[str, Any]) -> None:
    from triggers.errors import StorageUnavailable, TriggersError
    from triggers.manager import get_manager

    try:
        entry["replacement"] = get_manager(entry["uid"]).replay_failed_instance(entry["instance"]).name
    except StorageUnavailable:
        raise
    except TriggersError as error:
        entry["refused"] = str(error)


def _status(uid: str, name: str) -> str | None:
    from triggers.errors import TriggersError
    from triggers.manager import get_manager

    try:
        return str(get_manager(uid).storage[name].status)
    except TriggersError:
        return None
