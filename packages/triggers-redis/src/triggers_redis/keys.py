"""How sessions, records and labels are named inside Redis, and back.

Uids, collections, keys and labels may be any text, so no separator can divide them. Each part but the last is
preceded by its length in bytes, as in ``8:live/t_a3``: collection ``live/t_a``, key ``3``.

All keys of one session, and the sets that list it, carry the same slot tag ``{n}``: the shard of the session, which
is a stable hash of its uid. The tag is the first brace in each key, whatever braces the uid has.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

END = b"\xff"
"""A byte that UTF-8 never has: it sorts behind every text with the same beginning."""


class ShardKeys(NamedTuple):
    """The sorted sets of one shard."""

    due: bytes
    """Members are a session and a record of it, scores are microseconds: what needs attention when."""
    sessions: bytes
    """All uids."""
    labels: bytes
    """A label and a uid."""
    expiring: bytes
    """Uids that expire, scores are milliseconds of the server's clock."""


class SessionKeys(NamedTuple):
    """The two keys of a session, and its shard."""

    uid: bytes
    hash_key: bytes
    """A hash: the version, the format, and all records."""
    index_key: bytes
    """A sorted set of all records and labels, by which a collection is found."""
    shard: ShardKeys


class Layout:
    """The names of all keys under one prefix.

    Args:
        prefix: what every key begins with; it has no braces.
        shards: the number of shards, the same in every process.
    """

    def __init__(self, prefix: str, shards: int) -> None:
        self.shards = shards
        self.key = f"{prefix}layout".encode()
        self._prefix = prefix
        self._known: dict[int, tuple[bytes, ShardKeys]] = {}

    def session(self, uid: str) -> SessionKeys:
        """The keys of one session."""
        name = uid.encode()
        number = zlib.crc32(name) % self.shards
        tag, shard = self._known.get(number) or self._know(number)
        return SessionKeys(name, tag + b"session:" + name, tag + b"index:" + name, shard)

    def shard(self, number: int) -> ShardKeys:
        """The sets of one shard."""
        return (self._known.get(number) or self._know(number))[1]

    def _know(self, number: int) -> tuple[bytes, ShardKeys]:
        tag = f"{self._prefix}{{{number}}}:".encode()
        found = self._known[number] = (tag, ShardKeys(*(tag + name.encode() for name in ShardKeys._fields)))
        return found


def mark(part: bytes) -> bytes:
    """The part with its length, so that another part can follow."""
    return b"%d:%b" % (len(part), part)


def field(collection: str, key: str) -> bytes:
    """The name of a record inside its session."""
    return mark(collection.encode()) + key.encode()


def split(text: bytes) -> tuple[bytes, bytes]:
    """The first part, and what follows it."""
    length, _, rest = text.partition(b":")
    return rest[: int(length)], rest[int(length) :]


def pack(value: bytes, wake_at: int | None) -> bytes:
    """A record as it is stored: its wake-up (or nothing), a colon, its value."""
    return b":" + value if wake_at is None else b"%d:%b" % (wake_at, value)


def unpack(stored: bytes) -> tuple[bytes, int | None]:
    """The value of a stored record, and its wake-up."""
    wake_at, _, value = stored.partition(b":")
    return value, int(wake_at) if wake_at else None
