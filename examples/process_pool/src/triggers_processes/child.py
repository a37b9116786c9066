"""What happens in a process of the pool."""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

from triggers import worker
from triggers.process import get_process
from triggers.runners import BaseTaskRunner, Delivery, task_runners
from triggers.settings import configure, get_settings

_started: list[dict[str, Any]] = []


class HandBack(BaseTaskRunner):
    """The runner of the same key in a process of the pool: collects what a work starts, for the process that has the pool."""

    api_version = 1

    def deliver(self, delivery: Delivery) -> None:
        """Keeps the delivery until the work has ended."""
        _started.append(delivery.message())


def settings_for_children() -> dict[str, Any]:
    """The settings of this process, as a new one can set them."""
    settings = get_settings()
    named = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {**named, "runners": {key: value for key, value in settings.runners.items() if key != "processes"}}


def begin(settings: dict[str, Any]) -> None:
    """Makes a new process ready: the same settings, and Ctrl-C is for the process that has the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task_runners.register("processes", HandBack)
    configure(**settings)


def perform(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Performs one attempt; returns the deliveries that followed from it."""
    _started.clear()
    worker.perform(get_process(), Delivery.from_message(message))
    return list(_started)
