"""The command that serves as a worker."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

import click

from triggers_cli.options import json_option
from triggers_cli.output import counted, harmless

_ENDED_HARD = 130


@click.command("run")
@click.option("--drain", type=click.FloatRange(min=0), metavar="SECONDS", help="How long to wait for running works at the end.")
@json_option
def run_worker(drain: float | None, json_: bool) -> None:
    r"""Run works and sweep, on threads, until SIGTERM or Ctrl-C; then finish what runs.

    A second signal ends at once. What is not finished by then is recovered by the sweep of whoever serves next.

    \b
    Examples:
      triggers run
      triggers run --drain 120 --json >> worker.log

    \b
    JSON: one object in each line: {"at", "event", "uid", "instance", "attempt", "run", "error", "text"}; event is serving,
    running, finished, failed (with "error"), skipped, replayed, recovered, stopping, stopped, gave_up.
    """
    from triggers.hooks import get_hooks
    from triggers.manager import get_manager
    from triggers.process import get_process
    from triggers.settings import configure, get_settings
    from triggers.tasks import registered
    from triggers_cli.telling import Teller

    if drain is not None:
        configure(shutdown_timeout=drain)
    handler = logging.StreamHandler()
    handler.setFormatter(_Harmless("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("triggers").addHandler(handler)
    process = get_process()
    storage = get_manager("worker").storage
    storage.exists()  # a storage that does not answer is told now
    works = registered.names()
    teller = Teller(json_)
    get_hooks().register(teller)
    stop = threading.Event()
    before = _on_signals(stop)
    try:
        process.use(storage)
        process.sweeper.start()
        served = f"storage {storage.key!r}, {counted(len(works), 'work')}, {counted(get_settings().threads, 'thread')}"
        teller.tell("serving", f"{served}; stop with Ctrl-C")
        while not stop.wait(0.5):
            pass
        teller.tell("stopping", "waiting for running works; a second signal ends at once")
        runners = process.runners.opened()
        process.close()
        done = all(runner.join_all(0) for runner in runners)
        teller.tell("stopped" if done else "gave_up", "" if done else "works are still running; the sweep will recover them")
    finally:
        get_hooks().unregister(teller)
        logging.getLogger("triggers").removeHandler(handler)
        for number, known in before.items():
            signal.signal(number, known)
    if not done:
        sys.stdout.flush()
        os._exit(1)  # their threads would be waited for once more


class _Harmless(logging.Formatter):
    """What is logged, without passwords and without what would steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from triggers.settings import redact

        return harmless(redact(super().format(record)))


def _on_signals(stop: threading.Event) -> dict[int, Any]:
    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            os._exit(_ENDED_HARD)
        stop.set()

    return {int(number): signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
