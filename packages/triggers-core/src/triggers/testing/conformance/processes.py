"""S19, S20, S22, S24: several processes, processes that are killed, and forks."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import threading
import time

from triggers.errors import Conflict
from triggers.store import ABSENT, EVERYTHING, Capability, Store
from triggers.testing.conformance.children import (
    COUNTER,
    Children,
    commit_until_killed,
    count_in,
    increments,
    let_go,
    set_up,
    whole_change,
    whole_problems,
)
from triggers.testing.conformance.forks import in_fork
from triggers.testing.conformance.kit import Kit, not_tested
from triggers.testing.conformance.space import VERSION_ONLY, OpenStore, Space, check_snapshot
from triggers.testing.conformance.threads import run_threads

KILLS = 6
SETTLING = 50
"""How often a session may be seen to change although the process that changed it is dead."""
PATIENCE = 20.0
"""How long (seconds) a forked child may take before it counts as hanging."""


class Processes(Kit):
    """S19, S20, S22, S24."""

    def test_s19_processes_lose_no_update(self, store: Store, open_store: OpenStore, space: Space, children: Children) -> None:
        """3 processes add 1 to a number 30 times each, over conflicts: it ends at 90.

        Look at: locks that only hold inside of one process, and files or rows that are read before they are locked.
        """
        uid = space.uid()
        space.write(store, uid, {COUNTER: b"0"})
        signal = children.signal(open_store)
        adding = [children.start(open_store, increments, uid, name, 30, signal) for name in ("a", "b", "c")]
        let_go(signal, adding)
        for child in adding:
            child.hear()
        assert count_in(store.load(uid, EVERYTHING)) == 90

    def test_s20_killed_processes_leave_all_or_nothing(
        self, store: Store, open_store: OpenStore, space: Space, children: Children
    ) -> None:
        """A process that is killed while it commits leaves the state before that commit or after it, never between.

        Records, wake-ups, labels and version are looked at after each of several kills, and others can go on from
        there. Look at: what is written in more than one step: use one transaction, one script, or a rename at
        the very end; locks that a dead process holds.
        """
        uid, label = space.uid(), space.label("l")
        committed = 0
        for _ in range(KILLS):
            child = children.start(open_store, commit_until_killed, uid, label, space.early)
            assert child.hear() == "committing"
            time.sleep(random.uniform(0.002, 0.06))
            child.kill()
            number = self._go_on(store, space, uid, label)
            assert number > committed, f"{committed - number + 1} commits that had been there are gone"
            committed = number

    def _go_on(self, store: Store, space: Space, uid: str, label: str) -> int:
        """Looks at the session, and commits the next number to it; what a server has received may still become stored."""
        for _ in range(SETTLING):
            snapshot = store.load(uid, EVERYTHING)
            assert whole_problems(snapshot) == [], "a killed process left a commit half done"
            number = count_in(snapshot)
            wrong = self._wrong_indexes(store, space, uid, label, number)
            if store.load(uid, VERSION_ONLY).version == snapshot.version:
                assert wrong == [], "a killed process left wake-ups or labels that are not those of the records"
                with contextlib.suppress(Conflict):
                    store.commit(uid, whole_change(number + 1, label, space.early), snapshot.version, VERSION_ONLY)
                    return number + 1
            time.sleep(0.02)
        raise AssertionError(f"the session still changed {SETTLING} times after the process that changed it was dead")

    def _wrong_indexes(self, store: Store, space: Space, uid: str, label: str, number: int) -> list[object]:
        wrong: list[object] = []
        if Capability.DUE in store.capabilities:
            found = sorted(space.due(store, space.early + number + 10))
            wrong += [] if found == [(uid, f"c{at}", f"k{at}", space.early + number) for at in range(3)] else found
        if Capability.SCAN in store.capabilities:
            scanned = [space.scan(store, f"{label}{odd}") for odd in (number % 2, (number + 1) % 2)]
            wrong += [] if scanned == [[uid], []] else scanned
        return wrong

    def test_s22_a_fork_uses_the_same_object(self, store: Store, space: Space) -> None:
        """A forked child and its parent go on with the same object at the same time, and neither disturbs the other.

        Look at: ``after_fork``: the child must drop inherited connections without closing them (closing sends a
        goodbye on the parent's connection) and open its own.
        """
        self._fork_is_possible()
        uids = [space.uid(name) for name in ("before", "parent", "child")]
        space.write(store, uids[0], {COUNTER: b"0"})

        def go_on(uid: str) -> None:
            for number in range(1, 21):
                version = space.write(store, uid, {COUNTER: str(number).encode()})
                check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, {COUNTER: (str(number), None)})
                assert store.load(uids[0], EVERYTHING).version != ABSENT

        in_fork(lambda: go_on(uids[2]), lambda: go_on(uids[1]), patience=PATIENCE)
        for uid in uids[1:] if self.between_processes else uids[1:2]:
            assert count_in(store.load(uid, EVERYTHING)) == 20

    def test_s22_a_fork_amid_threads(self, store: Store, space: Space) -> None:
        """A process may fork while other threads of it use the store: the child's first call does not hang.

        Look at: locks of the store or of its pool that another thread held when the process forked; ``after_fork``
        has to make new ones.
        """
        self._fork_is_possible()
        stop = threading.Event()
        uid = space.uid("shared")
        space.write(store, uid, {COUNTER: b"0"})

        def keep_busy() -> None:
            while not stop.is_set():
                store.load(uid, EVERYTHING)
                space.write(store, uid, {COUNTER: b"1"})

        def fork_often() -> None:
            for number in range(4):
                name = space.uid(f"child {number}")
                time.sleep(random.uniform(0.001, 0.01))
                in_fork(functools.partial(_write_and_read, store, name, space), patience=PATIENCE)
                if self.between_processes:
                    assert count_in(store.load(name, EVERYTHING)) == 7

        run_threads(fork_often, keep_busy, stop=stop)

    def _fork_is_possible(self) -> None:
        if not hasattr(os, "fork"):
            not_tested("this platform has no fork")

    def test_s24_setup_again_changes_nothing(self, store: Store, other: Store, space: Space) -> None:
        """``setup`` may be called again, by any handle, and loses nothing.

        Look at: tables or scripts that are made without looking whether they are there, and set-up that empties.
        """
        uid = space.uid()
        version = space.write(store, uid, {("c", "k"): b"1"})
        for handle in (store, other, store):
            handle.setup()
            check_snapshot(handle.load(uid, EVERYTHING), EVERYTHING, version, {("c", "k"): ("1", None)})

    def test_s24_threads_set_up_at_once(self, open_fresh_store: OpenStore) -> None:
        """4 handles of one process call ``setup`` on a fresh medium at once, and all then work.

        Look at: migrations without a lock, and "already exists" that is not taken as done.
        """
        handles = [open_fresh_store() for _ in range(4)]
        space = Space()
        try:
            run_threads(*(handle.setup for handle in handles))
            for number, handle in enumerate(handles):
                space.write(handle, space.uid(str(number)), {COUNTER: b"1"}, expected=ABSENT)
            space.clean(handles[0])
        finally:
            for handle in handles:
                handle.close()

    def test_s24_processes_set_up_at_once(self, open_fresh_store: OpenStore, children: Children) -> None:
        """3 processes call ``setup`` on a fresh medium at once, and all then work.

        Look at: the same as for threads; the lock has to be the medium's own (an advisory lock, a lock file, a
        transaction).
        """
        space = Space()
        uids = [space.uid(name) for name in ("a", "b", "c")]
        signal = children.signal(open_fresh_store)
        starting = [children.start(open_fresh_store, set_up, uid, 2, signal) for uid in uids]
        let_go(signal, starting)
        versions = [child.hear() for child in starting]
        with contextlib.closing(open_fresh_store()) as store:
            for uid, version in zip(uids, versions, strict=True):
                check_snapshot(store.load(uid, EVERYTHING), EVERYTHING, version, {COUNTER: ("1", None)})
            space.clean(store)


def _write_and_read(store: Store, uid: str, space: Space) -> None:
    space.write(store, uid, {COUNTER: b"7"})
    assert count_in(store.load(uid, EVERYTHING)) == 7
