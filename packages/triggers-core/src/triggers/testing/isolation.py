"""A process of its own for each test: settings, stores, runners, registered names and a clock, put back at the end.

The application under test need not know: while a test has its isolation, ``triggers.get_manager(uid)``,
``triggers.join_all()`` and ``triggers.sweep()`` use it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from triggers import hooks, process, settings
from triggers.manager import TriggerManager, get_manager
from triggers.managers import trigger_managers
from triggers.process import Process
from triggers.registry import BackendRegistry
from triggers.runners import RunnerCapability, task_runners
from triggers.runners.threads import ThreadingTaskRunner
from triggers.storages import BaseTriggerStorage, storage_backends
from triggers.storages import base as storages
from triggers.store import Capability
from triggers.tasks import registered
from triggers.testing.clock import MovableClock

_DEFAULTS: dict[str, Any] = {
    "storage": "memory",
    "runner": "threading",
    "sweep_interval": 0.0,
    "threads": 4,
    "shutdown_timeout": 5.0,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_SWEEPS = 1000


class Threads(ThreadingTaskRunner):
    """The threading runner, with cooldowns that end by the clock of the test alone."""

    api_version = 1
    capabilities = RunnerCapability(0)

    def close(self) -> None:
        """Also waits for the threads themselves."""
        super().close()
        give_up_at = time.monotonic() + settings.get_settings().shutdown_timeout
        for thread in self._pool:
            thread.join(max(0.0, give_up_at - time.monotonic()))


class Isolation:
    """What a test has to itself."""

    def __init__(self, process: Process, clock: MovableClock, patience: float) -> None:
        self.process = process
        self.clock = clock
        self.patience = patience

    def manager(self, uid: str = "test") -> TriggerManager:
        """The manager of a session, with the storage and the manager of the settings."""
        return get_manager(uid)

    def storage(self, uid: str = "test") -> BaseTriggerStorage:
        """The handle of a session."""
        return storage_backends.get(self.process.settings.storage, uid)

    def join_all(self) -> None:
        """Waits for all work that runs, and its cascades; what is in a cooldown waits for the clock.

        Raises:
            TimeoutError: it has not ended after ``patience`` real seconds.
        """
        if not all(runner.join_all(self.patience) for runner in self.process.runners.opened()):
            raise TimeoutError(f"work is still running after {self.patience:g} s: a body that waits for something?")

    def pass_time(self, until: datetime, wait: bool) -> None:
        """Sets the clock to each moment at which something is due, in order, and lets it happen."""
        self._let_happen(wait)
        while (moment := self._next_wake_up(until)) is not None:
            self.clock.set(moment)
            self._let_happen(wait)
        self.clock.set(until)
        self._let_happen(wait)

    def _let_happen(self, wait: bool) -> None:
        for _ in range(_MOST_SWEEPS):
            if wait:
                self.join_all()
            self.process.heartbeat.beat()
            if not self.process.sweep():
                break
        if wait:
            self.join_all()

    def _next_wake_up(self, until: datetime) -> datetime | None:
        """The first moment after now at which anything is due in a store of this process."""
        now, last = _microseconds(self.clock()), _microseconds(until)
        moments = [due.wake_at for store in self._stores() for due in _all_due(store, last) if due.wake_at > now]
        return _EPOCH + timedelta(microseconds=min(moments)) if moments else None

    def _stores(self) -> list[Any]:
        return [store for store in list(self.process._stores) if Capability.DUE in store.capabilities]


def _all_due(store: Any, before: int) -> Iterator[Any]:
    cursor = None
    while True:
        page = store.due(before, cursor, 200)
        yield from page.entries
        cursor = page.cursor
        if cursor is None:
            return


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


@contextmanager
def isolated(*, clock: MovableClock | None = None, patience: float = 10.0, **changed: Any) -> Iterator[Isolation]:
    """Gives the block a process of its own, on an empty memory storage, with threads and a clock that can be moved.

    Whatever the block configures, registers and stores is gone afterwards. Settings that the application has made before stay in
    force, apart from the storage (``memory``), the runner (``threading``) and the sweep (only when the clock moves).

    Args:
        clock: the clock to use.
        patience: real seconds that work may take before the test is told that it hangs.
        **changed: further settings: ``isolated(lease=5, runner="inline")``.

    Raises:
        TimeoutError: at the end, work has not ended after ``patience`` real seconds.
    """
    clock = clock or MovableClock()
    with ExitStack() as stack:
        stack.enter_context(_kept_process())
        stack.enter_context(_kept_settings())
        stack.enter_context(_kept_stores())
        stack.enter_context(_kept_names())
        settings.configure(**_DEFAULTS | changed)
        task_runners.register("threading", Threads)
        own = Process(clock=clock)
        process._process = own
        isolation = Isolation(own, clock, patience)
        clock.drive(isolation.pass_time)
        try:
            yield isolation
            isolation.join_all()
        finally:
            clock.drive(None)
            own.close()


@contextmanager
def _kept_process() -> Iterator[None]:
    """Puts the process's own back; its sweep rests meanwhile, since it would look into the test's session with another clock."""
    before = process.get_process()
    swept = before.sweeper._thread is not None
    before.sweeper.stop()
    try:
        yield
    finally:
        process._process = before
        if swept:
            before.sweeper.start()


@contextmanager
def _kept_settings() -> Iterator[None]:
    configured, base = settings._configured, settings._base
    try:
        yield
    finally:
        with settings._lock:
            settings._configured, settings._base = configured, base
            settings._changed()


@contextmanager
def _kept_stores() -> Iterator[None]:
    """Lets every key open a new store, and closes it in the end."""
    with storages._shared_lock:
        before = dict(storages._shared)
        storages._shared.clear()
    try:
        yield
    finally:
        storages.forget_shared_stores()
        with storages._shared_lock:
            storages._shared.update(before)


@contextmanager
def _kept_names() -> Iterator[None]:
    """Forgets tasks that were defined inside of functions, backends and plugins of the block.

    A task at the top of a module stays: the module is not imported a second time.
    """
    bodies = dict(registered._bodies)
    registries: list[BackendRegistry[Any]] = [storage_backends, task_runners, trigger_managers]
    classes = [dict(registry._registered) for registry in registries]
    plugins = hooks.get_hooks().manager.get_plugins()
    try:
        yield
    finally:
        for name, body in list(registered._bodies.items()):
            if name not in bodies and "<locals>" in getattr(getattr(body, "target", body), "__qualname__", ""):
                registered.remove(name)
        registered._bodies.update(bodies)
        for registry, kept in zip(registries, classes, strict=True):
            registry._registered.clear()
            registry._registered.update(kept)
        for plugin in hooks.get_hooks().manager.get_plugins() - plugins:
            hooks.get_hooks().unregister(plugin)


__all__ = ["Isolation", "isolated"]
