"""Counted, not timed: what a fire reads and writes does not grow with the session."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.exactly_once.faulty import Between
from tests.rules.backends import Backend, fresh_uid
from tests.rules.scene import held_runner
from triggers import records
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.settings import Settings
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import ABSENT, EVERYTHING, Change, Snapshot, Store, Want
from triggers.tasks import registered, task
from triggers_sql.backend import SqlStorageBackend
from triggers_sql.store import SqlStore

MANY = 3000

TASKS: dict[str, Any] = {
    "join": {"after": ["a", "b"], "run": "w"},
    "each": {"andEvery": "tick", "run": "w"},
    "queue": {"after": ["known", "never"], "andEvery": "tock", "run": "w", "using": "held"},
}

FIRES = ["nobody's", "a", "b", "tick", "tock", "known", "tock", "tick", "known", "a"]
"""Recorded only; a join, half and whole; one ready at once; one queued; a trigger that the queued ones have."""

tokens = itertools.count()


def session_with(extra: str) -> tuple[dict[str, Any], Snapshot]:
    """The records of a session, made in memory."""
    store = MemoryStore()
    tasks = dict(TASKS)
    if extra == "1000 tasks":
        tasks |= {f"x{number:04}": {"after": [f"y{number}"], "run": "w"} for number in range(997)}
    settings = Settings(runner="inline", sweep_interval=0.0)
    manager = TriggerManager(MemoryStorageBackend("s", store=store), process=Process(settings=lambda: settings))
    manager.update_configuration(tasks)
    manager.fire("known")
    manager.fire("tick")
    manager.fire("tock")
    if extra == "3000 finished":
        for number in range(MANY):
            manager.fire("tick", {"n": number})
    elif extra == "1000 tasks":
        for number in range(997):
            manager.fire(f"y{number}")
    elif extra == "3000 queued":
        for number in range(MANY):
            manager.fire("tock", {"n": number})
    return tasks, store.load("s", EVERYTHING)


EXTRAS = ["nothing", "3000 finished", "3000 queued", "1000 tasks"]


@pytest.fixture(scope="module")
def sessions() -> Iterator[Callable[[str], Snapshot]]:
    """Sessions by what they have more than the plain one."""
    made: dict[str, Snapshot] = {}
    task("w")(_works)
    with held_runner():

        def session(extra: str) -> Snapshot:
            if extra not in made:
                made[extra] = session_with(extra)[1]
            return made[extra]

        yield session
    registered.remove("w")


def _works() -> None:
    pass


class Counted(NamedTuple):
    """What passed between runtime and store."""

    loads: int
    commits: int
    records_read: int
    records_written: int


class CountingStore(Between):
    """Hands everything on and counts it."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.clear()

    def clear(self) -> None:
        """Counts from zero."""
        self.loads = self.commits = self.read = self.written = 0
        self.bytes_read = self.bytes_written = 0

    def load(self, uid: str, want: Want) -> Snapshot:
        """Counted: what was asked for and is there; what a store gives beyond that is its own matter."""
        found = super().load(uid, want)
        self.loads += 1
        for collection, entries in found.records.items():
            for key, record in entries.items():
                if want.covers(collection, key):
                    self.read += 1
                    self.bytes_read += len(record.value)
        return found

    def commit(self, uid: str, change: Change, expected: str, want: Want) -> None:
        """Counted."""
        super().commit(uid, change, expected, want)
        self.commits += 1
        self.written += len(change.put) + len(change.drop)
        self.bytes_written += sum(len(record.value) for record in change.put.values())

    @property
    def counted(self) -> Counted:
        """The numbers."""
        return Counted(self.loads, self.commits, self.read, self.written)


class Measured:
    """A copied session, a process that knows its configuration, and counts per fire."""

    def __init__(self, storage_class: Any, store: Store, snapshot: Snapshot, remembered: int) -> None:
        self.store = CountingStore(store)
        self.uid = fresh_uid()
        puts = {(name, key): record for name, entries in snapshot.records.items() for key, record in entries.items()}
        store.commit(self.uid, Change(f"v:{next(tokens)}", puts, frozenset(), frozenset()), ABSENT, Want())
        settings = Settings(runner="held", sweep_interval=0.0, remembered_sessions=remembered)
        process = Process(settings=lambda: settings)
        self.manager = TriggerManager(storage_class(self.uid, store=self.store), process=process)
        self.manager.fire("warm up")

    def fires(self) -> Iterator[str]:
        """Fires one after the other; the counts are those of that fire."""
        for trigger in FIRES:
            self.store.clear()
            self.manager.fire(trigger, {"k": "v"})
            yield trigger


