"""Compare-and-set from ``add`` alone, for caches that have nothing better.

Each revision of a session is a cell of its own: ``add`` makes it, so of two writers of revision n + 1 one wins. Cells
are never written twice with different documents; when the next revision is there, the old cell shrinks to a mark that it
is superseded, and expires after a while. Deleting a session is a revision too, so that a commit meant for the deleted one
finds its place taken.

A root entry says where to look: the life of the session (a random word, so that what an earlier life left behind is not
mistaken for this one) and a revision. It is only a hint: readers walk on from it to the last revision. It may lag,
because a writer may die before it moves it; it is never ahead.

What makes this exact is that a superseded cell outlives every writer that might still want it. A writer that took longer
than half of that time does not trust its own success.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from triggers.errors import OutcomeUnknown, StorageUnavailable
from triggers_cache.medium import Medium
from triggers_cache.pool import Pool

RETAIN_SECONDS = 3600
"""How long superseded revisions stay."""

_TOKEN_CHARACTERS = 32
_DOCUMENT, _DELETED, _SUPERSEDED = "=", "x", ">"
_WALK = 8
_CLOCK = 1
"""Caches may count whole seconds: what is to be kept for n may go after n - 1."""

T = TypeVar("T")


class Place(NamedTuple):
    """The last revision that a reader found, and when it began to look (seconds)."""

    life: str
    revision: int
    cell: str | None
    since: float

    @property
    def document(self) -> str | None:
        """The session, if there is one."""
        if self.cell is None or self.cell[_TOKEN_CHARACTERS] != _DOCUMENT:
            return None
        return self.cell[_TOKEN_CHARACTERS + 1 :]


class AddMedium(Medium):
    """Any cache whose ``add`` is atomic.

    Args:
        open_cache: makes a cache object that nobody else uses.
        name: its alias, for messages.
        evicts: one sentence about when it throws entries away.
    """

    method = "built from the cache's atomic add"

    def __init__(self, open_cache: Callable[[], Any], name: str, evicts: str, max_value_bytes: int | None = None) -> None:
        self._caches: Pool[Any] = Pool(open_cache, lambda cache: cache.close())
        self._name = name
        self._evicts = evicts
        self.max_value_bytes = max_value_bytes

    def read(self, key: str) -> tuple[bytes, Place] | None:
        """The root, then the last revision and the place after it: two round trips where the hint is right."""
        place = self._find(key)
        if place is None or place.document is None:
            return None
        return place.document.encode(), place

    def swap(self, key: str, mark: Place | None, value: bytes, seconds: int | None) -> bool:
        """Adds the next revision."""
        kept = None if seconds is None else seconds + _CLOCK
        return self._append(key, mark, _DOCUMENT + value.decode(), kept, seconds)

    def remove(self, key: str, mark: Place) -> bool:
        """Adds a revision that says that the session is deleted, and that goes with the root after a while."""
        return self._append(key, mark, _DELETED, RETAIN_SECONDS, None)

    def eviction(self) -> str:
        """As the caller says."""
        return self._evicts

    def close(self) -> None:
        """Closes the idle cache objects."""
        self._caches.clear()

    def after_fork(self) -> None:
        """New cache objects: the parent's hold its connections."""
        self._caches.after_fork()

    def _append(self, key: str, mark: Place | None, content: str, seconds: int | None, patience: int | None) -> bool:
        place = mark or self._find(key) or self._begin(key, seconds)
        if mark is None and place.document is not None:
            return False
        trusted = min(RETAIN_SECONDS, patience or RETAIN_SECONDS) / 2
        if _now() - place.since > trusted:
            return False
        cell = _cell(key, place.life, place.revision + 1)
        token = secrets.token_hex(_TOKEN_CHARACTERS // 2)
        if not self._add(cell, token + content, seconds):
            return False
        if _now() - place.since > trusted:
            raise OutcomeUnknown(f"cache {self._name!r} took more than {trusted:g} seconds for a commit; it may have been stored")
        self._point(key, place.life, place.revision + 1, seconds)
        self._shrink(key, place)
        return True

    def _add(self, cell: str, content: str, seconds: int | None) -> bool:
        """Adds; finds out whether a refusal is the echo of a first try that the client library repeated."""
        try:
            with self._caches.take() as cache:
                if cache.add(cell, content, timeout=seconds):
                    return True
                there = cache.get(cell)
        except Exception as error:  # every library has its own
            raise OutcomeUnknown(f"cache {self._name!r} was lost after a change was sent: {error!r}") from error
        if there is None:
            raise OutcomeUnknown(f"cache {self._name!r} refused a change and shows none in its place; it may be down")
        return bool(there[:_TOKEN_CHARACTERS] == content[:_TOKEN_CHARACTERS])

    def _point(self, key: str, life: str, revision: int, seconds: int | None) -> None:
        """Moves the hint. It outlives what it points to, else a session would be gone early."""
        try:
            with self._caches.take() as cache:
                cache.set(key, f"{life} {revision}", timeout=_root_timeout(seconds))
        except Exception as error:  # every library has its own
            raise OutcomeUnknown(f"cache {self._name!r} was lost just after a change was stored: {error!r}") from error

    def _shrink(self, key: str, place: Place) -> None:
        """Empties the superseded cell; one that stays as it is does no harm."""
        if place.cell is not None:
            token = place.cell[:_TOKEN_CHARACTERS]
            with contextlib.suppress(Exception), self._caches.take() as cache:
                cache.set(_cell(key, place.life, place.revision), token + _SUPERSEDED, timeout=RETAIN_SECONDS)

    def _begin(self, key: str, seconds: int | None) -> Place:
        """Makes the root, or finds that of a writer who was faster."""
        life = secrets.token_hex(8)
        self._ask(lambda cache: cache.add(key, f"{life} 0", timeout=_root_timeout(seconds)))
        place = self._find(key)
        if place is None:
            raise StorageUnavailable(f"cache {self._name!r} does not keep what it is given, or is down")
        return place

    def _find(self, key: str) -> Place | None:
        return self._ask(lambda cache: _last_place(cache, key))

    def _ask(self, question: Callable[[Any], T]) -> T:
        try:
            return self._caches.ask(question, (Exception,))
        except Exception as error:  # every library has its own
            raise StorageUnavailable(f"cache {self._name!r} does not answer: {error!r}") from error


def _last_place(cache: Any, key: str) -> Place | None:
    since = _now()
    root = cache.get(key)
    if root is None:
        return None
    life, _, number = root.partition(" ")
    revision, content = _walk(cache, key, life, int(number))
    if content is not None and content[_TOKEN_CHARACTERS:] == _SUPERSEDED:
        # Several keys are not read at one moment: its successor may have come after we looked there.
        revision, content = _walk(cache, key, life, revision)
    return Place(life, revision, content, since)


def _walk(cache: Any, key: str, life: str, revision: int) -> tuple[int, str | None]:
    """From a revision on to the last one that is there, and what is in it."""
    content: str | None = None
    while True:
        ahead = [_cell(key, life, at) for at in range(revision, revision + _WALK)]
        found = cache.get_many(ahead)
        run = 0
        while run + 1 < _WALK and ahead[run + 1] in found:
            run += 1
        revision += run
        content = found.get(ahead[run])
        if run + 1 < _WALK:
            return revision, content


def _now() -> float:
    """Seconds on a clock that nobody sets and that, where there is such a one, goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _cell(key: str, life: str, revision: int) -> str:
    return f"{key}:{life}:{revision}"


def _root_timeout(seconds: int | None) -> int | None:
    return None if seconds is None else 2 * seconds + RETAIN_SECONDS
