"""Keeps Triggers sessions in a Django cache or in memcached."""

from triggers_cache.backend import CacheStorageBackend
from triggers_cache.store import CacheStore

__all__ = ["CacheStorageBackend", "CacheStore"]
