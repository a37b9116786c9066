"""A store in this process's memory: for tests, and the smallest complete example of the contract."""

from __future__ import annotations

import bisect
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from triggers.errors import Conflict
from triggers.storages.base import BaseTriggerStorage
from triggers.store import (
    ABSENT,
    NOTHING,
    Capability,
    Change,
    Due,
    DuePage,
    Record,
    ScanPage,
    Snapshot,
    Store,
    Want,
)

T = TypeVar("T", str, tuple[int, str, str, str])

_lock = threading.Lock()
"""Held for each call on any store of this process, and across each fork, so that a child never copies half a commit."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@dataclass
class _Session:
    version: str = ABSENT
    records: dict[str, dict[str, Record]] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()


class MemoryStore(Store):
    """Keeps sessions in dictionaries, under one lock. Nothing outlives the process."""

    api_version = 1
    capabilities = Capability.DUE | Capability.SCAN

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[str, _Session] = {}
        self._due: list[tuple[int, str, str, str]] = []
        self._uids: dict[str | None, list[str]] = {None: []}
        """Sorted, by label; all of them under ``None``."""

    def load(self, uid: str, want: Want) -> Snapshot:
        """What was wanted, copied under the lock."""
        with _lock:
            return self._snapshot(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Applies the change under the lock."""
        with _lock:
            session = self._sessions.get(uid)
            if (session.version if session else ABSENT) != expected:
                raise Conflict(uid, self._snapshot(uid, want))
            _whole(lambda: self._apply(uid, change))

    def delete(self, uid: str, expected: str | None = None) -> bool:
        """Removes the session under the lock."""
        with _lock:
            session = self._sessions.get(uid)
            if expected is not None and (session.version if session else ABSENT) != expected:
                raise Conflict(uid, self._snapshot(uid, Want()))
            if session is None:
                return False
            _whole(lambda: self._remove(uid, session))
            return True

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        """Reads the sorted list of wake-ups from the cursor on."""
        with _lock:
            start = 0 if after is None else bisect.bisect_right(self._due, _cursor_key(after))
            found = self._due[start : start + limit]
        page = [Due(uid, collection, key, at) for at, uid, collection, key in found if at <= before]
        last = page[-1] if page else None
        more = last is not None and len(page) == limit
        return DuePage(page, json.dumps([last.wake_at, *last[:3]]) if more and last else None)

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        """Lists uids in order; the cursor is the last uid."""
        with _lock:
            uids = self._uids.get(label, [])
            start = 0 if after is None else bisect.bisect_right(uids, after)
            page = uids[start : start + limit]
        return ScanPage(page, page[-1] if len(page) == limit else None)

    def promises(self) -> dict[str, str]:
        """Nothing is kept."""
        return {"durability": "none: sessions end with the process", "processes": "each has its own; a fork copies them"}

    def _snapshot(self, uid: str, want: Want) -> Snapshot:
        session = self._sessions.get(uid)
        if session is None:
            return NOTHING
        if want.everything:
            return Snapshot(session.version, {name: dict(found) for name, found in session.records.items()}, True)
        records = {name: dict(session.records[name]) for name in want.collections if name in session.records}
        for collection, key in want.records:
            record = session.records.get(collection, {}).get(key)
            if record is not None:
                records.setdefault(collection, {})[key] = record
        return Snapshot(session.version, records)

    def _apply(self, uid: str, change: Change) -> None:
        session = self._sessions.setdefault(uid, _Session())
        _insert(self._uids[None], uid)
        for collection, key in change.drop:
            self._drop(uid, session, collection, key)
        for (collection, key), record in change.put.items():
            self._drop(uid, session, collection, key)
            if record.wake_at is not None:
                _insert(self._due, (record.wake_at, uid, collection, key))
            session.records.setdefault(collection, {})[key] = record
        if change.labels is not None:
            self._label(uid, session, change.labels)
        session.version = change.version

    def _remove(self, uid: str, session: _Session) -> None:
        for collection in list(session.records):
            for key in list(session.records[collection]):
                self._drop(uid, session, collection, key)
        self._label(uid, session, frozenset())
        _take(self._uids[None], uid)
        self._sessions.pop(uid, None)

    def _drop(self, uid: str, session: _Session, collection: str, key: str) -> None:
        found = session.records.get(collection, {})
        record = found.get(key)
        if record is not None and record.wake_at is not None:
            _take(self._due, (record.wake_at, uid, collection, key))
        found.pop(key, None)
        if not found:
            session.records.pop(collection, None)

    def _label(self, uid: str, session: _Session, labels: frozenset[str]) -> None:
        for gone in session.labels - labels:
            uids = self._uids.get(gone, [])
            _take(uids, uid)
            if not uids:
                self._uids.pop(gone, None)
        for new in labels - session.labels:
            _insert(self._uids.setdefault(new, []), uid)
        session.labels = labels


def _whole(change: Callable[[], None]) -> None:
    """Makes a change whole when Ctrl-C comes amid it: each of its steps may be repeated."""
    try:
        change()
    except BaseException:
        change()
        raise


def _insert(entries: list[T], entry: T) -> None:
    place = bisect.bisect_left(entries, entry)
    if entries[place : place + 1] != [entry]:
        entries.insert(place, entry)


def _take(entries: list[T], entry: T) -> None:
    place = bisect.bisect_left(entries, entry)
    if entries[place : place + 1] == [entry]:
        del entries[place]


def _cursor_key(cursor: str) -> tuple[int, str, str, str]:
    at, uid, collection, key = json.loads(cursor)
    return at, uid, collection, key


class MemoryStorageBackend(BaseTriggerStorage):
    """A session in this process's memory, ``storage_backends.get("memory", uid)``."""

    key = "memory"
    store_class = MemoryStore
    api_version = 1
