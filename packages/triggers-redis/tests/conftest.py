"""What the tests of the Redis store share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from tests.servers.client import Server
from tests.servers.plugin import Space
from tests.servers.proxy import FaultProxy
from triggers.store import ABSENT, Change, Want
from triggers_redis import RedisStore

MakeStore = Callable[..., RedisStore]


@pytest.fixture
def make_store() -> Iterator[MakeStore]:
    """Makes stores that are closed at the end."""
    made: list[RedisStore] = []

    def make(**options: object) -> RedisStore:
        made.append(RedisStore(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore, redis_space: Space) -> RedisStore:
    """A store under a fresh prefix."""
    return make_store(url=redis_space.url, prefix=redis_space.prefix)


@pytest.fixture
def client(redis_space: Space) -> Iterator[redis.Redis]:
    """A client of the same server, to look behind the store."""
    with redis.Redis.from_url(redis_space.url) as client:
        yield client


@pytest.fixture
def proxy(redis_space: Space, fault_proxy: Callable[[Server], FaultProxy]) -> FaultProxy:
    """A proxy in front of the server."""
    return fault_proxy(redis_space.server)


@pytest.fixture
def proxied(make_store: MakeStore, redis_space: Space, proxy: FaultProxy) -> RedisStore:
    """A store that reaches the server through the proxy; it has connected, and the scripts are known."""
    url = f"redis://127.0.0.1:{proxy.port}/0"
    store = make_store(url=url, prefix=redis_space.prefix, timeout=10.0, connect_timeout=10.0)
    store.commit("warm up", Change("1", {}), ABSENT, Want())
    store.load("warm up", Want())
    store.delete("warm up")
    return store
