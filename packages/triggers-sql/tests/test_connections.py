"""The pool: forks, threads, servers that restart, and transactions that get in each other's way."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, pool, text

from sql_stores import OpenStore, statements_of
from tests.servers.client import OwnServer
from triggers.errors import Conflict, OutcomeUnknown, StorageError, StorageUnavailable
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_sql import SqlStore
from triggers_sql.forking import Gate


def count(store: SqlStore, uid: str, times: int, name: str) -> None:
    """Adds to a counter, over conflicts."""
    for number in range(times):
        snapshot = store.load(uid, EVERYTHING)
        while True:
            value = int(snapshot.records["c"]["n"].value) + 1 if snapshot.records else 1
            change = Change(f"{name}-{number}", {("c", "n"): Record(str(value).encode())})
            try:
                store.commit(uid, change, snapshot.version, EVERYTHING)
                break
            except Conflict as conflict:
                snapshot = conflict.snapshot or store.load(uid, EVERYTHING)


def in_forked_child(work: Callable[[], object]) -> int:
    """Forks, works, and returns the child's exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return 99


def test_a_fork_shares_no_connection(store: SqlStore) -> None:
    """Parent and child go on with the same object after a fork, both exact, on connections of their own."""
    count(store, "s", 1, "before")

    def child() -> None:
        count(store, "s", 50, "child")
        store.close()

    outcome: list[int] = []
    thread = threading.Thread(target=lambda: outcome.append(in_forked_child(child)))
    thread.start()
    count(store, "s", 50, "parent")
    thread.join()
    count(store, "s", 1, "after")
    assert outcome == [0]
    assert store.load("s", EVERYTHING).records == {"c": {"n": Record(b"102")}}


def test_a_child_that_closes_ends_no_connection_of_its_parent(server_url: str, open_store: OpenStore) -> None:
    """The parent's idle connection still answers after the child closed its store and exited: the same server process."""
    store = open_store(server_url, auto_setup=True, pool_size=1, max_overflow=0)
    store.load("s", EVERYTHING)
    identity = "SELECT pg_backend_pid()" if server_url.startswith("postgres") else "SELECT CONNECTION_ID()"
    before = store.connections.read(identity)

    def child() -> None:
        assert store.connections.read(identity) != before
        store.close()

    assert in_forked_child(child) == 0
    assert store.connections.read(identity) == before


