"""Some thousand fires without event ids, from many clients, through connections that fail: each is applied once."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exactly_once.faulty import FaultyStore, Rates
from tests.exactly_once.firing import Told, check, configure, fire_all, found_in, in_processes, in_threads, make_process
from triggers import records
from triggers.manager import TriggerManager
from triggers.operation import CLIENT_SLOTS
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import EVERYTHING
from triggers_sql.backend import SqlStorageBackend
from triggers_sql.store import SqlStore

ONE = ["one"]
MANY = [f"many{number}" for number in range(10)]
NO_FAULTS = Rates(0, 0, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def on_file(path: str, uids: list[str], client: str, count: int, remembered: int, rates: Rates) -> Told:
    """Fires from a process of its own into a SQLite file."""
    store = SqlStore(url=f"sqlite:///{path}", synchronous="NORMAL")
    try:
        return fire_all(SqlStorageBackend, store, uids, client, count, remembered=remembered, rates=rates)
    finally:
        store.close()


@pytest.mark.parametrize("remembered", [0, 100])
@pytest.mark.parametrize("uids", [ONE, MANY], ids=["one session", "many sessions"])
def test_threads_on_memory(uids: list[str], remembered: int) -> None:
    """Few clients: nobody's slot is evicted, so each outcome is known."""
    store = MemoryStore()
    configure(MemoryStorageBackend, store, uids)
    clients = [
        functools.partial(fire_all, MemoryStorageBackend, store, uids, f"c{number}", 100, remembered=remembered)
        for number in range(8)
    ]
    told = in_threads(clients)
    check(found_in(store, uids), told)
    assert told.unknown == ()
    assert len(told.applied) > 700
    assert all(dict(told.faults)[fault] > 5 for fault in ("reply_lost", "never", "late", "twice"))


@pytest.mark.parametrize("remembered", [0, 100])
def test_threads_of_one_process(remembered: int) -> None:
    """Threads that share a process are one client: they queue up, so the one slot that they share says enough."""
    store = MemoryStore()
    configure(MemoryStorageBackend, store, ONE)
    process = make_process(remembered)
    faulty = FaultyStore(store, 1, Rates(reply_lost=0.1, never=0.1, late=0.1))
    clients = [
        functools.partial(fire_all, MemoryStorageBackend, store, ONE, f"c{number}", 60, process=process, faulty=faulty)
        for number in range(8)
    ]
    told = in_threads(clients)
    faulty.settle()
    check(found_in(store, ONE), told)
    assert told.unknown == ()
    assert len(told.applied) > 400


@pytest.mark.parametrize("remembered", [0, 100])
def test_more_clients_than_slots(remembered: int) -> None:
    """Slots are evicted: some outcomes cannot be told, and those were applied at most once."""
    store = MemoryStore()
    configure(MemoryStorageBackend, store, ONE)
    clients = [
        functools.partial(
            fire_all,
            MemoryStorageBackend,
            store,
            ONE,
            f"c{number}",
            30,
            remembered=remembered,
            rates=Rates(reply_lost=0.1, never=0.1, late=0.1),
        )
        for number in range(CLIENT_SLOTS + 16)
    ]
    told = in_threads(clients)
    found = found_in(store, ONE)
    check(found, told)
    head = TriggerManager(MemoryStorageBackend("one", store=store), process=make_process(0)).storage
    assert len(head.instances) == sum(found.values())
    assert len(told.applied) > 1000


@pytest.mark.parametrize("remembered", [0, 100])
def test_processes_on_sqlite_with_faults(tmp_path: Path, remembered: int) -> None:
    """Four processes fire into one session and into many on a SQLite file, through connections that fail."""
    path = str(tmp_path / "s.db")
    store = SqlStore(url=f"sqlite:///{path}", synchronous="NORMAL")
    uids = [*ONE, *MANY]
    configure(SqlStorageBackend, store, uids)
    sessions = [ONE, ONE, MANY, uids]
    arguments = [(path, some, f"p{number}", 250, remembered, Rates()) for number, some in enumerate(sessions)]
    told = in_processes(on_file, arguments)
    check(found_in(store, uids), told)
    assert told.unknown == ()
    assert len(told.applied) > 900
    store.close()


def test_eight_processes_on_sqlite(tmp_path: Path) -> None:
    """Eight processes fire into one session and into many: nothing lost, nothing doubled."""
    path = str(tmp_path / "s.db")
    store = SqlStore(url=f"sqlite:///{path}", synchronous="NORMAL")
    uids = [*ONE, *MANY]
    configure(SqlStorageBackend, store, uids)
    arguments = [(path, ONE if number % 2 else MANY, f"p{number}", 150, 100, NO_FAULTS) for number in range(8)]
    told = in_processes(on_file, arguments)
    found = found_in(store, uids)
    check(found, told)
    assert len(told.applied) == len(found) == 1200
    store.close()


def test_after_a_fork(tmp_path: Path) -> None:
    """A process that forks while it is known to a session goes on as two clients; nothing is lost or doubled."""
    path = str(tmp_path / "s.db")
    store = SqlStore(url=f"sqlite:///{path}", synchronous="NORMAL")
    configure(SqlStorageBackend, store, ONE)
    process = make_process(100)
    faulty = FaultyStore(store, 7, Rates(reply_lost=0.1, never=0.1, late=0.1))
    fires = functools.partial(fire_all, SqlStorageBackend, store, ONE, process=process, faulty=faulty)
    before = fires("parent", 20)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def child(name: str) -> None:
        there.send(fires(name, 60))

    children = [context.Process(target=child, args=(f"child{number}",)) for number in range(2)]
    for one in children:
        one.start()
    told = before + fires("parent again", 60)
    for _ in children:
        assert here.poll(60), "a child hangs"
        told += here.recv()
    for one in children:
        one.join()
    check(found_in(store, ONE), told)
    assert told.unknown == ()
    head = records.read(records.HEAD, "head", store.load("one", EVERYTHING).records["session"]["head"].value)
    clients = {token.partition(":")[0] for token in head.clients}
    assert len(clients) == 4, "configuring, the parent, and two children"
    store.close()


def test_with_sessions_deleted_in_between() -> None:
    """While sessions are deleted and made anew, no session ever holds a fire twice, and none that was refused."""
    store = MemoryStore()
    uids = MANY[:3]
    configure(MemoryStorageBackend, store, uids)
    seen: list[str] = []

    def deletes() -> Told:
        choose = random.Random(3)
        for _ in range(60):
            time.sleep(0.01)
            uid = choose.choice(uids)
            found = found_in(store, [uid], always_configured=False)
            seen.extend(identity for identity, times in found.items() if times > 1)
            store.delete(uid)
            configure(MemoryStorageBackend, store, [uid])
        return Told()

    clients = [functools.partial(fire_all, MemoryStorageBackend, store, uids, f"c{number}", 100) for number in range(6)]
    told = in_threads([*clients, deletes])
    found = found_in(store, uids, always_configured=False)
    assert seen == []
    check(found, told._replace(applied=tuple(one for one in told.applied if one in found)))
