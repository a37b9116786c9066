"""The backend as applications reach it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import redis

from tests.servers.plugin import Space
from triggers.storages import storage_backends
from triggers.store import ABSENT, EVERYTHING, Change, Record, Want
from triggers_redis import RedisStorageBackend, RedisStore


def test_the_key_redis_leads_here() -> None:
    """The registry finds the backend by its key, for the interface number 1."""
    found = storage_backends.get_class("redis")
    assert found is RedisStorageBackend
    assert (found.api_version, found.store_class, found.store_class.api_version) == (1, RedisStore, 1)


def test_handles_share_one_store(redis_space: Space) -> None:
    """Two handles with the same options share one store, and so its connections."""
    options = {"url": redis_space.url, "prefix": redis_space.prefix}
    one = storage_backends.get("redis", "a", **options)
    other = storage_backends.get("redis", "b", **options)
    try:
        assert one.store is other.store
        assert isinstance(one.store, RedisStore)
        assert one.store.load("a", Want()).version == ABSENT
    finally:
        one.store.close()


def test_making_a_store_imports_no_client() -> None:
    """``import triggers_redis`` and a store cost no import of redis; that is left to the first use."""
    program = "import sys, triggers_redis; triggers_redis.RedisStore(); print(sorted(m for m in sys.modules if m == 'redis'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_ready_client_is_used_and_left_open(redis_space: Space) -> None:
    """A client of the application's own, whatever it decodes and speaks, serves the store, which does not close it."""
    for options in ({}, {"decode_responses": True}, {"protocol": 3}, {"protocol": 3, "decode_responses": True}):
        client = redis.Redis.from_url(redis_space.url, **options)
        store = RedisStore(client=client, prefix=redis_space.prefix)
        store.delete("s")
        store.commit("s", Change("1", {("é", "k"): Record(b'"\xc3\xa9"', 5)}, labels=frozenset({"l"})), ABSENT, Want())
        assert store.load("s", EVERYTHING) == ("1", {"é": {"k": Record(b'"\xc3\xa9"', 5)}}, True)
        assert store.due(5, None, 9).entries == [("s", "é", "k", 5)]
        assert store.scan("l", None, 9).uids == ["s"]
        assert list(store.warnings()) == []
        used = len(client.connection_pool._available_connections)
        store.close()
        assert all(c._sock is not None for c in client.connection_pool._available_connections)
        assert used == 1
        assert client.ping()
        client.close()


def test_a_ready_cluster_client_is_used(redis_cluster_space: Space) -> None:
    """A cluster client serves the store as well, and decoding does not disturb it."""
    with redis.RedisCluster.from_url(redis_cluster_space.url, decode_responses=True) as client:
        store = RedisStore(client=client, prefix=redis_cluster_space.prefix)
        for number in range(10):
            store.commit(f"s{number}", Change("1", {("c", "k"): Record(b"1", number)}), ABSENT, Want())
        assert [entry.uid for entry in store.due(100, None, 20).entries] == [f"s{number}" for number in range(10)]


def test_a_closed_store_opens_again(store: RedisStore) -> None:
    """``close`` twice and ``setup`` twice do no harm, and the store goes on afterwards."""
    store.setup()
    store.setup()
    store.commit("s", Change("1", {}), ABSENT, Want())
    store.close()
    store.close()
    assert store.load("s", Want()).version == "1"


def test_connections_are_bounded(make_store: Callable[..., RedisStore], redis_space: Space, client: redis.Redis) -> None:
    """Twenty threads on one store use at most twenty connections, and a second round uses the same ones."""
    name = redis_space.prefix.rstrip(":")
    store = make_store(url=f"{redis_space.url}?client_name={name}", prefix=redis_space.prefix)
    store.setup()
    for _ in range(2):
        threads = [threading.Thread(target=store.load, args=("s", Want())) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(entry["name"] == name for entry in client.client_list()) <= 20
