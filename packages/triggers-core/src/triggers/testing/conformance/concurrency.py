"""S4, S18, S21: many threads on one object and on several."""

from __future__ import annotations

import functools
import itertools
import random
import threading
import time

import pytest

from triggers.errors import Conflict
from triggers.store import ABSENT, EVERYTHING, Record, Snapshot, Store, Want
from triggers.testing.conformance.children import COUNTER, count_in, increment, whole_change, whole_problems
from triggers.testing.conformance.kit import Kit
from triggers.testing.conformance.space import VERSION_ONLY, Pair, Space, check_snapshot
from triggers.testing.conformance.threads import run_threads

SECONDS = 0.7
"""How long readers and writers race."""
PARTS = {
    "everything": EVERYTHING,
    "two collections": Want(collections=frozenset({"c0", "odd"})),
    "single records": Want(records=frozenset({("c0", "k0"), ("c1", "k1"), ("c2", "k2"), ("odd", "there")})),
}


class Concurrency(Kit):
    """S4, S18, S21."""

    @pytest.mark.parametrize("want", PARTS.values(), ids=PARTS.keys())
    def test_s04_a_load_is_one_moment(self, store: Store, other: Store, space: Space, want: Want) -> None:
        """While others commit, a load shows the records and the version of one moment, never parts of two.

        Look at: loads that take several statements or calls without one transaction (``REPEATABLE READ``), script or
        value around them; the version must be read in the same step as the records.
        """
        uid = space.uid()
        problems: list[str] = []
        stop = threading.Event()

        def read(handle: Store) -> None:
            while not stop.is_set():
                problems.extend(whole_problems(handle.load(uid, want)))

        write = functools.partial(_write_wholes, store, uid, space)
        run_threads(write, functools.partial(read, store), functools.partial(read, other), stop=stop)
        assert not problems, f"{len(problems)} loads were torn; the first: {problems[:3]}"

    def test_s04_the_snapshot_of_a_conflict_is_one_moment(self, store: Store, other: Store, space: Space) -> None:
        """The snapshot that a ``Conflict`` carries is of one moment as well, while others commit.

        Look at: the version that was compared and the records that were loaded after it; ``Conflict`` without
        snapshot is always right.
        """
        uid = space.uid()
        problems: list[str] = []
        stop = threading.Event()

        def be_refused() -> None:
            while not stop.is_set():
                try:
                    other.commit(uid, whole_change(1, "", 0), "no such version", EVERYTHING)
                except Conflict as conflict:
                    if conflict.snapshot is not None:
                        problems.extend(whole_problems(conflict.snapshot))
                else:
                    problems.append("a commit on a version that never was got through")

        run_threads(functools.partial(_write_wholes, store, uid, space), be_refused, stop=stop)
        assert not problems, f"{len(problems)} snapshots of conflicts were torn; the first: {problems[:3]}"

    def test_s18_threads_lose_no_update(self, store: Store, other: Store, space: Space) -> None:
        """4 threads on two handles add 1 to a number 25 times each, over conflicts: it ends at 100.

        Look at: a comparison of versions that is not in one step with the writing, and errors of the medium
        (deadlock, serialization failure, locked) that have to be retried or raised as ``Conflict``.
        """
        uid = space.uid()
        space.write(store, uid, {COUNTER: b"0"})

        def add(handle: Store, name: str) -> None:
            for number in range(25):
                increment(handle, uid, f"{name}.{number}")

        run_threads(*(functools.partial(add, handle, f"t{at}") for at, handle in enumerate((store, store, other, other))))
        assert count_in(other.load(uid, EVERYTHING)) == 100

    def test_s18_only_one_makes_a_session(self, store: Store, other: Store, space: Space) -> None:
        """Of 4 threads that make the same session at once, exactly one succeeds; ten sessions in a row.

        Look at: inserts whose duplicate key is not raised as ``Conflict``, or that replace.
        """
        for number in range(10):
            uid = space.uid(str(number))
            made: list[str] = []

            def make(handle: Store, name: str, uid: str = uid, made: list[str] = made) -> None:
                try:
                    space.write(handle, uid, {("c", name): b"1"}, expected=ABSENT)
                except Conflict:
                    return
                made.append(name)

            run_threads(*(functools.partial(make, handle, str(at)) for at, handle in enumerate((store, other, store, other))))
            assert len(made) == 1, f"{len(made)} threads made the session"
            assert _pairs(store.load(uid, EVERYTHING)) == {("c", made[0])}

    def test_s18_a_commit_and_a_deletion_cannot_both_win(self, store: Store, other: Store, space: Space) -> None:
        """Of a commit and a conditional deletion that expect the same version, exactly one succeeds; twenty times.

        Look at: a deletion that compares in one step and deletes in another, or a commit that inserts what it no
        longer finds.
        """
        for number in range(20):
            uid = space.uid(str(number))
            version = space.write(store, uid, {("c", "k"): b"0", ("c", "k2"): b"0"})
            won: list[str] = []

            def change(uid: str = uid, version: str = version, won: list[str] = won) -> None:
                time.sleep(random.uniform(0, 0.0005))
                try:
                    space.write(store, uid, {("c", "k"): b"1"}, expected=version)
                except Conflict:
                    return
                won.append("commit")

            def remove(uid: str = uid, version: str = version, won: list[str] = won) -> None:
                time.sleep(random.uniform(0, 0.0005))
                try:
                    other.delete(uid, version)
                except Conflict:
                    return
                won.append("delete")

            run_threads(change, remove)
            assert len(won) == 1, f"of a commit and a deletion on one version these succeeded: {won}"
            left = {("c", "k"), ("c", "k2")} if won == ["commit"] else set()
            assert _pairs(other.load(uid, EVERYTHING)) == left

    def test_s21_threads_share_one_object(self, store: Store, space: Space) -> None:
        """8 threads use one object for sessions of their own, each as if it were alone.

        Look at: connections, cursors or buffers that are shared without a lock, and pools that are smaller than the
        number of threads and do not wait.
        """

        def live(name: str) -> None:
            uid = space.uid(name)
            version = ABSENT
            for number in range(12):
                version = space.write(store, uid, {("c", str(number)): Record(name.encode(), space.early)}, expected=version)
                stored = {("c", str(at)): (name, space.early) for at in range(number + 1)}
                check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, stored)
            assert store.delete(uid, version) is True
            assert store.load(uid, EVERYTHING).version == ABSENT

        run_threads(*(functools.partial(live, str(at)) for at in range(8)))


def _write_wholes(store: Store, uid: str, space: Space) -> None:
    version = ABSENT
    end = time.monotonic() + SECONDS
    for number in itertools.count(1):
        change = whole_change(number, space.label("l"), space.early)
        store.commit(uid, change, version, VERSION_ONLY)
        version = change.version
        if time.monotonic() > end:
            break


def _pairs(snapshot: Snapshot) -> set[Pair]:
    return {(collection, key) for collection, records in snapshot.records.items() for key in records}
