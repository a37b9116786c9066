"""S6 to S12: one commit per version; conflicts; deletion."""

from __future__ import annotations

import pytest

from triggers.errors import Conflict
from triggers.store import ABSENT, EVERYTHING, Capability, Change, Record, Store, Want
from triggers.testing.conformance.kit import Kit
from triggers.testing.conformance.space import VERSION_ONLY, Space, check_snapshot

BEFORE = {("c", "k"): ("1", None), ("c", "other"): ("2", 5)}
OPAQUE = (
    "1",
    "01",
    "1.0",
    "1e0",
    "v",
    "V",
    "v ",
    " v",
    "vé",
    "ve\u0301",
    "%",
    "_",
    "'",
    '"',
    "NULL",
    "v" * 255,
    "日本" * 42,
)


class Commits(Kit):
    """S6 to S12."""

    def _made(self, store: Store, space: Space, name: str = "session") -> tuple[str, str]:
        uid = space.uid(name)
        version = space.write(store, uid, {("c", "k"): b"1", ("c", "other"): Record(b"2", space.early)})
        return uid, version

    def _unchanged(self, store: Store, space: Space, uid: str, version: str) -> None:
        stored = {**BEFORE, ("c", "other"): ("2", space.early)}
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, stored)
        if Capability.DUE in store.capabilities:
            due = [entry for entry in space.due(store, space.early + 100) if entry.uid == uid]
            assert due == [(uid, "c", "other", space.early)], "a refused commit changed the wake-ups"
        if Capability.SCAN in store.capabilities:
            assert space.scan(store, space.label("new")) == [], "a refused commit set a label"

    def _wrong(self, space: Space) -> Change:
        return Change(
            space.version(),
            {("c", "k"): Record(b"9", space.early + 1), ("d", "new"): Record(b"9")},
            frozenset({("c", "other")}),
            frozenset({space.label("new")}),
        )

    def test_s06_another_version_is_refused(self, store: Store, other: Store, space: Space) -> None:
        """A commit that expects another version than the stored one raises ``Conflict`` and stores nothing at all.

        Look at: where the version is compared; it has to be in the same step (script, statement with ``WHERE version
        = ?``, swap) as the writing, and what it wrote until then must be undone.
        """
        uid, first = self._made(store, space)
        second = space.write(store, uid, {("c", "k"): b"1"})
        for handle, expected in ((store, first), (other, first), (store, "no such version"), (store, second + " ")):
            with pytest.raises(Conflict):
                handle.commit(uid, self._wrong(space), expected, EVERYTHING)
            self._unchanged(store, space, uid, second)

    def test_s06_absent_means_that_there_is_none(self, store: Store, space: Space) -> None:
        """``expected=ABSENT`` is refused where the session exists, and any other version where it does not.

        Look at: an insert that replaces, or an update that counts no rows and is taken for success.
        """
        uid, version = self._made(store, space)
        with pytest.raises(Conflict):
            store.commit(uid, self._wrong(space), ABSENT, EVERYTHING)
        self._unchanged(store, space, uid, version)
        nobody = space.uid("nobody")
        with pytest.raises(Conflict):
            store.commit(nobody, self._wrong(space), version, EVERYTHING)
        assert store.load(nobody, EVERYTHING).version == ABSENT

    @pytest.mark.parametrize("want", [VERSION_ONLY, Want(records=frozenset({("c", "k"), ("c", "none")})), EVERYTHING])
    def test_s07_conflict_shows_what_is_stored(self, store: Store, space: Space, want: Want) -> None:
        """``Conflict`` names the session and carries the snapshot that was wanted, as it is now, or ``None``.

        Look at: a snapshot with the wrong version, the refused values, or only the records that were to be put.
        ``None`` is always allowed: the caller then loads.
        """
        uid, first = self._made(store, space)
        second = space.write(store, uid, {("c", "k"): b"3"})
        for expected in (first, ABSENT):
            with pytest.raises(Conflict) as caught:
                store.commit(uid, self._wrong(space), expected, want)
            assert caught.value.uid == uid
            if caught.value.snapshot is not None:
                stored = {("c", "k"): ("3", None), ("c", "other"): ("2", space.early)}
                check_snapshot(caught.value.snapshot, want, second, stored)
        with pytest.raises(Conflict) as caught:
            store.commit(space.uid("nobody"), self._wrong(space), first, want)
        if caught.value.snapshot is not None:
            check_snapshot(caught.value.snapshot, want, ABSENT, {})

    def test_s08_the_same_commit_twice_is_applied_once(self, store: Store, other: Store, space: Space) -> None:
        """A commit that is sent again, by whatever handle, meets a conflict and changes nothing.

        Look at: retries inside of the store or its client library that report the first success as a conflict or
        apply it twice, and a check that lets a commit through because the stored version is already the new one.
        """
        uid = space.uid()
        first = Change(space.version(), {("c", "k"): Record(b"1")})
        store.commit(uid, first, ABSENT, VERSION_ONLY)
        second = Change(space.version(), {("c", "k"): Record(b"2")}, frozenset({("c", "gone")}))
        store.commit(uid, second, first.version, VERSION_ONLY)
        for handle, change, expected in (
            (store, first, ABSENT),
            (store, second, first.version),
            (other, second, first.version),
        ):
            with pytest.raises(Conflict):
                handle.commit(uid, change, expected, VERSION_ONLY)
            check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, second.version, {("c", "k"): ("2", None)})

    def test_s08_an_old_commit_comes_late(self, store: Store, space: Space) -> None:
        """A commit that arrives after others is refused, even if the values have become again what they were.

        Look at: comparing what is stored, or a hash of it, instead of the version.
        """
        uid, first = self._made(store, space)
        late = self._wrong(space)
        space.write(store, uid, {("c", "k"): b"5"})
        back = space.write(store, uid, {("c", "k"): b"1"})
        with pytest.raises(Conflict):
            store.commit(uid, late, first, VERSION_ONLY)
        self._unchanged(store, space, uid, back)

    def test_s09_versions_are_opaque(self, store: Store, space: Space) -> None:
        """A version is any string of up to 255 bytes, comes back as it was, and equals only itself.

        Look at: numeric or case-insensitive comparison, collations that ignore trailing spaces or accents, versions
        that the store counts itself.
        """
        uid = space.uid()
        current = ABSENT
        for version in OPAQUE:
            store.commit(uid, Change(version, {("c", "k"): Record(b"1")}), current, VERSION_ONLY)
            assert store.load(uid, VERSION_ONLY).version == version
            for wrong in OPAQUE:
                if wrong != version:
                    with pytest.raises(Conflict):
                        store.commit(uid, Change("never", {}), wrong, VERSION_ONLY)
            current = version

    def test_s10_delete_removes_everything(self, store: Store, other: Store, space: Space) -> None:
        """Deletion removes the session with all that it has, says whether there was one, and may be repeated.

        Look at: indexes of wake-ups and labels that are kept apart from the records.
        """
        uid = space.uid()
        label = space.label("l")
        space.write(store, uid, {("c", "k"): Record(b"1", space.early), ("d", "k"): b"2"}, labels=[label])
        assert other.delete(uid) is True
        for handle in (store, other):
            check_snapshot(handle.load(uid, EVERYTHING), EVERYTHING, ABSENT, {})
        if Capability.DUE in store.capabilities:
            assert space.due(store, space.early) == []
        if Capability.SCAN in store.capabilities:
            assert (space.scan(store), space.scan(store, label)) == ([], [])
        assert store.delete(uid) is False
        assert store.delete(space.uid("never made")) is False

    def test_s10_a_session_made_anew_is_empty(self, store: Store, space: Space) -> None:
        """A session that is made again after its deletion holds only what was committed since.

        Look at: records, labels or wake-ups that a deletion left behind and that come back with the uid.
        """
        uid = space.uid()
        label = space.label("l")
        space.write(store, uid, {("c", "k"): Record(b"1", space.early), ("c", "k2"): b"2"}, labels=[label])
        store.delete(uid)
        version = space.write(store, uid, {("c", "new"): b"3"}, expected=ABSENT)
        check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, {("c", "new"): ("3", None)})
        if Capability.DUE in store.capabilities:
            assert space.due(store, space.early) == []
        if Capability.SCAN in store.capabilities:
            assert (space.scan(store), space.scan(store, label)) == ([uid], [])

    def test_s11_old_commits_do_not_reach_a_session_made_anew(self, store: Store, other: Store, space: Space) -> None:
        """After delete and re-create no commit or deletion of the former life gets through.

        Look at: versions that the store makes itself and that start again (1, 2, …) after a deletion; they must be
        the committer's tokens.
        """
        uid, old = self._made(store, space)
        late = self._wrong(space)
        store.delete(uid)
        with pytest.raises(Conflict):
            other.commit(uid, late, old, VERSION_ONLY)
        assert store.load(uid, EVERYTHING).version == ABSENT
        uid, new = self._made(store, space)
        for handle in (store, other):
            with pytest.raises(Conflict):
                handle.commit(uid, late, old, VERSION_ONLY)
            with pytest.raises(Conflict):
                handle.delete(uid, old)
        self._unchanged(store, space, uid, new)

    def test_s12_conditional_delete(self, store: Store, other: Store, space: Space) -> None:
        """``delete`` with ``expected`` removes only that version; else ``Conflict``, also if there is no session.

        Look at: a deletion that compares first and deletes in a second step, or ignores ``expected``.
        """
        uid, first = self._made(store, space)
        second = space.write(other, uid, {("c", "k"): b"1"})
        for expected in (first, "no such version"):
            with pytest.raises(Conflict) as caught:
                store.delete(uid, expected)
            assert caught.value.uid == uid
            self._unchanged(store, space, uid, second)
        assert store.delete(uid, second) is True
        check_snapshot(other.load(uid, EVERYTHING), EVERYTHING, ABSENT, {})
        with pytest.raises(Conflict):
            store.delete(uid, second)
