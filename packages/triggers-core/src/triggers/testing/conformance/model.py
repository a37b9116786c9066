"""S34: whatever is called in whatever order, the store says what the memory store says."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test

from triggers.errors import Conflict
from triggers.storages.memory import MemoryStore
from triggers.store import ABSENT, EVERYTHING, Capability, Change, Record, Store, Want
from triggers.testing.conformance.kit import Kit
from triggers.testing.conformance.space import Space, check_snapshot, held

UIDS = st.sampled_from(["s", "S", "s "])
PAIRS = st.tuples(st.sampled_from(["c", "cc", "d/t"]), st.sampled_from(["1", "2", "10", "k"]))
RECORDS = st.builds(
    Record, st.sampled_from([b"{}", b"[]", b'""', b"null", b"0", b'{"a":[1,2.5]}']), st.none() | st.integers(0, 9)
)
LABELS = st.none() | st.frozensets(st.sampled_from(["l", "L", "m"]))
WANTS = st.builds(
    Want,
    st.frozensets(PAIRS, max_size=3),
    st.frozensets(st.sampled_from(["c", "cc", "d/t", "e"]), max_size=2),
    st.booleans(),
)
LIMITS = st.integers(1, 5)


class StoreMachine(RuleBasedStateMachine):
    """Does the same to a store and to a ``MemoryStore``, and compares what they say."""

    versions = Bundle("versions")

    store: ClassVar[Store]

    def __init__(self) -> None:
        super().__init__()
        self.model = MemoryStore()
        self.space = Space()

    @initialize(target=versions)
    def begin(self) -> Any:
        """Versions that are never right, or only for a session that does not exist."""
        return multiple(ABSENT, "no such version")

    @rule(
        target=versions,
        uid=UIDS,
        put=st.dictionaries(PAIRS, RECORDS, max_size=5),
        drop=st.frozensets(PAIRS, max_size=4),
        labels=LABELS,
        want=WANTS,
    )
    def commit(
        self,
        uid: str,
        put: dict[tuple[str, str], Record],
        drop: frozenset[tuple[str, str]],
        labels: frozenset[str] | None,
        want: Want,
    ) -> str:
        """A commit on the version that is stored."""
        uid = self.space.uid(uid)
        change = self._change(put, drop, labels)
        expected = self.model.load(uid, Want()).version
        self.model.commit(uid, change, expected, want)
        self.store.commit(uid, change, expected, want)
        return change.version

    @rule(
        uid=UIDS,
        put=st.dictionaries(PAIRS, RECORDS, min_size=1, max_size=3),
        labels=LABELS,
        expected=versions,
        want=WANTS,
    )
    def commit_on(
        self, uid: str, put: dict[tuple[str, str], Record], labels: frozenset[str] | None, expected: str, want: Want
    ) -> None:
        """A commit on any version that ever was."""
        uid = self.space.uid(uid)
        change = self._change(put, frozenset(), labels)
        refused = [self._refused(store, uid, change, expected, want) for store in (self.model, self.store)]
        assert refused[0] == refused[1], "one store refused the commit, the other did not"

    def _refused(self, store: Store, uid: str, change: Change, expected: str, want: Want) -> bool:
        try:
            store.commit(uid, change, expected, want)
        except Conflict as conflict:
            if conflict.snapshot is not None:
                now = self.model.load(uid, EVERYTHING)
                check_snapshot(conflict.snapshot, want, now.version, held(now))
            return True
        return False

    @rule(uid=UIDS, want=WANTS)
    def load(self, uid: str, want: Want) -> None:
        """A load of anything."""
        self._compare(uid, want)

    @rule(uid=UIDS)
    def delete(self, uid: str) -> None:
        """A deletion without condition."""
        uid = self.space.uid(uid)
        assert self.store.delete(uid) == self.model.delete(uid)

    @rule(uid=UIDS, expected=versions)
    def delete_on(self, uid: str, expected: str) -> None:
        """A deletion on any version that ever was."""
        if expected == ABSENT:
            return
        uid = self.space.uid(uid)
        results = []
        for store in (self.model, self.store):
            try:
                results.append(str(store.delete(uid, expected)))
            except Conflict:
                results.append("conflict")
        assert results[0] == results[1]

    @rule(before=st.integers(0, 10), limit=LIMITS)
    def due(self, before: int, limit: int) -> None:
        """A walk through what is due."""
        self._compare_due(before, limit)

    @rule(label=st.none() | st.sampled_from(["l", "L", "m", "n"]), limit=LIMITS)
    def scan(self, label: str | None, limit: int) -> None:
        """A walk through the sessions."""
        self._compare_scan(label, limit)

    def teardown(self) -> None:
        """All is compared once more, then removed."""
        try:
            for uid in ("s", "S", "s "):
                self._compare(uid, EVERYTHING)
            self._compare_due(10, 100)
            for label in (None, "l", "L", "m"):
                self._compare_scan(label, 100)
        finally:
            self.space.clean(self.store)

    def _compare_due(self, before: int, limit: int) -> None:
        if Capability.DUE in self.store.capabilities:
            expected = self.space.due(self.model, self.space.early + before)
            found = self.space.due(self.store, self.space.early + before, limit)
            assert sorted(found) == sorted(expected)
            assert [entry.wake_at for entry in found] == [entry.wake_at for entry in expected]

    def _compare_scan(self, label: str | None, limit: int) -> None:
        if Capability.SCAN in self.store.capabilities:
            wanted = None if label is None else self.space.label(label)
            assert sorted(self.space.scan(self.store, wanted, limit)) == self.space.scan(self.model, wanted)

    def _compare(self, uid: str, want: Want) -> None:
        uid = self.space.uid(uid)
        now = self.model.load(uid, EVERYTHING)
        check_snapshot(self.store.load(uid, want), want, now.version, held(now))

    def _change(
        self, put: dict[tuple[str, str], Record], drop: frozenset[tuple[str, str]], labels: frozenset[str] | None
    ) -> Change:
        timed = {
            pair: Record(record.value, None if record.wake_at is None else self.space.early + record.wake_at)
            for pair, record in put.items()
        }
        return Change(self.space.version(), timed, drop, None if labels is None else frozenset(map(self.space.label, labels)))


class Model(Kit):
    """S34."""

    def test_s34_says_what_the_memory_store_says(self, store: Store) -> None:
        """Random calls of all methods give what the memory store gives; Hypothesis prints the shortest that do not.

        Look at: the sequence that is printed; each step is one call with its arguments.
        """
        under_test = store

        class Machine(StoreMachine):
            store = under_test

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=40,
                stateful_step_count=25,
                deadline=None,
                database=None,
                phases=(Phase.generate, Phase.shrink),
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
