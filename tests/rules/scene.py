"""A process in miniature for one test: its own settings, a clock that is moved by hand, and a runner that waits for a word."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.rules.backends import Backend, fresh_uid
from triggers.context import TaskContext
from triggers.instance import TaskInstance
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.runners import BaseTaskRunner, Delivery, task_runners
from triggers.settings import Settings
from triggers.store import Capability
from triggers.tasks import registered, task

START = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


class Clock:
    """A time that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        return self.now

    def move(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += dt.timedelta(seconds=seconds)


class HeldRunner(BaseTaskRunner):
    """Keeps what is delivered until the test performs it, as often as the test likes."""

    api_version = 1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting: deque[Delivery] = deque()

    def deliver(self, delivery: Delivery) -> None:
        """Keeps it."""
        self.waiting.append(delivery)


class Scene:
    """What a test of the rules needs.

    Attributes:
        backend: where sessions are kept.
        clock: the time of the process.
        process: the process.
        calls: ``(work, trigger_kwargs)`` of each run of a recorded work, in order.
    """

    def __init__(self, backend: Backend, **settings: Any) -> None:
        self.backend = backend
        self.clock = Clock()
        self.settings = Settings(**{"runner": "held", "sweep_interval": 0.0, "conflict_timeout": 60.0, **settings})
        self.process = Process(settings=lambda: self.settings, clock=self.clock)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._registered: list[str] = []
        self._uids: set[str] = set()

    def change_settings(self, **settings: Any) -> None:
        """Settings of the process from now on."""
        self.settings = dataclasses.replace(self.settings, **settings)

    def another_process(self) -> Process:
        """A second process on the same store, with its own remembered views, and the same clock."""
        return Process(settings=lambda: self.settings, clock=self.clock)

    def manager(
        self, uid: str | None = None, kind: type[TriggerManager] = TriggerManager, process: Process | None = None
    ) -> TriggerManager:
        """A manager of a session; a new session if no uid is given."""
        uid = uid or fresh_uid()
        manager = kind(self.backend.session(uid), process=process or self.process)
        self._uids.add(uid)
        return manager

    def configured(self, configuration: dict[str, Any], **options: Any) -> TriggerManager:
        """A manager of a new session with these tasks."""
        manager = self.manager(**options)
        manager.update_configuration(configuration)
        return manager

    def works(self, name: str, body: Callable[..., Any], max_retries: int | None = None) -> None:
        """Registers a work for this test."""
        task(name, max_retries=max_retries)(body)
        self._registered.append(name)

    def records(self, name: str = "w", result: Any = None) -> None:
        """Registers a work that notes what it received and returns the same result each time."""

        def body(context: TaskContext) -> Any:
            self.calls.append((name, context.trigger_kwargs))
            return result

        self.works(name, body)

    @property
    def runner(self) -> HeldRunner:
        """The runner that keeps deliveries."""
        runner = self.process.runners.get("held")
        assert isinstance(runner, HeldRunner)
        return runner

    @property
    def waiting(self) -> list[str]:
        """The instances that were delivered and not yet performed."""
        return [delivery.name for delivery in self.runner.waiting]

    def perform(self) -> Delivery:
        """Performs the oldest delivery."""
        delivery = self.runner.waiting.popleft()
        self.process.runners.get("held").perform(delivery)
        return delivery

    def perform_all(self) -> list[str]:
        """Performs deliveries until there are none; the names of the instances in order."""
        done = []
        while self.runner.waiting:
            done.append(self.perform().name)
        return done

    @property
    def sweeps(self) -> bool:
        """Whether the store can tell what is due."""
        return Capability.DUE in self.backend.store.capabilities

    def forget(self) -> None:
        """Removes the sessions and works of the test."""
        self.process.close()
        self.forget_works()
        for uid in self._uids:
            self.backend.store.delete(uid)

    def forget_works(self) -> None:
        """Removes the works, so that others may take their names."""
        for name in self._registered:
            registered.remove(name)
        self._registered.clear()


def statuses(manager: TriggerManager) -> dict[str, str]:
    """The status of each instance."""
    return {instance.name: str(instance.status) for instance in manager.storage}


def instance(manager: TriggerManager, name: str) -> TaskInstance:
    """One instance, read from the store."""
    return manager.storage[name]


@contextmanager
def held_runner() -> Iterator[None]:
    """Registers the runner ``held``."""
    task_runners.register("held", HeldRunner)
    try:
        yield
    finally:
        task_runners.unregister("held")
