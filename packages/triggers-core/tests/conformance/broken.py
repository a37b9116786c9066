"""Stores with one mistake each, as authors make them, and the test of the kit that must see it.

Each is a working store in all but that.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any, ClassVar

from triggers.errors import Conflict, StorageUnavailable
from triggers.storages.memory import MemoryStore
from triggers.store import (
    ABSENT,
    EVERYTHING,
    NOTHING,
    Capability,
    Change,
    Due,
    DuePage,
    Record,
    ScanPage,
    Snapshot,
    Want,
)

Catalogue = dict[str, type["Broken"]]
STORES: Catalogue = {}


class Broken(MemoryStore):
    """A store in memory; a subclass gets one thing wrong and registers itself."""

    caught_by: ClassVar[str]
    """The test that was written for this mistake."""
    also: ClassVar[str] = ""
    """Further rules that the same mistake breaks."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        STORES[cls.__name__] = cls


class LoadMakesTheSession(Broken):
    """A load of an unknown session inserts it."""

    caught_by = "test_s01_loading_makes_no_session"
    also = "S6 S10 S11 S12 S21"

    def load(self, uid: str, want: Want) -> Snapshot:
        with contextlib.suppress(Conflict):
            self.commit(uid, Change("made by loading", {}), ABSENT, want)
        return super().load(uid, want)


class RoundsTheTimes(Broken):
    """``wake_at`` is kept with 14 digits."""

    caught_by = "test_s15_wake_at_is_exact"
    also = "S2 S3 S5 S27"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        put = {
            pair: Record(record.value, None if record.wake_at is None else int(float(f"{record.wake_at:.14g}")))
            for pair, record in change.put.items()
        }
        super().commit(uid, change._replace(put=put), expected, want)


class ReturnsLessThanAsked(Broken):
    """Where whole collections are wanted, single records are forgotten."""

    caught_by = "test_s03_partial_loads_hold_what_was_wanted"
    also = "S13"

    def load(self, uid: str, want: Want) -> Snapshot:
        return super().load(uid, want._replace(records=frozenset()) if want.collections else want)


class AlwaysSaysComplete(Broken):
    """A part of a session is given out as all of it."""

    caught_by = "test_s03_partial_loads_hold_what_was_wanted"
    also = "S4 S5 S13 S14"

    def load(self, uid: str, want: Want) -> Snapshot:
        return super().load(uid, want)._replace(complete=True)


class AsksForTheFirstThousand(Broken):
    """Single records beyond a limit of the medium are not asked for."""

    caught_by = "test_s03_many_pairs_at_once"

    def load(self, uid: str, want: Want) -> Snapshot:
        return super().load(uid, want._replace(records=frozenset(sorted(want.records)[:999])))


class ReadsTheVersionApart(Broken):
    """The version is read in one call, the records in the next."""

    caught_by = "test_s04_a_load_is_one_moment"

    def load(self, uid: str, want: Want) -> Snapshot:
        version = super().load(uid, Want()).version
        time.sleep(0)
        found = super().load(uid, want)
        return found if ABSENT in (version, found.version) else found._replace(version=version)


class ShowsAConflictLater(Broken):
    """The snapshot of a conflict has the version that was compared, and records that were read afterwards."""

    caught_by = "test_s04_the_snapshot_of_a_conflict_is_one_moment"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        try:
            super().commit(uid, change, expected, want)
        except Conflict as conflict:
            time.sleep(0)
            version = ABSENT if conflict.snapshot is None else conflict.snapshot.version
            raise Conflict(uid, self.load(uid, want)._replace(version=version)) from None


class MergesWakeAt(Broken):
    """A put without ``wake_at`` keeps the old one."""

    caught_by = "test_s05_put_replaces_the_whole_record"
    also = "S28"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        old = self.load(uid, EVERYTHING).records
        put = {}
        for (collection, key), record in change.put.items():
            before = old.get(collection, {}).get(key, record)
            put[collection, key] = Record(record.value, before.wake_at if record.wake_at is None else record.wake_at)
        super().commit(uid, change._replace(put=put), expected, want)


