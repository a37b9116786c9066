"""The contract of a store, on one Redis server and on a cluster of three nodes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.servers.plugin import Space
from triggers.testing.conformance import StoreConformance
from triggers_redis import RedisStore


def connections_named(client: Any, name: str) -> list[int]:
    """The server's connections that call themselves so."""
    return [int(entry["id"]) for entry in client.client_list() if entry["name"] == name]


class TestRedis(StoreConformance):
    """One server."""

    @pytest.fixture
    def client(self, redis_space: Space) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(redis_space.url) as client:
            yield client

    @pytest.fixture
    def open_store(self, redis_space: Space) -> Callable[[], RedisStore]:
        name = redis_space.prefix.rstrip(":")
        return functools.partial(RedisStore, url=f"{redis_space.url}?client_name={name}", prefix=redis_space.prefix)

    @pytest.fixture
    def break_connections(self, redis_space: Space, client: redis.Redis) -> Callable[[], None]:
        def cut() -> None:
            for number in connections_named(client, redis_space.prefix.rstrip(":")):
                client.client_kill_filter(_id=str(number))

        return cut

    @pytest.fixture
    def spoil_format(self, redis_space: Space, client: redis.Redis) -> Callable[[str], None]:
        def spoil(uid: str) -> None:
            (key,) = client.scan_iter(f"{redis_space.prefix}{{*}}:session:{uid}")
            client.hset(key, "format", "2")

        return spoil


class TestRedisCluster(StoreConformance):
    """A cluster of three nodes."""

    @pytest.fixture
    def client(self, redis_cluster_space: Space) -> Iterator[redis.RedisCluster]:
        with redis.RedisCluster.from_url(redis_cluster_space.url) as client:
            yield client

    @pytest.fixture
    def open_store(self, redis_cluster_space: Space) -> Callable[[], RedisStore]:
        url = redis_cluster_space.url.replace("redis://", "redis+cluster://")
        name = redis_cluster_space.prefix.rstrip(":")
        return functools.partial(RedisStore, url=f"{url}?client_name={name}", prefix=redis_cluster_space.prefix)

    @pytest.fixture
    def break_connections(self, redis_cluster_space: Space, client: Any) -> Callable[[], None]:
        def cut() -> None:
            for node in client.get_primaries():
                server = client.get_redis_connection(node)
                for number in connections_named(server, redis_cluster_space.prefix.rstrip(":")):
                    server.client_kill_filter(_id=str(number))

        return cut

    @pytest.fixture
    def spoil_format(self, redis_cluster_space: Space, client: redis.RedisCluster) -> Callable[[str], None]:
        def spoil(uid: str) -> None:
            (key,) = client.scan_iter(f"{redis_cluster_space.prefix}{{*}}:session:{uid}")
            client.hset(key, "format", "2")

        return spoil
