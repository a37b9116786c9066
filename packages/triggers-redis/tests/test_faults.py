"""Lost replies, dead servers and silent networks: what is said, and what is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import redis

from tests.servers.client import OwnServer
from tests.servers.plugin import Space
from tests.servers.proxy import FaultProxy
from triggers.errors import Conflict, OutcomeUnknown, StorageUnavailable
from triggers.store import ABSENT, NOTHING, Change, Record, Want
from triggers_redis import RedisStore

ONE = Change("1", {("c", "k"): Record(b"1", 5)})
ALL_OF_C = Want(collections=frozenset({"c"}))
MakeStore = Callable[..., RedisStore]


def test_a_lost_reply_leaves_the_outcome_open(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A commit whose reply is lost raises OutcomeUnknown, is sent once, and is found stored; once more it conflicts."""
    fault = proxy.drop_reply(containing=b"commit me")
    proxy.reset_counts()
    with pytest.raises(OutcomeUnknown) as caught:
        proxied.commit("commit me", ONE, ABSENT, Want())
    assert fault.is_set()
    assert proxy.requests == 1
    assert "the commit to session 'commit me' was sent" in str(caught.value)
    assert proxied.load("commit me", Want()).version == "1"
    with pytest.raises(Conflict):
        proxied.commit("commit me", ONE, ABSENT, Want())