class DropsLast(Broken):
    """Drops come after puts, so that what is in both is gone."""

    caught_by = "test_s05_drop_removes_the_record"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        put = {pair: record for pair, record in change.put.items() if pair not in change.drop}
        super().commit(uid, change._replace(put=put), expected, want)


class ForgetsEmptySessions(Broken):
    """A session goes with its last record."""

    caught_by = "test_s05_session_without_records_exists"
    also = "S30 S31"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid, change, expected, want)
        if not self.load(uid, EVERYTHING).records:
            self.delete(uid)


class IgnoresTheVersion(Broken):
    """Every commit goes through."""

    caught_by = "test_s06_another_version_is_refused"
    also = "S7 S8 S9 S11"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        while True:
            with contextlib.suppress(Conflict):
                super().commit(uid, change, self.load(uid, Want()).version, want)
                return


class InsertReplaces(Broken):
    """A commit that expects no session replaces the one that is there."""

    caught_by = "test_s06_absent_means_that_there_is_none"
    also = "S7 S8"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        if expected == ABSENT:
            self.delete(uid)
        super().commit(uid, change, expected, want)


class StoresAConflict(Broken):
    """Of a refused commit, the labels are set all the same."""

    caught_by = "test_s06_another_version_is_refused"
    also = "S8 S11"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        try:
            super().commit(uid, change, expected, want)
        except Conflict:
            version = self.load(uid, Want()).version
            if version != ABSENT:
                super().commit(uid, Change(version, {}, frozenset(), change.labels), version, want)
            raise


class ShowsWhatWasRefused(Broken):
    """The snapshot of a conflict holds the values that were to be stored."""

    caught_by = "test_s07_conflict_shows_what_is_stored"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        try:
            super().commit(uid, change, expected, want)
        except Conflict as conflict:
            records = {collection: dict(entries) for collection, entries in (conflict.snapshot or NOTHING).records.items()}
            for (collection, key), record in change.put.items():
                if collection in records:
                    records[collection][key] = record
            raise Conflict(uid, None if conflict.snapshot is None else conflict.snapshot._replace(records=records)) from None


class TakesARepeatForSuccess(Broken):
    """A commit whose version is already stored is reported as done, which hides whose it was."""

    caught_by = "test_s08_the_same_commit_twice_is_applied_once"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        if self.load(uid, Want()).version != change.version:
            super().commit(uid, change, expected, want)


class ComparesTheStoredValues(Broken):
    """A stale commit goes through if what it replaces looks as it did then."""

    caught_by = "test_s08_an_old_commit_comes_late"
    also = "S6 S9"

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], dict[str, Any]] = {}

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        now = self.load(uid, EVERYTHING)
        if expected != ABSENT and self._seen.get((uid, expected)) == now.records != {}:
            expected = now.version
        super().commit(uid, change, expected, want)
        self._seen[uid, change.version] = dict(self.load(uid, EVERYTHING).records)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        gone = super().delete(uid, expected)
        self._seen = {entry: seen for entry, seen in self._seen.items() if entry[0] != uid}
        return gone


class FoldsVersions(Broken):
    """Versions are compared by a collation: without case and trailing spaces."""

    caught_by = "test_s09_versions_are_opaque"
    also = "S6"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        now = self.load(uid, Want()).version
        super().commit(uid, change, now if now.strip().lower() == expected.strip().lower() else expected, want)


class DeleteLeavesLabels(Broken):
    """A deletion forgets the index of labels."""

    caught_by = "test_s10_delete_removes_everything"
    also = "S31"

    def delete(self, uid: str, expected: str | None = None) -> bool:
        session = self._sessions.get(uid)
        if session is not None:
            session.labels = frozenset()
        return super().delete(uid, expected)


