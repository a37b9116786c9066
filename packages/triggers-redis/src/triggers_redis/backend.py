"""A session in Redis, ``storage_backends.get("redis", uid)``."""

from triggers.storages.base import BaseTriggerStorage
from triggers_redis.store import RedisStore


class RedisStorageBackend(BaseTriggerStorage):
    """One session's handle on Redis. Options are those of ``RedisStore``."""

    key = "redis"
    store_class = RedisStore
    api_version = 1
