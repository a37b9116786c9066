"""Commands that change a session: configure, replay, skip, retry-failed, cancel, delete, copy."""

from __future__ import annotations

import json
from typing import Any

import click

from triggers_cli.options import attributes, confirm, end_of_work, existing, json_object, yes_option
from triggers_cli.output import say


@click.command()
@click.argument("uid")
@click.argument("file", type=click.File("rb"))
@click.option("--evaluate", is_flag=True, help="Let new tasks take in what fired before.")
@yes_option
def configure(uid: str, file: Any, evaluate: bool, yes: bool) -> None:
    """Add or change the tasks of a session from a JSON file (- for standard input); shows the difference first."""
    from triggers.config import parse_configuration
    from triggers.manager import get_manager

    try:
        document = json.loads(file.read())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint="FILE") from error
    parsed = parse_configuration(document)
    manager = get_manager(uid)
    known = manager.storage.tasks
    for name, new in parsed.items():
        old = known[name].document() if name in known else None
        written = new.document() if new else None
        if old != written:
            say(f"- {name}: {json.dumps(old)}" if old else f"  {name} is new")
            say(f"+ {name}: {json.dumps(written)}" if written else f"  {name} is removed")
    confirm(f"configure session {uid!r}?", yes)
    say("changed" if manager.update_configuration(document, evaluate=evaluate) else "nothing to change")


@click.command()
@click.argument("uid")
@click.argument("instance")
@click.option("--kwargs", help="Replacement kwargs, {trigger: kwargs}, as JSON.")
@yes_option
def replay(uid: str, instance: str, kwargs: str | None, yes: bool) -> None:
    """Replay a failed instance."""
    replacement = json_object(kwargs, "--kwargs")
    manager = existing(uid)
    confirm(f"replay {instance} of session {uid!r}?", yes)
    new = manager.replay_failed_instance(instance, replacement)
    end_of_work()
    say(str(manager.storage[new.name]))


@click.command()
@click.argument("uid")
@click.argument("instance")
@click.option("--cascade", is_flag=True, help="Fire the task's name too.")
@click.option("--result", help="The kwargs of that cascade, as JSON.")
@yes_option
def skip(uid: str, instance: str, cascade: bool, result: str | None, yes: bool) -> None:
    """Skip a failed instance."""
    given = json_object(result, "--result")
    manager = existing(uid)
    confirm(f"skip {instance} of session {uid!r}?", yes)
    manager.skip_failed_instance(instance, cascade=cascade, result=given)
    end_of_work()
    say(f"{instance} (skipped)")


@click.command("retry-failed")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only in sessions with this attribute.")
@click.option("--dry-run", is_flag=True, help="Only list what would be replayed.")
@yes_option
def retry_failed(labels: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Replay every failed instance of every session."""
    from triggers.manager import get_manager

    found = list(_failed(labels))
    for uid, name in found:
        say(f"{uid} {name}")
    if dry_run or not found:
        say(f"{len(found)} failed instances")
        return
    confirm(f"replay these {len(found)}?", yes)
    for uid, name in found:
        get_manager(uid).replay_failed_instance(name)
    end_of_work()
    say(f"replayed {len(found)}")


def _failed(labels: tuple[str, ...]) -> Any:
    from triggers.manager import get_manager
    from triggers.sessions import find_sessions

    wanted = attributes(labels)
    cursor = None
    while True:
        page = find_sessions(status="failed", cursor=cursor, limit=100, **wanted)
        for uid in page.uids:
            for instance in get_manager(uid).storage:
                if instance.status == "failed":
                    yield uid, instance.name
        cursor = page.cursor
        if cursor is None:
            return


@click.command()
@click.argument("uid")
@click.option("--reason", required=True, help="Kept with the session and its instances.")
@yes_option
def cancel(uid: str, reason: str, yes: bool) -> None:
    """Abandon all unresolved work of a session, and close it."""
    manager = existing(uid)
    confirm(f"cancel session {uid!r}?", yes)
    names = manager.cancel(reason)
    say(f"cancelled; abandoned {len(names)} instances")


@click.command()
@click.argument("uid")
@yes_option
def delete(uid: str, yes: bool) -> None:
    """Delete a session, whole."""
    from triggers.sessions import delete_session

    existing(uid)
    confirm(f"delete session {uid!r} with all of its instances?", yes)
    delete_session(uid)
    say("deleted")


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--uid", help="Only this session.")
@yes_option
def copy(source: str, target: str, uid: str | None, yes: bool) -> None:
    """Copy sessions from one configured storage to another; goes on where it was broken off. Copies are inert."""
    from triggers.sessions import copy_session, copy_sessions

    confirm(f"copy {f'session {uid!r}' if uid else 'all sessions'} from {source!r} to {target!r}?", yes)
    if uid:
        say("copied" if copy_session(uid, source, target) else "already there")
        return
    report = copy_sessions(source, target)
    say(f"copied {report.copied}, already there {report.unchanged}, refused {len(report.refused)}")
    for refused, reason in report.refused.items():
        say(f"  {refused}: {reason}")