class CountsVersionsAnew(Broken):
    """The store numbers the commits of a session itself, from 1 on, and compares the numbers of the tokens."""

    caught_by = "test_s11_old_commits_do_not_reach_a_session_made_anew"

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[tuple[str, str], int] = {}
        self._counts: dict[str, int] = {}

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid, change, self._translated(uid, expected), want)
        self._counts[uid] = self._counts.get(uid, 0) + 1
        self._numbers[uid, change.version] = self._counts[uid]

    def delete(self, uid: str, expected: str | None = None) -> bool:
        gone = super().delete(uid, None if expected is None else self._translated(uid, expected))
        self._counts.pop(uid, None)
        return gone

    def _translated(self, uid: str, expected: str) -> str:
        number = self._numbers.get((uid, expected))
        now = self.load(uid, Want()).version
        return now if now != ABSENT and number == self._counts.get(uid) else expected


class DeletesAnyVersion(Broken):
    """A deletion ignores its condition."""

    caught_by = "test_s12_conditional_delete"
    also = "S11"

    def delete(self, uid: str, expected: str | None = None) -> bool:
        return super().delete(uid)


class DeletesNobodyQuietly(Broken):
    """A conditional deletion of a session that does not exist is no conflict."""

    caught_by = "test_s12_conditional_delete"

    def delete(self, uid: str, expected: str | None = None) -> bool:
        if self.load(uid, Want()).version == ABSENT:
            return False
        return super().delete(uid, expected)


class IgnoresCase(Broken):
    """Keys are compared without their case, as many collations do."""

    caught_by = "test_s13_keys_and_collections_compare_by_their_bytes"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        last = {(collection, key.lower()): (collection, key) for collection, key in change.put}
        put = {pair: change.put[pair] for pair in last.values()}
        super().commit(uid, change._replace(put=put), expected, want)


class StripsSpaces(Broken):
    """Trailing spaces of a uid do not count, as in a column of type CHAR."""

    caught_by = "test_s13_uids_compare_by_their_bytes"
    also = "S14 S27"

    def load(self, uid: str, want: Want) -> Snapshot:
        return super().load(uid.rstrip(" "), want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid.rstrip(" "), change, expected, want)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        return super().delete(uid.rstrip(" "), expected)


class CutsLongNames(Broken):
    """Uids are cut after 250 characters."""

    caught_by = "test_s13_names_of_255_bytes"

    def load(self, uid: str, want: Want) -> Snapshot:
        return super().load(uid[:250], want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid[:250], change, expected, want)

    def delete(self, uid: str, expected: str | None = None) -> bool:
        return super().delete(uid[:250], expected)


class MixesTwoRecords(Broken):
    """Collection and key are joined with a colon that both may have."""

    caught_by = "test_s14_names_do_not_run_together"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        last = {":".join(pair): pair for pair in change.put}
        super().commit(uid, change._replace(put={pair: change.put[pair] for pair in last.values()}), expected, want)


class MixesTwoSessions(Broken):
    """A deletion takes all sessions whose uid begins with the deleted one's."""

    caught_by = "test_s14_sessions_leave_each_other_alone"
    also = "S30"

    def delete(self, uid: str, expected: str | None = None) -> bool:
        gone = super().delete(uid, expected)
        for other in [name for name in list(self._sessions) if name.startswith(uid)]:
            super().delete(other)
        return gone


class NormalisesNumbers(Broken):
    """Values are decoded and encoded by a column that knows only one kind of number."""

    caught_by = "test_s15_values_come_back_equal"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        put = {}
        for pair, record in change.put.items():
            value = json.loads(record.value, parse_float=lambda text: int(float(text)) if float(text) % 1 == 0 else float(text))
            put[pair] = Record(json.dumps(value).encode(), record.wake_at)
        super().commit(uid, change._replace(put=put), expected, want)


class TakesEmptyForAbsent(Broken):
    """A value that is false in Python is not stored."""

    caught_by = "test_s15_values_come_back_equal"
    also = "S2 S3 S5 S21"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        put = {pair: record for pair, record in change.put.items() if json.loads(record.value)}
        super().commit(uid, change._replace(put=put), expected, want)


class LosesAstralCharacters(Broken):
    """Texts go through an encoding of at most three bytes per character."""

    caught_by = "test_s15_every_character_comes_back"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        put = {
            pair: Record("".join(c if ord(c) < 0x10000 else "?" for c in record.value.decode()).encode(), record.wake_at)
            if len(record.value) > 1000
            else record
            for pair, record in change.put.items()
        }
        super().commit(uid, change._replace(put=put), expected, want)


