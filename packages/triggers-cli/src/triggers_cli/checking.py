"""The command that says what is wrong with an installation: doctor."""

from __future__ import annotations

import math
from typing import Any

import click

from triggers_cli.options import json_option
from triggers_cli.output import as_json, pairs, say, say_wrapped, table

_ABILITIES = {"DUE": "find what is due", "SCAN": "list sessions", "EXPIRE": "forget finished sessions by itself"}


@click.command()
@click.option(
    "--timeout", default=5.0, show_default=True, type=click.FloatRange(0, 3600),
    help="Seconds that a storage or a broker may take to answer.",
)  # fmt: skip
@json_option
def doctor(timeout: float, json_: bool) -> None:
    """What is installed and loads, whether storages and brokers answer, what they promise, and whether sweeps are late.

    The exit code is 0 if all is well, 3 if a storage does not answer, and 1 if something else is broken.

    \b
    Examples:
      triggers doctor
      triggers doctor --timeout 2 --json

    \b
    JSON: {"healthy", "versions": {distribution: version},
      "plugins": [{"kind", "key", "state": "loads" or "broken: …", "origin"}],
      "storages": [{"storage", "default", "options", "answers", "seconds",
        and if it answers "capabilities": […], "promises": {…}, "warnings": […],
          "sweep": {"running", "last_seconds", "on_time", "due",
            "oldest_seconds", "allowed_seconds"} or null,
        else "problem"}],
      "runners": [{"runner", "default", "answers", "seconds", "problem"}],
      "warnings": […]}
    """  # noqa: D301 - click wants the backspace itself
    from triggers_cli.checkup import checkup

    if math.isnan(timeout):
        raise click.BadParameter("nan is no time", param_hint="--timeout")

    found = checkup(timeout)
    if json_:
        as_json(found)
    else:
        _print(found)
    if not found["healthy"]:
        raise click.exceptions.Exit(1 if all(storage["answers"] for storage in found["storages"]) else 3)


def _print(found: dict[str, Any]) -> None:
    pairs(found["versions"])
    say("")
    table(["kind", "key", "state", "from"], [[p["kind"], p["key"], p["state"], p["origin"]] for p in found["plugins"]])
    for storage in found["storages"]:
        say_wrapped(f"storage {storage['storage']}{' (default)' if storage['default'] else ''}: {_answer(storage)}")
        if storage["answers"]:
            facts = {"can": _abilities(storage["capabilities"]), **storage["promises"]}
            facts["sweep"] = _sweep(storage["sweep"])
            pairs({f"  {name}": text for name, text in facts.items()})
    for runner in found["runners"]:
        say_wrapped(f"runner {runner['runner']}{' (default)' if runner['default'] else ''}: {_answer(runner)}")
    for warning in found["warnings"]:
        say_wrapped(f"warning: {warning}")
    say("all is well" if found["healthy"] else "something is broken")


def _answer(found: dict[str, Any]) -> str:
    return f"answers in {found['seconds']:.3f} s" if found["answers"] else f"broken: {found['problem']}"


def _abilities(capabilities: list[str]) -> str:
    return ", ".join(["keep sessions", *(f"{_ABILITIES.get(name, name.lower())} ({name})" for name in capabilities)])


def _sweep(found: dict[str, Any] | None) -> str:
    if found is None:
        return "cannot be told"
    from triggers_cli.overdue import Sweeping

    return Sweeping(**found).sentence()