def test_ctrl_c_does_not_lock_the_gate() -> None:
    """However unlucky its moment: work on SQLite files goes on in the other threads."""
    gate = Gate(lambda: None, 1.0)

    def interrupts(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_name != "__enter__" or frame.f_locals["self"] is not gate._changed:
            return None
        if event == "return":
            raise KeyboardInterrupt
        return interrupts

    before = sys.gettrace()
    sys.settrace(interrupts)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            gate.enter()
    finally:
        sys.settrace(before)
    other = threading.Thread(target=gate.enter, daemon=True)
    other.start()
    other.join(60)
    assert not other.is_alive(), "the gate is locked"


def test_a_fork_waits_for_running_work_on_sqlite(tmp_path: Path, open_store: OpenStore) -> None:
    """SQLite's locks do not survive a fork: a child made amid commits of other threads writes at once, and loses nothing."""
    store = open_store(f"sqlite:///{tmp_path}/x.db", timeout=20.0)
    store.setup()
    stop = threading.Event()

    def busy(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            count(store, name, 1, f"{name}{number}")

    threads = [threading.Thread(target=busy, args=(f"t{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(6):
            start = time.monotonic()
            assert in_forked_child(functools.partial(count, store, f"child{number}", 3, f"f{number}")) == 0
            assert time.monotonic() - start < 15
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(store.load(f"child{number}", EVERYTHING).records["c"]["n"].value == b"3" for number in range(6))


def test_threads_lose_nothing(store: SqlStore) -> None:
    """Eight threads that count in one session, and in one each, lose nothing."""
    threads = [threading.Thread(target=count, args=(store, "one", 20, f"a{number}")) for number in range(8)]
    threads += [threading.Thread(target=count, args=(store, f"own{number}", 20, f"b{number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load("one", EVERYTHING).records["c"]["n"].value == b"160"
    assert [store.load(f"own{number}", EVERYTHING).records["c"]["n"].value for number in range(8)] == [b"20"] * 8


def _count_in_process(url: str, uids: list[str], times: int, name: str) -> None:
    store = SqlStore(url=url)
    for number in range(times):
        for uid in uids:
            count(store, uid, 1, f"{name}-{number}")
    store.close()


@pytest.mark.slow
def test_processes_lose_nothing(url: str, open_store: OpenStore) -> None:
    """Eight processes that count in one session and in eight others lose nothing."""
    store = open_store(url)
    store.setup()
    uids = ["one", *(f"many{number}" for number in range(8))]
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_count_in_process, args=(url, uids, 5, f"p{number}")) for number in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join(250)
    assert [child.exitcode for child in children] == [0] * 8
    assert {store.load(uid, EVERYTHING).records["c"]["n"].value for uid in uids} == {b"40"}


def test_loads_are_snapshots_amid_commits(store: SqlStore) -> None:
    """While commits replace two collections at once, no load in one select ever sees the one without the other."""
    stop = threading.Event()
    pairs = [(name, str(number)) for name in ("a", "b") for number in range(5)]

    def write() -> None:
        version, number = ABSENT, 0
        while not stop.is_set():
            number += 1
            put = {pair: Record(str(number).encode()) for pair in pairs}
            store.commit("s", Change(f"v{number}", put), version, Want())
            version = f"v{number}"

    thread = threading.Thread(target=write)
    thread.start()
    want = Want(frozenset({("b", "0"), ("b", "1"), ("b", "4")}), frozenset({"a"}))
    try:
        for _ in range(400):
            found = store.load("s", want)
            values = {record.value for records in found.records.values() for record in records.values()}
            assert values <= {found.version[1:].encode()}
    finally:
        stop.set()
        thread.join()


def test_a_pool_that_is_used_up_says_so(url: str, open_store: OpenStore) -> None:
    """Past ``pool_timeout`` without a free connection an operation is ``StorageUnavailable``; later ones work."""
    store = open_store(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    store.setup()
    link = store.connections.open()
    with pytest.raises(StorageUnavailable, match=r"cannot connect to .*QueuePool limit of size 1 overflow 0 reached"):
        store.load("s", EVERYTHING)
    link.give_back()
    assert store.load("s", EVERYTHING).version == ABSENT


def test_nothing_is_left_open(store: SqlStore) -> None:
    """After commits, conflicts, refusals and errors no connection is lent out and no transaction is open."""
    store.commit("s", Change("v1", {("c", "k"): Record(b"1")}), ABSENT, Want())
    for _ in range(3):
        with pytest.raises(Conflict):
            store.commit("s", Change("v2", {}), "v0", Want())
        with pytest.raises(Conflict):
            store.commit("s", Change("v2", {}), ABSENT, Want())
        with pytest.raises(Conflict):
            store.delete("s", "v0")
        with pytest.raises(StorageError):
            store.connections.write("s", lambda link: link.rows("SELECT nonsense FROM nowhere"))
    assert store.connections.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    link = store.connections.open()
    connection: Any = link.pooled.dbapi_connection
    kind = store.connections.engine.dialect.name
    if kind == "sqlite":
        assert connection.in_transaction is False
    elif kind == "postgresql":
        assert connection.info.transaction_status.name == "IDLE"
    else:
        assert link.rows("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()") == [
            (0,)
        ]
    link.give_back()


def test_a_body_that_raises_is_undone(store: SqlStore) -> None:
    """Whatever a transaction raises, an interrupt included, nothing of it is stored, and the next one works."""
    store.setup()
    statements = store.connections.statements

    def body(link: Any) -> None:
        link.execute(statements.create_session, ("s", "v1"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.connections.write("s", body)
    assert store.load("s", EVERYTHING).version == ABSENT
    store.commit("s", Change("v1", {}), ABSENT, Want())


def test_deadlocks_are_tried_again(server_url: str, open_store: OpenStore) -> None:
    """Two transactions that wait for each other: the database ends one of them, the store repeats it, and both are stored."""
    store = open_store(server_url, auto_setup=True)
    for uid in ("a", "b"):
        store.commit(uid, Change("v1", {}), ABSENT, Want())
    statements, connections = store.connections.statements, store.connections
    together = threading.Barrier(2)
    tries: list[str] = []

    def cross(first: str, second: str) -> None:
        def body(link: Any) -> None:
            tries.append(first)
            assert link.execute(statements.swap_version, (f"{first}-first", first, store.load(first, Want()).version)) == 1
            if len(tries) <= 2:
                together.wait(60)
            link.execute(f"UPDATE triggers_sessions SET version = '{first}-second' WHERE uid = {statements.mark}", (second,))

        connections.write(first, body)

    with statements_of(store) as seen:
        threads = [threading.Thread(target=cross, args=pair) for pair in (("a", "b"), ("b", "a"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(tries) > 2, "one of the two was ended"
    loser = tries[2]
    assert set(tries[2:]) == {loser}, "and repeated, until it came through"
    assert [statement.text for statement in seen].count("COMMIT") == 2
    winner = {"a": "b", "b": "a"}[loser]
    assert store.load(loser, Want()).version == f"{loser}-first"
    assert store.load(winner, Want()).version == f"{loser}-second"


def test_serialization_failures_are_tried_again(postgres_url: str, open_store: OpenStore) -> None:
    """On a server that is set to SERIALIZABLE, commits of many threads get through, and a lost race is a ``Conflict``."""
    engine = create_engine(postgres_url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    store = open_store(postgres_url, auto_setup=True)
    assert store.connections.read("SHOW default_transaction_isolation") == [("serializable",)]
    threads = [threading.Thread(target=count, args=(store, "one", 15, f"a{number}")) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load("one", EVERYTHING).records["c"]["n"].value == b"90"


def test_a_lock_that_is_held_too_long_is_unavailable(server_url: str, open_store: OpenStore) -> None:
    """Somebody else's transaction on the session's row: past ``timeout`` the commit is unavailable, and nothing is stored."""
    open_store(server_url, auto_setup=True).commit("s", Change("v1", {}), ABSENT, Want())
    store = open_store(server_url, timeout=3.0)
    assert store.load("s", EVERYTHING).version == "v1"
    engine = create_engine(server_url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("UPDATE triggers_sessions SET version = version WHERE uid = 's'"))
        connection.execute(text("SELECT * FROM triggers_sessions WHERE uid = 's' FOR UPDATE"))
        with pytest.raises(StorageUnavailable, match=r"a lock was not given within 3 s.*nothing was stored"):
            store.commit("s", Change("v2", {}), "v1", Want())
    store.commit("s", Change("v2", {}), "v1", Want())
    assert store.load("s", EVERYTHING).version == "v2"


@pytest.mark.parametrize("service", ["postgres", "mysql"])
def test_a_server_that_restarts(service: str, own_server: Callable[..., OwnServer], open_store: OpenStore) -> None:
    """Killed and started again: nothing that was confirmed is missing, and the same store goes on without being told."""
    server = own_server(service)
    store = open_store(server.url, auto_setup=True, timeout=5.0)
    store.commit("s", Change("v0", {("c", "n"): Record(b"0")}), ABSENT, Want())
    for confirmed in range(2):
        server.kill()
        with pytest.raises((StorageUnavailable, OutcomeUnknown)):
            store.commit("s", Change(f"v{confirmed + 1}", {}), f"v{confirmed}", Want())
        with pytest.raises(StorageUnavailable, match=r"cannot connect"):
            store.load("s", EVERYTHING)
        server.start()
        assert store.load("s", EVERYTHING).version == f"v{confirmed}"
        store.commit("s", Change(f"v{confirmed + 1}", {("c", "n"): Record(b"1")}), f"v{confirmed}", Want())
    assert store.load("s", EVERYTHING).version == "v2"


def test_a_standby_says_that_it_is_read_only(postgres_url: str, open_store: OpenStore) -> None:
    """A database that takes no writes says so, and reads still work."""
    store = open_store(postgres_url, auto_setup=True)
    store.commit("s", Change("v1", {}), ABSENT, Want())
    engine = create_engine(postgres_url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    store.close()
    assert store.load("s", EVERYTHING).version == "v1"
    for use in (lambda: store.commit("s", Change("v2", {}), "v1", Want()), lambda: store.delete("s")):
        with pytest.raises(StorageError, match=r"is read-only.*nothing was stored"):
            use()


def _weak_on_the_server(url: str) -> list[str]:
    """Which durability settings the server of the tests itself has turned off, by their names."""
    asked = {
        "sqlite": {},
        "postgresql": {"fsync": ("SHOW fsync", "on")},
        "mysql": {"innodb_flush_log_at_trx_commit": ("SELECT @@innodb_flush_log_at_trx_commit", "1")},
    }[make_url(url).get_backend_name()]
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        return [name for name, (query, strong) in asked.items() if str(connection.execute(text(query)).scalar()) != strong]


def test_operators_are_told_of_weak_durability(store: SqlStore, url: str, open_store: OpenStore) -> None:
    """``warnings`` is empty on a durable database and names each setting that is not."""
    weak_ones = _weak_on_the_server(url)
    assert [warning.split(" is ")[0] for warning in store.warnings()] == weak_ones
    if url.startswith("sqlite"):
        weak = open_store(url, synchronous="NORMAL")
        assert list(weak.warnings()) == ["synchronous=NORMAL: the last commits may be lost when the machine loses power"]
    if url.startswith("postgres"):
        engine = create_engine(url, poolclass=pool.NullPool)
        with engine.begin() as connection:
            name = connection.execute(text("SELECT current_database()")).scalar()
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        store.close()
        said = "synchronous_commit is off: the last commits are lost when the server crashes"
        assert [warning for warning in store.warnings() if "fsync" not in warning] == [said]
