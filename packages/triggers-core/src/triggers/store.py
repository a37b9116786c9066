"""The store: a versioned map of small records per session. This is what the author of a backend writes.

A store knows nothing of triggers. It keeps, for each session (a *uid*), records under ``(collection, key)`` and one opaque
*version*, which every commit replaces. The contract is numbered S1 … in the manual, and ``triggers.testing.conformance``
checks it.

Uids, collections and keys are strings that compare by their exact UTF-8 bytes; values are UTF-8 JSON. Times are whole
microseconds since 1970 (UTC), always an argument: a store reads no clock.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Iterable, Mapping
from typing import ClassVar, NamedTuple

from triggers.forking import tell_after_fork

ABSENT = ""
"""The version of a session that does not exist."""


class Capability(enum.Flag):
    """What a store can do beyond load, commit and delete."""

    DUE = enum.auto()
    """It finds the records whose ``wake_at`` has come, across all sessions."""
    SCAN = enum.auto()
    """It lists its sessions, all or by label."""
    EXPIRE = enum.auto()
    """It forgets a session by itself when ``Change.expire_in`` has passed without another commit."""


class Record(NamedTuple):
    """One stored record: its JSON text, and when it next needs attention (microseconds, or never)."""

    value: bytes
    wake_at: int | None = None


class Want(NamedTuple):
    """What a load asks for: whole collections, single ``(collection, key)`` pairs, or everything."""

    records: frozenset[tuple[str, str]] = frozenset()
    collections: frozenset[str] = frozenset()
    everything: bool = False

    def __or__(self, other: Want) -> Want:
        """Both wants in one."""
        return Want(self.records | other.records, self.collections | other.collections, self.everything or other.everything)

    def covers(self, collection: str, key: str) -> bool:
        """Whether this one record was asked for."""
        return self.everything or collection in self.collections or (collection, key) in self.records


EVERYTHING = Want(everything=True)


class Snapshot(NamedTuple):
    """What a session held at one moment.

    ``records`` is ``{collection: {key: Record}}`` and holds at least what was wanted and exists; a wanted record that is not
    in it does not exist. With ``complete`` it holds the whole session. A session that does not exist has the version
    ``ABSENT``, no records, and is complete.
    """

    version: str
    records: Mapping[str, Mapping[str, Record]]
    complete: bool = False


NOTHING = Snapshot(ABSENT, {}, True)


class Change(NamedTuple):
    """What a commit does, all of it or nothing.

    ``put`` replaces whole records, their ``wake_at`` included (one without it has no wake-up any more); ``drop`` removes records
    that may or may not be there; ``labels`` is the whole set of labels from now on, or ``None`` to leave them. ``expire_in``
    (seconds) is for
    stores with ``EXPIRE``: how long the session must be kept if nothing else is committed; ``None`` means for ever.
    """

    version: str
    put: Mapping[tuple[str, str], Record]
    drop: frozenset[tuple[str, str]] = frozenset()
    labels: frozenset[str] | None = None
    expire_in: int | None = None


class Due(NamedTuple):
    """A record whose time has come."""

    uid: str
    collection: str
    key: str
    wake_at: int


class DuePage(NamedTuple):
    """Some wake-ups, oldest first, and the cursor from which to go on; ``None`` when there are no more."""

    entries: list[Due]
    cursor: str | None


class ScanPage(NamedTuple):
    """Some uids, and the cursor from which to go on; ``None`` when there are no more."""

    uids: list[str]
    cursor: str | None


class Store(abc.ABC):
    """A medium that keeps sessions; one object is shared by all threads of a process.

    A subclass sets ``api_version`` (the literal number of the interface that it was written for, now 1), ``capabilities``, and
    ``max_value_bytes`` if the medium limits the size of one record (or, with ``one_value``, of one session).
    """

    api_version: ClassVar[int]
    capabilities: Capability = Capability(0)
    max_value_bytes: int | None = None
    one_value: ClassVar[bool] = False
    """Whether ``max_value_bytes`` limits a whole session, because it is kept as one value."""

    def __init__(self) -> None:
        tell_after_fork(self)

    @abc.abstractmethod
    def load(self, uid: str, want: Want) -> Snapshot:
        """Reads one consistent snapshot; more than was wanted is allowed, less is not.

        Raises:
            StorageUnavailable: the medium does not answer.
            UnreadableRecord: what is stored has a format that this version does not know.
        """

    @abc.abstractmethod
    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Stores the whole change if the session's version is still ``expected`` (``ABSENT``: if it does not exist).

        When it returns, the change is as durable as the medium makes it. The same commit once more meets a conflict.

        Raises:
            Conflict: the version is another one; nothing was stored. It carries a snapshot of ``want`` if that is cheap.
            OutcomeUnknown: the connection was lost after the change was sent.
            StorageUnavailable: the medium does not answer, and nothing was sent.
        """

    @abc.abstractmethod
    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Removes the whole session with its wake-ups and labels; returns whether there was one.

        With ``expected`` only if its version is still that one; otherwise raises ``Conflict``, also where there is no session.
        """

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """Lists at most ``limit`` records with ``wake_at <= before``, oldest first, from the cursor ``after`` on.

        It may list one that has just changed. Entries that nobody serves do not hide those behind them: the cursor gets past
        them. Only for stores with ``DUE``.
        """
        raise NotImplementedError(f"{type(self).__name__} declares no capability DUE")

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        """Lists at most ``limit`` uids, all or those with a label, from the cursor ``after`` on.

        A session that is there throughout is listed exactly once. Only for stores with ``SCAN``.
        """
        raise NotImplementedError(f"{type(self).__name__} declares no capability SCAN")

    def setup(self) -> None:
        """Makes what the medium needs (tables, scripts); any number of processes may do it at once, any number of times."""

    def close(self) -> None:
        """Lets go of connections; the store may be used again and then opens new ones."""

    def after_fork(self) -> None:
        """Called in the child of a fork: drop inherited connections without closing them, and make new locks."""

    def warnings(self) -> Iterable[str]:
        """What an operator should know about this medium as it is set up (it may evict, say); may ask the server."""
        return ()

    def promises(self) -> Mapping[str, str]:
        """One line each about what this store can and cannot promise, for ``triggers doctor`` and the manual."""
        return {}
