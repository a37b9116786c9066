"""The command that copies sessions to another storage."""

from __future__ import annotations

import click

from triggers_cli.options import confirm, json_option, yes_option
from triggers_cli.output import as_json, say, say_wrapped


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--uid", help="Only this session.")
@yes_option
@json_option
def copy(source: str, target: str, uid: str | None, yes: bool, json_: bool) -> None:
    r"""Copy sessions from one configured storage to another; goes on where it was broken off. Copies are inert.

    \b
    Example:
      triggers copy sql archive

    \b
    JSON: {"copied": number, "unchanged": number, "refused": {uid: reason}}.
    """
    from triggers.sessions import CopyReport, copy_session, copy_sessions
    from triggers_cli.progress import Progress

    if source == target:
        raise click.UsageError(f"source and target are both {source!r}")
    confirm(f"copy {f'session {uid!r}' if uid is not None else 'all sessions'} from {source!r} to {target!r}?", yes)
    if uid is not None:
        written = copy_session(uid, source, target)
        report = CopyReport(int(written), int(not written), {})
    else:
        looked_at = 0
        with Progress("sessions", None) as progress:

            def show(_: str) -> None:
                nonlocal looked_at
                looked_at += 1
                progress.show(looked_at, looked_at)

            report = copy_sessions(source, target, show)
    if json_:
        as_json(report._asdict())
    else:
        say(f"copied {report.copied}, already there {report.unchanged}, refused {len(report.refused)}")
        for refused, reason in report.refused.items():
            say_wrapped(f"  {refused}: {reason}")
    if report.refused:
        raise click.exceptions.Exit(1)
