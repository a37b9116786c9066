"""What the URLs mean, and what is said of those that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
from redis.connection import SSLConnection

from tests.servers.plugin import Space
from triggers.errors import SettingsError
from triggers_redis import RedisStore
from triggers_redis.address import Address, connect, parse


@pytest.mark.parametrize(
    "url, expected",
    [
        ("redis://h", ("single", (("h", 6379),), "", "redis://h:6379/0", "redis://h")),
        (
            "rediss://me:pw@h:1/2?ssl_cert_reqs=none",
            ("single", (("h", 1),), "", "rediss://me:pw@h:1/2?ssl_cert_reqs=none", "rediss://h:1/2"),
        ),
        ("redis://:p%40w@[::1]:7/3", ("single", (("::1", 7),), "", "redis://:p%40w@[::1]:7/3", "redis://[::1]:7/3")),
        ("valkeys://h/1", ("single", (("h", 6379),), "", "rediss://h:6379/1", "valkeys://h/1")),
        (
            "redis+cluster://:pw@a:1,b,c:3",
            (
                "cluster",
                (("a", 1), ("b", 6379), ("c", 3)),
                "",
                "redis://:pw@a:1/0",
                "redis+cluster://a:1,b,c:3",
            ),
        ),
        (
            "rediss+sentinel://me:pw@a,b:2/my/5?sentinel_password=sp",
            (
                "sentinel",
                (("a", 26379), ("b", 2)),
                "my",
                "rediss://me:pw@a:26379/5?sentinel_password=sp",
                "rediss+sentinel://a,b:2/my/5",
            ),
        ),
        (
            "unix://me:pw@/run/redis.sock?db=3",
            ("single", (), "", "unix://me:pw@/run/redis.sock?db=3", "unix:///run/redis.sock"),
        ),
    ],
)
def test_a_url_says_where_the_server_is(url: str, expected: tuple[object, ...]) -> None:
    """Kind, hosts, service and options come from the URL; what is shown has no password."""
    assert tuple(parse(url)) == expected


@pytest.mark.parametrize(
    "url, says",
    [
        ("http://h", "begins with 'http'"),
        ("h:6379", "begins with 'h:6379'"),
        ("redis+sentinel://h:26379", "names the service"),
        ("redis://a:1,b:2", "one host"),
        ("redis://h/x", "must be a number, got 'x'"),
        ("redis+cluster://h/3", "only the database 0"),
        ("redis://:sec/ret@h", "percent-encoded"),
        ("redis://:secret@h:port", "malformed host or port"),
        ("redis://", "malformed host or port"),
    ],
)
def test_a_bad_url_is_refused_at_once(url: str, says: str) -> None:
    """A URL that means nothing is refused when the store is made, with what is wrong and no password."""
    with pytest.raises(SettingsError) as caught:
        RedisStore(url=url)
    assert says in str(caught.value)
    assert "sec" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    """Neither the store nor its address shows user, password or options."""
    store = RedisStore(url="redis+sentinel://me:hush@h/service?sentinel_password=quiet")
    shown = repr(store) + repr(store.__dict__)
    assert "hush" not in shown
    assert "quiet" not in shown
    assert repr(store) == "<RedisStore redis+sentinel://h/service prefix='triggers:'>"
    assert isinstance(parse("redis://h"), Address)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"prefix": "a{b}"}, "without braces, got 'a{b}'"),
        ({"prefix": b"x"}, "must be text"),
        ({"shards": 0}, "from 1 to 16384, got 0"),
        ({"shards": "64"}, "whole number from 1 to 16384, got '64'"),
        ({"retries": -1}, "retries"),
        ({"timeout": 0}, "timeout of the redis storage must be a number of seconds above 0, got 0"),
        ({"connect_timeout": "5"}, "connect_timeout"),
        ({"max_connections": 0}, "max_connections"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, object], says: str) -> None:
    """Each option is checked before anything is opened, and the message names it."""
    with pytest.raises(SettingsError) as caught:
        RedisStore(**options)  # type: ignore[arg-type]
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "options, says",
    [("no_such_option=1", "no_such_option"), ("socket_timeout=soon", "socket_timeout")],
)
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
def test_an_option_of_the_url_that_cannot_be(redis_space: Space, scheme: str, options: str, says: str) -> None:
    """An option behind the '?' that redis-py does not take is told as a mistake in the settings, at the first use."""
    store = RedisStore(url=f"{scheme}://127.0.0.1:{redis_space.server.port}/{'s' if 'sentinel' in scheme else ''}?{options}")
    with pytest.raises(SettingsError, match=f"an option that redis-py does not take: .*{says}"):
        store.setup()


def test_sentinels_and_servers_are_reached_with_the_same_certificates() -> None:
    """TLS and its options hold for the Sentinels as well as for the servers that they name; passwords are each one's own."""
    address = parse("rediss+sentinel://me:pw@a,b/svc/3?ssl_ca_certs=/ca.pem&sentinel_username=s&sentinel_password=sp")
    client: Any = connect(address, 1.0, 2.0, 7)
    pool = client.connection_pool
    server = pool.make_connection()
    assert isinstance(server, SSLConnection)
    assert (server.ca_certs, server.username, server.password, server.db) == ("/ca.pem", "me", "pw", 3)
    assert (server.socket_timeout, server.socket_connect_timeout, pool.max_connections) == (1.0, 2.0, 7)
    assert [s.connection_pool.connection_kwargs["host"] for s in pool.sentinel_manager.sentinels] == ["a", "b"]
    for sentinel in pool.sentinel_manager.sentinels:
        found = sentinel.connection_pool.make_connection()
        assert isinstance(found, SSLConnection)
        assert (found.ca_certs, found.username, found.password) == ("/ca.pem", "s", "sp")
        assert found.retry.get_retries() == 0
    assert server.retry.get_retries() == 0


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "unix:///run/r", "redis+sentinel://h/s"])
def test_redis_py_resends_nothing(url: str) -> None:
    """No connection has a retry policy of its own, and each has the timeouts of the settings."""
    client: Any = connect(parse(url), 1.5, 2.5, 3)
    connection = client.connection_pool.make_connection()
    assert connection.retry.get_retries() == 0
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (1.5, 2.5)
    assert connection.protocol == 2
    assert getattr(connection, "socket_keepalive", True) is True
