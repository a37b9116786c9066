"""Several processes in one session: nothing is lost, on each kind of cache."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import pytest

from caching import projects
from caching.racing import GO, give_signal, race
from test_contract import alias
from tests.servers.plugin import Space
from triggers.store import EVERYTHING
from triggers.testing.conformance.children import COUNTER, Children, count_in
from triggers.testing.conformance.space import OpenStore

PROCESSES = 4
EACH = 100

KINDS = (
    "pymemcache",
    "django-memcached",
    "django-redis-cache",
    "django-redis",
    "sqlite",
    "postgres",
    "postgres, serializable",
    "add on redis",
    "add on memcached",
)


@pytest.fixture
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """A store of the kind that the test asks for."""
    kind = request.param
    name = alias()
    if kind == "sqlite":
        database = projects.sqlite_database(str(tmp_path / "cache.db"))
        return functools.partial(projects.open_django, name, projects.database_cache(name), database)
    if kind.startswith("postgres"):
        database = projects.postgres_database(request.getfixturevalue("postgres_url"))
        if kind.endswith("serializable"):
            database["OPTIONS"] = {"options": "-c default_transaction_isolation=serializable"}
        return functools.partial(projects.open_django, name, projects.database_cache(name), database)
    on_redis = kind in ("django-redis-cache", "django-redis", "add on redis")
    space: Space = request.getfixturevalue("redis_space" if on_redis else "memcached_space")
    if kind == "pymemcache":
        return functools.partial(projects.open_url, space.url, prefix=space.prefix)
    if kind == "django-redis":
        return functools.partial(projects.open_django, name, projects.django_redis_cache(space.url, space.prefix))
    cache = (projects.redis_cache if on_redis else projects.memcached_cache)(space.url, space.prefix)
    if kind.startswith("add"):
        return functools.partial(projects.open_django, name, projects.strange_cache(cache), atomic_add=True)
    return functools.partial(projects.open_django, name, cache)


@pytest.mark.parametrize("open_store", KINDS, indirect=True)
def test_four_processes_lose_no_commit(open_store: OpenStore) -> None:
    """4 processes that each commit 100 increments to one new session leave 400."""
    with contextlib.closing(open_store()) as store, Children() as children:
        store.setup()
        racing = [children.start(open_store, race, "race", str(at), EACH) for at in range(PROCESSES)]
        assert [child.hear() for child in racing] == ["ready"] * PROCESSES
        give_signal(open_store)
        conflicts = sum(child.hear() for child in racing)
        assert conflicts > 0, "the processes never met: this has shown nothing"
        left = store.load("race", EVERYTHING)
        assert (list(left.records), count_in(left)) == ([COUNTER[0]], PROCESSES * EACH)
        store.delete("race")
        store.delete(GO)