def test_a_commit_that_never_arrived_is_open_too(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A commit that the network swallows on its way raises OutcomeUnknown; nothing was stored."""
    proxy.reset_before(containing=b"commit me")
    with pytest.raises(OutcomeUnknown):
        proxied.commit("commit me", ONE, ABSENT, Want())
    assert proxied.load("commit me", Want()) == NOTHING


def test_a_commit_that_is_delivered_twice_counts_once(proxied: RedisStore, proxy: FaultProxy) -> None:
    """The server refuses the second of two equal commits, so a repeated request stores nothing twice."""
    proxied.commit("s", ONE, ABSENT, Want())
    fault = proxy.repeat(containing=b"EVALSHA")
    proxied.commit("s", Change("2", {("c", "k2"): Record(b"2")}), "1", Want())
    assert fault.wait(60)
    assert proxied.load("s", ALL_OF_C) == ("2", {"c": {"k": Record(b"1", 5), "k2": Record(b"2")}}, False)


def test_a_commit_that_arrives_late_is_refused(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A commit that reaches the server after another one stores nothing."""
    proxied.commit("s", ONE, ABSENT, Want())
    proxy.late(60, containing=b"too late")
    with pytest.raises(OutcomeUnknown):
        proxied.commit("s", Change("2", {("c", "k"): Record(b'"too late"')}), "1", Want())
    proxied.commit("s", Change("3", {("c", "k"): Record(b"3")}), "1", Want())
    proxy.deliver_late()
    assert proxied.load("s", ALL_OF_C) == ("3", {"c": {"k": Record(b"3")}}, False)


def test_a_deletion_with_a_lost_reply_is_open(proxied: RedisStore, proxy: FaultProxy) -> None:
    """A deletion whose reply is lost raises OutcomeUnknown and is not sent again."""
    proxied.commit("s", ONE, ABSENT, Want())
    proxy.drop_reply(containing=b"EVALSHA")
    proxy.reset_counts()
    with pytest.raises(OutcomeUnknown):
        proxied.delete("s")
    assert proxy.requests == 1
    assert proxied.delete("s") is False


def test_a_read_with_a_lost_reply_is_repeated(proxied: RedisStore, proxy: FaultProxy) -> None:
    """Loads and listings are tried again after a lost or cut reply, and the caller sees nothing of it."""
    proxied.commit("s", ONE, ABSENT, Want())
    for act, expected in (
        (lambda: proxied.load("s", Want()).version, "1"),
        (lambda: [entry.uid for entry in proxied.due(10, None, 10).entries], ["s"]),
        (lambda: proxied.scan(None, None, 10).uids, ["s"]),
    ):
        assert act() == expected
        for fault in (proxy.drop_reply(), proxy.drop_reply(nth=2)):
            assert act() == expected
            assert fault.is_set()
        fault = proxy.cut_reply(3)
        assert act() == expected
        assert fault.is_set()


def test_reads_are_repeated_a_bounded_number_of_times(make_store: MakeStore, redis_space: Space, proxy: FaultProxy) -> None:
    """With retries=1 a read is sent twice and then fails, and says that the server does not answer."""
    store = make_store(url=f"redis://127.0.0.1:{proxy.port}/0", prefix=redis_space.prefix, retries=1)
    store.load("s", Want())
    faults = [proxy.drop_reply(containing=b"EVALSHA") for _ in range(3)]
    proxy.reset_counts()
    with pytest.raises(StorageUnavailable, match="does not answer"):
        store.load("s", Want())
    assert [fault.is_set() for fault in faults] == [True, True, False]
    proxy.heal()


def test_nothing_is_sent_where_nobody_listens(proxied: RedisStore, proxy: FaultProxy) -> None:
    """Where no connection can be made, a commit says StorageUnavailable: it is certain that nothing was stored."""
    proxy.refuse()
    started = time.monotonic()
    for act in (
        lambda: proxied.commit("s", ONE, ABSENT, Want()),
        lambda: proxied.load("s", Want()),
        lambda: proxied.delete("s"),
        lambda: proxied.due(1, None, 1),
        lambda: proxied.scan(None, None, 1),
        lambda: list(proxied.warnings()),
    ):
        with pytest.raises(StorageUnavailable) as caught:
            act()
        assert type(caught.value) is StorageUnavailable
        assert f"redis://127.0.0.1:{proxy.port}/0 does not serve us" in str(caught.value)
    assert time.monotonic() - started < 10, "it must not wait for an answer where there is no connection"
    proxy.heal()
    assert proxied.load("s", Want()) == NOTHING


def test_a_silent_server_is_given_up_within_the_timeout(make_store: MakeStore, redis_space: Space, proxy: FaultProxy) -> None:
    """A server that takes requests and says nothing costs a read or a commit its timeout of three seconds, not twice."""
    store = make_store(url=f"redis://127.0.0.1:{proxy.port}/0", prefix=redis_space.prefix, timeout=3.0, connect_timeout=3.0)
    store.load("s", Want())
    proxy.black_hole()
    for act, error in (
        (lambda: store.commit("s", ONE, ABSENT, Want()), OutcomeUnknown),
        (lambda: store.load("s", Want()), StorageUnavailable),
    ):
        started = time.monotonic()
        with pytest.raises(error):
            act()
        assert 2.9 < time.monotonic() - started < 6
    proxy.heal()
    assert store.load("s", Want()) == NOTHING


def test_a_restart_of_the_server_costs_nothing(own_server: Callable[..., OwnServer], make_store: MakeStore) -> None:
    """After a hard restart the connections are made anew before anything is sent: no error, no loss."""
    server = own_server("redis")
    store = make_store(url=server.url)
    store.commit("s", ONE, ABSENT, Want())
    server.kill()
    with pytest.raises(StorageUnavailable):
        store.commit("s", Change("2", {}), "1", Want())
    server.start()
    store.commit("s", Change("3", {}), "1", Want())
    assert store.load("s", ALL_OF_C) == ("3", {"c": {"k": Record(b"1", 5)}}, False)


def test_a_server_that_loads_its_data_is_unavailable(own_server: Callable[..., OwnServer], make_store: MakeStore) -> None:
    """While the server still reads its files, operations say so, and that nothing was stored."""
    server = own_server("redis", "--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024")
    with redis.Redis.from_url(server.url) as client:
        client.mset({f"filler {number}": "x" * 200 for number in range(600)})
        client.bgrewriteaof()
        store = make_store(url=server.url, retries=0)
        store.commit("s", ONE, ABSENT, Want())
        end = time.monotonic() + 60
        while any(client.info("persistence")[f"aof_rewrite_{state}"] for state in ("in_progress", "scheduled")):
            assert time.monotonic() < end
            time.sleep(0.05)
    server.kill()
    starting = threading.Thread(target=server.start)
    starting.start()
    said: set[str] = set()
    while starting.is_alive():
        try:
            store.commit("s", Change("2", {}), "1", Want())
            break
        except StorageUnavailable as error:
            said.add(str(error))
        time.sleep(0.01)
    starting.join()
    assert any("loading" in text for text in said), said
    assert store.load("s", Want()).version in {"1", "2"}


def test_two_threads_use_two_connections(store: RedisStore) -> None:
    """Eight threads that count in one session lose nothing, over the connections of one store."""
    store.commit("s", Change("0", {("c", "k"): Record(b"0")}), ABSENT, Want())

    def count(name: int) -> None:
        for step in range(25):
            found = store.load("s", ALL_OF_C)
            while True:
                number = int(found.records["c"]["k"].value) + 1
                change = Change(f"{name}:{step}:{number}", {("c", "k"): Record(b"%d" % number)})
                try:
                    store.commit("s", change, found.version, ALL_OF_C)
                    break
                except Conflict as conflict:
                    found = conflict.snapshot or store.load("s", ALL_OF_C)

    threads = [threading.Thread(target=count, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load("s", ALL_OF_C).records["c"]["k"].value == b"200"


def test_a_store_that_is_closed_while_a_commit_waits(
    make_store: MakeStore, redis_space: Space, proxy: FaultProxy, client: redis.Redis
) -> None:
    """The commit gets its reply, and its connection is closed when it has it; the next call opens another."""
    name = redis_space.prefix.strip(":")
    store = make_store(url=f"redis://127.0.0.1:{proxy.port}/0?client_name={name}", prefix=redis_space.prefix)
    store.load("s", Want())
    failed: list[BaseException] = []

    def commit() -> None:
        try:
            store.commit("s", ONE, ABSENT, Want())
        except BaseException as error:
            failed.append(error)

    proxy.delay(0.3)
    committing = threading.Thread(target=commit)
    committing.start()
    time.sleep(0.15)
    store.close()
    committing.join()
    assert failed == []
    proxy.heal()
    give_up_at = time.monotonic() + 5
    while any(entry["name"] == name for entry in client.client_list()):
        assert time.monotonic() < give_up_at, "the connection of the commit stays open"
        time.sleep(0.01)
    assert store.load("s", Want()).version == "1"
