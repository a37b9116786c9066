"""Keeps Triggers sessions in Redis, Valkey or Redis Cluster."""

from triggers_redis.backend import RedisStorageBackend
from triggers_redis.store import RedisStore

__all__ = ["RedisStorageBackend", "RedisStore"]
