"""A process of an application for one test, on a memory store of its own."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.runners import BaseTaskRunner, Delivery
from triggers.settings import Settings
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.tasks import registered, task

START = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
PATIENCE = 60.0
"""Seconds that a test waits for something that must happen."""


class Clock:
    """A time that is moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        return self.now

    def move(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += dt.timedelta(seconds=seconds)


class Held(BaseTaskRunner):
    """Keeps deliveries until the test performs them."""

    api_version = 1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting: list[Delivery] = []

    def deliver(self, delivery: Delivery) -> None:
        """Kept."""
        self.waiting.append(delivery)


class Bench:
    """A process with a movable clock and settings, a memory store, and works that are forgotten at the end."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**{"runner": "inline", "storage": "memory", "sweep_interval": 0.0, **settings})
        self.clock = Clock()
        self.process = Process(settings=lambda: self.settings, clock=self.clock)
        self.store = MemoryStore()
        self._works: list[str] = []

    def change(self, **settings: Any) -> None:
        """Other settings from now on."""
        self.settings = dataclasses.replace(self.settings, **settings)

    def manager(self, uid: str = "s", kind: type[TriggerManager] = TriggerManager) -> TriggerManager:
        """A manager of a session."""
        return kind(MemoryStorageBackend(uid, store=self.store), process=self.process)

    def work(self, body: Callable[..., Any], name: str = "w", max_retries: int | None = None) -> None:
        """Registers a work."""
        task(name, max_retries=max_retries)(body)
        self._works.append(name)

    def run(self, body: Callable[..., Any], kwargs: dict[str, Any] | None = None, **directives: Any) -> TriggerManager:
        """Has a work run once, as ``t#0`` of a new session, by firing ``a``."""
        self.work(body)
        manager = self.manager()
        manager.update_configuration({"t": {"after": ["a"], "run": "w", **directives}})
        manager.fire("a", kwargs)
        return manager

    def close(self) -> None:
        """Ends the process and forgets its works."""
        self.process.close()
        for name in self._works:
            registered.remove(name)


@contextmanager
def bench(**settings: Any) -> Iterator[Bench]:
    """A bench, closed at the end."""
    made = Bench(**settings)
    try:
        yield made
    finally:
        made.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for something that another thread does; fails if it does not come."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.002)
