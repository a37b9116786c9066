"""How long a session is kept: the option ``timeout``, and what a commit asks for."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pymemcache
import pytest

from caching import projects
from test_contract import alias
from tests.servers.plugin import Space
from triggers.store import ABSENT, EVERYTHING, Change, Record, Store, Want
from triggers_cache import CacheStore

KINDS = ("memcached", "redis", "database", "add on redis", "add on memcached")


def open_kind(request: pytest.FixtureRequest, kind: str, tmp_path: Path, timeout: float | None) -> CacheStore:
    """A store of this kind."""
    name = alias()
    if kind == "database":
        database = projects.sqlite_database(str(tmp_path / "cache.db"))
        return projects.open_django(name, projects.database_cache(name), database, timeout=timeout)
    space: Space = request.getfixturevalue("redis_space" if "redis" in kind else "memcached_space")
    if kind == "memcached":
        return projects.open_url(space.url, prefix=space.prefix, timeout=timeout)
    cache = (projects.redis_cache if "redis" in kind else projects.memcached_cache)(space.url, space.prefix)
    if kind.startswith("add"):
        return projects.open_django(name, projects.strange_cache(cache), timeout=timeout, atomic_add=True)
    return projects.open_django(name, cache, timeout=timeout)


def commit(store: Store, uid: str, version: str, expected: str, expire_in: int | None = None) -> None:
    """One record."""
    store.commit(uid, Change(version, {("c", "k"): Record(b"1")}, expire_in=expire_in), expected, Want())


def wait_until_gone(store: Store, uid: str, limit: float) -> None:
    """Until the session is not there any more, which it must not be so many seconds from now."""
    end = time.monotonic() + limit
    while True:
        asked = time.monotonic()
        if store.load(uid, EVERYTHING).version == ABSENT:
            return
        assert asked < end, f"still there after {limit} seconds"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_is_kept_for_its_timeout_and_then_forgotten(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """With ``timeout=5`` a session is there for five seconds after its last commit, and gone soon after; it can be made anew."""
    with contextlib.closing(open_kind(request, kind, tmp_path, 5)) as store:
        store.setup()
        commit(store, "s", "v1", ABSENT)
        time.sleep(1.5)
        began = time.monotonic()
        commit(store, "s", "v2", "v1")
        wait_until_gone(store, "s", 7.5)
        assert time.monotonic() - began >= 4.9
        assert store.delete("s") is False
        commit(store, "s", "v3", ABSENT)
        assert store.load("s", EVERYTHING).version == "v3"


@pytest.mark.parametrize("kind", KINDS)
def test_the_shorter_of_timeout_and_commit_counts(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """``expire_in`` of a commit shortens the time, the next commit without it restores it."""
    with contextlib.closing(open_kind(request, kind, tmp_path, 60)) as store:
        store.setup()
        commit(store, "s", "v1", ABSENT, expire_in=3)
        commit(store, "s", "v2", "v1")
        commit(store, "brief", "v1", ABSENT, expire_in=3)
        wait_until_gone(store, "brief", 7)
        time.sleep(0.5)
        assert store.load("s", EVERYTHING).version == "v2"


def test_memcached_keeps_a_session_for_more_than_thirty_days(memcached_space: Space) -> None:
    """A timeout of 40 days is not taken for a date in 1970, and what is stored expires in 40 days."""
    days = 40 * 24 * 3600
    with contextlib.closing(projects.open_url(memcached_space.url, prefix=memcached_space.prefix, timeout=days)) as store:
        commit(store, "s", "v1", ABSENT)
        assert store.load("s", EVERYTHING).version == "v1"
        host, _, port = memcached_space.url.removeprefix("memcached://").partition(":")
        with contextlib.closing(pymemcache.Client((host, int(port)))) as client:
            key = store._key("s").encode()
            left = int(client.raw_command(b"mg " + key + b" t").split(b" t")[1])
    assert days - 60 <= left <= days + 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_caches_own_timeout_does_not_count(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """Without ``timeout`` a session stays, although the alias in Django's settings has a ``TIMEOUT`` of one second."""
    if kind == "memcached":
        kind = "django memcached"
    name = alias()
    database = projects.sqlite_database(str(tmp_path / "cache.db")) if kind == "database" else None
    cache = projects.database_cache(name)
    if database is None:
        space: Space = request.getfixturevalue("redis_space" if "redis" in kind else "memcached_space")
        cache = (projects.redis_cache if "redis" in kind else projects.memcached_cache)(space.url, space.prefix)
    cache["TIMEOUT"] = 1
    options = {}
    if kind.startswith("add"):
        cache, options = {**projects.strange_cache(cache), "TIMEOUT": 1}, {"atomic_add": True}
    with contextlib.closing(projects.open_django(name, cache, database, **options)) as store:
        store.setup()
        commit(store, "s", "v1", ABSENT)
        time.sleep(2.3)
        assert store.load("s", EVERYTHING).version == "v1"


def test_expired_rows_are_removed_from_the_database(tmp_path: Path) -> None:
    """Rows of sessions that have expired do not pile up: one commit in a thousand removes them."""
    name = alias()
    database = projects.sqlite_database(str(tmp_path / "cache.db"))
    with contextlib.closing(projects.open_django(name, projects.database_cache(name), database, timeout=1)) as store:
        store.setup()
        for at in range(30):
            commit(store, f"old {at}", "v1", ABSENT)
    time.sleep(3)
    with contextlib.closing(projects.open_django(name, projects.database_cache(name), database)) as store:
        for at in range(1010):
            commit(store, "new", f"v{at + 1}", f"v{at}" if at else ABSENT)
        assert _rows(name) <= 10


def _rows(name: str) -> int:
    from django.db import connections

    connection = connections.create_connection(name)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {name}_cache")
        return int(cursor.fetchone()[0])
