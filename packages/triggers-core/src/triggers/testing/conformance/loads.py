"""S1 to S5: what a load shows, and what a put and a drop do to it."""

from __future__ import annotations

import pytest

from triggers.store import ABSENT, EVERYTHING, Record, Store, Want
from triggers.testing.conformance.kit import Kit
from triggers.testing.conformance.space import VERSION_ONLY, Pair, Space, check_snapshot, held

STORED: dict[Pair, Record] = {
    ("session", "head"): Record(b'{"format":1}'),
    ("live/t", "1"): Record(b'{"status":"running"}', 1_900_000_000_000_001),
    ("live/t", "2"): Record(b'{"status":"failed"}'),
    ("live/t", "10"): Record(b'{"status":"scheduled"}', 1_900_000_000_000_002),
    ("live/tt", "1"): Record(b'{"status":"scheduled"}', 3),
    ("trigger", "a"): Record(b"{}"),
}
EXPECTED = {
    ("session", "head"): ('{"format": 1}', None),
    ("live/t", "1"): ('{"status": "running"}', 1_900_000_000_000_001),
    ("live/t", "2"): ('{"status": "failed"}', None),
    ("live/t", "10"): ('{"status": "scheduled"}', 1_900_000_000_000_002),
    ("live/tt", "1"): ('{"status": "scheduled"}', 3),
    ("trigger", "a"): ("{}", None),
}
WANTS = {
    "the version alone": VERSION_ONLY,
    "everything": EVERYTHING,
    "one record": Want(records=frozenset({("live/t", "2")})),
    "one record that is not there": Want(records=frozenset({("live/t", "3")})),
    "records of several collections": Want(records=frozenset({("live/t", "1"), ("trigger", "a"), ("count", "t")})),
    "a collection": Want(collections=frozenset({"live/t"})),
    "a collection that is not there": Want(collections=frozenset({"live"})),
    "collections and records": Want(frozenset({("live/t", "1"), ("session", "head")}), frozenset({"live/tt", "done/t"})),
    "a collection and one record of it": Want(frozenset({("live/t", "1")}), frozenset({"live/t"})),
}


class Loads(Kit):
    """S1 to S5."""

    @pytest.mark.parametrize("want", WANTS.values(), ids=WANTS.keys())
    def test_s01_unknown_uid_is_absent(self, store: Store, space: Space, want: Want) -> None:
        """A session that does not exist loads as nothing: version ``ABSENT``, no records, complete.

        Look at: what ``load`` does when it finds no row or key; it must neither raise nor create anything.
        """
        snapshot = store.load(space.uid("never made"), want)
        assert (snapshot.version, held(snapshot), snapshot.complete) == (ABSENT, {}, True)

    def test_s01_loading_makes_no_session(self, store: Store, space: Space) -> None:
        """A load changes nothing: after it the session can still be made with ``expected=ABSENT``.

        Look at: a load that inserts a row, or remembers the uid.
        """
        uid = space.uid()
        store.load(uid, EVERYTHING)
        version = space.write(store, uid, {("c", "k"): b"1"}, expected=ABSENT)
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, {("c", "k"): ("1", None)})

    def test_s02_committed_is_seen_by_every_handle(self, store: Store, other: Store, space: Space) -> None:
        """As soon as a commit has returned, every handle loads what it wrote, value and ``wake_at`` alike.

        Look at: commits that are buffered or not ended, caches inside of the store, transactions that a handle keeps
        open between calls (and so sees an old state), and ``wake_at`` that is rounded or only kept in the index of
        wake-ups.
        """
        uid = space.uid()
        other.load(uid, EVERYTHING)
        version = space.write(store, uid, STORED)
        for handle in (store, other):
            check_snapshot(handle.load(uid, EVERYTHING), EVERYTHING, version, EXPECTED)
        second = space.write(other, uid, {("session", "head"): b'{"format":2}'})
        changed = {**EXPECTED, ("session", "head"): ('{"format": 2}', None)}
        for handle in (store, other):
            check_snapshot(handle.load(uid, EVERYTHING), EVERYTHING, second, changed)

    @pytest.mark.parametrize("want", WANTS.values(), ids=WANTS.keys())
    def test_s03_partial_loads_hold_what_was_wanted(self, store: Store, space: Space, want: Want) -> None:
        """A load holds every wanted record that exists; it may hold more, but nothing that is not so.

        It says ``complete`` only if it is all. Look at: how single pairs and whole collections are put together, and
        how a collection is told from one whose name it begins (``live/t`` and ``live/tt``).
        """
        uid = space.uid()
        version = space.write(store, uid, STORED)
        check_snapshot(store.load(uid, want), want, version, EXPECTED)

    def test_s03_many_pairs_at_once(self, store: Store, space: Space) -> None:
        """One load can ask for two thousand single records, also across collections.

        Look at: limits of the medium on the parameters of one statement, or of Lua's ``unpack``: ask in chunks, in
        one snapshot.
        """
        uid = space.uid()
        pairs = [(f"c{number % 5}", str(number)) for number in range(2_000)]
        version = space.write(store, uid, dict.fromkeys(pairs[::2], b"true"))
        want = Want(records=frozenset(pairs))
        check_snapshot(store.load(uid, want), want, version, dict.fromkeys(pairs[::2], ("true", None)))

    def test_s05_put_replaces_the_whole_record(self, store: Store, space: Space) -> None:
        """A put replaces value and ``wake_at``: one without ``wake_at`` clears it; other records stay as they are.

        Look at: an update that merges, or leaves a column out where the new value is null.
        """
        uid = space.uid()
        space.write(store, uid, STORED)
        version = space.write(
            store,
            uid,
            {("live/t", "1"): Record(b"1"), ("live/t", "2"): Record(b"2", 7), ("live/t", "10"): Record(b"3", 8)},
        )
        check_snapshot(
            store.load(uid, EVERYTHING),
            EVERYTHING,
            version,
            {**EXPECTED, ("live/t", "1"): ("1", None), ("live/t", "2"): ("2", 7), ("live/t", "10"): ("3", 8)},
        )

    def test_s05_drop_removes_the_record(self, store: Store, space: Space) -> None:
        """A dropped record is gone, one that was not there does no harm; what is dropped and put at once is put.

        Look at: the order of drops and puts inside of a commit, and drops that reach more than the one pair.
        """
        uid = space.uid()
        space.write(store, uid, STORED)
        version = space.write(
            store,
            uid,
            {("trigger", "a"): b"5", ("trigger", "new"): b"6"},
            drop=[("live/t", "1"), ("live/t", "never"), ("nowhere", "1"), ("trigger", "a")],
        )
        stored = {pair: found for pair, found in EXPECTED.items() if pair != ("live/t", "1")}
        stored |= {("trigger", "a"): ("5", None), ("trigger", "new"): ("6", None)}
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, stored)
        collection = Want(collections=frozenset({"live/t"}))
        check_snapshot(store.load(uid, collection), collection, version, stored)

    def test_s05_session_without_records_exists(self, store: Store, space: Space) -> None:
        """A session exists from its first commit until it is deleted, even while it holds no records.

        Look at: a version that is kept beside the last record and goes with it, or a commit that writes nothing if
        there is nothing to put.
        """
        uid = space.uid()
        first = space.write(store, uid, {}, expected=ABSENT)
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, first, {})
        space.write(store, uid, {("c", "k"): b"1"}, expected=first)
        emptied = space.write(store, uid, {}, drop=[("c", "k")])
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, emptied, {})
        assert store.delete(uid) is True
