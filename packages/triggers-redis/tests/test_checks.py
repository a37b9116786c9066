"""What an operator is told about the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from tests.servers.client import OwnServer
from tests.servers.plugin import Space
from triggers.store import Want
from triggers_redis import RedisStore

MakeStore = Callable[..., RedisStore]


@pytest.mark.parametrize(
    "settings, says",
    [
        ({}, []),
        ({"maxmemory": "100mb"}, []),
        ({"maxmemory-policy": "volatile-lru"}, []),
        (
            {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"},
            ["maxmemory-policy is allkeys-lru: the server evicts any session when memory is short; set it to noeviction"],
        ),
        (
            {"maxmemory-policy": "allkeys-random"},
            [
                (
                    "maxmemory-policy is allkeys-random: the server would evict any session once maxmemory is set; "
                    "set it to noeviction"
                )
            ],
        ),
        (
            {"maxmemory": "100mb", "maxmemory-policy": "volatile-ttl"},
            [
                (
                    "maxmemory-policy is volatile-ttl: the server evicts sessions that expire before their time when memory is "
                    "short; set it to noeviction"
                )
            ],
        ),
        (
            {"appendonly": "no"},
            ["the server keeps nothing on disk (appendonly no, save ''): a restart loses all; set appendonly yes"],
        ),
        (
            {"appendonly": "no", "save": "60 1000"},
            [
                (
                    "the server writes snapshots only (appendonly no, save '60 1000'): a crash loses what was committed since "
                    "the last one; set appendonly yes"
                )
            ],
        ),
    ],
)
def test_warnings_name_what_can_lose_sessions(
    own_server: Callable[..., OwnServer], make_store: MakeStore, settings: dict[str, str], says: list[str]
) -> None:
    """A server that may evict, or keeps too little on disk, is named with the setting to change; a good one is not."""
    server = own_server("redis")
    with redis.Redis.from_url(server.url) as admin:
        for name, value in settings.items():
            admin.config_set(name, value)
    assert list(make_store(url=server.url).warnings()) == says


def test_a_server_that_hides_its_settings(own_server: Callable[..., OwnServer], make_store: MakeStore) -> None:
    """Where CONFIG is forbidden, INFO still tells of eviction; where that is forbidden too, this is said."""
    server = own_server("redis", "--appendonly", "no")
    with redis.Redis.from_url(server.url) as admin:
        admin.config_set("maxmemory", "100mb")
        admin.config_set("maxmemory-policy", "allkeys-lfu")
        admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-config")
        store = make_store(url=f"redis://app:pw@127.0.0.1:{server.port}/0")
        assert list(store.warnings()) == [
            "maxmemory-policy is allkeys-lfu: the server evicts any session when memory is short; set it to noeviction",
            "appendonly is no, and the server hides whether it writes snapshots: a crash may lose sessions",
        ]
        admin.execute_command("ACL", "SETUSER", "app", "-info")
        (said,) = store.warnings()
        assert said.startswith("whether the server may lose sessions is not known, it does not answer INFO")


def test_each_process_is_warned_once_when_it_starts(
    own_server: Callable[..., OwnServer], make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The first use of a server logs what can lose sessions; further uses and stores say nothing more, nor does a good server."""
    bad = own_server("redis", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    for _ in range(2):
        store = make_store(url=bad.url)
        for _ in range(2):
            store.load("s", Want())
    said = [record.getMessage() for record in caplog.records if record.name == "triggers.redis"]
    assert ["allkeys-lru" in text for text in said] == [True]
    assert f":{bad.port}" in said[0]
    make_store(url=own_server("redis").url).load("s", Want())
    assert len([record for record in caplog.records if record.name == "triggers.redis"]) == 1


def test_who_cannot_be_asked_is_used_all_the_same(own_server: Callable[..., OwnServer], make_store: MakeStore) -> None:
    """A server that forbids the question still serves; the warning then says that it was forbidden."""
    server = own_server("redis")
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-config", "-info")
    make_store(url=f"redis://app:pw@127.0.0.1:{server.port}/0").load("s", Want())


def test_each_node_of_a_cluster_is_asked(make_store: MakeStore, redis_cluster_space: Space) -> None:
    """One node of three that may evict is enough for a warning."""
    store = make_store(url=redis_cluster_space.url.replace("redis:", "redis+cluster:"), prefix=redis_cluster_space.prefix)
    assert list(store.warnings()) == []
    with redis.Redis(port=redis_cluster_space.server.ports[1]) as node:
        node.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert ["allkeys-lru" in text for text in store.warnings()] == [True]
        finally:
            node.config_set("maxmemory-policy", "noeviction")


def test_promises_are_lines_of_text(make_store: MakeStore) -> None:
    """What Redis promises can be printed without a connection."""
    promises = make_store(url="redis://127.0.0.1:1").promises()
    assert set(promises) == {"durability", "replication", "eviction", "atomicity", "expiry"}
    assert all("\n" not in text and text for text in promises.values())
