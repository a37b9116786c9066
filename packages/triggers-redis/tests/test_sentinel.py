"""A service that Sentinel watches: the store finds the primary, also after a failover."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis

from tests.servers.client import OwnServer
from triggers.errors import StorageError, StorageUnavailable
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_redis import RedisStore

ONE = Change("1", {("c", "k"): Record(b"1", 5)})
MakeStore = Callable[..., RedisStore]


def test_the_store_follows_a_failover(own_server: Callable[..., OwnServer], make_store: MakeStore) -> None:
    """The store uses the primary; when that dies, it goes on with the replica that took over, with the same sessions."""
    server = own_server("redis-sentinel")
    store = make_store(url=server.url, timeout=5.0, connect_timeout=2.0)
    store.commit("s", ONE, ABSENT, Want())
    with redis.Redis(port=server.ports[1]) as primary, redis.Redis(port=server.ports[2]) as replica:
        assert len(primary.keys("triggers:*session:s")) == 1
        assert primary.execute_command("WAIT", 1, 30_000) == 1
        server.kill(0)
        with pytest.raises(StorageError):
            store.commit("s", Change("not yet", {}), "1", Want())
        version = "1"
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                version = store.load("s", Want()).version
                store.commit("s", Change("2", {("c", "k2"): Record(b"2")}), version, Want())
                break
            except StorageError:
                time.sleep(0.2)
        assert replica.info("replication")["role"] == "master"
        assert store.load("s", EVERYTHING) == ("2", {"c": {"k": Record(b"1", 5), "k2": Record(b"2")}}, True)


def test_an_unknown_service_is_named(own_server: Callable[..., OwnServer], make_store: MakeStore) -> None:
    """A service that the sentinels do not know, and sentinels that do not answer, are reported by name."""
    server = own_server("redis-sentinel")
    store = make_store(url=f"redis+sentinel://127.0.0.1:{server.port}/other", retries=0)
    with pytest.raises(StorageUnavailable, match="No master found for 'other'"):
        store.load("s", Want())
    store = make_store(url="redis+sentinel://127.0.0.1:1/mymaster", retries=0)
    with pytest.raises(StorageUnavailable, match="No master found for 'mymaster'"):
        store.commit("s", ONE, ABSENT, Want())


def test_a_demoted_primary_takes_no_commit(own_server: Callable[..., OwnServer], make_store: MakeStore) -> None:
    """A primary that becomes a replica under an open connection refuses: it is certain that nothing was stored there."""
    server = own_server("redis-sentinel")
    store = make_store(url=server.url, retries=0)
    store.commit("s", ONE, ABSENT, Want())
    with redis.Redis(port=server.ports[1]) as primary:
        primary.replicaof("127.0.0.1", str(server.ports[2]))
        with pytest.raises(StorageUnavailable, match="read only replica"):
            store.commit("s", Change("2", {}), "1", Want())
