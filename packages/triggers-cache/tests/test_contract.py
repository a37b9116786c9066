"""The whole contract of stores, on each kind of cache, on real servers behind a proxy that can cut connections."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from caching import projects
from tests.servers.client import Server
from tests.servers.plugin import Space
from tests.servers.proxy import FaultProxy
from triggers.store import Change
from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.space import OpenStore

Proxies = Callable[[Server | int], FaultProxy]


def alias() -> str:
    """A name that no other test uses for a cache."""
    return f"c{uuid.uuid4().hex[:12]}"


def through(proxy: FaultProxy, url: str) -> str:
    """The URL with the proxy's port."""
    port = urlsplit(url).port
    return url.replace(f":{port}", f":{proxy.port}", 1)


class CacheContract(StoreConformance):
    """What all caches have in common."""

    @pytest.fixture
    def proxy(self, request: pytest.FixtureRequest) -> FaultProxy | None:
        """What lies between the store and its server, if it has one."""
        return None

    @pytest.fixture
    def break_connections(self, proxy: FaultProxy | None) -> Callable[[], None] | None:
        """Cuts them all."""
        return None if proxy is None else proxy.cut

    @pytest.fixture
    def spoil_format(self, open_store: OpenStore) -> Callable[[str], None]:
        """Writes format 2 into the stored document."""

        def spoil(uid: str) -> None:
            store = open_store()
            found = store.read(uid)  # type: ignore[attr-defined]
            spoilt = found[0].replace(b'"format":1', b'"format":2')
            assert spoilt != found[0]
            assert store.swap(uid, found[1], spoilt, Change("", {}))  # type: ignore[attr-defined]
            store.close()

        return spoil


class OnMemcached(CacheContract):
    """Caches on memcached."""

    @pytest.fixture
    def proxy(self, memcached_space: Space, fault_proxy: Proxies) -> FaultProxy:
        """Before the server of the run."""
        return fault_proxy(memcached_space.server)


class OnRedis(CacheContract):
    """Caches on Redis."""

    @pytest.fixture
    def proxy(self, redis_space: Space, fault_proxy: Proxies) -> FaultProxy:
        """Before the server of the run."""
        return fault_proxy(redis_space.server)


class TestPymemcache(OnMemcached):
    """memcached by URL, without Django."""

    @pytest.fixture
    def open_store(self, memcached_space: Space, proxy: FaultProxy) -> OpenStore:
        """A store with a prefix of its own."""
        return functools.partial(projects.open_url, through(proxy, memcached_space.url), prefix=memcached_space.prefix)


class TestDjangoOnMemcached(OnMemcached):
    """Django's cache on memcached through pymemcache."""

    @pytest.fixture
    def open_store(self, memcached_space: Space, proxy: FaultProxy) -> OpenStore:
        """A store with a prefix of its own."""
        cache = projects.memcached_cache(through(proxy, memcached_space.url), memcached_space.prefix)
        return functools.partial(projects.open_django, alias(), cache)


class TestDjangoOnRedis(OnRedis):
    """Django's cache on Redis."""

    @pytest.fixture
    def open_store(self, redis_space: Space, proxy: FaultProxy) -> OpenStore:
        """A store with a prefix of its own."""
        cache = projects.redis_cache(through(proxy, redis_space.url), redis_space.prefix)
        return functools.partial(projects.open_django, alias(), cache)


class TestDjangoRedis(OnRedis):
    """The cache of django-redis."""

    @pytest.fixture
    def open_store(self, redis_space: Space, proxy: FaultProxy) -> OpenStore:
        """A store with a prefix of its own."""
        cache = projects.django_redis_cache(through(proxy, redis_space.url), redis_space.prefix)
        return functools.partial(projects.open_django, alias(), cache)


class TestDjangoOnSqlite(CacheContract):
    """Django's database cache on a SQLite file."""

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        """A store on a file of this test."""
        name = alias()
        database = projects.sqlite_database(str(tmp_path / "cache.db"))
        return functools.partial(projects.open_django, name, projects.database_cache(name), database)


class TestDjangoOnPostgres(CacheContract):
    """Django's database cache on PostgreSQL."""

    @pytest.fixture
    def proxy(self, postgres_url: str, fault_proxy: Proxies) -> FaultProxy:
        """Before the server of the run."""
        port = urlsplit(postgres_url).port
        assert port is not None
        return fault_proxy(port)

    @pytest.fixture
    def open_store(self, postgres_url: str, proxy: FaultProxy) -> OpenStore:
        """A store on a database of this test."""
        name = alias()
        database = projects.postgres_database(through(proxy, postgres_url))
        return functools.partial(projects.open_django, name, projects.database_cache(name), database)


class TestDjangoOnMariadb(CacheContract):
    """Django's database cache on MariaDB or MySQL."""

    @pytest.fixture
    def proxy(self, mysql_url: str, fault_proxy: Proxies) -> FaultProxy:
        """Before the server of the run."""
        port = urlsplit(mysql_url).port
        assert port is not None
        return fault_proxy(port)

    @pytest.fixture
    def open_store(self, mysql_url: str, proxy: FaultProxy) -> OpenStore:
        """A store on a database of this test."""
        name = alias()
        database = projects.mysql_database(through(proxy, mysql_url))
        return functools.partial(projects.open_django, name, projects.database_cache(name), database)


class TestAddOnRedis(OnRedis):
    """Compare-and-set built from ``add``, on Django's cache on Redis."""

    @pytest.fixture
    def open_store(self, redis_space: Space, proxy: FaultProxy) -> OpenStore:
        """A store with a prefix of its own."""
        cache = projects.strange_cache(projects.redis_cache(through(proxy, redis_space.url), redis_space.prefix))
        return functools.partial(projects.open_django, alias(), cache, atomic_add=True)


class TestAddOnMemcached(OnMemcached):
    """Compare-and-set built from ``add``, on Django's cache on memcached."""

    @pytest.fixture
    def open_store(self, memcached_space: Space, proxy: FaultProxy) -> OpenStore:
        """A store with a prefix of its own."""
        inner = projects.memcached_cache(through(proxy, memcached_space.url), memcached_space.prefix)
        return functools.partial(
            projects.open_django, alias(), projects.strange_cache(inner), atomic_add=True, max_value_bytes=2**20 - 1024
        )
