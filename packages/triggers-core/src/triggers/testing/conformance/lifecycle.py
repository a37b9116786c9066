"""S23, S25, S26, S32, S33: connections, formats, expiry and what a store declares."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import pytest

from triggers.errors import Conflict, OutcomeUnknown, StorageUnavailable, UnreadableRecord
from triggers.store import ABSENT, EVERYTHING, Capability, Record, Snapshot, Store, Want
from triggers.testing.conformance.children import COUNTER, count_in, increment
from triggers.testing.conformance.kit import Kit, not_tested
from triggers.testing.conformance.space import VERSION_ONLY, OpenStore, Space, check_snapshot
from triggers.testing.conformance.threads import run_threads

TRIES = 10
SECONDS = 5.0
"""How long after its time an expired session may still be there."""


class Lifecycle(Kit):
    """S23, S25, S26, S32, S33."""

    def test_s23_the_store_comes_back_by_itself(
        self, store: Store, other: Store, space: Space, break_connections: Callable[[], None] | None
    ) -> None:
        """After its connections were cut, the same object works again, at once or after some ``StorageUnavailable``.

        Look at: dead connections that stay in the pool, and errors of the driver that are not made
        ``StorageUnavailable``.
        """
        if break_connections is None:
            not_tested("gives no fixture `break_connections`")
        uid = space.uid()
        version = space.write(store, uid, {COUNTER: b"1"})
        for handle in (store, other, store):
            handle.load(uid, VERSION_ONLY)
            break_connections()
            check_snapshot(_load(handle, uid), EVERYTHING, version, {COUNTER: ("1", None)})
            if Capability.SCAN in store.capabilities:
                break_connections()
                _load(handle, uid)
                assert space.scan(handle) == [uid]

    def test_s23_a_commit_over_a_lost_connection_says_what_it_knows(
        self, store: Store, other: Store, space: Space, break_connections: Callable[[], None] | None
    ) -> None:
        """A commit that meets a cut connection never lies about what became of it.

        It returns (stored), or raises ``StorageUnavailable`` (not stored) or ``OutcomeUnknown`` (either). Look at:
        which errors can come after the change was sent, and a client library that sends again by itself: the second
        sending then finds its own version and must not be told as a conflict nobody can explain.
        """
        if break_connections is None:
            not_tested("gives no fixture `break_connections`")
        uid = space.uid()
        current = space.write(store, uid, {COUNTER: b"0"})
        number, unknown = 0, False
        for _ in range(TRIES):
            break_connections()
            try:
                current = space.write(store, uid, {COUNTER: str(number + 1).encode()}, expected=current)
                allowed, unknown = {number + 1}, False
            except OutcomeUnknown:
                allowed, unknown = {number, number + 1}, True
            except StorageUnavailable:
                allowed = {number, number + 1} if unknown else {number}
            except Conflict:
                assert unknown, "a conflict, though nobody else has committed: was the commit sent twice?"
                allowed, unknown = {number + 1}, False  # what was unknown has been stored since
            snapshot = _load(other, uid)
            assert count_in(snapshot) in allowed, "the commit did not do what it said"
            number, current = count_in(snapshot), snapshot.version
        assert number > 0, f"none of {TRIES} commits got through although the medium was there: the store does not reconnect"

    def test_s25_a_closed_store_opens_again(self, store: Store, other: Store, space: Space) -> None:
        """``close`` may be called at any time, and twice; the next call opens anew; other handles do not notice.

        Look at: a pool that is closed for good, and connections that several objects share without counting.
        """
        uid = space.uid()
        version = space.write(store, uid, {("c", "k"): b"1"})
        other.load(uid, EVERYTHING)
        store.close()
        check_snapshot(other.load(uid, EVERYTHING), EVERYTHING, version, {("c", "k"): ("1", None)})
        store.close()
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, {("c", "k"): ("1", None)})
        store.close()
        version = space.write(store, uid, {("c", "k"): b"2"}, expected=version)
        check_snapshot(other.load(uid, EVERYTHING), EVERYTHING, version, {("c", "k"): ("2", None)})

    def test_s25_a_store_is_closed_under_its_threads(self, store: Store, other: Store, space: Space) -> None:
        """4 threads count to 15 in a session each, and close the store that they share at every second step: none notices.

        Look at: connections that are closed while another thread waits for their reply, and what the driver raises then;
        close those that nobody uses, and the others when they are given back.
        """

        def count(uid: str) -> None:
            for number in range(15):
                increment(store, uid, f"v{number}")
                if number % 2:
                    store.close()

        uids = [space.uid(f"session {at}") for at in range(4)]
        run_threads(*(functools.partial(count, uid) for uid in uids))
        assert [count_in(other.load(uid, EVERYTHING)) for uid in uids] == [15] * 4

    def test_s25_a_fresh_handle_can_be_closed(self, another: OpenStore) -> None:
        """``close`` of an object that has done nothing yet does nothing.

        Look at: ``close`` that connects first, or expects a pool.
        """
        fresh = another()
        fresh.close()
        fresh.close()

    def test_s26_unknown_formats_are_refused(
        self, store: Store, another: OpenStore, space: Space, spoil_format: Callable[[str], None] | None
    ) -> None:
        """A format number from the future makes load and commit raise ``UnreadableRecord``; all is left as it is.

        Look at: where the format is kept, and whether it is compared before anything else is read or written.
        """
        if spoil_format is None:
            not_tested("gives no fixture `spoil_format`")
        uid = space.uid()
        version = space.write(store, uid, {("c", "k"): b"1"})
        spoil_format(uid)
        fresh = another()
        with pytest.raises(UnreadableRecord):
            fresh.load(uid, EVERYTHING)
        with pytest.raises(UnreadableRecord):
            space.write(fresh, uid, {("c", "k"): b"2"}, expected=version)
        with pytest.raises(UnreadableRecord):
            another().load(uid, EVERYTHING)

    def test_s32_expiry_is_declared_or_does_not_happen(self, store: Store, space: Space) -> None:
        """With ``EXPIRE``, ``expire_in`` after its last commit a session is gone; without it, it stays.

        A later commit counts anew: with its own ``expire_in``, or with none, for ever. Look at: an expiry that stays
        after a commit without one, parts of a session (lists, labels, wake-ups) that outlive it, and parts that go
        before the rest.
        """
        short, kept, renewed, label = space.uid("short"), space.uid("kept"), space.uid("renewed"), space.label("l")
        put = {("c", "k"): Record(b"1", space.early), ("d", "k"): Record(b"1")}
        seconds = 3 if Capability.EXPIRE in store.capabilities else 1
        versions: dict[str, str] = {}
        for uid, later in ((kept, None), (renewed, 600)):
            version = space.write(store, uid, put, labels=[label], expire_in=seconds)
            versions[uid] = space.write(store, uid, {("d", "k"): b"2"}, expected=version, expire_in=later)
        space.write(store, short, put, labels=[label], expire_in=seconds)
        if Capability.EXPIRE in store.capabilities:
            _wait_until_gone(store, short, seconds)
        else:
            time.sleep(1.2)
            versions[short] = store.load(short, VERSION_ONLY).version
            assert versions[short] != ABSENT, "a session went by itself, but EXPIRE is not declared"
        for uid in (kept, renewed):
            check_snapshot(
                store.load(uid, EVERYTHING),
                EVERYTHING,
                versions[uid],
                {("c", "k"): ("1", space.early), ("d", "k"): ("2", None)},
            )
        if Capability.DUE in store.capabilities:
            assert sorted(entry.uid for entry in space.due(store, space.early)) == sorted(versions)
        if Capability.SCAN in store.capabilities:
            assert (sorted(space.scan(store)), sorted(space.scan(store, label))) == (sorted(versions), sorted(versions))
        if Capability.EXPIRE in store.capabilities:
            version = space.write(store, short, {("new", "k"): b"1"}, expected=ABSENT)
            check_snapshot(store.load(short, EVERYTHING), EVERYTHING, version, {("new", "k"): ("1", None)})

    def test_s33_declarations(self, store: Store) -> None:
        """The class says literally which interface it was built for, what it can do, and what it limits.

        Look at: ``api_version = 1`` in the class itself, ``capabilities``, ``max_value_bytes`` (bytes, or ``None``),
        ``one_value``.
        """
        assert type(store).api_version == 1
        assert isinstance(store.capabilities, Capability)
        assert store.max_value_bytes is None or (type(store.max_value_bytes) is int and store.max_value_bytes >= 1024)
        assert isinstance(store.one_value, bool)

    def test_s33_what_it_tells_operators_is_text(self, store: Store) -> None:
        """``warnings`` and ``promises`` give short lines of text, and may be asked at any time.

        Look at: what ``triggers doctor`` would print.
        """
        for line in store.warnings():
            assert line.strip()
        for name, promise in store.promises().items():
            assert name.strip()
            assert promise.strip()


def _load(store: Store, uid: str, want: Want = EVERYTHING) -> Snapshot:
    for _ in range(TRIES):
        try:
            return store.load(uid, want)
        except StorageUnavailable:
            time.sleep(0.02)
    raise AssertionError(
        f"{TRIES} loads in a row raised StorageUnavailable although the medium was there: the store does not reconnect"
    )


def _wait_until_gone(store: Store, uid: str, seconds: float) -> None:
    end = time.monotonic() + seconds + SECONDS
    while True:
        asked = time.monotonic()
        if store.load(uid, VERSION_ONLY).version == ABSENT:
            return
        assert asked < end, f"the session is still there {SECONDS:.0f} seconds after its time"
        time.sleep(0.05)
