"""Where the server is, from its URL: one server, a cluster, or a service that Sentinels watch.

``redis`` itself is imported only when a client is made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from triggers.errors import SettingsError

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

_SCHEME = re.compile(r"(?P<base>redis|rediss|valkey|valkeys)(?:\+(?P<kind>cluster|sentinel))?|(?P<unix>unix)")
_SENTINEL_PORT, _PORT = 26379, 6379
_FORMS = (
    "redis://host:6379/0, rediss://… (TLS), unix:///path?db=0, redis+cluster://host:port,host:port, "
    "redis+sentinel://host:port,host:port/service/0"
)


class Address(NamedTuple):
    """What a URL says. ``shown`` is the URL without user, password and options, for messages."""

    kind: str
    hosts: tuple[tuple[str, int], ...]
    service: str
    options_url: str
    """A plain URL with the user, the password, the database and the options, which redis-py parses."""
    shown: str

    def __repr__(self) -> str:
        return f"<Address {self.shown}>"


def parse(url: str) -> Address:
    """Reads a URL.

    Raises:
        SettingsError: it is no URL of ours. The message never has the password.
    """
    scheme, separator, rest = str(url).partition("://")
    found = _SCHEME.fullmatch(scheme)
    if not separator or not found:
        raise SettingsError(f"the url of the redis storage begins with {scheme[:20]!r}; known are {_FORMS}")
    if found["unix"]:
        path = rest.rpartition("@")[2].partition("?")[0]
        return Address("single", (), "", url, f"unix://{path}")
    base = found["base"].replace("valkey", "redis")
    kind = found["kind"] or "single"
    try:
        parts = urlsplit(f"{base}://{rest}")
        hosts = _hosts(parts.netloc.rpartition("@")[2], _SENTINEL_PORT if kind == "sentinel" else _PORT)
    except ValueError:
        raise SettingsError(
            "the url of the redis storage has a malformed host or port (is a password with '/', '@', '#' or '?' not "
            f"percent-encoded?); the forms are {_FORMS}"
        ) from None
    path = parts.path.strip("/")
    service, database = "", path
    if kind == "sentinel":
        service, _, database = path.partition("/")
        if not service:
            raise SettingsError("a redis+sentinel:// url names the service: redis+sentinel://host:26379/mymaster/0")
    if kind == "single" and len(hosts) > 1:
        raise SettingsError(f"a {scheme}:// url has one host; for several use {base}+cluster:// or {base}+sentinel://")
    if database and not (database.isascii() and database.isdigit()):
        raise SettingsError(f"the database in the url of the redis storage must be a number, got {database!r}")
    if kind == "cluster" and int(database or 0):
        raise SettingsError(f"a cluster has only the database 0, the url asks for {database}")
    user = parts.netloc.rpartition("@")[0]
    host, port = hosts[0]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    query = f"?{parts.query}" if parts.query else ""
    options_url = f"{base}://{user + '@' if user else ''}{place}/{database or 0}{query}"
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{'/' + path if path else ''}"
    return Address(kind, hosts, service, options_url, shown)


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for item in text.split(","):
        parts = urlsplit(f"//{item}")
        if not parts.hostname:
            raise ValueError(item)
        found.append((parts.hostname, parts.port or default_port))
    return tuple(found)


def connect(address: Address, timeout: float, connect_timeout: float, max_connections: int) -> Redis | RedisCluster:
    """Makes a client; a cluster's is asked for its nodes now, any other connects at first use.

    The client library resends nothing by itself: it cannot know what is safe to run twice.

    Raises:
        SettingsError: the URL has an option that redis-py does not take.
    """
    from redis import Redis, RedisCluster, cluster, connection
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "max_connections": max_connections,
        "protocol": 2,
    }
    if address.hosts:
        options["socket_keepalive"] = True
    of_url = _options_of_url(address)
    if address.kind == "single":
        return Redis.from_url(address.options_url, **options)
    for name in ("host", "port"):
        of_url.pop(name, None)
    options |= of_url
    options["ssl"] = options.pop("connection_class", None) is connection.SSLConnection
    if address.kind == "sentinel":
        return _named_by_sentinels(address, options)
    options.pop("db", None)
    nodes = [cluster.ClusterNode(host, port) for host, port in address.hosts]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)


def _options_of_url(address: Address) -> dict[str, Any]:
    """What redis-py reads from the URL, once it has been seen to make a connection."""
    from redis import connection

    try:
        found: dict[str, Any] = connection.parse_url(address.options_url)  # type: ignore[no-untyped-call]
        elsewhere = {"connection_class", "max_connections", "sentinel_username", "sentinel_password"}
        kind = found.get("connection_class", connection.Connection)
        kind(**{name: value for name, value in found.items() if name not in elsewhere})
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{address.shown} has an option that redis-py does not take: {error}") from error
    return found


def _named_by_sentinels(address: Address, options: dict[str, Any]) -> Redis:
    from redis.sentinel import Sentinel

    watcher = {
        "socket_timeout": options["socket_connect_timeout"],
        "socket_connect_timeout": options["socket_connect_timeout"],
        "username": options.pop("sentinel_username", None),
        "password": options.pop("sentinel_password", None),
        "retry": options["retry"],
        **{name: value for name, value in options.items() if name.startswith("ssl")},
    }
    watchers: Any = Sentinel(address.hosts, sentinel_kwargs=watcher)  # type: ignore[no-untyped-call]
    client: Redis = watchers.master_for(address.service, **options)
    return client
