"""What a fork needs of SQLite: that no connection is open while it happens.

SQLite remembers in the process's memory which locks its connections hold on a file. A child inherits that memory but not the
locks, so it would wait for locks that nobody gives back, or read and write without any. Its manual forbids to carry
connections over a fork; so before one, new work waits, running work ends, and all connections are closed. Servers need none
of that.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable


class Gate:
    """Counts who is inside; a fork closes it and waits until it is empty."""

    def __init__(self, empty: Callable[[], None], patience: float) -> None:
        self._empty = empty
        self._patience = patience
        # Entered as a plain lock: entering a condition runs Python code, in which Ctrl-C would leave it locked for ever.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside = 0
        self._closed = False
        _gates.add(self)

    def enter(self) -> None:
        """Waits while a fork is under way."""
        with self._lock:
            while self._closed:
                self._changed.wait()
            self._inside += 1

    def leave(self) -> None:
        """The work is done and its connection is back in the pool, or closed."""
        with self._lock:
            self._inside -= 1
            if self._closed:
                self._changed.notify_all()

    def close(self) -> None:
        """Before a fork. Gives up waiting after a while: somebody may fork in the middle of an operation."""
        end = time.monotonic() + self._patience
        with self._lock:
            self._closed = True
            while self._inside and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
        self._empty()

    def open(self) -> None:
        """After a fork, in the parent."""
        with self._lock:
            self._closed = False
            self._changed.notify_all()


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


def _before_fork() -> None:
    for gate in list(_gates):
        gate.close()


def _after_fork() -> None:
    for gate in list(_gates):
        gate.open()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
