"""The proxy makes the fault that it was asked for, and no other, in front of real servers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url

from tests.servers.client import Server
from tests.servers.plugin import Space
from tests.servers.proxy import FaultProxy

Proxies = Callable[[Server | int], FaultProxy]


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A plain connection to the loopback port."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        yield connection


def ask(connection: socket.socket, question: bytes) -> bytes:
    """One request in Redis's inline form, and its answer."""
    connection.sendall(question + b"\r\n")
    return connection.recv(65536)


@pytest.fixture
def key(redis_space: Space) -> bytes:
    """A counter in Redis that is this test's own."""
    return redis_space.prefix.encode() + b"counter"


@pytest.fixture
def proxy(redis_space: Space, fault_proxy: Proxies) -> FaultProxy:
    """A proxy in front of Redis."""
    return fault_proxy(redis_space.server)


@pytest.fixture
def count(redis_space: Space, key: bytes) -> Callable[[], int]:
    """How often the server has really counted, asked without the proxy."""

    def read() -> int:
        with connected(redis_space.server.port) as direct:
            answer = ask(direct, b"GET " + key)
        return 0 if answer == b"$-1\r\n" else int(answer.split(b"\r\n")[1])

    return read


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition holds within a minute."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_healthy_proxy_changes_nothing_and_counts(proxy: FaultProxy, key: bytes) -> None:
    """Requests and bytes are counted; a large one of many packets is one request."""
    with connected(proxy.port) as connection:
        assert ask(connection, b"INCR " + key) == b":1\r\n"
        assert ask(connection, b"INCR " + key) == b":2\r\n"
        assert proxy.requests == 2
        assert proxy.bytes_sent == 2 * len(b"INCR " + key + b"\r\n")
        assert proxy.bytes_received == 8
        large = b"*2\r\n$4\r\nECHO\r\n$300000\r\n" + b"x" * 300_000
        assert ask(connection, large).startswith(b"$300000\r\nxxx")
        assert proxy.requests == 3


def test_a_pipeline_is_one_request(proxy: FaultProxy, key: bytes) -> None:
    """Also where it is sent in pieces and the server has begun to answer the first of them."""
    proxy.gap = 1.0
    with connected(proxy.port) as connection:
        for _ in range(20):
            connection.sendall((b"INCR " + key + b"\r\n") * 200)
        received = b""
        while received.count(b"\r\n") < 4000:
            received += connection.recv(65536)
    assert received.endswith(b":4000\r\n")
    assert proxy.requests == 1


