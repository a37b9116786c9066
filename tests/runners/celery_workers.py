"""Starts real Celery workers for tests, and the applications with which tests fire."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import celery

from tests.servers.client import ROOT

PATIENCE = 60.0

QUIET = {
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_retry": True,
}
"""No mailboxes at the broker, which other tests share."""


class Worker:
    """A Celery worker in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ready(self) -> None:
        """Waits until it takes work."""
        end = time.monotonic() + PATIENCE
        while " ready." not in self.said:
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < end, f"the worker did not become ready:\n{self.said}"
            time.sleep(0.05)

    def stop(self, patience: float = PATIENCE) -> int:
        """Asks it to end (a warm shutdown), and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)

    def kill(self) -> None:
        """Kills it with all of its processes, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def worker(
    folder: Path, conf: Mapping[str, Any], settings: Mapping[str, Any], *arguments: str, name: str = "worker"
) -> Iterator[Worker]:
    """A worker with this Celery configuration and these settings of Triggers; it is killed at the end, if it still runs."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TRIGGERS_")}
    environment |= {
        "TRIAL_CELERY": json.dumps({**QUIET, **conf}),
        "TRIAL_SETTINGS": json.dumps(_told(settings)),
        "C_FORCE_ROOT": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    log = folder / f"{name}.log"
    command = [sys.executable, "-m", "celery", "-A", "tests.runners.celery_application", "worker", "--loglevel", "INFO"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-n", f"{name}@trial"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *quiet, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    started = Worker(process, log)
    try:
        started.ready()
        yield started
    finally:
        started.kill()


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the application of this process, which a worker has not."""
    options = settings.get("runners", {}).get("celery", {})
    return {**settings, "runners": {"celery": {key: value for key, value in options.items() if key != "app"}}}


def application(conf: Mapping[str, Any]) -> celery.Celery:
    """The application of a process that fires: it knows the broker, and no task."""
    app = celery.Celery("firing", set_as_current=False)
    app.conf.update({**QUIET, **conf})
    return app


def delete_queues(broker: str, *names: str) -> None:
    """Removes queues of a test, with the exchanges of the same names, from a shared RabbitMQ."""
    import kombu

    with kombu.Connection(broker) as connection:
        for name in names:
            connection.default_channel.queue_delete(name)
            connection.default_channel.exchange_delete(name)
