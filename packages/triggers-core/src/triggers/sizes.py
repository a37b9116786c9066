"""What a store can keep: the limit of its values, and the room that fires leave for reports."""

from __future__ import annotations

from triggers.errors import SessionTooLarge
from triggers.store import Change, Snapshot, Store

_ROOM_FOR_REPORTS = 0.75
"""How much of a store's limit for one value fires may fill; the rest is for the reports of what runs."""
_OVERHEAD = 24


def check_size(store: Store, uid: str, snapshot: Snapshot, change: Change, report: bool) -> None:
    """Accepts a change that the store can keep.

    Raises:
        SessionTooLarge: it cannot; or it could, but would leave no room for the reports of what runs.
    """
    limit = store.max_value_bytes
    if limit is None:
        return
    largest = max((len(record.value) for record in change.put.values()), default=0)
    if store.one_value:
        kept = {
            (collection, key): len(record.value)
            for collection, entries in snapshot.records.items()
            for key, record in entries.items()
        }
        kept.update({place: len(record.value) for place, record in change.put.items()})
        total = sum(kept.values()) + sum(len(name) + len(key) + _OVERHEAD for name, key in kept)
        if not report and total > limit * _ROOM_FOR_REPORTS:
            raise SessionTooLarge(
                f"session {uid!r} would have {total} bytes; its storage keeps {limit} in one value and takes no more fires "
                f"past {_ROOM_FOR_REPORTS:.0%} of that: use a storage without that limit (redis, sql), or shorter sessions"
            )
        largest = max(largest, total)
    if largest > limit:
        raise SessionTooLarge(
            f"session {uid!r}: a value of {largest} bytes is more than its storage keeps ({limit}); pass references instead "
            "of large content"
        )
