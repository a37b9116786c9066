"""Turns: the threads of one process queue up per session, and processes make way for each other.

That a process has one operation in flight on a session makes the client's slot in the session's head exact, and spares conflicts
that a process would only have with itself. And whoever has the turn may do the work of those that wait behind: what was fired
while one commit was under way is stored by the next one, all of it. Between processes nobody keeps a queue; see ``Crowds``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from itertools import islice
from typing import Protocol, TypeVar

R = TypeVar("R")


class Errand(Protocol):
    """What a caller has to do, which another one may do for it while it waits for its turn."""

    @property
    def settled(self) -> bool:
        """Whether somebody has done it."""


class _Ticket:
    """A place in a queue: the lock is released when its owner's turn has come, or its errand is done."""

    __slots__ = ("errand", "lock")

    def __init__(self, errand: Errand | None) -> None:
        self.errand = errand
        self.lock = threading.Lock()
        self.lock.acquire()

    @property
    def settled(self) -> bool:
        return self.errand is not None and self.errand.settled

    def call(self) -> None:
        if self.lock.locked():
            self.lock.release()


class Turns:
    """One queue per key, first come first served; an urgent caller goes to the front."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queues: dict[Hashable, deque[_Ticket]] = {}
        """By key: the ticket of the one whose turn it is, then those that wait for theirs."""

    def run(self, key: Hashable, work: Callable[[], R], *, urgent: bool = False, errand: Errand | None = None) -> R:
        """Waits until it is the caller's turn, does the work and passes the turn on, whatever happens (Ctrl-C too).

        With an errand, the work is also done, out of turn, as soon as somebody else has settled the errand.
        """
        ticket = _Ticket(errand)
        try:
            self._wait(key, ticket, urgent)
            return work()
        finally:
            # An interrupt can break off this very call, so it may be repeated. A context manager could not be: nobody catches
            # what is raised as its exit begins.
            try:
                self._leave(key, ticket)
            except BaseException:
                self._leave(key, ticket)
                raise

    def behind(self, key: Hashable, limit: int) -> list[Errand]:
        """The errands of those that wait behind the one whose turn it is, up to the first that has none."""
        with self._guard:
            found: list[Errand] = []
            for ticket in islice(self._queues.get(key, ()), 1, limit + 1):
                if ticket.errand is None:
                    break
                found.append(ticket.errand)
            return found

    def _wait(self, key: Hashable, ticket: _Ticket, urgent: bool) -> None:
        with self._guard:
            queue = self._queues.setdefault(key, deque())
            if urgent and queue:
                queue.insert(1, ticket)
            else:
                queue.append(ticket)
            first = queue[0] is ticket
        if not first:
            ticket.lock.acquire()

    def _leave(self, key: Hashable, ticket: _Ticket) -> None:
        """Takes the ticket out, wherever it is, calls those whose errands are done, and whoever is first then.

        Once more changes nothing.
        """
        with self._guard:
            queue = self._queues.get(key)
            if queue is None:
                return
            if queue and queue[0] is ticket:
                queue.popleft()
            elif ticket in queue:
                queue.remove(ticket)
            for served in [other for other in queue if other.settled]:
                served.call()
                queue.remove(served)
            if queue:
                queue[0].call()
            else:
                self._queues.pop(key, None)


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
