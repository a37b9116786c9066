"""Turns: the threads of one process queue up per session, and processes make way for each other.

That a process has one operation in flight on a session makes the client's slot in the session's head exact, and spares conflicts
that a process would only have with itself. Between processes nobody keeps a queue; see ``Crowds``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
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


class Crowds:
    """How many conflicts operations on a session met lately, and how long to wait for that.

    Whoever has just begun waits longest, and whoever has tried often hardly at all. The other way round, as usual, the process
    that has won goes on winning: with eight of them on one session some got nothing through for seconds.
    """

    _SESSIONS = 1000
    _LONGEST_ROUND = 0.02

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._conflicts: OrderedDict[Hashable, float] = OrderedDict()
        self._round = 0.001

    def conflicts(self, key: Hashable) -> float:
        """How many conflicts an operation meets, on the average of the last few."""
        return self._conflicts.get(key, 0.0)

    def before_first(self, key: Hashable) -> float:
        """The longest pause, in seconds, before an operation begins."""
        return 2 * self.conflicts(key) * self._round

    def after_conflict(self, key: Hashable, tries: int) -> float:
        """The longest pause, in seconds, before one that has failed ``tries`` times tries again."""
        return max(self.conflicts(key), 1.0) * self._round / tries

    def took(self, seconds: float) -> None:
        """Notes how long a commit that met a conflict took."""
        self._round = 0.9 * self._round + 0.1 * min(seconds, self._LONGEST_ROUND)

    def ended(self, key: Hashable, conflicts: int) -> None:
        """Notes how many conflicts an operation met."""
        known = self._conflicts.get(key)
        if known is None and not conflicts:
            return
        now = 0.8 * (known or 0.0) + 0.2 * conflicts
        with self._guard:
            if now < 0.05:
                self._conflicts.pop(key, None)
                return
            self._conflicts[key] = now
            self._conflicts.move_to_end(key)
            if len(self._conflicts) > self._SESSIONS:
                self._conflicts.popitem(last=False)
