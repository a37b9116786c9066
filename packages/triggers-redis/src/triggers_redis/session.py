"""What goes to the scripts for one session, and what their replies mean."""

from __future__ import annotations

from typing import Any, NoReturn

from triggers.errors import SessionTooLarge, UnreadableRecord
from triggers.store import NOTHING, Change, Record, Snapshot, Want
from triggers_redis import keys

MAX_VALUE_BYTES = 512 * 2**20 - 32
"""What one string of Redis holds (``proto-max-bulk-len``), less the wake-up before the value."""


class Question:
    """A want, as arguments of a script, and the way back from its reply to a snapshot."""

    def __init__(self, want: Want) -> None:
        self._everything = want.everything
        self._records = list(want.records)
        self._collections = list(want.collections)

    def arguments(self) -> list[bytes]:
        """What the scripts read: ``*``, or a number of records, these records, and the marks of collections."""
        if self._everything:
            return [b"*"]
        return [
            b"%d" % len(self._records),
            *(keys.field(collection, key) for collection, key in self._records),
            *(keys.mark(collection.encode()) for collection in self._collections),
        ]

    def snapshot(self, uid: str, reply: Any) -> Snapshot:
        """The snapshot that a script returned.

        Raises:
            UnreadableRecord: it returned a reason why it could not.
        """
        if reply == 0:
            return NOTHING
        if isinstance(reply, bytes):
            _unreadable(uid, reply.decode(errors="replace"))
        version = reply[0][0].decode()
        if self._everything:
            return Snapshot(version, _everything(reply[1]), True)
        return Snapshot(version, self._some(reply))

    def _some(self, reply: Any) -> dict[str, dict[str, Record]]:
        found: dict[str, dict[str, Record]] = {}
        for collection, entries in zip(self._collections, reply[1:], strict=True):
            if entries:
                found[collection] = {
                    key.decode(): Record(*keys.unpack(stored))
                    for key, stored in zip(entries[::2], entries[1::2], strict=True)
                    if stored is not None
                }
        for (collection, key), stored in zip(self._records, reply[0][2:], strict=True):
            if stored is not None:
                found.setdefault(collection, {})[key] = Record(*keys.unpack(stored))
        return found


def _everything(entries: list[bytes]) -> dict[str, dict[str, Record]]:
    found: dict[str, dict[str, Record]] = {}
    for name, stored in zip(entries[::2], entries[1::2], strict=True):
        if name[:1].isdigit():
            collection, key = keys.split(name)
            found.setdefault(collection.decode(), {})[key.decode()] = Record(*keys.unpack(stored))
    return found


def commit_arguments(session: keys.SessionKeys, change: Change, expected: str) -> list[bytes]:
    """The change, as arguments of the commit script.

    Raises:
        SessionTooLarge: a value is longer than the server takes.
    """
    arguments = [
        expected.encode(),
        change.version.encode(),
        b"" if change.expire_in is None else b"%d" % change.expire_in,
        keys.mark(session.uid),
        b"%d" % (-1 if change.labels is None else len(change.labels)),
        b"%d" % len(change.put),
        b"%d" % len(change.drop),
        *(label.encode() for label in change.labels or ()),
    ]
    for (collection, key), record in change.put.items():
        if len(record.value) > MAX_VALUE_BYTES:
            raise SessionTooLarge(
                f"the record {collection!r} {key!r} has {len(record.value)} bytes, Redis takes at most {MAX_VALUE_BYTES}"
            )
        arguments += (keys.field(collection, key), keys.pack(record.value, record.wake_at))
    arguments += (keys.field(collection, key) for collection, key in change.drop)
    return arguments


def _unreadable(uid: str, reason: str) -> NoReturn:
    word, _, found = reason.partition(" ")
    if word == "format":
        raise UnreadableRecord(f"session {uid!r} is kept in format {found!r}, this version reads 1; upgrade triggers-redis")
    what = "index" if word == "index" else "version"
    raise UnreadableRecord(
        f"session {uid!r} has records but no {what}: something else than Triggers removed it, as a server does that "
        "evicts (maxmemory-policy must be noeviction); delete the session"
    )
