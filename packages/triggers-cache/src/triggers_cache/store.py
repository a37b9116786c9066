"""The store: one value per session, in whatever cache there is."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

from triggers.errors import SettingsError
from triggers.storages.document import DocumentStore
from triggers.store import Capability, Change
from triggers_cache.address import parse_memcached_url
from triggers_cache.django_settings import in_project
from triggers_cache.medium import Medium

logger = logging.getLogger("triggers.cache")

_warned: set[str] = set()


class CacheStore(DocumentStore):
    """Sessions in a Django cache, or in memcached by URL.

    With ``url`` the servers that it names; else, inside a Django project, the cache of that alias. A cache that cannot keep
    sessions safely is refused.

    Args:
        cache: an alias of Django's ``CACHES``.
        timeout: seconds for which a session is kept after its last commit; ``None`` for ever. The cache's own ``TIMEOUT``
            does not count.
        url: ``memcached://host:port[,host:port…]``.
        prefix: what the keys begin with, so that several applications can share a cache.
        max_value_bytes: the largest session, where the servers allow more or less than usual (memcached: 1 MiB less
            1 KiB).
        allow_local: take a cache that each process has for itself (``LocMemCache``); for tests.
        atomic_add: take a cache that Triggers does not know, because its ``add`` is atomic.
    """

    api_version = 1
    capabilities = Capability.EXPIRE

    def __init__(
        self,
        cache: str = "default",
        *,
        timeout: float | None = None,
        url: str | None = None,
        prefix: str = "triggers",
        max_value_bytes: int | None = None,
        allow_local: bool = False,
        atomic_add: bool = False,
    ) -> None:
        super().__init__()
        self._timeout = _check_timeout(timeout)
        self._prefix = _check_prefix(prefix)
        if max_value_bytes is not None and (type(max_value_bytes) is not int or max_value_bytes < 1):
            raise SettingsError(f"max_value_bytes must be a whole number above 0, got {max_value_bytes!r}")
        self._make_key: Any = None
        if url is not None:
            self._name = url
            self._medium = _memcached(url, max_value_bytes)
        else:
            self._name = f"cache {cache!r} of Django's settings"
            _require_django()
            from triggers_cache.django_caches import choose_medium, find_cache

            self._medium = choose_medium(cache, allow_local=allow_local, atomic_add=atomic_add, max_value_bytes=max_value_bytes)
            if not _makes_keys(self._medium):
                self._make_key = find_cache(cache).make_key
        self.max_value_bytes = max_value_bytes if max_value_bytes is not None else self._medium.max_value_bytes
        self._check_keys()
        _warn_once(self._name, self._medium)

    def read(self, uid: str) -> tuple[bytes, Any] | None:
        """The session's value, and a mark of this revision."""
        return self._medium.read(self._key(uid))

    def swap(self, uid: str, old: Any, new: bytes, change: Change) -> bool:
        """Compare and set, as this kind of cache does it."""
        limits = [seconds for seconds in (self._timeout, change.expire_in) if seconds is not None]
        return self._medium.swap(self._key(uid), old, new, max(1, math.ceil(min(limits))) if limits else None)

    def remove(self, uid: str, old: Any) -> bool:
        """Compare and remove."""
        return self._medium.remove(self._key(uid), old)

    def setup(self) -> None:
        """Makes the table of a database cache; other caches need nothing."""
        self._medium.setup()

    def close(self) -> None:
        """Closes the connections that are not the application's."""
        self._medium.close()

    def after_fork(self) -> None:
        """New connections in the child."""
        self._medium.after_fork()

    def warnings(self) -> Iterable[str]:
        """When this cache throws sessions away, and what of that its set-up could mend."""
        return [f"{self._name} may lose sessions: {self._medium.eviction()}", *self._medium.advice()]

    def promises(self) -> Mapping[str, str]:
        """What holds for caches."""
        kept = "until deleted" if self._timeout is None else f"{self._timeout:g} seconds after the last commit"
        return {
            "atomicity": self._medium.method,
            "durability": f"none beyond the cache's own: {self._medium.eviction()}",
            "kept": kept,
            "recovery": "only of sessions that are touched: a cache lists neither due work (DUE) nor sessions (SCAN)",
        }

    def _key(self, uid: str) -> str:
        """Hashed: any uid becomes 64 characters that every cache takes, and no two become one."""
        key = f"{self._prefix}:{hashlib.sha256(uid.encode()).hexdigest()}"
        return key if self._make_key is None else self._make_key(key)

    def _check_keys(self) -> None:
        key = self._key("")
        if len(key) > 250 or not key.isascii() or any(ord(character) <= 32 or ord(character) == 127 for character in key):
            raise SettingsError(
                f"{self._name}: with its KEY_PREFIX and the prefix {self._prefix!r}, keys look like {key!r}; they must be at "
                "most 250 characters of printable ASCII without spaces"
            )


def _makes_keys(medium: Medium) -> bool:
    from triggers_cache.added import AddMedium

    return isinstance(medium, AddMedium)


def _memcached(url: str, max_value_bytes: int | None) -> Medium:
    servers, options = parse_memcached_url(url)
    try:
        from triggers_cache.memcached import MAX_VALUE_BYTES, MemcachedMedium
    except ImportError as error:
        raise SettingsError(f"{url!r} needs pymemcache: pip install 'triggers-cache[memcached]'") from error
    return MemcachedMedium(servers, options, max_value_bytes or MAX_VALUE_BYTES)


def _require_django() -> None:
    hint = "inside a Django project it uses CACHES; elsewhere give it url='memcached://host:port' (or TRIGGERS_CACHE_URL)"
    if not in_project():
        raise SettingsError(f"the storage 'cache' has no cache: {hint}")
    if importlib.util.find_spec("django") is None:
        raise SettingsError("DJANGO_SETTINGS_MODULE is set, but Django is not installed: pip install 'triggers-cache[django]'")


def _check_timeout(timeout: Any) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 10**9:
        raise SettingsError(f"timeout is a number of seconds above 0, or None for ever, got {timeout!r}")
    return timeout


def _check_prefix(prefix: Any) -> str:
    if not isinstance(prefix, str) or not prefix.isascii() or not prefix.isprintable() or " " in prefix or len(prefix) > 100:
        raise SettingsError(f"prefix is at most 100 characters of printable ASCII without spaces, got {prefix!r}")
    return prefix


def _warn_once(name: str, medium: Medium) -> None:
    if name not in _warned:
        _warned.add(name)
        logger.warning("sessions are kept in %s, which may lose them: %s", name, medium.eviction())
