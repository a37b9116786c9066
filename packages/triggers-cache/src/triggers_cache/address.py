"""The address of memcached servers as a URL."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from triggers.errors import SettingsError
from triggers.settings import redact

DEFAULT_PORT = 11211
_FORM = "write memcached://host:port[,host:port…][?timeout=5&connect_timeout=5]"


def parse_memcached_url(url: str) -> tuple[list[tuple[str, int]], dict[str, float]]:
    """The servers, and the options of their client.

    Raises:
        SettingsError: it is no such URL.
    """
    if not isinstance(url, str):
        raise SettingsError(f"the URL of a memcached must be a string, got {type(url).__name__}; {_FORM}")
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss", "valkey"):
        raise SettingsError(
            "the storage 'cache' reaches Redis only as a Django cache; for a Redis URL use the storage 'redis' "
            "(pip install triggers-redis)"
        )
    if parts.scheme != "memcached":
        raise SettingsError(f"{redact(url)!r} is no address of memcached servers; {_FORM}")
    if "@" in parts.netloc:
        raise SettingsError(f"{redact(url)!r}: memcached is reached without user and password; {_FORM}")
    if parts.path not in ("", "/") or parts.fragment:
        raise SettingsError(
            f"{url!r} goes on after the servers with {parts.path!r}; for a prefix of the keys pass prefix=…; {_FORM}"
        )
    servers = [_server(text, url) for text in parts.netloc.split(",")]
    if len(set(servers)) != len(servers):
        raise SettingsError(f"{url!r} names a server twice")
    return servers, dict(_option(name, value, url) for name, value in parse_qsl(parts.query, keep_blank_values=True))


def _server(text: str, url: str) -> tuple[str, int]:
    try:
        part = urlsplit(f"//{text}")
        host, port = part.hostname, part.port
    except ValueError as error:
        raise SettingsError(f"{url!r}: {text!r} is no host and port ({error}); {_FORM}") from error
    if not host:
        raise SettingsError(f"{url!r} names no host; {_FORM}")
    return host, DEFAULT_PORT if port is None else port


def _option(name: str, value: str, url: str) -> tuple[str, float]:
    if name not in ("timeout", "connect_timeout"):
        raise SettingsError(f"{url!r} has the unknown option {name!r}; {_FORM}")
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingsError(f"{url!r}: {name}={value!r} is no number of seconds")
    return name, seconds
