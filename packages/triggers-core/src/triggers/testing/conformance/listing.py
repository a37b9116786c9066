"""S30, S31: sessions in pages, all or by label."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from triggers.errors import Conflict
from triggers.store import ABSENT, Capability, Change, Record, Store
from triggers.testing.conformance.kit import Kit
from triggers.testing.conformance.space import VERSION_ONLY, Space
from triggers.testing.conformance.threads import run_threads

STABLE = [f"stable {number}" for number in range(17)]


class Listing(Kit):
    """S30, S31."""

    def test_s30_scan_is_declared_or_refused(self, store: Store, space: Space) -> None:
        """``scan`` gives a page where ``SCAN`` is declared, and else raises ``NotImplementedError``; labels are taken.

        Look at: ``capabilities``; a page that is always empty would look as if there were no sessions.
        """
        space.write(store, space.uid(), {("c", "k"): b"1"}, labels=[space.label("l")])
        for label in (None, space.label("l")):
            if Capability.SCAN in store.capabilities:
                assert len(store.scan(label, None, 1).uids) == 1
            else:
                with pytest.raises(NotImplementedError):
                    store.scan(label, None, 10)

    @pytest.mark.parametrize("limit", [1, 3, 16, 17, 18, 100])
    def test_s30_scan_lists_each_session_once(self, store: Store, other: Store, space: Space, limit: int) -> None:
        """``scan`` lists every session once, in pages of any size, and by label exactly those that have it.

        Look at: the cursor's comparison (``>`` or ``>=``), and the end of the last page.
        """
        self.needs(store, Capability.SCAN)
        for number, name in enumerate(STABLE):
            space.write(store, space.uid(name), {("c", "k"): b"1"}, labels=[space.label("third")] if number % 3 == 0 else None)
        for handle in (store, other):
            assert sorted(space.scan(handle, None, limit)) == sorted(space.uid(name) for name in STABLE)
            assert sorted(space.scan(handle, space.label("third"), limit)) == sorted(space.uid(name) for name in STABLE[::3])
            assert space.scan(handle, space.label("nobody's"), limit) == []

    def test_s30_an_empty_session_is_listed_until_it_is_deleted(self, store: Store, space: Space) -> None:
        """A session is listed from its first commit on, with or without records, and no longer once it is deleted.

        Look at: a list of sessions that is made from the records.
        """
        self.needs(store, Capability.SCAN)
        uid = space.uid()
        space.write(store, uid, {})
        assert space.scan(store) == [uid]
        space.write(store, uid, {("c", "k"): b"1"})
        space.write(store, uid, {}, drop=[("c", "k")])
        assert space.scan(store) == [uid]
        store.delete(uid)
        assert space.scan(store) == []

    @pytest.mark.parametrize("label", [None, "l"])
    def test_s30_sessions_that_stay_are_listed_while_others_come_and_go(
        self, store: Store, other: Store, space: Space, label: str | None
    ) -> None:
        """While sessions are made, changed and deleted, each walk lists those that are there throughout exactly once.

        Look at: cursors that count (an offset moves when earlier sessions go), and ``SCAN`` of Redis, which may
        repeat and gives no order: keep uids in a sorted set.
        """
        self.needs(store, Capability.SCAN)
        labels = [space.label("l")]
        walked = None if label is None else labels[0]
        for name in STABLE:
            space.write(store, space.uid(name), {("c", "k"): b"1"}, labels=labels)
        stop = threading.Event()
        end = time.monotonic() + 1.5

        def walk() -> None:
            for _ in range(12):
                found = [uid for uid in space.scan(other, walked, 3) if "stable" in uid]
                assert sorted(found) == sorted(space.uid(name) for name in STABLE)
                if time.monotonic() > end:
                    break

        def come_and_go() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                uid = space.uid(f"{'as'[number % 2]} passing {number % 7}")
                with suppress(Conflict):
                    space.write(store, uid, {("c", "k"): Record(b"1", space.early)}, labels=labels if number % 3 else [])
                if number % 2:
                    space.write(store, space.uid(STABLE[number % len(STABLE)]), {("c", "k"): b"2"})
                else:
                    store.delete(space.uid(f"{'as'[number // 2 % 2]} passing {number // 2 % 7}"))

        run_threads(walk, come_and_go, stop=stop)

    def test_s30_a_walk_goes_on_when_the_session_of_its_cursor_goes(self, store: Store, space: Space) -> None:
        """A walk misses nothing when the sessions that it has listed are deleted between its pages.

        Look at: cursors that count, or that need their own session to be there still.
        """
        self.needs(store, Capability.SCAN)
        label = space.label("l")
        for name in STABLE:
            space.write(store, space.uid(name), {("c", "k"): b"1"}, labels=[label])
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(1_000):
            page = store.scan(label, cursor, 3)
            seen += page.uids
            for uid in page.uids:
                store.delete(uid)
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(seen) == sorted(space.uid(name) for name in STABLE)

    def test_s31_labels_are_replaced_whole_or_left(self, store: Store, space: Space) -> None:
        """``labels`` is the whole set from now on; ``None`` leaves it; an empty set removes all; deletion too.

        Look at: labels that are only ever added, and ``None`` that is taken for empty.
        """
        self.needs(store, Capability.SCAN)
        uid, names = space.uid(), ("a", "b", "c")

        def labels_now() -> list[str]:
            return [name for name in names if space.scan(store, space.label(name)) == [uid]]

        space.write(store, uid, {("c", "k"): b"1"}, labels=[space.label("a"), space.label("b")])
        assert labels_now() == ["a", "b"]
        space.write(store, uid, {("c", "k"): b"2"})
        assert labels_now() == ["a", "b"]
        space.write(store, uid, {}, labels=[space.label("b"), space.label("c")])
        assert labels_now() == ["b", "c"]
        space.write(store, uid, {}, labels=[])
        assert labels_now() == []
        space.write(store, uid, {}, labels=[space.label("a")])
        store.delete(uid)
        assert labels_now() == []
        space.write(store, uid, {("c", "k"): b"1"})
        assert labels_now() == []

    def test_s31_labels_compare_by_their_bytes(self, store: Store, space: Space) -> None:
        """Labels that differ in one byte are two, and none is found by a part or a pattern.

        Look at: collations, ``LIKE``, and labels that are joined into one text.
        """
        self.needs(store, Capability.SCAN)
        names = ("a", "A", "a ", " a", "á", "a\u0301", "ab", "a=b", "a,b", "a%", "%", "_", "*", "🦋", '"', "\\")
        for number, name in enumerate(names):
            change = Change(space.version(), {}, frozenset(), frozenset({space.label(name), space.label("all")}))
            store.commit(space.uid(str(number)), change, ABSENT, VERSION_ONLY)
        for number, name in enumerate(names):
            assert space.scan(store, space.label(name)) == [space.uid(str(number))], f"label {name!r}"
        assert len(space.scan(store, space.label("all"), 5)) == len(names)
