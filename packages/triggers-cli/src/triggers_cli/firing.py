"""The command that fires: one trigger, or each row of a file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from click.core import ParameterSource

from triggers_cli.options import configuration_of, confirm, end_of_work, json_object, json_option, yes_option
from triggers_cli.output import as_json, pairs, say

_FILE = click.Path(allow_dash=True)
"""A type that shells complete."""
_ONLY_JSON = ("errors", "sessions_exact", "complete")
_OF_ONE = frozenset({"uid", "trigger", "kwargs", "event_id"})
_OF_BOTH = frozenset({"yes", "json_"})


@click.command()
@click.argument("uid", required=False)
@click.argument("trigger", required=False)
@click.option("--kwargs", help="A JSON object.")
@click.option("--event-id", help="A name for this event; the same id once more changes nothing.")
@click.option("--from", "file", metavar="FILE", type=_FILE, help="Fire each row of a CSV or NDJSON file; - is standard input.")
@click.option("--format", "form", type=click.Choice(["csv", "ndjson"]), help="By default NDJSON for .ndjson and .jsonl.")
@click.option("--delimiter", default=",", show_default=True, metavar="SIGN", help="Between the columns of CSV; 'tab' for tabs.")
@click.option("--uid-column", default="uid", show_default=True, metavar="NAME", help="The column with the session.")
@click.option("--trigger-column", default="trigger", show_default=True, metavar="NAME", help="The column with the trigger.")
@click.option("--event-id-column", metavar="NAME", help="The column with the event id; else it is made from line and content.")
@click.option("--kwargs-column", metavar="NAME", help="The column that holds the kwargs as a JSON object.")
@click.option("--kwarg", "taken", multiple=True, metavar="NAME", help="A column that becomes a kwarg; may be repeated.")
@click.option("--rest-as-kwargs", "rest", is_flag=True, help="All other columns become kwargs.")
@click.option("--batch", metavar="NAME", help="What the event ids made here begin with; the file's name by default.")
@click.option("--configure", "configuration", metavar="FILE", type=_FILE, help="Tasks that each new session begins with.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256), metavar="N", help="How many fire.")
@click.option("--on-error", default="stop", show_default=True, type=click.Choice(["stop", "skip"]), help="When a row is refused.")
@yes_option
@json_option
def fire(
    uid: str | None,
    trigger: str | None,
    kwargs: str | None,
    event_id: str | None,
    file: str | None,
    yes: bool,
    json_: bool,
    **options: Any,
) -> None:
    r"""Fire a trigger, or with --from each row of a file; waits for the works that run in this process.

    A run over a file that was stopped, in whatever way, is started again as it was: rows that were fired change nothing.
    Rows of one session are fired in the order of the file.

    \b
    Examples:
      triggers fire applicant:42 module1Received --kwargs '{"document": 17}'
      triggers fire --from log.csv --uid-column case --trigger-column activity --rest-as-kwargs
      zcat log.ndjson.gz | triggers fire --from - --format ndjson --batch monday --yes

    \b
    JSON: {"created": [instance], "scheduled": [instance], "abandoned": [instance]}; with --from {"file", "rows", "fired",
    "already_there", "refused", "sessions", "sessions_exact", "seconds", "per_second", "complete",
    "errors": [{"line", "uid", "trigger", "error"}]}.
    """
    if file is not None:
        if uid is not None or kwargs is not None or event_id is not None:
            raise click.UsageError("--from takes session, trigger and kwargs from the file; leave UID, TRIGGER and --kwargs out")
        _fire_file(file, yes, json_, **options)
        return
    if uid is None or trigger is None:
        raise click.UsageError("give UID and TRIGGER, or --from FILE")
    _refuse_options_of_files(click.get_current_context())
    _fire_one(uid, trigger, kwargs, event_id, yes, json_)


def _refuse_options_of_files(context: click.Context) -> None:
    """An option that would be ignored without ``--from``, as ``--configure``, is a mistake that must be seen."""
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in _OF_ONE | _OF_BOTH:
            raise click.UsageError(f"{parameter.opts[0]} is for --from FILE, which is missing")


def _fire_one(uid: str, trigger: str, kwargs: str | None, event_id: str | None, yes: bool, json_: bool) -> None:
    from triggers.manager import get_manager

    given = json_object(kwargs, "--kwargs")
    confirm(f"fire {trigger!r} in session {uid!r}?", yes)
    result = get_manager(uid).fire(trigger, given, event_id=event_id)
    end_of_work()
    if json_:
        as_json(result._asdict())
        return
    for what, names in result._asdict().items():
        if names:
            say(f"{what}: {', '.join(names)}")
    if not any(result):
        say("recorded")


def _fire_file(
    file: str,
    yes: bool,
    json_: bool,
    *,
    form: str | None,
    delimiter: str,
    uid_column: str,
    trigger_column: str,
    event_id_column: str | None,
    kwargs_column: str | None,
    taken: tuple[str, ...],
    rest: bool,
    batch: str | None,
    configuration: str | None,
    processes: int,
    on_error: str,
) -> None:
    from triggers.settings import get_settings
    from triggers_cli.bulk import Bulk, checked_configuration, exit_code
    from triggers_cli.rows import BadFile, Layout

    if (kwargs_column is not None) + bool(taken) + rest > 1:
        raise click.UsageError("take one of --kwargs-column, --kwarg and --rest-as-kwargs")
    settings = get_settings()
    if processes > 1 and settings.options_of(settings.storage).get("backend", settings.storage) == "memory":
        raise click.UsageError("the memory storage is seen by one process only; take another, or --processes 1")
    layout = Layout(
        form=form,
        uid=uid_column,
        trigger=trigger_column,
        event_id=event_id_column,
        kwargs=kwargs_column,
        taken=taken,
        rest=rest,
        delimiter=_sign(delimiter),
        batch=batch,
    )
    tasks = checked_configuration(configuration_of(configuration, "--configure")) if configuration is not None else None
    confirm(f"fire each row of {file} in storage {settings.storage!r}?", yes)
    if settings.event_ttl:
        click.echo(f"event ids are forgotten after {settings.event_ttl:g} s (event_ttl); start again within that time", err=True)
    bulk = Bulk(file, layout, tasks, processes=processes, stop_at_error=on_error == "stop")
    try:
        bulk.run()
    except BadFile as error:
        raise click.ClickException(str(error)) from None
    summary = asdict(bulk.summary)
    if json_:
        as_json(summary)
    else:
        shown = {name.replace("_", " "): value for name, value in summary.items() if name not in _ONLY_JSON}
        shown["sessions"] = f"{'' if bulk.summary.sessions_exact else 'more than '}{bulk.summary.sessions}"
        pairs(shown)
        if not bulk.summary.complete:
            say("stopped before the end; the same command goes on")
    code = exit_code(bulk)
    if code:
        raise click.exceptions.Exit(code)


def _sign(text: str) -> str:
    sign = "\t" if text in ("tab", "\\t") else text
    if len(sign) != 1 or sign in '\r\n"':
        raise click.BadParameter("expected one sign, or 'tab'", param_hint="--delimiter")
    return sign
