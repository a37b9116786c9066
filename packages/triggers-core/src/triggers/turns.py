"""Turns: the threads of one process queue up per session, so that a process has one operation in flight on it.

That makes a client's slot in the session's head exact, and spares conflicts that a process would only have with itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Turns:
    """One queue per key, first come first served; an urgent caller goes to the front."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queues: dict[Hashable, deque[threading.Lock]] = {}

    @contextmanager
    def turn(self, key: Hashable, *, urgent: bool = False) -> Iterator[None]:
        """Waits until it is the caller's turn, and holds it for the block."""
        self._enter(key, urgent)
        try:
            yield
        finally:
            self._leave(key)

    def _enter(self, key: Hashable, urgent: bool) -> None:
        with self._guard:
            queue = self._queues.get(key)
            if queue is None:
                self._queues[key] = deque()
                return
            ticket = threading.Lock()
            ticket.acquire()
            if urgent:
                queue.appendleft(ticket)
            else:
                queue.append(ticket)
        try:
            ticket.acquire()
        except BaseException:
            self._give_back(key, ticket)
            raise

    def _leave(self, key: Hashable) -> None:
        with self._guard:
            queue = self._queues[key]
            if queue:
                queue.popleft().release()
            else:
                del self._queues[key]

    def _give_back(self, key: Hashable, ticket: threading.Lock) -> None:
        """Leaves the queue, or passes the turn on that came while the wait was broken off (Ctrl-C)."""
        with self._guard:
            try:
                self._queues[key].remove(ticket)
                return
            except (KeyError, ValueError):
                pass
        self._leave(key)