def measure(backend: Backend, snapshot: Snapshot, remembered: int) -> list[tuple[str, Counted, int, int]]:
    """For each fire: what was counted, and the bytes read and written."""
    measured = Measured(backend.storage_class, backend.store, snapshot, remembered)
    try:
        return [
            (trigger, measured.store.counted, measured.store.bytes_read, measured.store.bytes_written)
            for trigger in measured.fires()
        ]
    finally:
        backend.store.delete(measured.uid)


@pytest.mark.parametrize("remembered", [0, 100], ids=["loads", "speculates"])
@pytest.mark.parametrize("extra", EXTRAS[1:])
def test_a_fire_costs_what_it_costs_in_a_small_session(
    backend: Backend, sessions: Callable[[str], Snapshot], extra: str, remembered: int
) -> None:
    """Loads, commits and records are the same numbers; bytes differ by the digits of the instances' numbers."""
    snapshot = sessions(extra)
    if backend.store.one_value:
        pytest.skip("this storage keeps a session as one value, so it reads and writes all of it")
    plain = measure(backend, sessions("nothing"), remembered)
    grown = measure(backend, snapshot, remembered)
    for (trigger, cost, read, written), (_, other, other_read, other_written) in zip(plain, grown, strict=True):
        assert cost == other, trigger
        assert abs(read - other_read) < 100, trigger
        assert abs(written - other_written) < 100, trigger


def test_what_a_fire_costs(sessions: Callable[[str], Snapshot]) -> None:
    """The common case is one load and one commit, and one commit alone where the process remembers what it needs."""
    for remembered, loads in ((0, 1), (100, 0)):
        measured = Measured(MemoryStorageBackend, MemoryStore(), sessions("3000 queued"), remembered)
        for trigger in ("tock", "tick", "known", "nobody's"):
            measured.manager.fire(trigger)
            measured.store.clear()
            measured.manager.fire(trigger)
            assert measured.store.counted[:2] == (loads, 1), trigger


def test_a_changed_task_is_sorted_once(sessions: Callable[[str], Snapshot]) -> None:
    """After a change of its triggers the queue is read by the first fire that concerns it, and by no later one."""
    store = MemoryStore()
    measured = Measured(MemoryStorageBackend, store, sessions("3000 queued"), 0)
    changed = {**TASKS["queue"], "after": ["known", "never", "z"]}
    measured.manager.update_configuration({"queue": changed})
    read = []
    for trigger in ("tock", "tock", "known", "known", "z", "z", "tock"):
        measured.store.clear()
        measured.manager.fire(trigger)
        read.append(measured.store.read > MANY)
    assert read == [True, False, True, False, True, False, False]
    head = records.read(records.HEAD, "head", store.load(measured.uid, EVERYTHING).records["session"]["head"].value)
    assert head.instances == MANY + 5


@pytest.mark.parametrize("remembered", [0, 100], ids=["loads", "speculates"])
def test_sqlite_executes_the_same_statements(tmp_path: Path, sessions: Callable[[str], Snapshot], remembered: int) -> None:
    """As many statements and as many rows, with 3 000 finished, 3 000 queued, and 1 000 tasks as with nothing of it."""
    store = SqlStore(url=f"sqlite:///{tmp_path / 'costs.db'}", synchronous="OFF")
    seen: list[int] = []
    store.observe(lambda statement: seen.append(statement.rows))
    told: dict[str, list[tuple[str, int, int]]] = {}
    for extra in EXTRAS:
        measured = Measured(SqlStorageBackend, store, sessions(extra), remembered)
        told[extra] = []
        seen.clear()
        for trigger in measured.fires():
            told[extra].append((trigger, len(seen), sum(seen)))
            seen.clear()
    store.close()
    assert told["3000 finished"] == told["nothing"]
    assert told["3000 queued"] == told["nothing"]
    assert told["1000 tasks"] == told["nothing"]
    assert all(statements <= 8 for _, statements, _ in told["nothing"])
