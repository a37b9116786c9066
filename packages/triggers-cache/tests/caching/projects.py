"""Django projects for tests: settings made in code, in whatever process a store is opened."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connections
from django.utils.module_loading import import_string

from triggers_cache import CacheStore

BACKENDS = "django.core.cache.backends"


def configure() -> None:
    """An empty project; caches and databases are added as tests need them."""
    if not settings.configured:
        settings.configure(USE_TZ=True, CACHES={"default": {"BACKEND": f"{BACKENDS}.dummy.DummyCache"}}, DATABASES={})
        django.setup()


def add_cache(alias: str, cache: dict[str, Any], database: dict[str, Any] | None = None) -> None:
    """Makes a cache of this alias, and the database of the same alias that it may need."""
    configure()
    caches.settings[alias] = cache
    if database is not None and alias not in connections.settings:
        merged = connections.configure_settings({"default": {}, alias: dict(database)})
        connections.settings[alias] = merged[alias]
        settings.DATABASE_ROUTERS = ["caching.projects.Router"]


class Router:
    """The cache table of ``t1_cache`` lies in the database ``t1``."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """The database that the table is named for."""
        return str(model._meta.db_table).removesuffix("_cache") if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """The cache table, and nothing else."""
        return True if app_label == "django_cache" else None


def open_django(alias: str, cache: dict[str, Any], database: dict[str, Any] | None = None, **options: Any) -> CacheStore:
    """A store on a Django cache."""
    add_cache(alias, cache, database)
    return CacheStore(alias, **options)


class StrangeCache(BaseCache):  # type: ignore[misc]
    """A cache of a class that Triggers does not know: the public methods of another one, and nothing else."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        inner = dict(params["OPTIONS"]["INNER"])
        self._inner = import_string(inner.pop("BACKEND"))(inner.pop("LOCATION"), inner)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """As the other one does."""
        return bool(self._inner.add(key, value, timeout, version))

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """As the other one does."""
        return self._inner.get(key, default, version)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """As the other one does."""
        self._inner.set(key, value, timeout, version)

    def close(self, **kwargs: Any) -> None:
        """As the other one does."""
        self._inner.close(**kwargs)


def strange_cache(inner: dict[str, Any]) -> dict[str, Any]:
    """A cache of that class around another one."""
    return {"BACKEND": "caching.projects.StrangeCache", "OPTIONS": {"INNER": inner}}


def open_url(url: str, **options: Any) -> CacheStore:
    """A store on memcached, without Django."""
    return CacheStore(url=url, **options)


def redis_cache(url: str, prefix: str, **options: Any) -> dict[str, Any]:
    """Django's Redis cache."""
    return {"BACKEND": f"{BACKENDS}.redis.RedisCache", "LOCATION": url, "KEY_PREFIX": prefix, "OPTIONS": options}


def django_redis_cache(url: str, prefix: str, **options: Any) -> dict[str, Any]:
    """The Redis cache of django-redis."""
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "KEY_PREFIX": prefix, "OPTIONS": options}


def memcached_cache(url: str, prefix: str, **options: Any) -> dict[str, Any]:
    """Django's memcached cache on pymemcache."""
    return {
        "BACKEND": f"{BACKENDS}.memcached.PyMemcacheCache",
        "LOCATION": urlsplit(url).netloc,
        "KEY_PREFIX": prefix,
        "OPTIONS": options,
    }


def database_cache(alias: str, max_entries: int = 10_000_000) -> dict[str, Any]:
    """Django's database cache, on the table that ``Router`` leads to the database of this alias."""
    return {
        "BACKEND": f"{BACKENDS}.db.DatabaseCache",
        "LOCATION": f"{alias}_cache",
        "OPTIONS": {"MAX_ENTRIES": max_entries},
    }


def sqlite_database(path: str) -> dict[str, Any]:
    """A SQLite file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": {"timeout": 20}}


def postgres_database(url: str) -> dict[str, Any]:
    """A PostgreSQL database by SQLAlchemy's URL."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
    }


def mysql_database(url: str) -> dict[str, Any]:
    """A MySQL or MariaDB database by SQLAlchemy's URL, through PyMySQL in place of mysqlclient."""
    return {**postgres_database(url), "ENGINE": "caching.mariadb", "OPTIONS": {"charset": "utf8mb4"}}
