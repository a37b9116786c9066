"""Which way of committing fits a cache of Django's settings, and which caches cannot keep sessions at all."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from triggers.errors import SettingsError
from triggers.settings import redact
from triggers_cache.medium import Medium

LEAST_ENTRIES = 100_000
"""A database cache with fewer MAX_ENTRIES is refused: past it, Django deletes a third of the rows."""

_CLIENT_OPTIONS = (
    "connect_timeout",
    "timeout",
    "no_delay",
    "socket_module",
    "socket_keepalive",
    "encoding",
    "tls_context",
)

Builder = Callable[[Any, str, int | None], Medium]


def find_cache(alias: str) -> Any:
    """The cache of this alias, for the present thread.

    Raises:
        SettingsError: Django's settings have no such cache, or its class cannot be imported.
    """
    from django.core.cache import InvalidCacheBackendError, caches

    try:
        return caches[alias]
    except InvalidCacheBackendError as error:
        known = ", ".join(repr(name) for name in caches) or "none"
        raise SettingsError(f"cache {alias!r} of Django's CACHES cannot be used: {error}; configured are {known}") from error


def choose_medium(alias: str, *, allow_local: bool, atomic_add: bool, max_value_bytes: int | None) -> Medium:
    """How to keep sessions in this cache.

    Raises:
        SettingsError: the cache cannot keep a session safely; the message says why and what to use.
    """
    cache = find_cache(alias)
    kind = _kind(cache)
    if kind in _BUILDERS:
        return _BUILDERS[kind](cache, alias, max_value_bytes)
    if kind in _REFUSED:
        raise SettingsError(f"cache {alias!r} ({_class_name(cache)}) cannot keep sessions: {_REFUSED[kind]}. {_INSTEAD}")
    if kind == "django.core.cache.backends.locmem.LocMemCache":
        if not allow_local:
            raise SettingsError(
                f"cache {alias!r} ({_class_name(cache)}) cannot keep sessions: each process has its own, so processes would "
                f"not see each other's triggers. {_INSTEAD} For tests in one process, pass allow_local=True."
            )
        return _from_add(cache, alias, max_value_bytes)
    if not atomic_add:
        raise SettingsError(
            f"cache {alias!r} ({_class_name(cache)}) is not one that Triggers knows, so it is not known whether its add() is "
            f"atomic. If it is, between processes and machines, pass atomic_add=True. {_INSTEAD}"
        )
    return _from_add(cache, alias, max_value_bytes)


_INSTEAD = "Use a cache on Redis, on memcached, or on a database with large MAX_ENTRIES; or another storage, such as 'sql'."

_REFUSED = {
    "django.core.cache.backends.filebased.FileBasedCache": (
        "its add() is not atomic, so two processes can both believe that they stored a change, and it throws entries "
        "away at random past MAX_ENTRIES"
    ),
    "django.core.cache.backends.dummy.DummyCache": "it stores nothing",
}


def _kind(cache: Any) -> str:
    """The nearest base class that is known here, by its full name."""
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(cache).__mro__]
    known = {*_BUILDERS, *_REFUSED, "django.core.cache.backends.locmem.LocMemCache"}
    return next((name for name in names if name in known), names[0])


def _class_name(cache: Any) -> str:
    return f"{type(cache).__module__}.{type(cache).__qualname__}"


def _redis(cache: Any, alias: str, max_value_bytes: int | None) -> Medium:
    from django.core.cache.backends.redis import RedisCacheClient

    from triggers_cache.redis_cache import RedisMedium

    client = cache._cache
    if type(client).get_client is not RedisCacheClient.get_client:
        return _from_add(cache, alias, max_value_bytes)
    return RedisMedium(client.get_client(write=True).connection_pool, redact(str(client._servers[0])))


def _django_redis(cache: Any, alias: str, max_value_bytes: int | None) -> Medium:
    client_module = import_module("django_redis.client.default")

    from triggers_cache.redis_cache import RedisMedium

    if type(cache.client) is client_module.DefaultClient:
        return RedisMedium(cache.client.get_client(write=True).connection_pool, f"of cache {alias!r}")
    if cache._ignore_exceptions:
        raise SettingsError(
            f"cache {alias!r} cannot keep sessions: with IGNORE_EXCEPTIONS a server that is down looks like one that is "
            "empty; set it to False"
        )
    return _from_add(cache, alias, max_value_bytes)


def _pymemcache(cache: Any, alias: str, max_value_bytes: int | None) -> Medium:
    from pymemcache.client.base import normalize_server_spec

    from triggers_cache.memcached import MAX_VALUE_BYTES, MemcachedMedium

    options = {name: value for name, value in cache._options.items() if name in _CLIENT_OPTIONS}
    servers = [normalize_server_spec(server) for server in cache.client_servers]
    return MemcachedMedium(servers, options, max_value_bytes or MAX_VALUE_BYTES)


def _pylibmc(cache: Any, alias: str, max_value_bytes: int | None) -> Medium:
    from triggers_cache.memcached import MAX_VALUE_BYTES

    return _from_add(cache, alias, max_value_bytes or MAX_VALUE_BYTES)


def _database(cache: Any, alias: str, max_value_bytes: int | None) -> Medium:
    from triggers_cache.database import DatabaseMedium

    if cache._max_entries < LEAST_ENTRIES:
        raise SettingsError(
            f"cache {alias!r} ({_class_name(cache)}) cannot keep sessions: with MAX_ENTRIES {cache._max_entries} "
            "Django deletes rows as soon as there are more. Give it a table of its own and "
            f'"OPTIONS": {{"MAX_ENTRIES": 10_000_000}} ({LEAST_ENTRIES} at least), or use the storage \'sql\'.'
        )
    return DatabaseMedium(cache, alias)


def _from_add(cache: Any, alias: str, max_value_bytes: int | None) -> Medium:
    from django.core.cache import caches

    from triggers_cache.added import AddMedium

    evicts = f"cache {alias!r} ({_class_name(cache)}) may throw entries away when it is full or restarts"
    return AddMedium(lambda: caches.create_connection(alias), alias, evicts, max_value_bytes)


_BUILDERS: dict[str, Builder] = {
    "django.core.cache.backends.redis.RedisCache": _redis,
    "django_redis.cache.RedisCache": _django_redis,
    "django.core.cache.backends.memcached.PyMemcacheCache": _pymemcache,
    "django.core.cache.backends.memcached.PyLibMCCache": _pylibmc,
    "django.core.cache.backends.db.DatabaseCache": _database,
}
