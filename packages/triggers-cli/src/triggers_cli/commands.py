"""The commands. Each is a thin face of what the library does; backends are imported when they are used."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from triggers import errors
from triggers_cli import settings_file
from triggers_cli.output import as_json, pairs, say, table


class Suggesting(click.Group):
    """A group that says which command somebody may have meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command; names the nearest one where there is none."""
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from error
            raise


@click.group(cls=Suggesting, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--settings", "file", type=click.Path(path_type=Path), help="A settings file; triggers.toml by default.")
@click.option("--storage", help="The key of the storage, stronger than settings and environment.")
@click.option("--url", help="The URL of the storage.")
@click.version_option(package_name="triggers-cli", prog_name="triggers")
def command_line(file: Path | None, storage: str | None, url: str | None) -> None:
    r"""Look into sessions, fire, replay, configure, and run workers.

    Settings come from triggers.toml, the environment (TRIGGERS_STORAGE, TRIGGERS_SQL_URL, ...) and options, the later
    the stronger. Commands that change something ask first, unless --yes is given. --json prints one JSON document.

    \b
    Examples:
      triggers doctor
      triggers explain applicant:42
      triggers fire applicant:42 module1Received --kwargs '{"document": 17}' --yes
      triggers replay applicant:42 t_score#0
    """
    settings_file.use(file, storage, url)


json_option = click.option("--json", "json_", is_flag=True, help="Print one JSON document.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True)


def _existing(uid: str) -> Any:
    from triggers.manager import get_manager

    manager = get_manager(uid)
    if not manager.storage.exists():
        raise errors.UnknownSession(f"there is no session {uid!r} in the storage {manager.storage.key!r}")
    return manager


def _object(text: str | None, option: str) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint=option) from error
    if not isinstance(value, dict):
        raise click.BadParameter("expected a JSON object", param_hint=option)
    return value


@command_line.command()
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


@command_line.command()
@click.option("--status", type=click.Choice(["failed", "finalized", "cancelled", "moved", "copy"]), help="Only those.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only those with this attribute; may be repeated.")
@click.option("--limit", default=100, show_default=True, help="How many to look at.")
@click.option("--cursor", help="Where the page before ended.")
@json_option
def sessions(status: str | None, labels: tuple[str, ...], limit: int, cursor: str | None, json_: bool) -> None:
    """List sessions, page by page."""
    from triggers.sessions import find_sessions
    from triggers.storages import storage_backends

    page = find_sessions(status=status, cursor=cursor, limit=limit, **_attributes(labels))
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


@command_line.command()
@click.argument("uid")
@json_option
def show(uid: str, json_: bool) -> None:
    """A session: its state, its instances, what fired."""
    storage = _existing(uid).storage
    instances = list(storage)
    if json_:
        as_json({"session": storage.metadata, "instances": instances, "fired": storage.latest_kwargs})
        return
    pairs({"session": uid, **storage.metadata})
    table(["instance", "status", "attempt", "has received", "result"], [
        [found.name, found.status, found.attempt, ", ".join(found.kwargs), found.result] for found in instances
    ])  # fmt: skip
    say(f"fired: {', '.join(storage.latest_kwargs) or 'nothing'}")


@command_line.command()
@click.argument("uid")
@click.argument("task", required=False)
@json_option
def explain(uid: str, task: str | None, json_: bool) -> None:
    """Why a task, or all of a session, has not run yet."""
    found = _existing(uid).explain(task)
    if json_:
        as_json(found)
    else:
        say(str(found))


@command_line.command()
@click.argument("uid")
@json_option
def history(uid: str, json_: bool) -> None:
    """What happened to a session, oldest first."""
    entries = _existing(uid).history()
    if json_:
        as_json(entries)
    else:
        for entry in entries:
            say(str(entry))


@command_line.command()
@click.argument("uid")
@json_option
def children(uid: str, json_: bool) -> None:
    """The sessions that joined this one."""
    found = _existing(uid).children()
    if json_:
        as_json(found)
    else:
        table(["alias", "session"], sorted(found.items()))


@command_line.command()
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

    given = _object(kwargs, "--kwargs")
    _confirm(f"fire {trigger!r} in session {uid!r}?", yes)
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


@command_line.command()
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
    _confirm(f"configure session {uid!r}?", yes)
    say("changed" if manager.update_configuration(document, evaluate=evaluate) else "nothing to change")


@command_line.command()
@click.argument("uid")
@click.argument("instance")
@click.option("--kwargs", help="Replacement kwargs, {trigger: kwargs}, as JSON.")
@yes_option
def replay(uid: str, instance: str, kwargs: str | None, yes: bool) -> None:
    """Replay a failed instance."""
    replacement = _object(kwargs, "--kwargs")
    manager = _existing(uid)
    _confirm(f"replay {instance} of session {uid!r}?", yes)
    new = manager.replay_failed_instance(instance, replacement)
    _end_of_work()
    say(str(manager.storage[new.name]))


@command_line.command()
@click.argument("uid")
@click.argument("instance")
@click.option("--cascade", is_flag=True, help="Fire the task's name too.")
@click.option("--result", help="The kwargs of that cascade, as JSON.")
@yes_option
def skip(uid: str, instance: str, cascade: bool, result: str | None, yes: bool) -> None:
    """Skip a failed instance."""
    given = _object(result, "--result")
    manager = _existing(uid)
    _confirm(f"skip {instance} of session {uid!r}?", yes)
    manager.skip_failed_instance(instance, cascade=cascade, result=given)
    _end_of_work()
    say(f"{instance} (skipped)")


@command_line.command("retry-failed")
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
    _confirm(f"replay these {len(found)}?", yes)
    for uid, name in found:
        get_manager(uid).replay_failed_instance(name)
    _end_of_work()
    say(f"replayed {len(found)}")


def _attributes(labels: tuple[str, ...]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {label!r}", param_hint="--label")
        attributes[name] = value
    return attributes


def _failed(labels: tuple[str, ...]) -> Any:
    from triggers.manager import get_manager
    from triggers.sessions import find_sessions

    attributes = _attributes(labels)
    cursor = None
    while True:
        page = find_sessions(status="failed", cursor=cursor, limit=100, **attributes)
        for uid in page.uids:
            for instance in get_manager(uid).storage:
                if instance.status == "failed":
                    yield uid, instance.name
        cursor = page.cursor
        if cursor is None:
            return


@command_line.command()
@click.argument("uid")
@click.option("--reason", required=True, help="Kept with the session and its instances.")
@yes_option
def cancel(uid: str, reason: str, yes: bool) -> None:
    """Abandon all unresolved work of a session, and close it."""
    manager = _existing(uid)
    _confirm(f"cancel session {uid!r}?", yes)
    names = manager.cancel(reason)
    say(f"cancelled; abandoned {len(names)} instances")


@command_line.command()
@click.argument("uid")
@yes_option
def delete(uid: str, yes: bool) -> None:
    """Delete a session, whole."""
    from triggers.sessions import delete_session

    _existing(uid)
    _confirm(f"delete session {uid!r} with all of its instances?", yes)
    delete_session(uid)
    say("deleted")


@command_line.command()
@click.argument("source")
@click.argument("target")
@click.option("--uid", help="Only this session.")
@yes_option
def copy(source: str, target: str, uid: str | None, yes: bool) -> None:
    """Copy sessions from one configured storage to another; goes on where it was broken off. Copies are inert."""
    from triggers.sessions import copy_session, copy_sessions

    _confirm(f"copy {f'session {uid!r}' if uid else 'all sessions'} from {source!r} to {target!r}?", yes)
    if uid:
        say("copied" if copy_session(uid, source, target) else "already there")
        return
    report = copy_sessions(source, target)
    say(f"copied {report.copied}, already there {report.unchanged}, refused {len(report.refused)}")
    for refused, reason in report.refused.items():
        say(f"  {refused}: {reason}")


@command_line.command()
def sweep() -> None:
    """Sweep once: deliver what was lost, end lost attempts, delete what is to go."""
    from triggers.process import get_process

    handled = get_process().sweep()
    _end_of_work()
    say(f"handled {handled} wake-ups")


@command_line.command()
def migrate() -> None:
    """Make or upgrade the tables of the storage."""
    from triggers.settings import get_settings
    from triggers.storages import storage_backends

    key = get_settings().storage
    storage_backends.open_store(key).setup()
    say(f"storage {key!r} is up to date")


@command_line.command("run")
def run_worker() -> None:
    """Run works and sweep on threads until SIGTERM or Ctrl-C; then finish what runs."""
    import logging

    from triggers.manager import get_manager
    from triggers.process import get_process

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    process = get_process()
    process.use(get_manager("worker").storage)
    process.sweeper.start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopper(stop))
    say(f"serving {process.settings!r}; stop with Ctrl-C")
    while not stop.wait(0.5):
        pass
    say("stopping: waiting for running works")
    process.close()
    say("stopped")


def _stopper(stop: threading.Event) -> Callable[[int, Any], None]:
    def handle(number: int, frame: Any) -> None:
        stop.set()

    return handle


@command_line.command()
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


def _end_of_work() -> None:
    from triggers.operating import join_all

    join_all()
