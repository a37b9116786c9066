"""Wake-ups and uids of all shards, in pages: few round trips, and little more than the page is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from triggers.store import Due, DuePage, ScanPage
from triggers_redis import keys
from triggers_redis.commands import Command, call
from triggers_redis.scripts import DUE, SCAN

Read = Callable[[Sequence[Command]], list[Any]]
"""Runs commands that change nothing, in one round trip."""


class Found(NamedTuple):
    """A page, and the uids of expired sessions that were met."""

    page: Any
    expired: set[bytes]


class _Place(NamedTuple):
    """A wake-up's place in the order of all: its time, its shard, its member; and the time as the server wrote it."""

    at: float
    shard: int
    member: bytes
    score: bytes


def due(layout: keys.Layout, read: Read, before: int, after: str | None, limit: int) -> Found:
    """Merges the wake-ups of all shards in order of time.

    Each shard first gives its share and some more. Where that is not enough to fill the page in order, those shards
    that may have more for it are asked once again.
    """
    cursor = None if after is None else _read_cursor(after)
    starts = [_start(cursor, shard) for shard in range(layout.shards)]
    share = min(limit, 2 * limit // layout.shards + 8)
    found: list[_Place] = []
    ends: dict[int, _Place] = {}
    expired: set[bytes] = set()

    def ask(shards: list[int], count: int) -> None:
        asked = [
            call(DUE, (sets.due, sets.expiring), [b"%d" % before, b"%d" % count, *starts[shard]])
            for shard in shards
            for sets in [layout.shard(shard)]
        ]
        for shard, (entries, last, gone) in zip(shards, read(asked), strict=True):
            ends.pop(shard, None)
            found.extend(_place(shard, *pair) for pair in zip(entries[::2], entries[1::2], strict=True))
            if last:
                ends[shard] = _place(shard, *last)
                starts[shard] = (b"behind", *last)
            expired.update(gone)

    ask(list(range(layout.shards)), share)
    found.sort()
    if ends and len(_certain(found, ends)) < limit:
        horizon = found[limit - 1] if len(found) >= limit else None
        ask([shard for shard, end in ends.items() if horizon is None or end < horizon], limit)
        found.sort()
    page = _certain(found, ends)[:limit]
    more = bool(ends) or len(found) > len(page)
    last = page[-1] if len(page) == limit else min(ends.values()) if ends else None
    entries = [_due(place) for place in page]
    return Found(DuePage(entries, _write_cursor(last) if more and last else None), expired)


def scan(layout: keys.Layout, read: Read, label: str | None, after: str | None, limit: int) -> Found:
    """Lists uids by shard, then by bytes.

    The first shard gives a page, and all later ones say how many they have; then those that are needed are read.
    """
    prefix = b"" if label is None else keys.mark(label.encode())
    end = b"(" + prefix + keys.END
    first, behind = (0, None) if after is None else json.loads(after)

    def name(shard: int) -> bytes:
        return layout.shard(shard).sessions if label is None else layout.shard(shard).labels

    def page(shard: int, begin: bytes, count: int) -> Command:
        names = name(shard), layout.shard(shard).expiring
        return call(SCAN, names, [begin, end, b"%d" % count, b"%d" % len(prefix)])

    begin = b"[" + prefix if behind is None else b"(" + prefix + behind.encode()
    later = [name(shard) for shard in range(first + 1, layout.shards)]
    counts = [Command(key, (b"ZLEXCOUNT", key, b"[" + prefix, end)) for key in later]
    reply, *sizes = read([page(first, begin, limit), *counts])
    batches = [(first, reply)]
    rest = [(shard, size) for shard, size in enumerate(sizes, first + 1) if size]
    reading: dict[int, int] = {}
    room = limit - len(reply[0])
    if not reply[1]:
        while rest and room > 0:
            shard, size = rest.pop(0)
            reading[shard] = room
            room -= size
    if reading:
        asked = [page(shard, b"[" + prefix, count) for shard, count in reading.items()]
        batches += zip(reading, read(asked), strict=True)
    return _scanned(batches, limit, rest[0][0] if rest else None)


def _scanned(batches: list[tuple[int, Any]], limit: int, following: int | None) -> Found:
    """Puts a page together. It ends early where a shard may have more, since those behind must wait for it."""
    uids: list[str] = []
    expired: set[bytes] = set()
    stop: tuple[int, str | None] | None = None if following is None else (following, None)
    for shard, (found, last, gone) in batches:
        expired.update(gone)
        room = limit - len(uids)
        if found and not room:
            stop = (shard, None)
            break
        uids += (uid.decode() for uid in found[:room])
        if len(found) > room:
            stop = (shard, uids[-1])
            break
        if last:
            stop = (shard, last[0].decode())
            break
    return Found(ScanPage(uids, None if stop is None else json.dumps(stop)), expired)


def _certain(found: list[_Place], ends: dict[int, _Place]) -> list[_Place]:
    """Those before which no shard can have another one."""
    if not ends:
        return found
    edge = min(ends.values())
    return [place for place in found if place <= edge]


def _start(cursor: _Place | None, shard: int) -> tuple[bytes, ...]:
    if cursor is None:
        return (b"",)
    if shard == cursor.shard:
        return b"behind", cursor.score, cursor.member
    return (b"past" if shard < cursor.shard else b"at"), cursor.score


def _place(shard: int, score: bytes, member: bytes) -> _Place:
    return _Place(float(score), shard, member, score)


def _due(place: _Place) -> Due:
    uid, name = keys.split(place.member)
    collection, key = keys.split(name)
    return Due(uid.decode(), collection.decode(), key.decode(), int(place.at))


def _write_cursor(place: _Place) -> str:
    return json.dumps([place.score.decode(), place.shard, place.member.decode()])


def _read_cursor(cursor: str) -> _Place:
    score, shard, member = json.loads(cursor)
    return _place(shard, score.encode(), member.encode())
