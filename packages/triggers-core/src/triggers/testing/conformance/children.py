"""Child processes of a test, and what runs in them.

A store is opened anew in each child. Where the opener can be pickled, children come from a clean fork server (or are
spawned), as the processes of an application are; an opener that cannot, such as a lambda, is inherited by forking.
"""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import random
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from triggers.errors import Conflict
from triggers.store import ABSENT, Change, Record, Snapshot, Store, Want
from triggers.testing.conformance.space import OpenStore

PATIENCE = 60.0
"""How long (seconds) a child may take before it counts as hanging."""

COUNTER = ("counter", "value")


class Child:
    """One child process, with what it tells."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self.process = process
        self._connection = connection

    def hear(self) -> Any:
        """The next thing that the child says; fails if it dies or is silent."""
        ready = wait([self._connection, self.process.sentinel], PATIENCE)
        if self._connection in ready or self._connection.poll(0.1):
            try:
                kind, said = self._connection.recv()
            except EOFError:
                kind, said = "error", self._silent_end()
            if kind == "error":
                raise AssertionError(f"a child process failed:\n{said}")
            return said
        if not ready:
            raise AssertionError(f"a child process has been silent for {PATIENCE:.0f} seconds: it hangs")
        raise AssertionError(self._silent_end())

    def kill(self) -> None:
        """Kills it at once, as SIGKILL does, and waits for its end."""
        self.process.kill()
        self.process.join(PATIENCE)

    def _silent_end(self) -> str:
        self.process.join(1)
        return (
            f"a child process ended with exit code {self.process.exitcode} and said nothing. If its output names an import: "
            "a child that starts clean imports the module of `open_store`; what it cannot import can be a lambda, which "
            "is inherited by forking"
        )


class Children:
    """Starts child processes; kills those that are left when the test ends."""

    def __init__(self) -> None:
        self._started: list[Child] = []

    def start(self, open_store: OpenStore, work: Callable[..., Any], *arguments: Any) -> Child:
        """Runs ``work(open_store, say, *arguments)`` in a new process; its result is the last thing that it says."""
        method = _start_method(open_store)
        context: Any = multiprocessing.get_context(method)
        if method == "forkserver":  # what the server has imported, its children need not
            context.set_forkserver_preload(["__main__", __name__, "triggers.storages"])
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(there, work, open_store, arguments), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        there.close()
        child = Child(process, here)
        self._started.append(child)
        return child

    def signal(self, open_store: OpenStore) -> Any:
        """What children that open this store can wait for (`wait_for`), to begin together."""
        return multiprocessing.get_context(_start_method(open_store)).Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        for child in self._started:
            if child.process.is_alive():
                child.kill()


def _start_method(open_store: OpenStore) -> str:
    methods = multiprocessing.get_all_start_methods()
    try:
        pickle.dumps(open_store)
    except Exception:  # whatever an object's own pickling raises
        if "fork" not in methods:
            raise
        return "fork"
    return "forkserver" if "forkserver" in methods else "spawn"


def _run(connection: Connection, work: Callable[..., Any], open_store: OpenStore, arguments: tuple[Any, ...]) -> None:
    def say(said: Any) -> None:
        connection.send(("said", said))

    try:
        say(work(open_store, say, *arguments))
    except BaseException:
        connection.send(("error", traceback.format_exc()))
        sys.exit(1)


Say = Callable[[Any], None]


def let_go(signal: Any, waiting: Sequence[Child]) -> None:
    """Lets children begin, once all of them wait."""
    for child in waiting:
        assert child.hear() == "ready"
    signal.set()


def wait_for(signal: Any, say: Say) -> None:
    """In a child: waits for the others."""
    say("ready")
    assert signal.wait(PATIENCE), "the other processes did not begin"


def increments(open_store: OpenStore, say: Say, uid: str, name: str, count: int, signal: Any = None) -> int:
    """Adds 1 to the counter so many times, with a signal not before it comes; returns how often it met a conflict."""
    store = open_store()
    if signal is not None:
        wait_for(signal, say)
    conflicts = sum(increment(store, uid, f"{name}.{number}") for number in range(count))
    store.close()
    return conflicts


def increment(store: Store, uid: str, version: str) -> int:
    """Adds 1 to the counter, however many conflicts that takes, and returns their number."""
    want = Want(records=frozenset({COUNTER}))
    snapshot: Snapshot | None = None
    conflicts = 0
    deadline = time.monotonic() + PATIENCE
    while True:
        if snapshot is None:
            snapshot = store.load(uid, want)
        value = str(count_in(snapshot) + 1).encode()
        try:
            store.commit(uid, Change(version, {COUNTER: Record(value)}), snapshot.version, want)
        except Conflict as conflict:
            conflicts += 1
            snapshot = conflict.snapshot
            if time.monotonic() > deadline:
                raise AssertionError(f"one increment met {conflicts} conflicts in {PATIENCE:.0f} seconds") from conflict
            time.sleep(random.uniform(0, 0.002))
        else:
            return conflicts


def count_in(snapshot: Snapshot) -> int:
    """The counter as a snapshot shows it."""
    record = snapshot.records.get(COUNTER[0], {}).get(COUNTER[1])
    return 0 if record is None else int(record.value)


WHOLE = 24
"""Records that each commit of ``commit_until_killed`` writes."""


def commit_until_killed(open_store: OpenStore, say: Say, uid: str, label: str, early: int) -> None:
    """Commits number after number, each to many records, wake-ups and labels at once; never returns."""
    store = open_store()
    snapshot = store.load(uid, Want(records=frozenset({COUNTER})))
    version = snapshot.version
    for number in itertools.count(count_in(snapshot) + 1):
        change = whole_change(number, label, early)
        store.commit(uid, change, version, Want())
        if version == snapshot.version:
            say("committing")
        version = change.version


def whole_change(number: int, label: str, early: int) -> Change:
    """The change that makes a session hold ``number`` everywhere; one label and one record come and go."""
    value = str(number).encode()
    put = {(f"c{at % 3}", f"k{at}"): Record(value, early + number if at < 3 else None) for at in range(WHOLE)}
    put[COUNTER] = Record(value)
    gone = ("odd", "there")
    drop = frozenset[tuple[str, str]]()
    if number % 2:
        put[gone] = Record(value)
    else:
        drop = frozenset({gone})
    return Change(f"n{number}", put, drop, frozenset({f"{label}{number % 2}"}))


def whole_problems(snapshot: Snapshot) -> list[str]:
    """What shows that a snapshot is not the state after one ``whole_change``."""
    if snapshot.version == ABSENT:
        return []
    number = snapshot.version.removeprefix("n")
    values = {
        f"{collection}/{key}": record.value.decode()
        for collection, records in snapshot.records.items()
        for key, record in records.items()
    }
    problems = [f"{pair} holds {value}" for pair, value in sorted(values.items()) if value != number]
    if snapshot.complete:
        expected = WHOLE + 1 + int(number) % 2
        if len(values) != expected:
            problems.append(f"{len(values)} records where {expected} belong")
    return [f"at version {snapshot.version!r}: {problem}" for problem in problems]


def set_up(open_store: OpenStore, say: Say, uid: str, times: int, signal: Any) -> str:
    """Sets the store up when the signal comes, and writes one session; returns the version."""
    store = open_store()
    wait_for(signal, say)
    for _ in range(times):
        store.setup()
    version = f"of-{uid}"
    store.commit(uid, Change(version, {COUNTER: Record(b"1")}), ABSENT, Want())
    store.close()
    return version