def test_drop_reply_serves_the_nth_request_and_no_more(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """The first request is answered, the second is served without an answer, and a new connection works."""
    made = proxy.drop_reply(nth=2)
    with connected(proxy.port) as connection:
        assert ask(connection, b"INCR " + key) == b":1\r\n"
        assert not made.is_set()
        with pytest.raises(ConnectionResetError):
            ask(connection, b"INCR " + key)
    assert made.is_set()
    assert count() == 2
    with connected(proxy.port) as connection:
        assert ask(connection, b"INCR " + key) == b":3\r\n"


def test_a_fault_can_wait_for_a_request_with_certain_bytes(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """`containing` counts only the requests that have these bytes."""
    proxy.drop_reply(containing=b"INCR")
    with connected(proxy.port) as connection:
        assert ask(connection, b"PING") == b"+PONG\r\n"
        with pytest.raises(ConnectionResetError):
            ask(connection, b"INCR " + key)
    assert count() == 1


def test_swallow_reply_leaves_the_client_waiting(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """The request is served; the client runs into its own timeout."""
    made = proxy.swallow_reply()
    with connected(proxy.port) as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(connection, b"INCR " + key)
    assert made.wait(60)
    assert count() == 1


def test_reset_before_keeps_the_request_from_the_server(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """The client sees a reset, and nothing was counted."""
    proxy.reset_before()
    with connected(proxy.port) as connection, pytest.raises(ConnectionResetError):
        ask(connection, b"INCR " + key)
    assert count() == 0


def test_reset_after_passes_the_request_on(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """The client sees a reset at once; the server has got the request."""
    proxy.reset_after()
    with connected(proxy.port) as connection, pytest.raises(ConnectionResetError):
        ask(connection, b"INCR " + key)
    assert eventually(lambda: count() == 1)


def test_late_requests_arrive_after_the_client_has_given_up(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """The client sees a reset and nothing has been counted; once the request is delivered, it has."""
    made = proxy.late(60)
    with connected(proxy.port) as connection, pytest.raises(ConnectionResetError):
        ask(connection, b"INCR " + key)
    assert made.is_set()
    assert count() == 0
    proxy.deliver_late()
    assert count() == 1


def test_repeated_requests_are_served_twice(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """The client sees the first answer alone, and goes on as if nothing had been."""
    made = proxy.repeat()
    with connected(proxy.port) as connection:
        assert ask(connection, b"INCR " + key) == b":1\r\n"
        assert made.is_set()
        assert ask(connection, b"PING") == b"+PONG\r\n"
    assert count() == 2


def test_cut_reply_lets_some_bytes_through(proxy: FaultProxy) -> None:
    """Exactly so many bytes of the answer arrive before the reset."""
    proxy.cut_reply(after=3)
    with connected(proxy.port) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100) == b"+PO"
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


def test_refuse_and_heal(proxy: FaultProxy) -> None:
    """Open connections are reset and new ones refused, until the proxy heals, on the same port."""
    with connected(proxy.port) as connection:
        assert ask(connection, b"PING") == b"+PONG\r\n"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            ask(connection, b"PING")
    with pytest.raises(ConnectionRefusedError), connected(proxy.port):
        pass
    proxy.heal()
    with connected(proxy.port) as connection:
        assert ask(connection, b"PING") == b"+PONG\r\n"


def test_a_black_hole_takes_everything_and_says_nothing(proxy: FaultProxy, key: bytes, count: Callable[[], int]) -> None:
    """On connections new and old nothing arrives; healing resets them."""
    with connected(proxy.port) as connection:
        assert ask(connection, b"PING") == b"+PONG\r\n"
        proxy.black_hole()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(connection, b"INCR " + key)
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            ask(connection, b"PING")
    assert count() == 0


def test_cut_resets_what_is_open_and_serves_what_is_new(proxy: FaultProxy) -> None:
    """One reset of all connections, and life goes on."""
    with connected(proxy.port) as connection:
        assert ask(connection, b"PING") == b"+PONG\r\n"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            ask(connection, b"PING")
    with connected(proxy.port) as connection:
        assert ask(connection, b"PING") == b"+PONG\r\n"


def test_delay_holds_bytes_up_each_way(proxy: FaultProxy) -> None:
    """A question and its answer each take the delay."""
    proxy.delay(0.1)
    with connected(proxy.port) as connection:
        started = time.monotonic()
        assert ask(connection, b"PING") == b"+PONG\r\n"
        assert time.monotonic() - started >= 0.2


def test_heal_forgets_rules_that_were_not_used(proxy: FaultProxy) -> None:
    """A fault planned for later does not come after healing."""
    proxy.drop_reply(nth=2)
    proxy.heal()
    with connected(proxy.port) as connection:
        assert ask(connection, b"PING") == b"+PONG\r\n"
        assert ask(connection, b"PING") == b"+PONG\r\n"


def test_a_commit_on_postgres_whose_reply_is_lost_is_applied(postgres_url: str, fault_proxy: Proxies) -> None:
    """The client sees a broken connection; the row is there."""
    url = make_url(postgres_url)
    assert url.port
    proxy = fault_proxy(url.port)
    plain = url.set(drivername="postgresql")
    through = psycopg.connect(plain.set(port=proxy.port).render_as_string(hide_password=False))
    through.execute("CREATE TABLE t (n INTEGER)")
    through.commit()
    through.execute("INSERT INTO t VALUES (7)")
    made = proxy.drop_reply(containing=b"COMMIT")
    with pytest.raises(psycopg.OperationalError):
        through.commit()
    assert made.is_set()
    with psycopg.connect(plain.render_as_string(hide_password=False)) as direct:
        assert direct.execute("SELECT n FROM t").fetchall() == [(7,)]


def test_a_late_commit_on_mariadb_is_applied_later(mysql_url: str, fault_proxy: Proxies) -> None:
    """The transaction stays open behind the proxy, and its commit comes when the client has long gone."""
    url = make_url(mysql_url)
    assert url.port
    proxy = fault_proxy(url.port)

    def connect(port: int) -> pymysql.Connection[pymysql.cursors.Cursor]:
        return pymysql.connect(host="127.0.0.1", port=port, user=url.username or "", database=url.database)

    def rows() -> int:
        with connect(url.port or 0) as direct, direct.cursor() as cursor:
            return cursor.execute("SELECT n FROM t")

    through = connect(proxy.port)
    with through.cursor() as cursor:
        cursor.execute("CREATE TABLE t (n INTEGER) ENGINE=InnoDB")
        cursor.execute("INSERT INTO t VALUES (7)")
        made = proxy.late(60, containing=b"COMMIT")
        with pytest.raises(pymysql.OperationalError):
            through.commit()
    assert made.is_set()
    assert rows() == 0
    proxy.deliver_late()
    assert rows() == 1


def test_memcached_passes_through(memcached_space: Space, fault_proxy: Proxies) -> None:
    """A `set` whose answer is dropped has been stored."""
    proxy = fault_proxy(memcached_space.server)
    proxy.drop_reply()
    name = memcached_space.prefix.encode()
    with connected(proxy.port) as connection, pytest.raises(ConnectionResetError):
        ask(connection, b"set " + name + b" 0 0 1\r\n7")
    with connected(proxy.port) as connection:
        assert b"\r\n7\r\nEND" in ask(connection, b"get " + name)
