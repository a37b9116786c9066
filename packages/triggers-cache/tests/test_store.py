"""What the store itself adds to its cache: keys, sizes, sharing, and what it tells the operator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from caching import projects
from test_contract import alias
from tests.servers.client import OwnServer
from tests.servers.plugin import Space
from triggers.errors import SessionTooLarge
from triggers.store import ABSENT, EVERYTHING, Capability, Change, Record, Want
from triggers_cache import CacheStorageBackend, CacheStore


def large(size: int) -> Change:
    """A change whose document is somewhat larger than that."""
    return Change("v1", {("c", "k"): Record(b'"' + b"x" * size + b'"')})


def test_keys_are_hashed_and_carry_the_prefixes(redis_space: Space) -> None:
    """The key of a session is prefix and SHA-256, inside of the alias's own KEY_PREFIX and VERSION."""
    name = alias()
    store = projects.open_django(name, {**projects.redis_cache(redis_space.url, redis_space.prefix), "VERSION": 3}, prefix="app")
    with contextlib.closing(store):
        assert store._key("a") == (f"{redis_space.prefix}:3:app:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")
        assert len({store._key(uid) for uid in ("a", "A", "a ", "á", "a\u0301")}) == 5


def test_two_prefixes_are_two_worlds(memcached_space: Space) -> None:
    """Stores on one cache with different prefixes do not see each other's sessions."""
    one = projects.open_url(memcached_space.url, prefix=memcached_space.prefix + "1")
    two = projects.open_url(memcached_space.url, prefix=memcached_space.prefix + "2")
    with contextlib.closing(one), contextlib.closing(two):
        one.commit("s", large(1), ABSENT, Want())
        assert two.load("s", EVERYTHING).version == ABSENT
        assert two.delete("s") is False
        assert one.load("s", EVERYTHING).version == "v1"


def test_memcached_says_how_large_a_session_may_be(memcached_space: Space) -> None:
    """The limit is 1 MiB less 1 KiB; a session of that size is kept, a larger one is refused and nothing is stored."""
    with contextlib.closing(projects.open_url(memcached_space.url, prefix=memcached_space.prefix)) as store:
        assert store.max_value_bytes == 1_047_552
        store.commit("fits", large(1_047_552 - 200), ABSENT, Want())
        assert store.load("fits", EVERYTHING).version == "v1"
        with pytest.raises(SessionTooLarge, match="1047552"):
            store.commit("s", large(1_047_552), ABSENT, Want())
        assert store.load("s", EVERYTHING).version == ABSENT


def test_a_memcached_that_takes_less_says_what_to_do(own_server: Callable[..., OwnServer]) -> None:
    """A server started with a smaller item size refuses the value: ``SessionTooLarge`` names ``-I``, and the session stays."""
    server = own_server("memcached", "-I", "512k")
    with contextlib.closing(CacheStore(url=server.url)) as store:
        store.commit("s", large(1), ABSENT, Want())
        with pytest.raises(SessionTooLarge, match=r"start it with a larger -I, or lower max_value_bytes"):
            store.commit("s", large(700_000)._replace(version="v2"), "v1", Want())
        assert store.load("s", EVERYTHING).version == "v1"
    lower = CacheStore(url=server.url, max_value_bytes=50_000)
    with contextlib.closing(lower), pytest.raises(SessionTooLarge, match="50000"):
        lower.commit("t", large(60_000), ABSENT, Want())


def test_a_memcached_that_takes_more_can_be_told(own_server: Callable[..., OwnServer]) -> None:
    """With ``-I 4m`` and ``max_value_bytes`` a session of 3 MB is kept."""
    server = own_server("memcached", "-I", "4m")
    with contextlib.closing(CacheStore(url=server.url, max_value_bytes=4 * 2**20 - 1024)) as store:
        store.commit("s", large(3_000_000), ABSENT, Want())
        assert len(store.load("s", EVERYTHING).records["c"]["k"].value) == 3_000_002


def test_handles_with_the_same_options_share_one_store(memcached_space: Space) -> None:
    """Handles share a store, and so its connections, by their options."""

    def handle(uid: str, timeout: float | None = None) -> CacheStorageBackend:
        return CacheStorageBackend(uid, url=memcached_space.url, prefix=memcached_space.prefix, timeout=timeout)

    assert handle("a").store is handle("b").store
    assert handle("a", timeout=5).store is not handle("a").store


def test_capabilities_and_promises(memcached_space: Space) -> None:
    """A cache declares expiry and neither DUE nor SCAN, keeps one value per session, and says what follows."""
    with contextlib.closing(projects.open_url(memcached_space.url, timeout=90)) as store:
        assert store.capabilities == Capability.EXPIRE
        assert store.one_value is True
        promises = store.promises()
        assert promises["atomicity"] == "memcached's compare-and-set"
        assert promises["kept"] == "90 seconds after the last commit"
        assert "evicts" in promises["durability"]
        assert "neither due work (DUE) nor sessions (SCAN)" in promises["recovery"]


def test_a_redis_that_evicts_is_reported(own_server: Callable[..., OwnServer]) -> None:
    """``warnings`` asks Redis for its policy and says what to set; with ``noeviction`` it has nothing to add."""
    server = own_server("redis", "--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru")
    with contextlib.closing(projects.open_django(alias(), projects.redis_cache(server.url, "p"))) as store:
        lines = list(store.warnings())
    assert len(lines) == 2
    assert "may lose sessions: Redis evicts when it reaches maxmemory" in lines[0]
    assert "has maxmemory-policy allkeys-lru; set it to noeviction" in lines[1]
    keeps = own_server("redis", "--maxmemory", "20mb", "--maxmemory-policy", "noeviction")
    with contextlib.closing(projects.open_django(alias(), projects.redis_cache(keeps.url, "p"))) as store:
        assert len(list(store.warnings())) == 1
