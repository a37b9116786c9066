"""Commands that serve: run, sweep, migrate."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import click

from triggers_cli.options import end_of_work
from triggers_cli.output import say


@click.command()
def sweep() -> None:
    """Sweep once: deliver what was lost, end lost attempts, delete what is to go."""
    from triggers.process import get_process

    handled = get_process().sweep()
    end_of_work()
    say(f"handled {handled} wake-ups")


@click.command()
def migrate() -> None:
    """Make or upgrade the tables of the storage."""
    from triggers.settings import get_settings
    from triggers.storages import storage_backends

    key = get_settings().storage
    storage_backends.open_store(key).setup()
    say(f"storage {key!r} is up to date")


@click.command("run")
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
