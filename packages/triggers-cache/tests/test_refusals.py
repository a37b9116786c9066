"""What cannot keep sessions is refused before anything is stored, with a message that says what to do."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from caching import projects
from caching.projects import BACKENDS
from triggers.errors import SettingsError
from triggers_cache import CacheStorageBackend, CacheStore

REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "file": (
        {"BACKEND": f"{BACKENDS}.filebased.FileBasedCache", "LOCATION": "/nonexistent/cache"},
        ("filebased.FileBasedCache) cannot keep sessions", "add() is not atomic", "Use a cache on Redis"),
    ),
    "dummy": (
        {"BACKEND": f"{BACKENDS}.dummy.DummyCache"},
        ("dummy.DummyCache) cannot keep sessions", "it stores nothing", "Use a cache on Redis"),
    ),
    "locmem": (
        {"BACKEND": f"{BACKENDS}.locmem.LocMemCache"},
        ("locmem.LocMemCache) cannot keep sessions", "each process has its own", "pass allow_local=True"),
    ),
    "database with the default culling": (
        {"BACKEND": f"{BACKENDS}.db.DatabaseCache", "LOCATION": "a_table"},
        ("db.DatabaseCache) cannot keep sessions", "MAX_ENTRIES 300", '"OPTIONS": {"MAX_ENTRIES": 10_000_000}'),
    ),
    "database with a little more": (
        {"BACKEND": f"{BACKENDS}.db.DatabaseCache", "LOCATION": "a_table", "OPTIONS": {"MAX_ENTRIES": 99_999}},
        ("MAX_ENTRIES 99999", "100000 at least"),
    ),
    "a class of its own": (
        projects.strange_cache({"BACKEND": f"{BACKENDS}.dummy.DummyCache", "LOCATION": ""}),
        ("caching.projects.StrangeCache) is not one that Triggers knows", "pass atomic_add=True"),
    ),
    "a class that is not there": (
        {"BACKEND": "nowhere.Cache"},
        ("Could not find backend 'nowhere.Cache'",),
    ),
    "django-redis that hides errors": (
        {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": ["redis://127.0.0.1:1"],
            "OPTIONS": {"IGNORE_EXCEPTIONS": True, "CLIENT_CLASS": "django_redis.client.ShardClient"},
        },
        ("a server that is down looks like one that is empty", "set it to False"),
    ),
    "keys that are too long": (
        {**projects.redis_cache("redis://127.0.0.1:1", "p" * 200)},
        ("keys look like 'ppp", "at most 250 characters"),
    ),
    "keys with a space": (
        {**projects.redis_cache("redis://127.0.0.1:1", "my app")},
        ("keys look like 'my app", "without spaces"),
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_cache_that_cannot_keep_sessions_is_refused(kind: str) -> None:
    """Making a store, or a session's handle, on such a cache raises ``SettingsError`` that names alias, reason and remedy."""
    cache, parts = REFUSED[kind]
    alias = f"refused_{uuid.uuid4().hex[:8]}"
    projects.add_cache(alias, cache)
    for make in (lambda: CacheStore(alias), lambda: CacheStorageBackend("a session", cache=alias)):
        with pytest.raises(SettingsError) as caught:
            make()
        message = str(caught.value)
        assert [part for part in (*parts, alias) if part not in message] == []


def test_a_subclass_of_a_refused_cache_is_refused() -> None:
    """A class that an application derives from a refused one is refused as well."""
    projects.add_cache("sub", {"BACKEND": "test_refusals.QuietFiles", "LOCATION": "/nonexistent/cache"})
    sys.modules.setdefault("test_refusals", sys.modules[__name__])
    with pytest.raises(SettingsError, match="cannot keep sessions: its add"):
        CacheStore("sub", atomic_add=True)


def __getattr__(name: str) -> Any:
    if name != "QuietFiles":
        raise AttributeError(name)
    from django.core.cache.backends.filebased import FileBasedCache

    return type("QuietFiles", (FileBasedCache,), {})


