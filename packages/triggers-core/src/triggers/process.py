"""One process of an application: its runtime, its runners, its heartbeat and its sweep, put together.

Everybody uses the one of ``get_process()``; tests make their own, with their own settings and clock.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from triggers import worker
from triggers.dispatch import Runners, hand_over, tell_hooks
from triggers.engine.commands import Command, Decision
from triggers.errors import PluginError, SettingsError, StorageError, TriggersError, UnknownKey
from triggers.forking import renew_after_fork, tell_after_fork
from triggers.heartbeat import Heartbeat
from triggers.managers import trigger_managers
from triggers.records import to_microseconds
from triggers.relations import forward
from triggers.runners import task_runners
from triggers.runtime import Runtime
from triggers.settings import Settings, get_settings, on_change
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage, forget_shared_stores
from triggers.store import Store
from triggers.sweeping import NOTE_EVERY, Sweeper, note_sweep, sweep

R = TypeVar("R")

_log = logging.getLogger("triggers")


class Process:
    """What the managers, workers and sweeps of one process share.

    Args:
        settings: gives the settings in force; those of the process by default.
        clock: gives the time, UTC.
    """

    def __init__(self, settings: Callable[[], Settings] = get_settings, clock: Callable[[], datetime] | None = None) -> None:
        self._settings = settings
        self.runtime = Runtime(settings, clock)
        self.heartbeat = Heartbeat(self.runtime)
        self.runners = Runners(partial(worker.perform, self), self.now, settings)
        self.sweeper = Sweeper(self)
        self._stores: weakref.WeakKeyDictionary[Store, tuple[type[BaseTriggerStorage], str]] = weakref.WeakKeyDictionary()
        self._noted: weakref.WeakKeyDictionary[Store, int] = weakref.WeakKeyDictionary()
        self._not_swept: set[str] = set()
        tell_after_fork(self)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings()

    def now(self) -> datetime:
        """The time, UTC, by the clock of this process."""
        return self.runtime.clock()

    def execute(self, manager: Any, command: Command[R]) -> Decision[R]:
        """Executes a command of a manager on its session; nobody is told yet."""
        storage: BaseTriggerStorage = manager.storage
        if storage.store not in self._stores:
            self.use(storage)
        return self.runtime.execute(storage, command, finalize=manager.finalizes)

    def use(self, storage: BaseTriggerStorage) -> None:
        """Notes a store that this process uses, so that it is swept; starts the sweep where work runs here."""
        self._stores[storage.store] = (type(storage), storage.key)
        try:
            runs_here = getattr(task_runners.get_class(self.settings.runner), "runs_here", False)
        except (PluginError, UnknownKey):
            return
        if runs_here:
            self.sweeper.start()

    def forward(self, storage: BaseTriggerStorage) -> int | None:
        """Delivers what waits for the session's parent; what cannot be delivered now, the sweep tries again.

        Returns:
            How many fires have arrived; ``None`` if a storage did not answer.
        """
        try:
            return forward(self, storage)
        except (TriggersError, OSError) as error:
            _log.warning("what fired in session %r will reach its parent later: %s", storage.uid, error)
            return None if isinstance(error, OSError) else 0

    def after(self, storage: BaseTriggerStorage, decision: Decision[Any]) -> None:
        """What follows a commit: hooks are called, then runners hear of new attempts."""
        if decision.changed:
            tell_hooks(storage, decision)
            dispatches = decision.dispatches
            if dispatches:
                hand_over(self.runners, storage, dispatches, self.runtime.clock())
            if decision.has_parcels:
                self.forward(storage)

    def manager(self, storage: BaseTriggerStorage, key: str) -> Any:
        """The manager that a session remembers (R32)."""
        return trigger_managers.get(key, storage, process=self)

    def tell_manager(self, storage: BaseTriggerStorage, decision: Decision[Any]) -> None:
        """Calls the hooks of the session's own manager."""
        self.manager(storage, decision.manager).tell(decision)

    def sweep(self, *, only_used: bool = False) -> int:
        """Sweeps once every storage that this process uses, and the configured one.

        Args:
            only_used: leaves the configured storage out if this process has not used it: what runs by itself must not make its
                file, or connect to it, where somebody uses others by hand.

        Returns:
            How many wake-ups were handled.
        """
        known = dict(self._stores)
        openers: list[Callable[[str], BaseTriggerStorage]] = [
            partial(storage_class, key=key, store=store) for store, (storage_class, key) in known.items()
        ]
        configured = None if only_used else self._configured_store(needed=not known)
        if configured is not None and configured not in known:
            openers.append(partial(storage_backends.get, self.settings.storage))
        handled, failed = 0, None
        for opener in openers:
            try:
                handled += sweep(self, opener)
            except StorageError as error:
                failed = error
        if failed is not None:
            raise failed
        return handled

    def _configured_store(self, *, needed: bool) -> Store | None:
        """The store of the settings; ``None`` where it cannot be had, and other storages are used by hand."""
        key = self.settings.storage
        try:
            return storage_backends.get(key, "sweep").store
        except (PluginError, UnknownKey, SettingsError) as error:
            if needed:
                raise
            if key not in self._not_swept:
                self._not_swept.add(key)
                _log.warning("the storage %r of the settings is not swept: %s", key, error)
            return None

    def note_sweep(self, *, only_used: bool = False) -> None:
        """Keeps in every storage that was swept that it was, once a minute, so that ``triggers doctor`` can tell."""
        now = to_microseconds(self.now())
        configured = None if only_used else self._configured_store(needed=False)
        for store in {*self._stores, *([] if configured is None else [configured])}:
            if now - self._noted.get(store, now - NOTE_EVERY) >= NOTE_EVERY:
                self._noted[store] = now
                try:
                    note_sweep(store, now)
                except StorageError as error:
                    _log.debug("a sweep is not noted: %s", error)

    def forget_stores(self) -> None:
        """Sweeps only those stores from now on that are used from now on."""
        self._stores.clear()

    def close(self) -> None:
        """Ends the sweep, the runners and the heartbeat of this process."""
        self.sweeper.stop()
        self.runners.close()
        self.heartbeat.stop()

    def after_fork(self) -> None:
        """The threads of the parent are not here; with the next use of a storage this process sweeps by itself."""
        self.heartbeat.reset()
        self.sweeper.reset()
        self._stores.clear()


_process: Process | None = None
_lock = threading.Lock()
renew_after_fork(globals(), "_lock", threading.Lock)


def get_process() -> Process:
    """The process's own."""
    global _process
    if _process is None:
        with _lock:
            if _process is None:
                _process = Process()
                on_change(_settings_changed)
    return _process


def _settings_changed() -> None:
    """Runners are made anew with the new settings at their next use; what runs in the old ones ends there."""
    if _process is not None:
        _process.runners.forget_changed()


__all__ = ["Process", "forget_shared_stores", "get_process"]
