"""S27 to S29: records whose time has come."""

from __future__ import annotations

import pytest

from triggers.store import Capability, Change, Due, Record, Store
from triggers.testing.conformance.kit import Kit
from triggers.testing.conformance.space import VERSION_ONLY, Space, walk_due


class WakeUps(Kit):
    """S27 to S29."""

    def test_s27_due_is_declared_or_refused(self, store: Store, space: Space) -> None:
        """``due`` gives a page where ``DUE`` is declared, and else raises ``NotImplementedError``.

        Look at: ``capabilities``; a page that is always empty would look as if nothing was ever due.
        """
        space.write(store, space.uid(), {("c", "k"): Record(b"1", space.early)})
        if Capability.DUE in store.capabilities:
            assert len(store.due(space.early, None, 1).entries) == 1
        else:
            with pytest.raises(NotImplementedError):
                store.due(space.early, None, 10)

    def test_s27_due_lists_what_has_come_oldest_first(self, store: Store, other: Store, space: Space) -> None:
        """``due`` lists all records with ``wake_at <= before``, oldest first, whatever their session, and no others.

        Look at: ``<`` where ``<=`` belongs, times that are compared as texts or floats, and order across sessions,
        shards and pages.
        """
        self.needs(store, Capability.DUE)
        early = space.early
        offsets = (50, 7, 100, 3, 8, 99, 101, 1000, 0)
        for number, offset in enumerate(offsets):
            put = {("live/t", str(number)): Record(b"1", early + offset), ("live/t", f"never {number}"): Record(b"1")}
            space.write(store, space.uid(str(number % 4)), put)
        for handle in (store, other):
            for limit in (1, 2, 3, 7, 8, 100):
                found = space.due(handle, early + 100, limit)
                assert [entry.wake_at - early for entry in found] == [0, 3, 7, 8, 50, 99, 100], f"in pages of {limit}"
                assert [(entry.uid, entry.collection, entry.key) for entry in found[:2]] == [
                    (space.uid("0"), "live/t", "8"),
                    (space.uid("3"), "live/t", "3"),
                ]
        assert [entry.wake_at - early for entry in space.due(store, early)] == [0]
        assert space.due(store, early - 1) == []

    def test_s27_times_are_told_apart_by_microseconds(self, store: Store, space: Space) -> None:
        """Times that differ by one microsecond are listed in their order, also late in this century.

        Look at: scores or columns with too few digits.
        """
        self.needs(store, Capability.DUE)
        base = 2_900_000_000_000_000
        uid = space.uid()
        space.write(store, uid, {("c", str(at)): Record(b"1", base + at) for at in (2, 0, 1)})
        assert [entry.wake_at - base for entry in space.due(store, base + 1)] == [0, 1]

    def test_s27_entries_name_odd_records(self, store: Store, space: Space) -> None:
        """An entry names uid, collection and key exactly as they were committed, whatever characters they have.

        Look at: names that are joined for the index of wake-ups and cut apart again.
        """
        self.needs(store, Capability.DUE)
        names = ("a", "A", "a ", "á", "a:b", "a|b", "a/b", "#", '"', "\\", "[1]", "🦋", ",", "\u2028")
        expected = set()
        for name in names:
            uid = space.uid(name)
            space.write(store, uid, {(f"live/{name}", name): Record(b"1", space.early)})
            expected.add((uid, f"live/{name}", name, space.early))
        for limit in (3, 100):
            found = space.due(store, space.early, limit)
            assert set(found) == expected
            assert len(found) == len(names)

    def test_s28_a_put_moves_the_wake_up(self, store: Store, space: Space) -> None:
        """A put with another ``wake_at`` moves the one wake-up of a record; a put without one removes it.

        Look at: an index of wake-ups in which the old entry stays beside the new one, or that only ever gains entries.
        """
        self.needs(store, Capability.DUE)
        uid, early = space.uid(), space.early
        space.write(
            store,
            uid,
            {
                ("c", "later"): Record(b"1", early),
                ("c", "sooner"): Record(b"1", early + 900),
                ("c", "off"): Record(b"1", early),
            },
        )
        space.write(
            store,
            uid,
            {
                ("c", "later"): Record(b"1", early + 5),
                ("c", "sooner"): Record(b"1", early + 1),
                ("c", "off"): Record(b"1"),
            },
        )
        expected = [Due(uid, "c", "sooner", early + 1), Due(uid, "c", "later", early + 5)]
        assert space.due(store, early + 1000) == expected
        assert space.due(store, early + 4) == expected[:1]

    def test_s28_other_commits_leave_wake_ups(self, store: Store, space: Space) -> None:
        """A wake-up stays through commits that do not name its record.

        Look at: commits that rewrite all wake-ups of the session from what they put.
        """
        self.needs(store, Capability.DUE)
        uid, early = space.uid(), space.early
        space.write(store, uid, {("c", "k"): Record(b"1", early), ("d", "k"): Record(b"1", early)})
        space.write(
            store,
            uid,
            {("c", "other"): b"1", ("e", "k"): Record(b"1", early + 1)},
            drop=[("d", "k")],
            labels=[space.label("l")],
        )
        assert space.due(store, early + 10) == [Due(uid, "c", "k", early), Due(uid, "e", "k", early + 1)]

    def test_s28_a_drop_removes_the_wake_up(self, store: Store, space: Space) -> None:
        """The wake-up goes with its record when that is dropped.

        Look at: the index of wake-ups in the part of a commit that drops.
        """
        self.needs(store, Capability.DUE)
        uid, early = space.uid(), space.early
        space.write(store, uid, {("c", "k"): Record(b"1", early), ("c", "k2"): Record(b"1", early)})
        space.write(store, uid, {}, drop=[("c", "k")])
        assert space.due(store, early) == [Due(uid, "c", "k2", early)]

    def test_s28_a_deletion_removes_the_wake_ups(self, store: Store, space: Space) -> None:
        """The wake-ups go with their session, and do not come back with a new one of its name.

        Look at: deletion that leaves the index of wake-ups as it is.
        """
        self.needs(store, Capability.DUE)
        early = space.early
        for name in ("gone", "stays"):
            space.write(store, space.uid(name), {("c", "k"): Record(b"1", early), ("c", "k2"): Record(b"1", early + 1)})
        store.delete(space.uid("gone"))
        stays = [Due(space.uid("stays"), "c", "k", early), Due(space.uid("stays"), "c", "k2", early + 1)]
        assert space.due(store, early + 10) == stays
        space.write(store, space.uid("gone"), {("c", "k"): b"1"})
        assert space.due(store, early + 10) == stays

    def test_s29_ties_are_listed_once_each(self, store: Store, space: Space) -> None:
        """More records with the same ``wake_at`` than a page holds are listed once each, within and across sessions.

        Look at: a cursor that is only a time (skips the rest of a tie, or repeats it); it needs uid, collection and
        key besides.
        """
        self.needs(store, Capability.DUE)
        early = space.early
        space.write(store, space.uid("many"), {("c", str(at)): Record(b"1", early) for at in range(25)})
        for number in range(12):
            space.write(store, space.uid(f"one {number}"), {("c", "k"): Record(b"1", early)})
        expected = sorted(
            [(space.uid("many"), "c", str(at), early) for at in range(25)]
            + [(space.uid(f"one {at}"), "c", "k", early) for at in range(12)]
        )
        for limit in (1, 4, 36, 37, 100):
            assert sorted(space.due(store, early, limit)) == expected, f"in pages of {limit}"

    def test_s29_nobody_starves_behind_what_is_not_served(self, store: Store, space: Space) -> None:
        """Entries that nobody serves do not hide what comes after them: a walk gets past any number of them.

        Look at: ``due`` that ignores its cursor, or always gives the first page.
        """
        self.needs(store, Capability.DUE)
        early = space.early
        space.write(store, space.uid("stuck"), {("c", str(at)): Record(b"1", early) for at in range(60)})
        space.write(store, space.uid("behind"), {("c", "k"): Record(b"1", early + 1)})
        for _ in range(2):
            found = space.due(store, early + 1, 7)
            assert len(found) == 61
            assert found[-1] == (space.uid("behind"), "c", "k", early + 1)

    def test_s29_a_walk_goes_on_while_its_entries_go(self, store: Store, space: Space) -> None:
        """A walk misses nothing when the entries of its former pages, the cursor's own included, are served meanwhile.

        Look at: cursors that count (an offset), or that need their own entry to be there still.
        """
        self.needs(store, Capability.DUE)
        early, seen = space.early, []
        for number in range(30):
            space.write(store, space.uid(str(number)), {("c", "k"): Record(b"1", early + number // 4)})
        for at, entry in enumerate(walk_due(store, early + 100, 4)):
            if not space.mine(entry.uid):
                continue
            seen.append(entry.uid)
            if at % 3 == 0:
                store.delete(entry.uid)
            elif at % 3 == 1:
                space.write(store, entry.uid, {}, drop=[("c", "k")])
            else:
                space.write(store, entry.uid, {("c", "k"): Record(b"1", early + 1_000_000)})
        assert sorted(seen) == sorted(space.uid(str(number)) for number in range(30))

    def test_s29_new_entries_do_not_stop_a_walk(self, store: Store, space: Space) -> None:
        """Entries that come while a walk is under way, before and after its cursor, cost it nothing of what was there.

        Look at: cursors that count, and pages that are remembered by number.
        """
        self.needs(store, Capability.DUE)
        early, seen = space.early, []
        space.write(store, space.uid("old"), {("c", str(at)): Record(b"1", early + 100 + at) for at in range(20)})
        cursor: str | None = None
        for number in range(1_000):
            page = store.due(early + 1_000, cursor, 3)
            seen += [entry.key for entry in page.entries if entry.uid == space.uid("old")]
            cursor = page.cursor
            if cursor is None:
                break
            if number < 20:
                new = {
                    ("c", "before"): Record(b"1", early + number),
                    ("c", "after"): Record(b"1", early + 500 + number),
                }
                store.commit(space.uid(f"new {number}"), Change(space.version(), new), "", VERSION_ONLY)
        assert seen == [str(at) for at in range(20)]
