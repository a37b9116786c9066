"""memcached through pymemcache, with its own ``gets`` and ``cas``.

pymemcache's ``HashClient`` is not used: when a server fails, it answers "not there" for a while and then sends the server's
keys to another one, so that a session would be there twice. Here each key belongs to one server, for good.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheError, MemcacheServerError, MemcacheUnexpectedCloseError

from triggers.errors import OutcomeUnknown, SessionTooLarge, StorageUnavailable
from triggers_cache.medium import Medium
from triggers_cache.pool import Pool

Server = tuple[str, int] | str

MAX_VALUE_BYTES = 1024 * 1024 - 1024
"""memcached's default item size (``-I 1m``), less what it keeps beside the value."""

_LONGEST_RELATIVE = 60 * 60 * 24 * 30
_CLOCK = 1
"""memcached counts whole seconds: what is to be kept for n may go after n - 1."""
_LOST = (OSError, MemcacheUnexpectedCloseError)


class MemcachedMedium(Medium):
    """One or more memcached servers; all processes have to spell their names alike.

    Args:
        servers: ``(host, port)`` or the path of a Unix socket.
        options: of ``pymemcache.client.base.Client``; ``timeout`` and ``connect_timeout`` are 5 seconds unless given.
        max_value_bytes: what the servers allow (``-I``), less 1 KiB.
    """

    method = "memcached's compare-and-set"

    def __init__(
        self,
        servers: Sequence[Server],
        options: Mapping[str, Any] | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        settings = {
            "timeout": 5.0,
            "connect_timeout": 5.0,
            "no_delay": True,
            **(options or {}),
            "default_noreply": False,
        }
        self._pools = {_name(server): Pool(_connecting(server, settings), Client.close) for server in servers}
        self.max_value_bytes = max_value_bytes

    def read(self, key: str) -> tuple[bytes, str] | None:
        """One ``gets``."""
        name, pool = self._pool(key)
        try:
            value, mark = pool.ask(lambda client: client.gets(key), _LOST)
        except (*_LOST, MemcacheError) as error:
            raise StorageUnavailable(f"memcached at {name} does not answer: {error!r}") from error
        return None if value is None else (value, mark.decode())

    def swap(self, key: str, mark: str | None, value: bytes, seconds: int | None) -> bool:
        """``add`` where there was nothing, else ``cas``."""
        expire = _expiry(seconds)
        with self._write(key, len(value)) as client:
            if mark is None:
                return bool(client.add(key, value, expire=expire))
            return client.cas(key, value, mark, expire=expire) is True

    def remove(self, key: str, mark: str) -> bool:
        """``cas`` to a value that has expired already: memcached's ``delete`` cannot compare."""
        with self._write(key, 0) as client:
            return client.cas(key, b"", mark, expire=-1) is True

    def eviction(self) -> str:
        """Memory only."""
        return "memcached keeps everything in memory: it evicts when that is full, and forgets all when it restarts"

    def close(self) -> None:
        """Closes the idle connections."""
        for pool in self._pools.values():
            pool.clear()

    def after_fork(self) -> None:
        """New pools."""
        for pool in self._pools.values():
            pool.after_fork()

    @contextlib.contextmanager
    def _write(self, key: str, size: int) -> Iterator[Any]:
        name, pool = self._pool(key)
        connected = False
        try:
            with pool.take() as client:
                connected = True
                yield client
        except MemcacheServerError as error:
            if isinstance(error, MemcacheUnexpectedCloseError):
                raise OutcomeUnknown(f"memcached at {name} closed the connection after a change was sent") from error
            if b"too large" in str(error).encode():
                raise SessionTooLarge(
                    f"memcached at {name} takes no value of {size} bytes; start it with a larger -I, or lower max_value_bytes"
                ) from error
            raise StorageUnavailable(f"memcached at {name} refused a change: {error!r}") from error
        except OSError as error:
            if not connected:
                raise StorageUnavailable(f"memcached at {name} does not answer: {error!r}") from error
            raise OutcomeUnknown(f"the connection to memcached at {name} was lost after a change was sent: {error!r}") from error
        except MemcacheError as error:
            raise OutcomeUnknown(f"memcached at {name} gave an answer that cannot be read: {error!r}") from error

    def _pool(self, key: str) -> tuple[str, Pool[Any]]:
        if len(self._pools) == 1:
            return next(iter(self._pools.items()))
        name = max(self._pools, key=lambda server: hashlib.sha256(f"{server} {key}".encode()).digest())
        return name, self._pools[name]


def _name(server: Server) -> str:
    return server if isinstance(server, str) else f"{server[0]}:{server[1]}"


def _connecting(server: Server, settings: Mapping[str, Any]) -> Callable[[], Any]:
    def connect() -> Any:
        client = Client(server, **settings)
        client._connect()
        return client

    return connect


def _expiry(seconds: int | None) -> int:
    if seconds is None:
        return 0
    seconds += _CLOCK
    return seconds if seconds <= _LONGEST_RELATIVE else int(time.time()) + seconds