class HasASmallerLimit(Broken):
    """The medium takes less than the store declares."""

    caught_by = "test_s16_values_up_to_the_limit"
    max_value_bytes = 2**19

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        if any(len(record.value) > 2**18 for record in change.put.values()):
            raise StorageUnavailable("packet too large")
        super().commit(uid, change, expected, want)


class CutsLongValues(Broken):
    """What is longer than the limit is cut without a word."""

    caught_by = "test_s16_beyond_the_limit_nothing_is_stored"
    max_value_bytes = 2**19

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        put = {
            pair: Record(record.value[: 2**19 - 1] + b'"', record.wake_at) if len(record.value) > 2**19 else record
            for pair, record in change.put.items()
        }
        super().commit(uid, change._replace(put=put), expected, want)


class WritesInChunks(Broken):
    """Only the first thousand records of a commit are written."""

    caught_by = "test_s17_ten_thousand_records"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        put = dict(list(change.put.items())[:5000])
        super().commit(uid, change._replace(put=put), expected, want)


class ComparesThenWrites(Broken):
    """The version is compared before the writing, not with it."""

    caught_by = "test_s18_threads_lose_no_update"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        if self.load(uid, Want()).version != expected:
            raise Conflict(uid)
        time.sleep(0.0005)
        while True:
            with contextlib.suppress(Conflict):
                super().commit(uid, change, self.load(uid, Want()).version, want)
                return


class SharesABuffer(Broken):
    """The object has one buffer for all threads."""

    caught_by = "test_s21_threads_share_one_object"
    _buffer: Snapshot = NOTHING

    def load(self, uid: str, want: Want) -> Snapshot:
        self._buffer = super().load(uid, want)
        time.sleep(0)
        return self._buffer


class HoldsItsLockOverAFork(Broken):
    """A lock of its own, and no ``after_fork`` that makes a new one."""

    caught_by = "test_s22_a_fork_amid_threads"

    def __init__(self) -> None:
        super().__init__()
        self._own = threading.Lock()

    def load(self, uid: str, want: Want) -> Snapshot:
        with self._own:
            time.sleep(0.01)
            return super().load(uid, want)


class SetupEmpties(Broken):
    """``setup`` makes everything anew."""

    caught_by = "test_s24_setup_again_changes_nothing"

    def setup(self) -> None:
        for uid in list(self._sessions):
            self.delete(uid)


class SetsUpOnce(Broken):
    """A second ``setup`` finds that everything exists, and fails."""

    caught_by = "test_s24_setup_again_changes_nothing"
    _made = False

    def setup(self) -> None:
        if self._made:
            raise StorageUnavailable("table already exists")
        self._made = True


class ClosesForGood(Broken):
    """A closed store stays closed."""

    caught_by = "test_s25_a_closed_store_opens_again"
    _closed = False

    def close(self) -> None:
        self._closed = True

    def load(self, uid: str, want: Want) -> Snapshot:
        if self._closed:
            raise StorageUnavailable("the pool is closed")
        return super().load(uid, want)


class ClosesWhatIsUsed(Broken):
    """``close`` takes the connections from the threads that wait at them."""

    caught_by = "test_s25_a_store_is_closed_under_its_threads"
    _opened = 0

    def close(self) -> None:
        self._opened += 1

    def load(self, uid: str, want: Want) -> Snapshot:
        opened = self._opened
        time.sleep(0.001)
        if opened != self._opened:
            raise TypeError("argument must be an int, or have a fileno() method")
        return super().load(uid, want)


class NothingIsDue(Broken):
    """``due`` is there and always empty, and ``DUE`` is not declared."""

    caught_by = "test_s27_due_is_declared_or_refused"
    capabilities = Capability.SCAN

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        return DuePage([], None)


