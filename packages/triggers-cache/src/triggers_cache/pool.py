"""Connections that one process keeps for reuse: each in use by one thread at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

IDLE_SECONDS = 60.0
"""How long an unused connection is kept: firewalls and servers forget idle ones without a word."""

T = TypeVar("T")
R = TypeVar("R")


class Pool(Generic[T]):
    """As many connections as threads use at once; none is handed out that an operation has left in the middle.

    Args:
        connect: makes a connection that is ready to send.
        close: closes one; what it raises is ignored.
    """

    def __init__(self, connect: Callable[[], T], close: Callable[[T], object]) -> None:
        self._connect = connect
        self._close = close
        self._lock = threading.Lock()
        self._idle: list[tuple[float, T]] = []

    @contextlib.contextmanager
    def take(self, *, fresh: bool = False) -> Iterator[T]:
        """Lends a connection, a new one with ``fresh``; it is closed if the block raises anything at all."""
        connection = (None if fresh else self._reuse()) or self._connect()
        try:
            yield connection
        except BaseException:
            self._drop(connection)
            raise
        with self._lock:
            self._idle.append((time.monotonic(), connection))

    def ask(self, question: Callable[[T], R], lost: tuple[type[Exception], ...]) -> R:
        """Asks what may be asked twice: once more, on a new connection, if the pooled one turns out to be dead.

        Args:
            question: reads, and changes nothing.
            lost: what it raises when a connection is dead.
        """
        try:
            with self.take() as connection:
                return question(connection)
        except lost:
            self.clear()
        with self.take(fresh=True) as connection:
            return question(connection)

    def clear(self) -> None:
        """Closes the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            self._drop(connection)

    def after_fork(self) -> None:
        """In the child of a fork: leaves the parent's connections alone, neither used nor closed."""
        _inherited.append(self._idle)
        self._lock = threading.Lock()
        self._idle = []

    def _reuse(self) -> T | None:
        stale: list[T] = []
        found: T | None = None
        with self._lock:
            while self._idle and found is None:
                since, connection = self._idle.pop()
                if time.monotonic() - since < IDLE_SECONDS:
                    found = connection
                else:
                    stale.append(connection)
        for connection in stale:
            self._drop(connection)
        return found

    def _drop(self, connection: T) -> None:
        with contextlib.suppress(Exception):
            self._close(connection)


_inherited: list[object] = []
"""Connections of the parent, kept so that their destructors do not say goodbye on them."""
