"""What a process remembers of the sessions that it last worked on, to decide without loading.

A remembered view is exact or useless: the commit goes through only if the session's version is still the one that was
remembered. So nothing here can make a decision wrong, and forgetting is always allowed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from triggers.store import Change, Record, Snapshot, Want

MAX_RECORDS = 256
MAX_BYTES = 64 * 1024


class RememberedViews:
    """The last view of recently used sessions, least recently used first out; each at most 256 records and 64 KiB.

    Args:
        limit: how many sessions; 0 remembers nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._guard = threading.Lock()
        self._views: OrderedDict[Hashable, tuple[Snapshot, Want]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[Snapshot, Want] | None:
        """The session's snapshot and what it covers."""
        if not self.limit:
            return None
        with self._guard:
            found = self._views.get(key)
            if found is not None:
                self._views.move_to_end(key)
            return found

    def forget(self, key: Hashable) -> None:
        """Forgets a session."""
        if self.limit:
            with self._guard:
                self._views.pop(key, None)

    def committed(self, key: Hashable, snapshot: Snapshot, want: Want, change: Change) -> None:
        """Remembers the session as it is after this process's own commit on the snapshot."""
        if not self.limit:
            return
        after = _apply(snapshot, change)
        covered = Want(
            want.records | change.put.keys() | change.drop,
            want.collections,
            want.everything or snapshot.complete,
        )
        with self._guard:
            if _fits(after):
                self._views[key] = (after, covered)
                self._views.move_to_end(key)
                while len(self._views) > self.limit:
                    self._views.popitem(last=False)
            else:
                self._views.pop(key, None)


def _apply(snapshot: Snapshot, change: Change) -> Snapshot:
    records: dict[str, dict[str, Record]] = dict(snapshot.records)  # type: ignore[arg-type]
    copied: set[str] = set()
    for collection, key in change.drop:
        if collection in records:
            if collection not in copied:
                records[collection] = dict(records[collection])
                copied.add(collection)
            records[collection].pop(key, None)
    for (collection, key), record in change.put.items():
        if collection not in copied:
            records[collection] = dict(records.get(collection, {}))
            copied.add(collection)
        records[collection][key] = record
    return Snapshot(change.version, records, snapshot.complete)


def _fits(snapshot: Snapshot) -> bool:
    number = size = 0
    for entries in snapshot.records.values():
        number += len(entries)
        if number > MAX_RECORDS:
            return False
        size += sum(len(record.value) for record in entries.values())
    return size <= MAX_BYTES
