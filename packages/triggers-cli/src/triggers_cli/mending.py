"""Commands that change a session: configure, replay, skip, cancel, finalize, delete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from triggers_cli.looking import document_of
from triggers_cli.moving import copy
from triggers_cli.options import configuration_of, confirm, end_of_work, existing, json_object, json_option, yes_option
from triggers_cli.output import as_json, counted, say, say_wrapped
from triggers_cli.retrying import retry_failed

__all__ = ["cancel", "configure", "copy", "delete", "finalize", "replay", "retry_failed", "skip"]


@click.command()
@click.argument("uid")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--evaluate", is_flag=True, help="Let new tasks take in what fired before.")
@yes_option
@json_option
def configure(uid: str, file: str, evaluate: bool, yes: bool, json_: bool) -> None:
    r"""Add or change the tasks of a session from a file (JSON, YAML, TOML; - is standard input).

    Shows the difference first. A task given as null is removed.

    \b
    Example:
      triggers configure applicant:42 tasks.json

    \b
    JSON: {"changed": true or false, "tasks": {task: {"before": directives or null, "after": directives or null}}}.
    """
    from triggers.config import parse_configuration
    from triggers.manager import get_manager

    document = configuration_of(file, "FILE")
    parsed = parse_configuration(document)
    manager = get_manager(uid)
    known = manager.storage.tasks
    changes: dict[str, dict[str, Any]] = {}
    for name, new in parsed.items():
        before = known[name].document() if name in known else None
        after = new.document() if new else None
        if before != after:
            changes[name] = {"before": before, "after": after}
    if not json_:
        _say_difference(changes)
    if changes:
        confirm(f"configure session {uid!r}?", yes)
    changed = manager.update_configuration(document, evaluate=evaluate)
    end_of_work()
    if json_:
        as_json({"changed": changed, "tasks": changes})
    else:
        say("changed" if changed else "nothing to change")


def _say_difference(changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Task by task, directive by directive: what goes and what comes."""
    for name, change in changes.items():
        before, after = change["before"], change["after"]
        say(f"{name}{' is new' if before is None else ' is removed' if after is None else ''}")
        for directive in dict.fromkeys([*(before or {}), *(after or {})]):
            old, new = (before or {}).get(directive), (after or {}).get(directive)
            if old != new:
                for sign, value in (("-", old), ("+", new)):
                    if value is not None:
                        say_wrapped(f"  {sign} {directive}: {json.dumps(value, ensure_ascii=False)}")


@click.command()
@click.argument("uid")
@click.argument("instance")
@click.option("--kwargs", help="Replacement kwargs, {trigger: kwargs}, as JSON.")
@yes_option
@json_option
def replay(uid: str, instance: str, kwargs: str | None, yes: bool, json_: bool) -> None:
    r"""Replay a failed instance.

    \b
    Example:
      triggers replay applicant:42 t_score#0 --kwargs '{"module4Received": {"document": 18}}'

    \b
    JSON: {"replayed": instance, "instance": the new instance as in show}.
    """
    replacement = json_object(kwargs, "--kwargs")
    manager = existing(uid)
    confirm(f"replay {instance} of session {uid!r}?", yes)
    new = manager.replay_failed_instance(instance, replacement)
    end_of_work()
    found = manager.storage[new.name]
    if json_:
        as_json({"replayed": instance, "instance": document_of(found)})
    else:
        say(str(found))


@click.command()
@click.argument("uid")
@click.argument("instance")
@click.option("--cascade", is_flag=True, help="Fire the task's name too.")
@click.option("--result", help="The kwargs of that cascade, as JSON.")
@yes_option
@json_option
def skip(uid: str, instance: str, cascade: bool, result: str | None, yes: bool, json_: bool) -> None:
    r"""Skip a failed instance.

    \b
    Example:
      triggers skip applicant:42 t_score#0 --cascade --result '{"score": 0}'

    \b
    JSON: {"skipped": instance, "instance": the instance as in show}.
    """
    given = json_object(result, "--result")
    if given is not None and not cascade:
        raise click.UsageError("--result is the kwargs of the cascade; give --cascade too")
    manager = existing(uid)
    confirm(f"skip {instance} of session {uid!r}?", yes)
    manager.skip_failed_instance(instance, cascade=cascade, result=given)
    end_of_work()
    found = manager.storage[instance]
    if json_:
        as_json({"skipped": instance, "instance": document_of(found)})
    else:
        say(str(found))


@click.command()
@click.argument("uid")
@click.option("--reason", required=True, help="Kept with the session and its instances.")
@yes_option
@json_option
def cancel(uid: str, reason: str, yes: bool, json_: bool) -> None:
    r"""Abandon all unresolved work of a session, and close it.

    \b
    Example:
      triggers cancel applicant:42 --reason 'withdrawn by the applicant'

    \b
    JSON: {"cancelled": uid, "abandoned": [instance]}.
    """
    if not reason.strip():
        raise click.BadParameter("say why", param_hint="--reason")
    manager = existing(uid)
    confirm(f"cancel session {uid!r}?", yes)
    names = manager.cancel(reason)
    if json_:
        as_json({"cancelled": uid, "abandoned": names})
    else:
        say(f"cancelled; abandoned {counted(len(names), 'instance')}")


@click.command()
@click.argument("uid")
@yes_option
@json_option
def finalize(uid: str, yes: bool, json_: bool) -> None:
    r"""Have a session finalize: now if every task is resolved, else with its last one.

    It fires sessionFinalized once, as sessions of the manager finalizing do.

    \b
    Example:
      triggers finalize applicant:42

    \b
    JSON: {"uid", "finalized_at": time or null, "unresolved_tasks": [task]}.
    """
    from triggers.manager import get_manager

    storage = existing(uid).storage
    confirm(f"have session {uid!r} finalize?", yes)
    get_manager(uid, manager="finalizing").update_configuration({})
    end_of_work()
    finalized = storage.metadata["finalized_at"]
    unresolved = storage.get_unresolved_tasks()
    if json_:
        as_json({"uid": uid, "finalized_at": finalized, "unresolved_tasks": unresolved})
    elif finalized is not None:
        say(f"finalized at {finalized:%Y-%m-%d %H:%M:%S}")
    else:
        say_wrapped(f"will finalize once these are resolved: {', '.join(unresolved) or 'its tasks, of which it has none'}")


@click.command()
@click.argument("uid")
@yes_option
@json_option
def delete(uid: str, yes: bool, json_: bool) -> None:
    r"""Delete a session, whole.

    \b
    Example:
      triggers delete applicant:42

    \b
    JSON: {"uid", "deleted": true}.
    """
    from triggers.sessions import delete_session

    existing(uid)
    confirm(f"delete session {uid!r} with all of its instances?", yes)
    delete_session(uid)
    if json_:
        as_json({"uid": uid, "deleted": True})
    else:
        say("deleted")