class LosesAWakeUp(Broken):
    """The wake-up of a record that is replaced is forgotten in the index."""

    caught_by = "test_s28_a_put_moves_the_wake_up"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        old = self.load(uid, EVERYTHING).records
        super().commit(uid, change, expected, want)
        replaced = {pair for pair in change.put if pair[1] in old.get(pair[0], {})}
        self._due = [entry for entry in self._due if (entry[1] != uid or (entry[2], entry[3]) not in replaced)]

    def _drop(self, uid: str, session: Any, collection: str, key: str) -> None:
        _tolerant_drop(self, uid, session, collection, key)


class KeepsADroppedWakeUp(Broken):
    """A dropped record stays in the index of wake-ups."""

    caught_by = "test_s28_a_drop_removes_the_wake_up"

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[tuple[int, str, str, str]] = []

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        before = list(self._due)
        super().commit(uid, change, expected, want)
        dropped = {(uid, *pair) for pair in change.drop}
        self._kept += [entry for entry in before if entry[1:] in dropped]

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        page = super().due(before, after, limit)
        kept = [] if after else [Due(*entry[1:], entry[0]) for entry in self._kept if entry[0] <= before]
        return DuePage((kept + page.entries)[:limit] if kept else page.entries, page.cursor)


class DeleteLeavesWakeUps(Broken):
    """A deletion forgets the index of wake-ups."""

    caught_by = "test_s28_a_deletion_removes_the_wake_ups"
    also = "S10 S11"

    def delete(self, uid: str, expected: str | None = None) -> bool:
        kept = [entry for entry in self._due if entry[1] == uid]
        gone = super().delete(uid, expected)
        self._due = sorted({*self._due, *kept})
        return gone

    def _drop(self, uid: str, session: Any, collection: str, key: str) -> None:
        _tolerant_drop(self, uid, session, collection, key)


class ExcludesTheMoment(Broken):
    """``<`` where ``<=`` belongs."""

    caught_by = "test_s27_due_lists_what_has_come_oldest_first"
    also = "S13 S14 S28 S29"

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        return super().due(before - 1, after, limit)


class DueInOrderOfUids(Broken):
    """Due records are listed by session, not by time."""

    caught_by = "test_s27_due_lists_what_has_come_oldest_first"
    also = "S28 S29"

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        everything = sorted((Due(*entry[1:], entry[0]) for entry in self._due if entry[0] <= before), key=lambda due: due[:3])
        left = [due for due in everything if after is None or list(due[:3]) > json.loads(after)]
        return DuePage(left[:limit], json.dumps(left[limit - 1][:3]) if len(left) > limit else None)


class StarvesBehindAPage(Broken):
    """``due`` gives the first page and no more."""

    caught_by = "test_s29_nobody_starves_behind_what_is_not_served"
    also = "S27"

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        return DuePage(super().due(before, None, limit).entries, None)


class NeverGetsPastAPage(Broken):
    """``due`` ignores its cursor."""

    caught_by = "test_s29_nobody_starves_behind_what_is_not_served"
    also = "S27"

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        return super().due(before, None, limit)


class SkipsTies(Broken):
    """The cursor of ``due`` is a time."""

    caught_by = "test_s29_ties_are_listed_once_each"
    also = "S27"

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        left = [
            Due(*entry[1:], entry[0]) for entry in self._due if entry[0] <= before and (after is None or entry[0] > int(after))
        ]
        return DuePage(left[:limit], str(left[limit - 1].wake_at) if len(left) > limit else None)


class CountsDue(Broken):
    """The cursor of ``due`` is an offset."""

    caught_by = "test_s29_a_walk_goes_on_while_its_entries_go"

    def due(self, before: int, after: str | None, limit: int) -> DuePage:
        start = int(after or 0)
        found = [Due(*entry[1:], entry[0]) for entry in self._due if entry[0] <= before]
        return DuePage(found[start : start + limit], str(start + limit) if len(found) > start + limit else None)


class ScanRepeats(Broken):
    """``>=`` where ``>`` belongs: each page begins with the end of the last."""

    caught_by = "test_s30_scan_lists_each_session_once"
    also = "S31"

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        left = [uid for uid in self._uids.get(label, []) if after is None or uid >= after]
        return ScanPage(left[:limit], left[limit - 1] if len(left) > max(limit, 2) else None)


