"""Commands that serve a storage: run, sweep, migrate, conformance."""

from __future__ import annotations

import click

from triggers_cli.options import end_of_work, json_option
from triggers_cli.output import as_json, counted, say, say_wrapped
from triggers_cli.working import run_worker

__all__ = ["conformance", "migrate", "run_worker", "sweep"]


@click.command()
@json_option
def sweep(json_: bool) -> None:
    r"""Sweep once: deliver what was lost, end lost attempts, delete what is to go.

    \b
    Example:
      triggers sweep

    \b
    JSON: {"handled": number of wake-ups}.
    """
    from triggers.operating import sweep as sweep_once

    handled = sweep_once()
    end_of_work()
    if json_:
        as_json({"handled": handled})
    else:
        say(f"handled {counted(handled, 'wake-up')}")


@click.command()
@json_option
def migrate(json_: bool) -> None:
    r"""Make or upgrade the tables of the storage.

    \b
    Examples:
      triggers migrate
      triggers --storage archive migrate

    \b
    JSON: {"storage": key, "up_to_date": true}.
    """
    from triggers.settings import get_settings
    from triggers.storages import storage_backends

    key = get_settings().storage
    storage_backends.open_store(key).setup()
    if json_:
        as_json({"storage": key, "up_to_date": True})
    else:
        say(f"storage {key!r} is up to date")


@click.command()
@click.argument("key")
@click.option("-k", "only", metavar="EXPRESSION", help="Only tests whose names match, as in pytest: 's06 or s12'.")
@json_option
def conformance(key: str, only: str | None, json_: bool) -> None:
    r"""Check a configured storage against the contract of stores, in place, with sessions of its own.

    \b
    Example:
      triggers conformance redis

    \b
    JSON: {"key", "store", "capabilities": {name: declared}, "rules": [{"rule", "about", "passed", "failed", "not_tested"}],
    "failed": [{"rule", "test", "reason"}], "not_tested": [{"rule", "test", "reason"}]}.
    """
    try:
        from triggers.testing.__main__ import table
        from triggers.testing.conformance.configured import check_store
    except ModuleNotFoundError as error:
        if error.name not in ("pytest", "_pytest", "hypothesis"):
            raise
        raise click.ClickException(f"{error.name} is missing; pip install 'triggers-core[testing]'") from error
    try:
        verdict = check_store(key, ["-k", only] if only else [])
    except RuntimeError as error:
        if only:
            raise click.BadParameter(f"{only!r}: {error}", param_hint="-k") from None
        raise click.ClickException(str(error)) from None
    if json_:
        as_json({
            "key": verdict.key,
            "store": verdict.store,
            "capabilities": verdict.capabilities,
            "rules": [line._asdict() for line in verdict.lines],
            **{
                result.replace(" ", "_"): [
                    {"rule": found.rule, "test": found.test, "reason": found.reason}
                    for found in verdict.outcomes if found.result == result
                ]
                for result in ("failed", "not tested")
            },
        })  # fmt: skip
    else:
        for line in table(verdict):
            say_wrapped(line)
    if verdict.failed:
        raise click.exceptions.Exit(1)
