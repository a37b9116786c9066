"""What a process remembers of the sessions that it last worked on, to decide without loading.

A remembered view is exact or useless: the commit goes through only if the session's version is still the one that was
remembered. So nothing here can make a decision wrong, and forgetting is always allowed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from triggers.store import Change, Record, Snapshot, Want

MAX_RECORDS = 256
MAX_BYTES = 64 * 1024


class _Size(NamedTuple):
    records: int
    bytes: int


class _Remembered(NamedTuple):
    snapshot: Snapshot
    want: Want
    size: _Size


class RememberedViews:
    """The last view of recently used sessions, least recently used first out; each at most 256 records and 64 KiB.

    Args:
        limit: how many sessions; 0 remembers nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._guard = threading.Lock()
        self._views: OrderedDict[Hashable, _Remembered] = OrderedDict()

    def get(self, key: Hashable) -> tuple[Snapshot, Want] | None:
        """The session's snapshot and what it covers."""
        if not self.limit:
            return None
        with self._guard:
            found = self._views.get(key)
            if found is not None:
                self._views.move_to_end(key)
            return None if found is None else (found.snapshot, found.want)

    def forget(self, key: Hashable) -> None:
        """Forgets a session."""
        if self.limit:
            with self._guard:
                self._views.pop(key, None)

    def committed(self, key: Hashable, snapshot: Snapshot, want: Want, change: Change) -> None:
        """Remembers the session as it is after this process's own commit on the snapshot."""
        if not self.limit:
            return
        known = self._views.get(key)
        size = known.size if known is not None and known.snapshot is snapshot else _size(snapshot)
        after, size = _apply(snapshot, change, size)
        records = want.records
        if change.drop or not change.put.keys() <= records:
            records = records | change.put.keys() | change.drop
        covered = Want(records, want.collections, want.everything or snapshot.complete)
        with self._guard:
            if size.records <= MAX_RECORDS and size.bytes <= MAX_BYTES:
                self._views[key] = _Remembered(after, covered, size)
                self._views.move_to_end(key)
                while len(self._views) > self.limit:
                    self._views.popitem(last=False)
            else:
                self._views.pop(key, None)


def _size(snapshot: Snapshot) -> _Size:
    found = [record for entries in snapshot.records.values() for record in entries.values()]
    return _Size(len(found), sum(len(record.value) for record in found))


def _apply(snapshot: Snapshot, change: Change, size: _Size) -> tuple[Snapshot, _Size]:
    """The snapshot after the change, and its size: counted on from before, since a view may hold hundreds of records."""
    records: dict[str, dict[str, Record]] = dict(snapshot.records)  # type: ignore[arg-type]
    copied: set[str] = set()
    number, length = size
    for collection, key in change.drop:
        if collection in records:
            if collection not in copied:
                records[collection] = dict(records[collection])
                copied.add(collection)
            gone = records[collection].pop(key, None)
            if gone is not None:
                number -= 1
                length -= len(gone.value)
    for (collection, key), record in change.put.items():
        if collection not in copied:
            records[collection] = dict(records.get(collection, {}))
            copied.add(collection)
        entries = records[collection]
        before = entries.get(key)
        number += before is None
        length += len(record.value) - (0 if before is None else len(before.value))
        entries[key] = record
    return Snapshot(change.version, records, snapshot.complete), _Size(number, length)
