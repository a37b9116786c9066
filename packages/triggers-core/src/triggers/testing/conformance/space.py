"""What the tests of the contract share: names of their own, short ways to write and read, and walks through pages.

Every uid and label begins with a random prefix, so that the kit also runs against a store that holds other sessions.
"""

from __future__ import annotations

import itertools
import json
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from triggers.errors import StorageError
from triggers.store import Change, Due, Record, Snapshot, Store, Want

OpenStore = Callable[[], Store]
Pair = tuple[str, str]
Held = dict[Pair, tuple[str, int | None]]

VERSION_ONLY = Want()
MOST_PAGES = 20_000


class Space:
    """Uids, labels and versions that nobody else uses; remembers the uids so that they can be removed."""

    def __init__(self) -> None:
        self.prefix = f"kit-{secrets.token_hex(4)}-"
        self._uids: set[str] = set()
        self._versions = itertools.count(1)
        self.early = random.randrange(1, 2**30)
        """A time in the first minutes of 1970 (microseconds): before every wake-up of anybody else."""

    def uid(self, name: str = "session") -> str:
        """The uid of this name in the space."""
        uid = self.prefix + name
        self._uids.add(uid)
        return uid

    def label(self, name: str) -> str:
        """The label of this name in the space."""
        return self.prefix + name

    def version(self) -> str:
        """A version that nobody has used."""
        return f"{self.prefix}{next(self._versions)}"

    def mine(self, uid: str) -> bool:
        """Whether the uid belongs to this space."""
        return uid.startswith(self.prefix)

    def clean(self, store: Store) -> None:
        """Removes every session of the space."""
        for uid in self._uids:
            with suppress(StorageError):
                store.delete(uid)

    def write(
        self,
        store: Store,
        uid: str,
        put: Mapping[Pair, bytes | Record],
        *,
        drop: Iterable[Pair] = (),
        labels: Iterable[str] | None = None,
        expected: str | None = None,
        expire_in: int | None = None,
    ) -> str:
        """Commits and returns the new version; without ``expected`` on whatever is there now."""
        version = self.version()
        change = Change(
            version,
            {pair: value if isinstance(value, Record) else Record(value) for pair, value in put.items()},
            frozenset(drop),
            None if labels is None else frozenset(labels),
            expire_in,
        )
        if expected is None:
            expected = store.load(uid, VERSION_ONLY).version
        store.commit(uid, change, expected, VERSION_ONLY)
        return version

    def due(self, store: Store, before: int, limit: int = 100) -> list[Due]:
        """All due records of this space, walked in pages from the beginning."""
        return [entry for entry in walk_due(store, before, limit) if self.mine(entry.uid)]

    def scan(self, store: Store, label: str | None = None, limit: int = 100) -> list[str]:
        """All uids of this space, walked in pages from the beginning; in large ones where there is a crowd of others."""
        if label is None and self._is_crowded(store):
            limit = max(limit, 1000)
        return [uid for uid in walk_scan(store, label, limit) if self.mine(uid)]

    def _is_crowded(self, store: Store) -> bool:
        page = store.scan(None, None, 100)
        return page.cursor is not None and not all(map(self.mine, page.uids))


def walk_due(store: Store, before: int, limit: int) -> Iterator[Due]:
    """Goes through all pages of ``due``; fails if a page is too long or a cursor stands still."""
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = store.due(before, cursor, limit)
        assert len(page.entries) <= limit, f"due gave {len(page.entries)} entries where at most {limit} were asked for"
        yield from page.entries
        if page.cursor is None:
            return
        assert page.cursor != cursor, f"due gave the cursor {cursor!r} back that it was called with: a walk never ends"
        cursor = page.cursor
    raise AssertionError(f"due still had a cursor after {MOST_PAGES} pages")


def walk_scan(store: Store, label: str | None, limit: int) -> Iterator[str]:
    """Goes through all pages of ``scan``; fails if a page is too long or a cursor stands still."""
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = store.scan(label, cursor, limit)
        assert len(page.uids) <= limit, f"scan gave {len(page.uids)} uids where at most {limit} were asked for"
        yield from page.uids
        if page.cursor is None:
            return
        assert page.cursor != cursor, f"scan gave the cursor {cursor!r} back that it was called with: a walk never ends"
        cursor = page.cursor
    raise AssertionError(f"scan still had a cursor after {MOST_PAGES} pages")


def plain(value: bytes) -> str:
    """A JSON text without its white space and order of keys; equal texts are equal values, of the same types."""
    return json.dumps(json.loads(value), sort_keys=True)


def held(snapshot: Snapshot) -> Held:
    """The records of a snapshot by (collection, key), each as its plain JSON and its ``wake_at``."""
    return {
        (collection, key): (plain(record.value), record.wake_at)
        for collection, records in snapshot.records.items()
        for key, record in records.items()
    }


def check_snapshot(snapshot: Snapshot, want: Want, version: str, stored: Mapping[Pair, tuple[str, int | None]]) -> None:
    """Fails unless the snapshot shows ``stored`` at ``version``: all that was wanted, nothing that is not so."""
    assert snapshot.version == version, f"the version is {snapshot.version!r} and should be {version!r}"
    found = held(snapshot)
    missing = {pair for pair in stored if want.covers(*pair)} - found.keys()
    assert not missing, f"less than asked: {sorted(missing)} is stored, was wanted, and is not in the snapshot"
    unknown = found.keys() - stored.keys()
    assert not unknown, f"the snapshot holds {sorted(unknown)}, which the session does not have"
    different = {pair: (found[pair], stored[pair]) for pair in found if found[pair] != stored[pair]}
    assert not different, f"records as {{pair: (found, stored)}} that are not what was stored: {different}"
    if snapshot.complete:
        assert found.keys() == stored.keys(), f"`complete`, but without {sorted(stored.keys() - found.keys())}"
    else:
        assert not want.everything, "everything was wanted, so the snapshot must say that it is `complete`"
