"""The threading runner: a bounded pool of threads in this process."""

from __future__ import annotations

import atexit
import heapq
import itertools
import logging
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from datetime import datetime

from triggers.errors import SettingsError
from triggers.runners.base import BaseTaskRunner, Delivery, RunnerCapability
from triggers.settings import get_settings

_log = logging.getLogger("triggers.runners.threading")
_LOOK_AT_CLOCK = 0.5
"""How long a waiting cooldown trusts the clock, which tests may move."""


class ThreadingTaskRunner(BaseTaskRunner):
    """Performs attempts in daemon threads; at most ``threads`` at once, the others wait in order.

    At the end of the process running work is waited for, ``shutdown_timeout`` seconds at most; what has not started stays
    scheduled in the storage, for the sweep of whoever comes next.

    Args:
        threads: the size of the pool; the setting ``threads`` by default.
    """

    api_version = 1
    capabilities = RunnerCapability.DELAYS
    runs_here = True

    def __init__(self, perform: Callable[[Delivery], None], clock: Callable[[], datetime], *, threads: int | None = None) -> None:
        super().__init__(perform, clock)
        if threads is not None and (type(threads) is not int or threads < 1):
            raise SettingsError(f"option 'threads' of the threading runner is a whole number from 1, got {threads!r}")
        self.threads = threads or get_settings().threads
        self._numbers = itertools.count()
        self._start()
        atexit.register(_close, weakref.ref(self))

    def _start(self) -> None:
        # Entered as a plain lock: entering a condition runs Python code, in which Ctrl-C would leave it locked for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._ready: deque[Delivery] = deque()
        self._delayed: list[tuple[float, int, Delivery]] = []
        self._known: set[tuple[int, str]] = set()
        self._pool: list[threading.Thread] = []
        self._idle = 0
        self._running = 0
        self._timer: threading.Thread | None = None
        self._closed = False
        self._ended = False
        self._told_multiprocessing = False

    def deliver(self, delivery: Delivery) -> None:
        """Queues the attempt; one that is queued or delayed already is not queued twice."""
        with self._lock:
            if self._closed:
                return
            if _mark(delivery) not in self._known:
                self._known.add(_mark(delivery))
                if delivery.not_before is not None and delivery.not_before > self.clock():
                    entry = (delivery.not_before.timestamp(), next(self._numbers), delivery)
                    heapq.heappush(self._delayed, entry)
                else:
                    self._ready.append(delivery)
            self._need_threads()
            self._changed.notify_all()

    def join_all(self, timeout: float | None = None, *, delayed: bool = False) -> bool:
        """Waits for all queued and running work and its cascades; with ``delayed`` also for those in a cooldown.

        Must not be called from a work of this runner, which would wait for itself.

        Args:
            timeout: seconds; ``None`` waits for ever.
            delayed: whether to wait for cooldowns too.

        Returns:
            Whether nothing is left.
        """
        with self._lock:
            return self._changed.wait_for(lambda: self._done(delayed), timeout)

    def close(self) -> None:
        """Drops what has not started (it stays in the storage) and waits for what runs, ``shutdown_timeout`` at most."""
        with self._lock:
            self._closed = True
            self._ready.clear()
            self._delayed.clear()
            self._changed.notify_all()
            if self._running:
                _log.info("waiting for %d running works, at most %g s", self._running, get_settings().shutdown_timeout)
            if not self._changed.wait_for(lambda: not self._running, get_settings().shutdown_timeout):
                _log.warning("%d works are still running; the sweep of another process will recover them", self._running)

    def after_fork(self) -> None:
        """Starts anew: the parent's threads do the parent's work."""
        self._start()

    def _done(self, delayed: bool) -> bool:
        return not (self._ready or self._running or (delayed and self._delayed))

    def _need_threads(self) -> None:
        """Starts what is missing; where the system gives no thread now, the next delivery, or the same once more, tries again."""
        try:
            if self._idle < len(self._ready) and len(self._pool) < self.threads:
                self._tell_multiprocessing()
                thread = threading.Thread(target=self._work, name=f"triggers-{len(self._pool)}", daemon=True)
                thread.start()
                self._pool.append(thread)
            if self._delayed and self._timer is None:
                timer = threading.Thread(target=self._wait_for_cooldowns, name="triggers-cooldowns", daemon=True)
                timer.start()
                self._timer = timer
        except RuntimeError as error:
            _log.warning("%d works wait: %s", len(self._ready) + len(self._delayed), error)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                self._changed.wait_for(lambda: self._ready or self._closed)
                self._idle -= 1
                if not self._ready:
                    return
                delivery = self._ready.popleft()
                self._known.discard(_mark(delivery))
                self._running += 1
            try:
                self.perform(delivery)
            except BaseException:
                _log.exception("%s of session %r could not be performed", delivery.name, delivery.uid)
            finally:
                with self._lock:
                    self._running -= 1
                    self._changed.notify_all()

    def _tell_multiprocessing(self) -> None:
        """Has a child of multiprocessing wait too: before Python 3.13 such a process ends without what is registered at exit."""
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None and not self._told_multiprocessing:
            self._told_multiprocessing = True
            multiprocessing.Finalize(self, _close, args=(weakref.ref(self),), exitpriority=10)

    def _wait_for_cooldowns(self) -> None:
        with self._lock:
            while not self._closed:
                now = self.clock().timestamp()
                while self._delayed and self._delayed[0][0] <= now:
                    self._ready.append(heapq.heappop(self._delayed)[2])
                    self._need_threads()
                    self._changed.notify_all()
                self._changed.wait(min(self._delayed[0][0] - now, _LOOK_AT_CLOCK) if self._delayed else None)


def _mark(delivery: Delivery) -> tuple[int, str]:
    """What tells attempts apart, also those of equally named sessions in two stores."""
    return (0 if delivery.storage is None else id(delivery.storage.store)), delivery.identifier


def _close(reference: weakref.ref[ThreadingTaskRunner]) -> None:
    """At the end of the process; a second Ctrl-C ends the waiting."""
    runner = reference()
    if runner is not None and not runner._ended:
        runner._ended = True
        started = time.monotonic()
        try:
            runner.close()
        except KeyboardInterrupt:
            _log.warning("interrupted after %.1f s of waiting for running works", time.monotonic() - started)
