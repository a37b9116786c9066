"""Django's Redis cache: its server and options, with a compare-and-set of one script.

The cache's own client is not used. redis-py resends what got no reply (ten times by default), so that a commit could meet
itself; and Django reads from replicas, which lag behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

from triggers.errors import OutcomeUnknown, StorageUnavailable
from triggers_cache.medium import Medium
from triggers_cache.pool import Pool

_MARK_BYTES = 16

# A value begins with the mark of its revision.
_SWAP = """
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1
"""
_REMOVE = """
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisMedium(Medium):
    """The server that a redis-py connection pool leads to.

    Args:
        source: the pool whose class of connections and options are used; its own connections are not.
        name: the server, for messages.
    """

    method = "a script on Redis that compares and sets"

    def __init__(self, source: Any, name: str) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._errors = redis.exceptions
        self._lost = (self._errors.ConnectionError, self._errors.TimeoutError, OSError)
        self._name = name
        self._source = source
        self._options = {**source.connection_kwargs, "decode_responses": False, "retry": Retry(NoBackoff(), 0)}
        self._connections: Pool[Any] = Pool(self._connect, lambda connection: connection.disconnect())

    def read(self, key: str) -> tuple[bytes, bytes] | None:
        """One ``GET``."""
        try:
            found = self._connections.ask(lambda connection: _ask(connection, "GET", key), self._lost)
        except (self._errors.RedisError, OSError) as error:
            raise StorageUnavailable(f"Redis at {self._name} does not answer: {error}") from error
        return None if found is None else (found[_MARK_BYTES:], found[:_MARK_BYTES])

    def swap(self, key: str, mark: bytes | None, value: bytes, seconds: int | None) -> bool:
        """One script."""
        new = secrets.token_bytes(_MARK_BYTES) + value
        return self._run(_SWAP, key, mark or b"", new, b"" if seconds is None else seconds)

    def remove(self, key: str, mark: bytes) -> bool:
        """One script."""
        return self._run(_REMOVE, key, mark)

    def eviction(self) -> str:
        """As the server is set up."""
        return "Redis evicts when it reaches maxmemory, unless its maxmemory-policy is noeviction"

    def advice(self) -> list[str]:
        """Asks the server for its policy; a server that does not tell is left alone."""
        try:
            found = self._connections.ask(lambda connection: _ask(connection, "INFO", "memory"), self._lost)
        except (self._errors.RedisError, OSError):
            return []
        lines = dict(line.split(":", 1) for line in found.decode().splitlines() if ":" in line)
        policy = lines.get("maxmemory_policy", "noeviction")
        if policy == "noeviction":
            return []
        return [f"Redis at {self._name} has maxmemory-policy {policy}; set it to noeviction, or it throws sessions away"]

    def close(self) -> None:
        """Closes the idle connections."""
        self._connections.clear()

    def after_fork(self) -> None:
        """A new pool; the parent's stays as it is."""
        self._connections.after_fork()

    def _connect(self) -> Any:
        connection = self._source.connection_class(**self._options)
        connection.connect()
        return connection

    def _run(self, script: str, key: str, *arguments: Any) -> bool:
        with self._write() as connection:
            digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
            try:
                return bool(_ask(connection, "EVALSHA", digest, 1, key, *arguments))
            except self._errors.NoScriptError:
                return bool(_ask(connection, "EVAL", script, 1, key, *arguments))

    @contextlib.contextmanager
    def _write(self) -> Iterator[Any]:
        connected = False
        try:
            with self._connections.take() as connection:
                connected = True
                yield connection
        except self._lost as error:
            if not connected:
                raise StorageUnavailable(f"Redis at {self._name} does not answer: {error}") from error
            raise OutcomeUnknown(f"the connection to Redis at {self._name} was lost after a change was sent: {error}") from error
        except self._errors.RedisError as error:
            raise StorageUnavailable(f"Redis at {self._name} refused a change: {error}") from error


def _ask(connection: Any, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()
