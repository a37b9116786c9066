"""The handle of a session that is kept in a cache."""

from __future__ import annotations

from triggers.storages.base import BaseTriggerStorage
from triggers_cache.store import CacheStore


class CacheStorageBackend(BaseTriggerStorage):
    """A session in a cache: ``storage_backends.get("cache", uid)``.

    Or by hand, ``CacheStorageBackend(uid, cache="default", timeout=3600)``; the options are those of ``CacheStore``.
    """

    key = "cache"
    store_class = CacheStore
    api_version = 1
