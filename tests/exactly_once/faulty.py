"""What can go wrong between a runtime and its store: replies that get lost, commits that arrive late, or twice, or never."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from triggers.errors import Conflict, OutcomeUnknown, StorageUnavailable
from triggers.store import Change, DuePage, ScanPage, Snapshot, Store, Want

Commit = Callable[[], None]
Fault = Callable[[Commit], None]


class Between(Store):
    """Hands everything on to a real store."""

    api_version = 1

    def __init__(self, inner: Store) -> None:
        super().__init__()
        self.inner = inner
        self.capabilities = inner.capabilities
        self.max_value_bytes = inner.max_value_bytes

    def load(self, uid: str, want: Want) -> Snapshot:
        """Handed on."""
        return self.inner.load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Handed on."""
        self.inner.commit(uid, change, expected, want)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Handed on."""
        return self.inner.delete(uid, expected)

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """Handed on."""
        return self.inner.due(before, after, limit)

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        """Handed on."""
        return self.inner.scan(label, after, limit)


class ScriptedStore(Between):
    """Does with each next commit and load what a test wrote down for it; without a word it hands on.

    Attributes:
        commits: what happens to the next commits, each a function of the call that would be made.
        before_loads: what happens before the next loads, once a commit has met what is written down.
        held: commits that are still on their way.
    """

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.commits: list[Callable[[Commit], None]] = []
        self.before_loads: list[Callable[[], None]] = []
        self.held: list[Commit] = []
        self._met = False

    def load(self, uid: str, want: Want) -> Snapshot:
        """Handed on, after what is written down."""
        if self.before_loads and self._met:
            self.before_loads.pop(0)()
        return super().load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """What is written down."""

        def hand_on() -> None:
            Between.commit(self, uid, change, expected, want)

        if self.commits:
            self._met = True
            self.commits.pop(0)(hand_on)
        else:
            self._met = False
            hand_on()

    def hold(self, commit: Commit) -> None:
        """The connection is lost while the commit is on its way; it arrives when the test lets it."""
        self.held.append(commit)
        raise OutcomeUnknown("the connection was lost")

    def arrive(self) -> int:
        """Has the commits that are on their way arrive; returns how many were applied."""
        held, self.held = self.held, []
        return sum(arrives(commit) for commit in held)


def arrives(commit: Commit) -> bool:
    """Whether a commit that nobody waits for any more was applied."""
    try:
        commit()
    except Conflict:
        return False
    return True


def reply_lost(commit: Commit) -> None:
    """It is applied, or refused, and nobody hears of that."""
    arrives(commit)
    raise OutcomeUnknown("the connection was lost")


def never_arrives(commit: Commit) -> None:
    """It is lost on its way."""
    raise OutcomeUnknown("the connection was lost")


def arrives_twice(commit: Commit) -> None:
    """It arrives, and again right after."""
    commit()
    assert not arrives(commit), "the same commit was applied twice"


def sent_twice_by_the_store(commit: Commit) -> None:
    """A store that repeats a request whose reply it lost: the first is applied, the second meets a conflict."""
    commit()
    commit()


def away(commit: Commit) -> None:
    """Nothing can be sent."""
    raise StorageUnavailable("the storage does not answer")


ONCE: dict[str, list[Fault]] = {
    "reply lost": [reply_lost],
    "never arrives": [never_arrives],
    "twice": [arrives_twice],
    "twice, and the second answer is heard": [sent_twice_by_the_store],
    "never, then reply lost": [never_arrives, reply_lost],
    "never three times": [never_arrives, never_arrives, never_arrives],
}
"""What may happen to commits, one after the other, that must be applied once all the same."""


class Rates(NamedTuple):
    """How often each fault happens, of 1."""

    reply_lost: float = 0.04
    never: float = 0.03
    late: float = 0.04
    twice: float = 0.03
    away: float = 0.01
    load_away: float = 0.01


class FaultyStore(Between):
    """Makes faults at random; ``happened`` counts them. Late commits arrive within 30 ms."""

    def __init__(self, inner: Store, seed: int, rates: Rates = Rates()) -> None:  # noqa: B008
        super().__init__(inner)
        self.happened: Counter[str] = Counter()
        self._rates = rates
        self._random = random.Random(seed)
        self._guard = threading.Lock()
        self._late: list[threading.Timer] = []

    def load(self, uid: str, want: Want) -> Snapshot:
        """Handed on, if the store answers."""
        if self._dice() < self._rates.load_away:
            self._note("load_away")
            raise StorageUnavailable("the storage does not answer")
        return super().load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Handed on with whatever fault the dice say."""

        def hand_on() -> None:
            Between.commit(self, uid, change, expected, want)

        fault = self._fault()
        if fault is None:
            hand_on()
            return
        self._note(fault)
        if fault == "late":
            self._arrive_later(hand_on)
            raise OutcomeUnknown("the connection was lost")
        if fault == "twice":
            hand_on()
            self._arrive_later(hand_on)
            return
        {"reply_lost": reply_lost, "never": never_arrives, "away": away}[fault](hand_on)

    def settle(self) -> None:
        """Waits until nothing is on its way any more."""
        while self._late:
            self._late.pop().join()

    def after_fork(self) -> None:
        """What was on its way is the parent's."""
        self._guard = threading.Lock()
        self._late = []

    def _arrive_later(self, commit: Commit) -> None:
        def arrive() -> None:
            with contextlib.suppress(Conflict):
                commit()

        timer = threading.Timer(self._dice() * 0.03, arrive)
        timer.daemon = True
        timer.start()
        self._late.append(timer)

    def _fault(self) -> str | None:
        dice = self._dice()
        for name in ("reply_lost", "never", "late", "twice", "away"):
            rate: float = getattr(self._rates, name)
            if dice < rate:
                return name
            dice -= rate
        return None

    def _dice(self) -> float:
        with self._guard:
            return self._random.random()

    def _note(self, fault: str) -> None:
        with self._guard:
            self.happened[fault] += 1
