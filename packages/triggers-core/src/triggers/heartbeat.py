"""The heartbeat: one thread per process and store that renews the leases of all attempts that run in it (R25)."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

from triggers.engine.attempts import Renew
from triggers.errors import StaleAttempt, TriggersError

if TYPE_CHECKING:
    from triggers.runtime import Runtime
    from triggers.storages.base import BaseTriggerStorage
    from triggers.store import Store

_log = logging.getLogger("triggers.heartbeat")

BEATS_PER_LEASE = 6


class Running(NamedTuple):
    """An attempt that runs in this process."""

    storage: BaseTriggerStorage
    name: str
    attempt: int
    claim: str


class Heartbeat:
    """Renews leases six times per lease, one commit per session for all of its attempts, ahead of other work in the queue.

    Each store has a thread while attempts of its sessions run, so one that does not answer costs no other its leases.

    Args:
        runtime: commits the renewals.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.reset()

    def reset(self) -> None:
        """Starts with nothing running (after a fork)."""
        # Entered by itself, since Ctrl-C can break off the entry of a Condition with its lock held.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._running: dict[str, Running] = {}
        self._lost: set[str] = set()
        self._reporting: set[str] = set()
        self._threads: dict[int, threading.Thread] = {}

    def add(self, running: Running) -> None:
        """Keeps the lease of an attempt from now on."""
        with self._lock:
            self._running[running.claim] = running
            self.start(running.storage.store)

    def start(self, store: Store) -> None:
        """Starts the thread of a store, unless it runs."""
        known = self._threads.get(id(store))
        if known is None or not known.is_alive():
            thread = threading.Thread(target=self._beat, args=(store,), name="triggers-heartbeat", daemon=True)
            self._threads[id(store)] = thread
            thread.start()

    def stop(self) -> None:
        """Ends the threads; the next attempt starts another."""
        with self._lock:
            self._threads.clear()
            self._changed.notify_all()

    def reports(self, running: Running) -> None:
        """Notes that this process is about to report how the attempt ended; its lease is kept until it is removed.

        A renewal that meets the report finds the attempt ended, which is no loss. If it is lost, the refused report says so.
        """
        with self._lock:
            self._reporting.add(running.claim)

    def remove(self, running: Running) -> None:
        """Lets go of an attempt that has ended."""
        with self._lock:
            self._running.pop(running.claim, None)
            self._lost.discard(running.claim)
            self._reporting.discard(running.claim)

    @property
    def busy(self) -> bool:
        """Whether any attempt runs in this process."""
        return bool(self._running)

    def lost(self, running: Running) -> bool:
        """Whether the attempt is known to be superseded."""
        return running.claim in self._lost

    def renew(self, running: Running) -> None:
        """Renews one lease now.

        Raises:
            StaleAttempt: the attempt was superseded or cancelled.
        """
        self._renew(running.storage, [running])
        if self.lost(running):
            raise StaleAttempt(f"{running.name}: attempt {running.attempt} was superseded or cancelled; stop the work")

    def beat(self, store: Store | None = None) -> None:
        """Renews all leases once, or those of one store."""
        with self._lock:
            sessions: dict[tuple[int, str], list[Running]] = {}
            for running in self._running.values():
                if running.claim not in self._lost and (store is None or running.storage.store is store):
                    sessions.setdefault((id(running.storage.store), running.storage.uid), []).append(running)
        for attempts in sessions.values():
            try:
                self._renew(attempts[0].storage, attempts)
            except Exception as error:
                if not isinstance(error, TriggersError):
                    _log.exception("a heartbeat failed")
                _log.warning("the leases of session %r could not be renewed: %s", attempts[0].storage.uid, error)

    def _renew(self, storage: BaseTriggerStorage, attempts: list[Running]) -> None:
        command = Renew([(running.name, running.attempt, running.claim) for running in attempts])
        lost = self._runtime.execute(storage, command, urgent=True).result
        for running in attempts:
            if running.name in lost and self._lose(running):
                _log.warning("attempt %d of %s in session %r was superseded", running.attempt, running.name, storage.uid)

    def _lose(self, running: Running) -> bool:
        """Notes that an attempt is lost; says whether it still runs here, unreported."""
        with self._lock:
            runs = running.claim in self._running and running.claim not in self._reporting
            if runs:
                self._lost.add(running.claim)
        return runs

    def _beat(self, store: Store) -> None:
        while True:
            pause = self._runtime.settings.lease / BEATS_PER_LEASE
            with self._lock:
                if self._threads.get(id(store)) is not threading.current_thread():
                    return
                self._changed.wait(pause)
                if not any(running.storage.store is store for running in self._running.values()):
                    self._leave(store)
                    return
            self.beat(store)

    def _leave(self, store: Store) -> None:
        if self._threads.get(id(store)) is threading.current_thread():
            del self._threads[id(store)]