def test_an_unknown_alias_names_the_known_ones() -> None:
    """An alias that is not in ``CACHES`` is refused, and the message lists those that are."""
    projects.configure()
    with pytest.raises(SettingsError, match=r"cache 'sesions' of Django's CACHES cannot be used.*configured are 'default'"):
        CacheStore("sesions")


@pytest.mark.parametrize(
    "url, message",
    [
        ("redis://127.0.0.1:6379", "use the storage 'redis'"),
        ("http://127.0.0.1:11211", "is no address of memcached servers"),
        ("127.0.0.1:11211", "is no address of memcached servers"),
        ("memcached://", "names no host"),
        ("memcached://a,,b", "names no host"),
        ("memcached://a:99999", "is no host and port"),
        ("memcached://a:port", "is no host and port"),
        ("memcached://a:1,a:1", "names a server twice"),
        ("memcached://a,a:11211", "names a server twice"),
        ("memcached://user:secret@a", "without user and password"),
        ("memcached://a/prefix", "pass prefix="),
        ("memcached://a?retries=3", "unknown option 'retries'"),
        ("memcached://a?timeout=soon", "timeout='soon' is no number of seconds"),
        ("memcached://a?timeout=-1", "timeout='-1' is no number of seconds"),
        ("memcached://a?timeout=nan", "timeout='nan' is no number of seconds"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, message: str) -> None:
    """A URL with a mistake is refused with the place of the mistake, and without its password."""
    with pytest.raises(SettingsError) as caught:
        CacheStore(url=url)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"timeout": 0}, "timeout is a number of seconds above 0"),
        ({"timeout": -5}, "timeout is a number of seconds above 0"),
        ({"timeout": "60"}, "timeout is a number of seconds above 0"),
        ({"timeout": True}, "timeout is a number of seconds above 0"),
        ({"timeout": float("nan")}, "timeout is a number of seconds above 0"),
        ({"prefix": "a b"}, "prefix is at most 100 characters"),
        ({"prefix": "é"}, "prefix is at most 100 characters"),
        ({"prefix": "p" * 101}, "prefix is at most 100 characters"),
        ({"prefix": 7}, "prefix is at most 100 characters"),
        ({"max_value_bytes": 0}, "max_value_bytes must be a whole number above 0"),
        ({"max_value_bytes": 1.5}, "max_value_bytes must be a whole number above 0"),
        ({"url": 11211}, "must be a string"),
    ],
)
def test_an_option_that_is_wrong_is_refused(options: dict[str, Any], message: str) -> None:
    """Each option is checked when the store is made, before any connection."""
    with pytest.raises(SettingsError, match=message):
        CacheStore(**{"url": "memcached://127.0.0.1:1", **options})


def test_an_unknown_option_is_refused() -> None:
    """A misspelt option of the handle is refused by its name."""
    with pytest.raises(SettingsError, match="timeuot"):
        CacheStorageBackend("a session", url="memcached://127.0.0.1:1", timeuot=5)


def test_outside_of_django_without_url_says_what_to_give() -> None:
    """In a process without Django settings and without ``url``, the error says both ways out; Django is not imported."""
    code = """
import sys
from triggers_cache import CacheStorageBackend
try:
    CacheStorageBackend("a session")
except Exception as error:
    print(type(error).__name__, error)
print([name for name in sys.modules if name.split(".")[0] in ("django", "pymemcache", "redis")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    message, imported = done.stdout.splitlines()
    assert message == (
        "SettingsError the storage 'cache' has no cache: inside a Django project it uses CACHES; elsewhere give it "
        "url='memcached://host:port' (or TRIGGERS_CACHE_URL)"
    )
    assert imported == "[]"


def test_locmem_may_be_allowed_for_tests() -> None:
    """With ``allow_local=True`` a ``LocMemCache`` keeps a session of this process."""
    projects.add_cache("local", {"BACKEND": f"{BACKENDS}.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex})
    store = CacheStore("local", allow_local=True)
    assert store.read("nobody") is None
    assert store.promises()["atomicity"] == "built from the cache's atomic add"