class CountsSessions(Broken):
    """The cursor of ``scan`` is an offset: sessions that go take others out of the pages."""

    caught_by = "test_s30_a_walk_goes_on_when_the_session_of_its_cursor_goes"

    def scan(self, label: str | None, after: str | None, limit: int) -> ScanPage:
        start = int(after or 0)
        uids = list(self._uids.get(label, []))
        return ScanPage(uids[start : start + limit], str(start + limit) if len(uids) > start + limit else None)


class OnlyAddsLabels(Broken):
    """Labels that a commit does not name any more stay."""

    caught_by = "test_s31_labels_are_replaced_whole_or_left"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        session = self._sessions.get(uid)
        if change.labels is not None and session is not None:
            change = change._replace(labels=change.labels | session.labels)
        super().commit(uid, change, expected, want)


class ClearsLabels(Broken):
    """No labels in a commit are taken for an empty set."""

    caught_by = "test_s31_labels_are_replaced_whole_or_left"
    also = "S30"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid, change._replace(labels=change.labels or frozenset()), expected, want)


class ForgetsSecretly(Broken):
    """Sessions expire, though ``EXPIRE`` is not declared."""

    caught_by = "test_s32_expiry_is_declared_or_does_not_happen"

    def __init__(self) -> None:
        super().__init__()
        self._ends: dict[str, float] = {}

    def load(self, uid: str, want: Want) -> Snapshot:
        if uid in self._ends and time.monotonic() > self._ends[uid]:
            self.delete(uid)
            del self._ends[uid]
        return super().load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid, change, expected, want)
        if change.expire_in is not None:
            self._ends[uid] = time.monotonic() + change.expire_in
        else:
            self._ends.pop(uid, None)


class ExpiresWhatIsKept(ForgetsSecretly):
    """A commit without an expiry leaves the old one running."""

    caught_by = "test_s32_expiry_is_declared_or_does_not_happen"
    capabilities = Capability.DUE | Capability.SCAN | Capability.EXPIRE

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        end = self._ends.get(uid)
        super().commit(uid, change, expected, want)
        if end is not None:
            self._ends[uid] = end


class NamesNoInterface(Broken):
    """The interface that it was built for is another one."""

    caught_by = "test_s33_declarations"
    api_version = 0


class NeverReconnects(Broken):
    """Once its connection was cut, every call fails."""

    caught_by = "test_s23_the_store_comes_back_by_itself"
    cut = False

    def load(self, uid: str, want: Want) -> Snapshot:
        if self.cut:
            raise StorageUnavailable("connection refused")
        return super().load(uid, want)

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        if self.cut:
            raise StorageUnavailable("connection refused")
        super().commit(uid, change, expected, want)


class DeniesWhatItStored(Broken):
    """A commit whose reply was lost is reported as not sent."""

    caught_by = "test_s23_a_commit_over_a_lost_connection_says_what_it_knows"
    cut = False

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        super().commit(uid, change, expected, want)
        if self.cut:
            self.cut = False
            raise StorageUnavailable("connection lost")


class DropReachesFurther(Broken):
    """A drop of a record that is not there takes the wake-up of the same key in another collection along."""

    caught_by = "test_s34_says_what_the_memory_store_says"

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        held = self.load(uid, EVERYTHING).records
        super().commit(uid, change, expected, want)
        keys = {key for collection, key in change.drop if key not in held.get(collection, {})}
        self._due = [entry for entry in self._due if entry[1] != uid or entry[3] not in keys]

    def _drop(self, uid: str, session: Any, collection: str, key: str) -> None:
        _tolerant_drop(self, uid, session, collection, key)


def _tolerant_drop(store: MemoryStore, uid: str, session: Any, collection: str, key: str) -> None:
    """Removes a record and its wake-up, also where the index has lost that."""
    found = session.records.get(collection)
    record = found.pop(key, None) if found else None
    if found is not None and not found:
        del session.records[collection]
    if record is not None and record.wake_at is not None:
        entry = (record.wake_at, uid, collection, key)
        if entry in store._due:
            store._due.remove(entry)
